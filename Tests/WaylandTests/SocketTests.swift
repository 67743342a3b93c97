import Descriptors
import Foundation
import Glibc
import Testing

@testable import Wayland

@Suite("[kernel] finding the compositor")
struct SocketTests {
    @Test func relativeNamesAreInTheRuntimeDirectory() throws {
        #expect(
            try WaylandConnection.socketPath(of: "wayland-1", runtimeDirectory: "/run/user/7")
                == "/run/user/7/wayland-1")
        #expect(try WaylandConnection.socketPath(of: "/a/b", runtimeDirectory: nil) == "/a/b")
    }

    @Test(arguments: [nil, "", "run"])
    func theRuntimeDirectoryMustBeAbsolute(directory: String?) {
        #expect(throws: WaylandConnectError.noRuntimeDirectory(display: "wayland-0")) {
            try WaylandConnection.socketPath(of: "wayland-0", runtimeDirectory: directory)
        }
    }

    @Test func nobodyThere() {
        let path = "/nonexistent/" + UUID().uuidString
        let error = #expect(throws: WaylandConnectError.self) {
            _ = try WaylandConnection.connect(name: path)
        }
        #expect(error == .unreachable(path: path, errno: ENOENT))
        #expect(error?.description == "no Wayland compositor at \(path): No such file or directory")
    }

    @Test func longPathsAreRefused() {
        let path = "/" + String(repeating: "x", count: 107)
        #expect(throws: WaylandConnectError.pathTooLong(path)) {
            _ = try WaylandConnection.connect(name: path)
        }
    }

    @Test(arguments: ["", "x", "-1", "999999", "3 "])
    func inheritedSocketsMustBeOpen(value: String) {
        #expect(throws: WaylandConnectError.badInheritedSocket(value)) {
            _ = try WaylandConnection.inheritedSocket(value)
        }
    }

    @Test func inheritedSocketsAreNotInheritedOn() throws {
        let number = open("/dev/null", O_RDONLY)
        let socket = try WaylandConnection.inheritedSocket("\(number)")
        #expect(fcntl(number, F_GETFD) & FD_CLOEXEC != 0)
        #expect(socket.release() == number)
        close(number)
    }

    @Test func noDescriptorNoConnection() {
        #expect(throws: WaylandConnectError.badDescriptor) {
            _ = try WaylandConnection.connect(to: .none)
        }
    }
}
