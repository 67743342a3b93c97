import VMBridgeCore

/// What a person asks to be served by one word: a VM's source, or a driver of this host that brings VMs by itself.
public enum SourceOption: Sendable, Equatable {
    /// "VM=KIND[:PLACE]".
    case vm(SourceSpecification)
    /// "hyper-dmabuf[:NODE]": every domain that exports by the driver is a VM, whoever it is.
    case hyperDmabuf(node: String)

    /// Reads either of them.
    ///
    /// - Throws: `SpecificationError` with a sentence that says what is wrong and what is right.
    public init(_ text: String) throws(SpecificationError) {
        let words = SourceWords(text)
        guard words.kind == "hyper-dmabuf", words.qmp == nil else {
            self = .vm(try SourceSpecification(text))
            return
        }
        self = .hyperDmabuf(node: try SourceSpecification.hyperNode(words.place))
    }

    /// The VM's name; nil for a driver.
    public var vm: String? {
        if case .vm(let source) = self { source.vm } else { nil }
    }
}

extension SourceSpecification {
    /// The node of hyper_dmabuf that a text names; the usual one for an empty text.
    static func hyperNode(_ text: String) throws(SpecificationError) -> String {
        guard !text.isEmpty else { return HyperDmabufNode.path }
        guard text.hasPrefix("/dev/"), text.utf8.count < 256 else {
            throw SpecificationError("“\(text)” is no device node: it begins with /dev/")
        }
        return text
    }

    /// A domain that no VM of the configuration has.
    static func discovered(domain: UInt8, node: String) -> SourceSpecification {
        SourceSpecification(
            vm: "domain-\(domain)", .hyperDmabuf(domain: UInt16(domain), node: node))
    }
}
