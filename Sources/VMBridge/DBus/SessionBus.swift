import Descriptors
import Glibc
import VMBridgeCore

/// The bus of the host's session.
enum SessionBus {
    /// Where it may be: what DBUS_SESSION_BUS_ADDRESS says, else the socket where systemd puts it.
    static func names(address: String?, runtimeDirectory: String?) -> [SocketName] {
        if let address {
            return DBusAddress.parse(address).compactMap {
                switch $0 {
                case .path(let path): SocketName(path)
                case .abstract(let name): SocketName("@" + name)
                }
            }
        }
        return runtimeDirectory.flatMap { SocketName($0 + "/bus") }.map { [$0] } ?? []
    }

    static func connect() throws(KernelError) -> OwnedDescriptor {
        let names = names(
            address: SystemFiles.variable("DBUS_SESSION_BUS_ADDRESS"),
            runtimeDirectory: SystemFiles.variable("XDG_RUNTIME_DIR"))
        var trouble = KernelError(
            "session bus", ENOENT,
            advice: "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR/bus leads to one")
        for name in names {
            do throws(KernelError) {
                return try StreamSocket(connectingTo: name).intoDescriptor()
            } catch {
                trouble = error
            }
        }
        throw trouble
    }
}
