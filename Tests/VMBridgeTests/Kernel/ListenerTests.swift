import CLinux
import Descriptors
import Glibc
import Testing

@testable import VMBridge

@Suite("[kernel] seqpacket listeners") struct ListenerTests {
    private func accepted(_ listener: inout SeqPacketListener) -> SeqPacketSocket? {
        guard case .accepted(let socket) = listener.accept() else { return nil }
        return socket
    }

    private func outcome(_ listener: inout SeqPacketListener) -> String {
        switch listener.accept() {
        case .accepted: "accepted"
        case .wouldBlock: "would block"
        case .turnedAway: "turned away"
        case .exhausted: "exhausted"
        case .failed(let code): "failed \(code)"
        }
    }

    private func mode(_ path: String) -> UInt32? {
        var facts = vmb_file_facts()
        return vmb_path_facts(path, &facts) == 0 ? facts.mode : nil
    }

    @Test func acceptsAConversation() throws {
        try withDirectory { directory throws in
            let path = "\(directory)/s"
            var listener = try SeqPacketListener(path: path)
            #expect(mode(path) == VMB_S_IFSOCK | 0o600)
            #expect(outcome(&listener) == "would block")
            let client = try SeqPacketSocket(connectingTo: path)
            guard let server = accepted(&listener) else {
                Issue.record("nobody to accept")
                return
            }
            #expect(fcntl(server.number, F_GETFL) & O_NONBLOCK != 0)
            #expect(fcntl(server.number, F_GETFD) & FD_CLOEXEC != 0)
            let peer = try server.peer()
            #expect(peer.process == getpid())
            var bundle = DescriptorBundle()
            #expect(client.send(text: "hello") == .sent)
            #expect(server.receive(room: 8, &bundle) == (.datagram(5), "hello"))
        }
    }

    @Test func removesItsPathUnlessSomebodyElseTookIt() throws {
        try withDirectory { directory throws in
            let path = "\(directory)/s"
            do { _ = try SeqPacketListener(path: path) }
            #expect(mode(path) == nil)
            do {
                let first = try SeqPacketListener(path: path)
                _ = unlink(path)
                let second = try SeqPacketListener(path: path)
                _ = consume first
                #expect(mode(path) != nil)
                _ = consume second
            }
            #expect(mode(path) == nil)
        }
    }

    @Test func aLivingListenerIsLeftAlone() throws {
        try withDirectory { directory throws in
            let path = "\(directory)/s"
            var living = try SeqPacketListener(path: path)
            do throws(KernelError) {
                _ = try SeqPacketListener(path: path)
                Issue.record("two listeners on one path")
            } catch {
                #expect(error.code == EADDRINUSE)
                #expect(error.description.contains("another process listens there"))
                #expect(error.description.contains(path))
            }
            #expect(mode(path) != nil)
            // The test connection was dropped; a real one still works.
            #expect(outcome(&living) == "accepted")
            _ = try SeqPacketSocket(connectingTo: path)
            #expect(outcome(&living) == "accepted")
        }
    }

