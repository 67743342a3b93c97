import CLinux
import Descriptors
import Glibc
import Testing

@testable import VMBridge

@Suite("[kernel] seqpacket sockets") struct SocketTests {
    @Test func datagramsKeepTheirBoundaries() throws {
        try makePair { near, far in
            var bundle = DescriptorBundle()
            #expect(near.send(text: "one") == .sent)
            #expect(near.send(text: "two!") == .sent)
            #expect(far.receive(room: 64, &bundle) == (.datagram(3), "one"))
            #expect(far.receive(room: 4, &bundle) == (.datagram(4), "two!"))
            #expect(far.receive(room: 64, &bundle).0 == .wouldBlock)
        }
    }

    @Test func theReceiverSeesWhoConnected() throws {
        try makePair { near, _ throws in
            let peer = try near.peer()
            #expect(peer == PeerCredentials(process: getpid(), user: getuid(), group: getgid()))
        }
    }

    @Test func descriptorsArriveOnceAndCloseOnExec() throws {
        try makePair { near, far in
            let pipe = try Pipe()
            var bundle = DescriptorBundle()
            #expect(near.send(text: "x", [pipe.writing.number, pipe.reading.number]) == .sent)
            #expect(far.receive(room: 8, &bundle).0 == .datagram(1))
            let count = bundle.count
            #expect(count == 2)
            let lent = bundle.number(at: 0) ?? -1
            #expect(fcntl(lent, F_GETFD) & FD_CLOEXEC != 0)
            let taken = bundle.take(0) ?? .none
            let again = bundle.take(0)?.number
            let beyond = bundle.take(2)?.number
            let negative = bundle.take(-1)?.number
            let number = taken.number
            #expect(number == lent)
            #expect(again == nil && beyond == nil && negative == nil)
        }
    }

