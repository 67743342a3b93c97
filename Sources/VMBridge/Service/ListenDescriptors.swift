import CLinux
import Descriptors
import Glibc
import Logging
import VMBridgeCore

/// Sockets that a service manager opened and handed over, by name (sd_listen_fds(3)). It owns them until they are taken.
///
/// A listening `SOCK_SEQPACKET` socket named like a VM is that VM's source; the one named "control" belongs to the control socket.
public final class ListenDescriptors {
    /// The name of the control socket's descriptor. No VM's, therefore.
    public static let controlName = "control"
    /// More than any host has VMs: a number beyond it is a mistake, and nobody's descriptors are touched for it.
    static let limit: Int32 = 1024
    private static let first: Int32 = 3

    /// One descriptor.
    private final class Passed {
        let name: String
        private var descriptor: OwnedDescriptor

        init(_ name: String, _ descriptor: consuming OwnedDescriptor) {
            self.name = name
            self.descriptor = descriptor
        }

        var number: Int32 { descriptor.number }

        func take() -> OwnedDescriptor {
            var taken = OwnedDescriptor.none
            swap(&taken, &descriptor)
            return taken
        }
    }

    private var passed: [Passed] = []
    /// What was wrong with what the manager said, in sentences; empty when nothing was.
    public private(set) var complaints: [String] = []

    /// Nothing was handed over.
    public init() {}

    /// Takes what is meant for this process, and makes it close-on-exec.
    ///
    /// Call it before anything else opens a descriptor: the numbers are fixed, 3 and those that follow.
    ///
    /// - Parameters:
    ///   - environment: what the manager said.
    ///   - process: our own number; anything said to another process is not for us.
    public convenience init(_ environment: ServiceEnvironment, process: Int32 = getpid()) {
        self.init(environment, process: process, first: Self.first)
    }

    /// The same with other numbers, for tests.
    init(_ environment: ServiceEnvironment, process: Int32, first: Int32) {
        guard environment.listenProcess != nil || environment.listenCount != nil else { return }
        guard let meant = ServiceEnvironment.number(environment.listenProcess, as: Int32.self)
        else {
            complaints.append("LISTEN_PID is no number: no passed descriptor is taken")
            return
        }
        // Left over from whoever started us: neither ours nor worth a word.
        guard meant == process else { return }
        guard let count = ServiceEnvironment.number(environment.listenCount, as: Int32.self),
            (0...Self.limit).contains(count)
        else {
            complaints.append(
                "LISTEN_FDS is no number up to \(Self.limit): no passed descriptor is taken")
            return
        }
        let names = Self.names(environment.listenNames, count: Int(count))
        if names == nil, environment.listenNames != nil {
            complaints.append(
                "LISTEN_FDNAMES does not have \(count) names: passed descriptors have none")
        }
        for index in 0..<count {
            take(first + index, names?[Int(index)] ?? "unknown")
        }
    }

    /// One name for each descriptor, or nil if they cannot be told apart by what is said.
    private static func names(_ text: String?, count: Int) -> [String]? {
        guard let text else { return nil }
        let names = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        return names.count == count ? names : nil
    }

    private func take(_ number: Int32, _ name: String) {
        let flags = vmb_fcntl(number, VMB_F_GETFD, 0)
        guard flags >= 0, vmb_fcntl(number, VMB_F_SETFD, Int(flags | VMB_FD_CLOEXEC)) >= 0 else {
            complaints.append(
                "descriptor \(number), “\(Self.clean(name))”, was promised and is not open")
            return
        }
        passed.append(Passed(name, OwnedDescriptor(owning: number)))
    }

    /// Fit for a log line: the name comes from a unit file, and may have been mistyped.
    private static func clean(_ name: String) -> String { CleanText.identifier(name) }

    /// Names of those not taken yet, in their order.
    public var names: [String] { passed.map(\.name) }

    /// Hands over the first one of that name; nil if there is none. The caller checks what it is.
    public func take(named name: String) -> OwnedDescriptor? {
        guard let index = passed.firstIndex(where: { $0.name == name }) else { return nil }
        return passed.remove(at: index).take()
    }

    /// Sources for listening sockets whose names no VM has taken: a socket unit named like a VM is enough to make that VM.
    ///
    /// - Parameter known: names of VMs that have their specification already.
    public func sources(besides known: Set<String>) -> [SourceSpecification] {
        var seen = known
        return passed.compactMap { one in
            guard one.name != Self.controlName, SourceSpecification.isName(one.name),
                Self.isListener(one.number), seen.insert(one.name).inserted
            else { return nil }
            return SourceSpecification(
                vm: one.name, socketPath: SocketName(boundBy: one.number)?.description ?? "")
        }
    }

    private static func isListener(_ number: Int32) -> Bool {
        var listening: Int32 = 0
        return vmb_socket_is_seqpacket(number, &listening) == 1 && listening != 0
    }

    /// Closes what nobody took, with a warning for each.
    public func closeRest(_ logger: Logger) {
        for complaint in complaints { logger.warning("\(complaint)") }
        complaints.removeAll()
        for one in passed {
            logger.warning(
                "the passed descriptor “\(Self.clean(one.name))” is of no use here and is closed: name it like a VM (a listening SOCK_SEQPACKET socket) or “\(Self.controlName)”"
            )
        }
        passed.removeAll()
    }
}
