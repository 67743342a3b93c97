import Descriptors
import Glibc
import Logging
import Testing
import VMBridgeCore

@testable import VMBridge

/// Writes down what a domain is told.
private final class Listener: HyperListener {
    var words: [String] = []

    func hyperReaderChanged(isReady: Bool, isGone: Bool) {
        words.append(isReady ? "ready" : isGone ? "gone" : "waiting")
    }
    func hyperAnnounced(
        _ id: HyperBufferID, _ bytes: borrowing [UInt8], _ range: Range<Int>, at time: UInt64,
        wasAsked: Bool
    ) {
        words.append("\(wasAsked ? "asked" : "record") \(id) \(Array(bytes[range]))")
    }
    func hyperOpened(
        _ id: HyperBufferID, _ facts: HyperBufferFacts, _ bundle: inout DescriptorBundle
    ) {
        words.append("opened \(id) \(facts.bytes) \(bundle.count)")
    }
    func hyperCouldNotOpen(_ id: HyperBufferID, _ code: Int32) {
        words.append("not opened \(id) \(code)")
    }
    func hyperKnows(_ id: HyperBufferID, _ facts: HyperBufferFacts?, _ code: Int32) {
        words.append("knows \(id) \(facts?.isUnexported as Any) \(code)")
    }
    func hyperRefused(_ refusal: Refusal) { words.append("refused \(refusal.reason.word)") }
}

private final class Fixture {
    let loop: EventLoop
    let fake: FakeReader
    let hub: HyperHub
    let three = Listener()
    let four = Listener()

    init(
        firstWord: [UInt8]? = ReaderWriter.ready(),
        _ change: (inout HyperReaderOptions) -> Void = { _ in }
    ) throws {
        loop = try EventLoop()
        fake = FakeReader(loop: loop)
        fake.firstWord = firstWord
        var options = HyperReaderOptions()
        // Some device: whether it is the right one is the reader's business.
        options.node = "/dev/null"
        options.restartDelay = 50_000_000
        change(&options)
        hub = HyperHub(
            loop: loop, options: options, launcher: fake,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try hub.add(three, domain: 3)
        try hub.add(four, domain: 4)
    }

    deinit {
        hub.shutDown()
        fake.end()
    }

    /// Turns the loop until it holds; false after ten seconds.
    func wait(_ condition: () -> Bool) throws -> Bool {
        let end = loop.now() + 10_000_000_000
        while !condition() {
            guard loop.now() < end else { return false }
            try loop.runOnce(milliseconds: 5)
        }
        return true
    }

    static func id(_ domain: UInt32, _ number: UInt32 = 1) -> HyperBufferID {
        HyperBufferID(number: domain << 24 | number, key: .init(7, 8, 9))
    }

    static func facts(_ domain: UInt64, unexported: UInt64 = 0) -> RawFacts {
        var facts = RawFacts()
        (facts.type, facts.exporter, facts.size, facts.unexported) = (2, domain, 4096, unexported)
        return facts
    }

    static func record(_ id: HyperBufferID, _ data: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = [0, 0, 1, 0]
        id.put(to: &bytes)
        return bytes + [UInt8(data.count), 0, 0, 0] + data
    }
}

@Suite("[kernel] hyper_dmabuf: the hub and its reader", .serialized)
struct HyperHubTests {
    @Test func recordsGoToTheirDomains() throws {
        let fixture = try Fixture()
        #expect(try fixture.wait { fixture.hub.isReady })
        #expect(fixture.three.words.last == "ready" && fixture.hub.trouble == nil)
        let read =
            Fixture.record(Fixture.id(3), [1]) + Fixture.record(Fixture.id(4), [2])
            + Fixture.record(Fixture.id(9), [3]) + Fixture.record(Fixture.id(3), [4])
        fixture.fake.say(ReaderWriter.records(read, count: read.count))
        #expect(try fixture.wait { fixture.hub.counts.records == 4 })
        #expect(fixture.three.words == ["ready", "record 3/1 [1]", "record 3/1 [4]"])
        #expect(fixture.four.words == ["ready", "record 4/1 [2]"])
        #expect(fixture.hub.counts.unmapped == 1)
    }

    @Test func whatOneReadSaysTwiceIsTakenOnce() throws {
        let fixture = try Fixture()
        #expect(try fixture.wait { fixture.hub.isReady })
        let read =
            Fixture.record(Fixture.id(3), [1]) + Fixture.record(Fixture.id(3, 2), [1])
            + Fixture.record(Fixture.id(3), [1]) + [1, 2, 3]
        fixture.fake.say(ReaderWriter.records(read, count: read.count))
        #expect(try fixture.wait { fixture.hub.counts.records == 3 })
        #expect(fixture.three.words == ["ready", "record 3/2 [1]", "record 3/1 [1]"])
        #expect(fixture.hub.counts.repeated == 1)
        #expect(fixture.hub.counts.malformed == 1)
    }

