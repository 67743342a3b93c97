import CLinux
import Descriptors
import Glibc
import Testing

@testable import VMBridge

@Suite("[kernel] DescriptorReaper")
struct DescriptorReaperTests {
    /// A TCP socket whose close waits: it lingers over bytes that its peer does not take.
    private func lingering() throws -> (socket: Int32, peer: Int32) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        try withUnsafeMutablePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                try #require(bind(listener, generic, length) == 0)
                try #require(listen(listener, 1) == 0)
                try #require(getsockname(listener, generic, &length) == 0)
                try #require(connect(client, generic, length) == 0)
            }
        }
        let peer = accept(listener, nil, nil)
        try #require(peer >= 0)
        let block = [UInt8](repeating: 7, count: 65_536)
        while send(client, block, block.count, Int32(MSG_DONTWAIT)) > 0 {}
        var linger = linger(l_onoff: 1, l_linger: 2)
        try #require(
            setsockopt(
                client, SOL_SOCKET, SO_LINGER, &linger,
                socklen_t(MemoryLayout.size(ofValue: linger))) == 0)
        return (client, peer)
    }

    /// Whether the number no longer means the file that it meant; other tests may have it by now.
    private func isClosed(_ number: Int32, inode: ino_t) -> Bool {
        var now = stat()
        return fstat(number, &now) != 0 || now.st_ino != inode
    }

    private func inode(_ number: Int32) -> ino_t {
        var now = stat()
        fstat(number, &now)
        return now.st_ino
    }

    private func becomesClosed(_ number: Int32, inode: ino_t) -> Bool {
        for _ in 0..<500 {
            if isClosed(number, inode: inode) { return true }
            usleep(10_000)
        }
        return false
    }

    @Test("a close that waits does not wait on the caller, and happens all the same")
    func lingeringSocket() throws {
        let reaper = try DescriptorReaper()
        let (socket, peer) = try lingering()
        defer { close(peer) }
        let (first, second) = try lingering()
        defer { close(second) }
        // What it costs without a reaper; the test means nothing if this returned at once.
        let before = MonotonicClock.now()
        close(first)
        #expect(MonotonicClock.now() - before > 1_000_000_000)

        let file = inode(socket)
        let start = MonotonicClock.now()
        reaper.close(OwnedDescriptor(owning: socket))
        #expect(MonotonicClock.now() - start < 500_000_000)
        #expect(becomesClosed(socket, inode: file))
    }

    @Test("a bundle with a reaper closes what nobody took")
    func bundle() throws {
        let reaper = try DescriptorReaper()
        let descriptor = try MemoryFile.create(size: 4096)
        let number = descriptor.number
        let file = inode(number)
        do {
            var bundle = DescriptorBundle(reaper: reaper)
            let taken = bundle.append(descriptor)
            #expect(taken)
            bundle.reset()
        }
        #expect(becomesClosed(number, inode: file))
    }
}
