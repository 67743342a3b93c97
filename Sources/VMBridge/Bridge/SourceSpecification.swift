import VMBridgeCore

/// What a VM's surfaces come by, and where that is.
public enum SourceKind: Sendable, Equatable {
    /// The bridge listens, the VM's producer connects and speaks source-v1.
    case socket(path: String)
    /// The bridge listens, and a VMM connects its vhost-user-gpu device: the bridge is the guest's GPU. With the
    /// VMM's QMP socket the guest also gets input.
    case vhostUserGPU(socket: String, qmp: String?)
    /// QEMU's D-Bus display, peer to peer: the bridge connects to QEMU's QMP socket and asks for it there.
    case qemu(qmp: String)
    /// QEMU's D-Bus display under this name on the session bus, or on the bus that listens at a path.
    case qemuBus(name: String, bus: String? = nil)
    /// What a domain exports by hyper_dmabuf, a driver of Xen's and ACRN's kernels; its node on this host.
    case hyperDmabuf(domain: UInt16, node: String)
}

/// Where one VM's surfaces come from.
public struct SourceSpecification: Sendable, Equatable {
    /// The VM's name on this host: letters, digits, dot, dash, underscore; at most 64 bytes.
    public var vm: String
    /// What they come by.
    public var kind: SourceKind
    /// What happens to frames whose acquire fence is pending; nil for what the configuration says.
    public var fences: FencePolicy?

    /// A VM whose surfaces come by some kind of source.
    public init(vm: String, _ kind: SourceKind) {
        self.vm = vm
        self.kind = kind
    }

    /// A VM with a socket of its own.
    ///
    /// - Parameter socketPath: the bridge makes it. The runtime directory of ours is made for it when it lies
    ///   there; any other must exist.
    public init(vm: String, socketPath: String) {
        self.init(vm: vm, .socket(path: socketPath))
    }

    /// What no two VMs can share: the path of a socket, or a name on the bus.
    public var place: String {
        switch kind {
        case .socket(let path), .vhostUserGPU(let path, _), .qemu(let path): path
        case .qemuBus(let name, let bus): bus ?? name
        // Ids of buffers tell no more of a domain than that.
        case .hyperDmabuf(let domain, _): "domain \(domain % 256) of hyper_dmabuf"
        }
    }

    /// The word for its kind, as people write it.
    public var kindWord: String {
        switch kind {
        case .socket: "socket"
        case .vhostUserGPU: "vhost-user-gpu"
        case .qemu: "qemu"
        case .qemuBus: "qemu-bus"
        case .hyperDmabuf: "hyper-dmabuf"
        }
    }

