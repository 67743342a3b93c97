import Descriptors
import Logging
import VMBridgeCore
import Wayland

/// Whether a VM's connection bears its name.
package enum SecurityContextStatus: Equatable, Sendable {
    /// The compositor knows it by engine, app id and instance.
    case named
    /// It is one like any other; why, in words.
    case nameless(String)
}

/// A connection that bears the VM's name (security-context-v1): a listening socket of ours whose callers the
/// compositor knows as this VM, and the one caller that it will ever have.
///
/// The caller connects before anybody else could: the socket's path lies in a directory that only we can
/// enter, and is gone when this is made. The compositor takes it in when it has handled the requests.
final class SecurityContext {
    /// Names us as the one who encloses VMs. The protocol asks for the style of reversed domains; there is
    /// no domain that is this project's own.
    static let engine = "vm-bridge"

    private let vmName: String
    private var client: OwnedDescriptor
    /// The compositor takes callers in as long as this is open.
    private let keeper: OwnedDescriptor
    /// What the compositor offers to connections without a name.
    private let offered: Set<String>

    /// Sends the requests for a context, on the connection of the manager.
    ///
    /// - Throws: when there is no descriptor or no place for a socket; then nothing was sent.
    init(
        _ vmName: String, _ manager: WpSecurityContextManagerV1, _ registry: WaylandRegistry
    ) throws(KernelError) {
        let ends = try PrivateStream.listenAndConnect()
        let pipe = try PipeEnds()
        // Both are duplicated by libwayland; ours close with this scope.
        let context = manager.createListener(listenFd: ends.listener, closeFd: pipe.heard)
        context.setSandboxEngine(name: Self.engine)
        context.setAppId(appId: Self.appID(vmName))
        context.setInstanceId(instanceId: vmName)
        context.commit()
        context.destroy()
        self.vmName = vmName
        client = ends.client
        keeper = pipe.keeper
        offered = Set(registry.globals.map(\.interface))
    }

    /// "vm-bridge.VM", which all app ids of its windows begin with.
    static func appID(_ vmName: String) -> String {
        "vm-bridge.\(Router.identityName(vmName))"
    }

    /// The caller, for `WaylandConnection`; once.
    func takeClient() -> OwnedDescriptor {
        var taken = OwnedDescriptor.none
        swap(&taken, &client)
        return taken
    }

    /// Says which globals that we use were there without a name and are not with one.
    func warnOfHidden(in registry: WaylandRegistry, _ logger: Logger) {
        let seen = Set(registry.globals.map(\.interface))
        let hidden = WaylandGlobals.used.filter { offered.contains($0) && !seen.contains($0) }
        guard !hidden.isEmpty else { return }
        logger.warning(
            "\(vmName): with its security context the compositor hides \(hidden.joined(separator: ", ")) from it; what they give is missing"
        )
    }
}

/// What is said of names of connections: in status always, in the log when it changes.
struct ConnectionNaming {
    private var trouble = ""
    private var told: SecurityContextStatus?
    /// How it is now.
    private(set) var status: SecurityContextStatus?

    /// There will be no name, and why.
    mutating func failed(_ why: String) { trouble = why }

    /// A connection is in use.
    mutating func settled(isNamed: Bool, _ vmName: String, _ logger: Logger) {
        let now = isNamed ? SecurityContextStatus.named : .nameless(trouble)
        status = now
        guard now != told else { return }
        told = now
        switch now {
        case .named:
            logger.info("\(vmName): connected with a security context of its own")
        case .nameless(let why):
            logger.info("\(vmName): connected without a security context: \(why)")
        }
    }
}