    @Test func aListenerOfAnotherTypeOrWithAFullQueueIsLeftAlone() throws {
        try withDirectory { directory throws in
            let path = "\(directory)/s"
            let stream = OwnedDescriptor(owning: socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
            #expect(vmb_socket_bind(stream.number, path) == 0)
            #expect(vmb_socket_listen(stream.number, 1) == 0)
            #expect(
                code { () throws(KernelError) in _ = try SeqPacketListener(path: path) }
                    == EADDRINUSE)
            let full = "\(directory)/full"
            let listener = try SeqPacketListener(path: full, backlog: 0)
            let waiting = try SeqPacketSocket(connectingTo: full)
            #expect(
                code { () throws(KernelError) in _ = try SeqPacketSocket(connectingTo: full) }
                    == EAGAIN)
            #expect(
                code { () throws(KernelError) in _ = try SeqPacketListener(path: full) }
                    == EADDRINUSE)
            #expect(waiting.number >= 0 && listener.number >= 0)
        }
    }

    @Test func aDeadSocketIsReplaced() throws {
        try withDirectory { directory throws in
            let path = "\(directory)/s"
            do {
                let dead = OwnedDescriptor(owning: vmb_seqpacket_socket())
                #expect(vmb_socket_bind(dead.number, path) == 0)
            }
            #expect(mode(path) != nil)
            var listener = try SeqPacketListener(path: path)
            _ = try SeqPacketSocket(connectingTo: path)
            #expect(outcome(&listener) == "accepted")
        }
    }

    @Test func readableErrorsForImpossiblePaths() throws {
        try withDirectory { directory throws in
            func error(_ path: String) -> KernelError? {
                do throws(KernelError) {
                    _ = try SeqPacketListener(path: path)
                    return nil
                } catch { return error }
            }
            let missing = try #require(error("\(directory)/no/s"))
            #expect(missing.code == ENOENT)
            #expect(missing.description.contains("the directory does not exist"))
            let long = directory + "/" + String(repeating: "x", count: 107 - directory.utf8.count)
            #expect(long.utf8.count == 108)
            #expect(error(long)?.code == ENAMETOOLONG)
            #expect(try #require(error(long)).description.contains("108 bytes"))
            #expect(error(String(long.dropLast())) == nil)
            #expect(error("")?.code == EINVAL)
            #expect(error("\(directory)/a\0b")?.code == EINVAL)
            let file = "\(directory)/file"
            close(open(file, O_CREAT | O_WRONLY, 0o600))
            #expect(error(file)?.code == EEXIST)
            #expect(mode(file) == VMB_S_IFREG | 0o600)
            #expect(error("\(file)/s")?.code == ENOTDIR)
        }
    }

    @Test func adoptsAnInheritedListener() throws {
        try withDirectory { directory throws in
            let path = "\(directory)/s"
            let made = OwnedDescriptor(owning: vmb_seqpacket_socket())
            #expect(vmb_socket_bind(made.number, path) == 0)
            #expect(vmb_socket_listen(made.number, 4) == 0)
            do {
                var listener = try SeqPacketListener(adopting: made)
                _ = try SeqPacketSocket(connectingTo: path)
                #expect(outcome(&listener) == "accepted")
            }
            #expect(mode(path) != nil)
        }
    }

    @Test func aFullTableTurnsPeersAwayInsteadOfSpinning() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                try withDirectory { directory throws in
                    let suite = ListenerTests()
                    let path = "\(directory)/s"
                    var listener = try SeqPacketListener(path: path)
                    let first = try SeqPacketSocket(connectingTo: path)
                    let second = try SeqPacketSocket(connectingTo: path)
                    let limit = try DescriptorLimit.current().soft
                    try DescriptorLimit.set(soft: UInt64(second.number) + 1)
                    #expect(suite.outcome(&listener) == "turned away")
                    #expect(suite.outcome(&listener) == "turned away")
                    #expect(suite.outcome(&listener) == "would block")
                    var bundle = DescriptorBundle()
                    #expect(first.receive(room: 8, &bundle).0 == .closed)
                    #expect(second.receive(room: 8, &bundle).0 == .closed)
                    // Without a reserve there is nothing to accept on: the caller must pause.
                    try DescriptorLimit.set(soft: limit)
                    let third = try SeqPacketSocket(connectingTo: path)
                    try DescriptorLimit.set(soft: 3)
                    #expect(suite.outcome(&listener) == "exhausted")
                    #expect(suite.outcome(&listener) == "exhausted")
                    try DescriptorLimit.set(soft: limit)
                    #expect(suite.outcome(&listener) == "accepted")
                    #expect(third.receive(room: 8, &bundle).0 == .closed)
                }
            }
        }
    }
}