    /// Whether a text can be a VM's name.
    static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 64 && CleanText.identifier(text) == text
    }

    /// Reads "VM=KIND" or "VM=KIND:PLACE": "socket[:PATH]", "vhost-user-gpu[:PATH][,qmp=PATH]", "qemu:QMP-PATH",
    /// "qemu-bus[:NAME]" or "qemu-bus:PATH", "hyper-dmabuf:DOMAIN[@NODE]". A socket that the bridge makes is VM.sock
    /// or VM.gpu in `RuntimeDirectory` when no path is given.
    ///
    /// - Throws: `SpecificationError` with a sentence that says what is wrong and what is right.
    public init(_ text: String) throws(SpecificationError) {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw SpecificationError("“\(text)” names no VM: write VM=socket or VM=socket:PATH")
        }
        let vm = String(text[..<equals])
        guard Self.isName(vm) else {
            throw SpecificationError(
                "“\(vm)” is no VM name: use up to 64 letters, digits, dots, dashes, underscores")
        }
        try self.init(vm: vm, source: String(text[text.index(after: equals)...])) {
            (path: String) throws(SpecificationError) in path
        }
    }

    /// What a configuration says of a VM; nil when it names no source for it. A relative path lies in
    /// `RuntimeDirectory`.
    ///
    /// - Throws: `SpecificationError` when there is no runtime directory for it, or its kind is not known.
    init?(_ vm: VMConfiguration) throws(SpecificationError) {
        guard let source = vm.source else { return nil }
        try self.init(vm: vm.name, source: source) { (path: String) throws(SpecificationError) in
            guard !path.hasPrefix("/") else { return path }
            guard let directory = RuntimeDirectory.path else {
                throw SpecificationError(
                    "the path of \(vm.name)'s socket, “\(path)”, is relative, and XDG_RUNTIME_DIR is not set"
                )
            }
            return "\(directory)/\(path)"
        }
    }

    private init(
        vm: String, source: String,
        resolve: (String) throws(SpecificationError) -> String
    ) throws(SpecificationError) {
        // A comma may stand before the colon when no path is given: "vhost-user-gpu,qmp=PATH".
        let parts = SourceWords(source)
        guard !parts.kind.isEmpty else {
            throw SpecificationError(
                "“\(vm)=\(source)” names no kind of source: write \(vm)=socket:PATH")
        }
        func made(_ ending: String) throws(SpecificationError) -> String {
            guard parts.place.isEmpty else { return try resolve(parts.place) }
            guard let directory = RuntimeDirectory.path else {
                throw SpecificationError(
                    "\(vm)=\(parts.kind) needs a path, as in \(vm)=\(parts.kind):PATH, since XDG_RUNTIME_DIR is not set"
                )
            }
            return "\(directory)/\(vm).\(ending)"
        }
        guard parts.qmp == nil || parts.kind == "vhost-user-gpu" else {
            throw SpecificationError("only vhost-user-gpu takes “,qmp=PATH”, not \(parts.kind)")
        }
        switch parts.kind {
        case "socket": self.init(vm: vm, .socket(path: try made("sock")))
        case "vhost-user-gpu":
            var qmp: String?
            if let path = parts.qmp {
                guard !path.isEmpty else {
                    throw SpecificationError(
                        "\(vm)=\(source) names no QMP socket behind “,qmp=”: write ,qmp=PATH or nothing"
                    )
                }
                qmp = try resolve(path)
            }
            self.init(vm: vm, .vhostUserGPU(socket: try made("gpu"), qmp: qmp))
        case "qemu":
            guard !parts.place.isEmpty else {
                throw SpecificationError(
                    "\(vm)=qemu needs the path of QEMU's QMP socket: write \(vm)=qemu:PATH and start QEMU with -display dbus,p2p=yes -qmp unix:PATH,server=on,wait=off"
                )
            }
            self.init(vm: vm, .qemu(qmp: try resolve(parts.place)))
        case "qemu-bus" where parts.place.contains("/"):
            // No name on a bus has a slash.
            let stars = parts.place.split(separator: "*", omittingEmptySubsequences: false)
            guard stars.count < 2 || stars.count == 2 && !stars[1].contains("/") else {
                throw SpecificationError(
                    "“\(parts.place)” has a star too many: one, in the last part of a bus's path, stands for a number"
                )
            }
            self.init(vm: vm, .qemuBus(name: "org.qemu", bus: try resolve(parts.place)))
        case "qemu-bus":
            let name = parts.place.isEmpty ? "org.qemu" : parts.place
            guard Self.isBusName(name) else {
                throw SpecificationError(
                    "“\(name)” is no name on a bus: it has parts with dots between, as org.qemu")
            }
            self.init(vm: vm, .qemuBus(name: name))
        case "hyper-dmabuf":
            let parts = parts.place.split(separator: "@", maxSplits: 1)
            guard let first = parts.first, let domain = UInt16(first), domain > 0, domain < 32_752
            else {
                throw SpecificationError(
                    "\(vm)=hyper-dmabuf needs the number of the VM's domain: write \(vm)=hyper-dmabuf:3 for domain 3"
                )
            }
            let node = try Self.hyperNode(parts.count == 2 ? String(parts[1]) : "")
            self.init(vm: vm, .hyperDmabuf(domain: domain, node: node))
        default:
            throw SpecificationError(
                "“\(parts.kind)” is no kind of source: this version knows \(Self.kindList), as in \(vm)=socket:PATH"
            )
        }
    }

    private static var kindList: String {
        VMConfiguration.sourceKinds.map { "“\($0)”" }.joined(separator: ", ")
    }

    /// D-Bus specification, "Bus names": 255 bytes, at least two parts, or a unique name.
    static func isBusName(_ text: String) -> Bool {
        let isUnique = text.hasPrefix(":")
        let parts = text.dropFirst(isUnique ? 1 : 0).split(
            separator: ".", omittingEmptySubsequences: false)
        guard text.utf8.count <= 255, parts.count >= 2 else { return false }
        return parts.allSatisfy { part in
            guard let first = part.utf8.first else { return false }
            let isDigit = UInt8(ascii: "0")...UInt8(ascii: "9") ~= first
            return (isUnique || !isDigit)
                && part.utf8.allSatisfy {
                    switch $0 {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"),
                        UInt8(ascii: "A")...UInt8(ascii: "Z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                        true
                    default: false
                    }
                }
        }
    }
}

/// A specification that cannot be read.
public struct SpecificationError: Error, CustomStringConvertible {
    /// One sentence for people.
    public var description: String
    init(_ description: String) { self.description = description }
}