    @Test func sixteenPassAndSeventeenDoNot() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                try makePair { near, far in
                    let pipe = try Pipe()
                    var bundle = DescriptorBundle()
                    let sixteen = [Int32](repeating: pipe.writing.number, count: 16)
                    #expect(near.send(text: "x", sixteen) == .sent)
                    #expect(far.receive(room: 8, &bundle).0 == .datagram(1))
                    let count = bundle.count
                    #expect(count == 16)
                    for more in [17, 18, 19, 200, 253] {
                        let many = [Int32](repeating: pipe.writing.number, count: more)
                        #expect(near.send(text: "x", many) == .sent)
                        #expect(far.receive(room: 8, &bundle).0 == .tooManyDescriptors)
                        let left = bundle.count
                        #expect(left == 0)
                    }
                    let far = [Int32](repeating: pipe.writing.number, count: 254)
                    #expect(near.send(text: "x", far) == .failed(EINVAL))
                }
            }
        }
    }

    @Test func aDatagramLongerThanTheBufferIsRefusedWithItsDescriptors() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                try makePair { near, far in
                    let pipe = try Pipe()
                    var bundle = DescriptorBundle()
                    #expect(near.send(text: "12345", [pipe.reading.number]) == .sent)
                    #expect(near.send(text: "next") == .sent)
                    #expect(far.receive(room: 4, &bundle).0 == .truncatedData)
                    let count = bundle.count
                    #expect(count == 0)
                    #expect(far.receive(room: 4, &bundle) == (.datagram(4), "next"))
                }
            }
        }
    }

    @Test func aFullDescriptorTableIsSeenAndNothingLeaks() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                try makePair { near, far in
                    let pipe = try Pipe()
                    var bundle = DescriptorBundle()
                    let three = [Int32](repeating: pipe.writing.number, count: 3)
                    #expect(near.send(text: "x", three) == .sent)
                    let limit = try DescriptorLimit.current().soft
                    // Room for exactly two more: numbers below the limit are all in use but for these.
                    let spare = try pipe.writing.number(ofNextFree: 2)
                    try DescriptorLimit.set(soft: UInt64(spare))
                    #expect(far.receive(room: 8, &bundle).0 == .truncatedDescriptors)
                    #expect(near.send(text: "y", three) == .sent)
                    try DescriptorLimit.set(soft: 0)
                    #expect(far.receive(room: 8, &bundle).0 == .truncatedDescriptors)
                    try DescriptorLimit.set(soft: limit)
                    let count = bundle.count
                    #expect(count == 0)
                }
            }
        }
    }

    @Test func theEndAndAnEmptyDatagramAreTheSame() throws {
        try makePair { near, far in
            var bundle = DescriptorBundle()
            // Past our own guard, as a hostile peer would.
            #expect(vmb_socket_send(near.number, "", 0, nil, 0) == 0)
            #expect(far.receive(room: 8, &bundle).0 == .closed)
            #expect(near.send(text: "") == .failed(EINVAL))
        }
        var pair = try SeqPacketPair()
        var bundle = DescriptorBundle()
        _ = pair.takeFirst()
        guard let far = pair.takeSecond() else { throw KernelError("takeSecond", EINVAL) }
        let again = pair.takeSecond()?.number
        #expect(again == nil)
        #expect(far.receive(room: 8, &bundle).0 == .closed)
        #expect(far.send(text: "x") == .closed)
    }

    @Test func lastWordsArriveThoughThePeerDidNotReadOurs() throws {
        var pair = try SeqPacketPair()
        var bundle = DescriptorBundle()
        var near = pair.takeFirst()
        guard let far = pair.takeSecond() else { throw KernelError("takeSecond", EINVAL) }
        #expect(far.send(text: "never read") == .sent)
        let sent = near?.send(text: "bye")
        #expect(sent == .sent)
        near = nil
        #expect(far.receive(room: 8, &bundle) == (.datagram(3), "bye"))
        #expect(far.receive(room: 8, &bundle).0 == .closed)
    }

    @Test func aFullQueueWouldBlock() throws {
        try makePair { near, far in
            var sent = 0
            while near.send(text: "x") == .sent { sent += 1 }
            #expect(sent > 0)
            #expect(near.send(text: "x") == .wouldBlock)
            var bundle = DescriptorBundle()
            for _ in 0..<sent { #expect(far.receive(room: 1, &bundle).0 == .datagram(1)) }
            #expect(near.send(text: "x") == .sent)
        }
    }

    @Test func aDatagramLargerThanTheSocketIsRefused() throws {
        try makePair { near, _ throws in
            let huge = [UInt8](repeating: 0, count: 16 << 20)
            let result = huge.withUnsafeBytes { near.send($0) }
            #expect(result == .failed(EMSGSIZE))
        }
    }

    @Test func adoptsOnlyWhatItCanUse() throws {
        func refusal(_ number: Int32) -> Int32? {
            code { () throws(KernelError) in
                _ = try SeqPacketSocket(adopting: OwnedDescriptor(owning: number))
            }
        }
        #expect(refusal(vmb_eventfd(0)) == ENOTSOCK)
        #expect(refusal(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)) == EPROTOTYPE)
        #expect(refusal(-1) == EBADF)
        var pair = try SeqPacketPair()
        guard let near = pair.takeFirst() else { throw KernelError("takeFirst", EINVAL) }
        let plain = near.release()
        _ = fcntl(plain.number, F_SETFL, 0)
        _ = fcntl(plain.number, F_SETFD, 0)
        let adopted = try SeqPacketSocket(adopting: plain)
        #expect(fcntl(adopted.number, F_GETFL) & O_NONBLOCK != 0)
        #expect(fcntl(adopted.number, F_GETFD) & FD_CLOEXEC != 0)
        let number = adopted.number
        let listening = code { () throws(KernelError) in
            _ = try SeqPacketListener(adopting: OwnedDescriptor(owning: dup(number)))
        }
        #expect(listening == EINVAL)
    }
}

extension OwnedDescriptor {
    /// The limit under which `count` more descriptors can be opened.
    fileprivate func number(ofNextFree count: Int) throws -> Int32 {
        let made = (0...count).map { _ in dup(number) }
        defer { for number in made { close(number) } }
        return try #require(made.max())
    }
}