    @Test func answers() throws {
        let memory = try MemoryFile.create(size: 4096, seals: .shrink)
        let number = memory.number
        let fixture = try Fixture()
        #expect(try fixture.wait { fixture.hub.isReady })
        fixture.fake.script = { request, serial in
            switch request {
            case .open(let id) where id.domain == 3:
                (ReaderWriter.answer(Fixture.facts(3), number: serial, descriptors: 1), [number])
            case .open: (ReaderWriter.refused(EBUSY, number: serial), [])
            case .ask(let id) where id.domain == 3:
                (
                    ReaderWriter.answer(
                        Fixture.facts(3, unexported: 1), number: serial, descriptors: 0), []
                )
            // Of another domain than its id says.
            case .ask: (ReaderWriter.answer(Fixture.facts(3), number: serial, descriptors: 0), [])
            case .describe:
                (
                    ReaderWriter.answer(
                        Fixture.facts(3), number: serial, descriptors: 0, privateData: [5, 6]), []
                )
            }
        }
        for request in [
            ReaderRequest.open(Fixture.id(3)), .open(Fixture.id(4)), .ask(Fixture.id(3)),
            .ask(Fixture.id(4)), .describe(Fixture.id(3)),
        ] { #expect(fixture.hub.ask(request)) }
        #expect(
            try fixture.wait { fixture.three.words.count == 4 && fixture.four.words.count == 3 })
        #expect(
            fixture.three.words == [
                "ready", "opened 3/1 4096 1", "knows 3/1 Optional(true) 0", "asked 3/1 [5, 6]",
            ])
        #expect(fixture.four.words == ["ready", "not opened 4/1 \(EBUSY)", "refused bad_value"])
    }

    @Test func aDomainThatNeverAnswersCostsTheReaderAndNothingElse() throws {
        let fixture = try Fixture { $0.callLimit = 50_000_000 }
        #expect(try fixture.wait { fixture.hub.isReady })
        fixture.fake.script = { request, serial in
            request.id.domain == 4
                ? nil : (ReaderWriter.answer(Fixture.facts(3), number: serial, descriptors: 0), [])
        }
        #expect(fixture.hub.ask(.ask(Fixture.id(4))))
        #expect(fixture.hub.ask(.ask(Fixture.id(3))))
        #expect(try fixture.wait { fixture.fake.launches == 2 && fixture.hub.isReady })
        // What waited is told so, and can be asked again.
        #expect(fixture.four.words.prefix(2) == ["ready", "knows 4/1 nil 0"])
        #expect(fixture.three.words.contains("knows 3/1 nil 0"))
        #expect(fixture.three.words.contains("waiting"))
        #expect(fixture.hub.ask(.ask(Fixture.id(3))))
        #expect(try fixture.wait { fixture.three.words.last == "knows 3/1 Optional(false) 0" })
    }

    @Test(arguments: [
        ReaderWriter.refused(1, number: 99), ReaderWriter.ready(), [1, 2, 3],
        ReaderWriter.bytes(.ask(HyperBufferID(number: 1, key: .init(0, 0, 0))), number: 1),
    ])
    func nonsenseEndsTheReader(_ bytes: [UInt8]) throws {
        let fixture = try Fixture()
        #expect(try fixture.wait { fixture.hub.isReady })
        fixture.fake.say(bytes)
        #expect(try fixture.wait { fixture.fake.launches == 2 && fixture.hub.isReady })
        #expect(fixture.three.words == ["ready", "waiting", "ready"])
    }

    @Test func whyAReaderEndsIsSaid() throws {
        for (why, words) in [
            (ReaderEnd.taken, "records can have only one"), (.noRight, "cap_dac_override"),
            (.noNode, "another driver's node"), (.stuck, "until the driver is loaded anew"),
        ] {
            let fixture = try Fixture(firstWord: ReaderWriter.ended(why, EPERM))
            #expect(try fixture.wait { fixture.hub.trouble?.contains(words) == true })
            #expect(!fixture.hub.isReady)
            #expect(!fixture.hub.ask(.ask(Fixture.id(3))))
            #expect(fixture.three.words.last == (why == .noNode ? "gone" : "waiting"))
        }
    }

    @Test func aDomainBelongsToOneVM() throws {
        let fixture = try Fixture()
        #expect(throws: SpecificationError.self) { try fixture.hub.add(Listener(), domain: 3) }
        fixture.hub.remove(domain: 3)
        try fixture.hub.add(Listener(), domain: 3)
        fixture.hub.remove(domain: 3)
        fixture.hub.remove(domain: 4)
        #expect(fixture.hub.isIdle)
    }

    @Test func onlyTheKernelIsHeard() throws {
        let socket = try UeventSocket()
        var bytes = [UInt8](repeating: 0, count: 4096)
        // This machine's own devices may speak; nothing of ours may come of what we send.
        let forged = "add@/devices/virtual/misc/hyper_dmabuf\0ACTION=add\0DEVNAME=hyper_dmabuf\0"
        let sent = sendUevent(to: socket.number, Array(forged.utf8))
        #expect(sent == forged.utf8.count || sent == -Int(EPERM))
        for _ in 0..<100 {
            switch socket.receive(into: &bytes) {
            case .message(let count):
                let event = KernelUevent(bytes.span.extracting(0..<count))
                #expect(event?.node != "hyper_dmabuf")
            case .wouldBlock, .failed: return
            case .ignored, .overrun: continue
            }
        }
    }

    /// Sends to a netlink socket's own port: how many bytes, or the negated errno.
    private func sendUevent(to socket: Int32, _ bytes: [UInt8]) -> Int {
        // struct sockaddr_nl: family, pad, port, groups.
        var address = [UInt8](repeating: 0, count: 12)
        var length = socklen_t(12)
        let named = address.withUnsafeMutableBytes {
            getsockname(
                socket, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
        }
        guard named == 0 else { return -Int(errno) }
        for index in 8..<12 { address[index] = 0 }
        let other = OwnedDescriptor(
            owning: Glibc.socket(16, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 15))
        guard other.isValid else { return -Int(errno) }
        let sent = bytes.withUnsafeBytes { bytes in
            address.withUnsafeBytes {
                sendto(
                    other.number, bytes.baseAddress, bytes.count, 0,
                    $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), 12)
            }
        }
        return sent < 0 ? -Int(errno) : sent
    }
}
