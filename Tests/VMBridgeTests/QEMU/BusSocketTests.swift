import Glibc
import Testing

@testable import VMBridge

@Suite("[kernel] buses of VMs' own") struct BusSocketTests {
    private func candidates(_ path: String, _ names: [String]) -> [String] {
        var asked: [String] = []
        let found = BusSocket.candidates(path) { directory in
            asked.append(directory)
            return names
        }
        #expect(asked.count <= 1)
        return found
    }

    @Test("[pure] a star stands for a number, the highest first")
    func numbers() {
        let names = [
            "1-desk-dbus.sock", "10-desk-dbus.sock", "9-desk-dbus.sock", "10-desk-dbus.conf",
            "2-my-desk-dbus.sock", "-desk-dbus.sock", "x-desk-dbus.sock", "٣-desk-dbus.sock",
            "99999999999999999999-desk-dbus.sock", "+7-desk-dbus.sock",
        ]
        #expect(
            candidates("/r/*-desk-dbus.sock", names) == [
                "/r/10-desk-dbus.sock", "/r/9-desk-dbus.sock", "/r/1-desk-dbus.sock",
            ])
        #expect(candidates("/r/bus*", ["bus", "bus7", "bus07", "b8"]) == ["/r/bus7", "/r/bus07"])
        #expect(candidates("*", ["3", "a"]) == ["3"])
        // One that overlaps what stands before and after the star.
        #expect(candidates("/r/1*1", ["1", "11", "121"]) == ["/r/121"])
        #expect(candidates("/r/*-a", []) == [])
        #expect(candidates("/r/bus", ["bus"]) == ["/r/bus"])
    }

    @Test("the socket of a bus that was killed is passed over")
    func dead() throws {
        let directory = try TemporaryDirectory.make(prefix: "vm-bridge-test-")
        defer { TemporaryDirectory.remove(directory) }
        let bus = BusSocket(path: directory + "/*-a.sock")
        #expect(throws: KernelError("connect", KernelError.noEntry, subject: bus.path)) {
            _ = try bus.connect()
        }
        let alive = try FakeQMP(path: directory + "/2-a.sock")
        do {
            // Under a name that it does not know it leaves its socket behind.
            let killed = try FakeQMP(path: directory + "/killed")
            #expect(rename(directory + "/killed", directory + "/3-a.sock") == 0)
            killed.poll()
        }
        #expect(try bus.connect().isValid)
        alive.poll()
        #expect(alive.connections == 1)
    }
}
