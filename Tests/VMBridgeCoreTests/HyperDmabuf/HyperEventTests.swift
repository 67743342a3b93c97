import Testing
import VMBridgeCore

@Suite("[pure] hyper_dmabuf: records, ids, answers")
struct HyperEventTests {
    @Test func aRecordByItsBytes() {
        let bytes = hex(
            """
            00 00 01 00 | NEW_IMPORT
            07 00 00 03 11 11 11 11 22 22 22 22 33 33 33 33 | id
            02 00 00 00 | bytes of private data
            aa bb
            """)
        let (events, refusals) = HyperSamples.walk(bytes)
        #expect(events == [HyperEvent(id: HyperSamples.id, start: 24, count: 2)])
        #expect(refusals.isEmpty)
        #expect(HyperSamples.id.domain == 3)
        #expect(HyperSamples.id.description == "3/7")
    }

    @Test func severalInOneRead() {
        let other = HyperBufferID(number: 0xff00_0001, key: .init(1, 2, 3))
        let bytes =
            HyperSamples.event([1, 2, 3]) + HyperSamples.event([], of: other)
            + HyperSamples.event([UInt8](repeating: 7, count: 192))
        let (events, refusals) = HyperSamples.walk(bytes)
        #expect(events.map(\.count) == [3, 0, 192])
        #expect(events.map(\.start) == [24, 51, 75])
        #expect(events[1].id.domain == 255)
        #expect(refusals.isEmpty)
        #expect(HyperSamples.walk([]).events.isEmpty)
    }

    @Test func whatDoesNotFitEndsTheRead() {
        let good = HyperSamples.event([1])
        for size: Int32 in [-1, .min, 3, .max] {
            let (events, refusals) = HyperSamples.walk(
                good + HyperSamples.event([1, 2], size: size) + good)
            // The last one is swallowed where it makes the claim come true; else nothing follows.
            #expect(events.count == (size == 3 ? 2 : 1))
            #expect(refusals.last == .malformed)
        }
    }

    @Test func whatIsWellFramedIsSkippedAlone() {
        let good = HyperSamples.event([1])
        let none = HyperBufferID(number: .max, key: .init(0, 0, 0))
        let zero = HyperBufferID(number: 0, key: .init(0, 0, 0))
        for (bad, reason) in [
            (HyperSamples.event([1, 2], type: 0x10001), RefusalReason.unsupported),
            (HyperSamples.event([1], of: none), .badValue),
            (HyperSamples.event([], of: zero), .badValue),
            (HyperSamples.event([UInt8](repeating: 1, count: 193)), .badValue),
        ] {
            let (events, refusals) = HyperSamples.walk(good + bad + good)
            #expect(events.count == 2)
            #expect(refusals == [reason])
        }
    }

    @Test func everyTruncationAndManyMutations() {
        let whole =
            HyperSamples.event(HyperSamples.Metadata().current) + HyperSamples.event([1, 2, 3])
        for length in 0..<whole.count {
            let (events, refusals) = HyperSamples.walk(Array(whole.prefix(length)))
            let isBoundary = length == 0 || length == 208
            #expect(refusals == (isBoundary ? [] : [.malformed]))
            #expect(events.count == (length < 208 ? 0 : 1))
        }
        var random = Random(seed: 6)
        for _ in 0..<20_000 {
            var bytes = whole
            for _ in 0...random.below(4) {
                bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next())
            }
            let (events, _) = HyperSamples.walk(bytes)
            for event in events {
                #expect(event.count <= 192 && event.start + event.count <= bytes.count)
            }
        }
    }

    @Test func digitsOfAnID() {
        let digits = "07000003111111112222222233333333"
        #expect(HyperSamples.id.digits == digits)
        #expect(HyperBufferID(digits: digits) == HyperSamples.id)
        #expect(HyperBufferID(digits: digits.uppercased()) == HyperSamples.id)
        for bad in [
            "", "0", String(repeating: "g", count: 32), digits + "0", "0x" + digits.dropFirst(2),
        ] {
            #expect(HyperBufferID(digits: bad) == nil)
        }
        var bytes: [UInt8] = []
        HyperSamples.id.put(to: &bytes)
        #expect(HyperBufferID(bytes.span, at: 0) == HyperSamples.id)
    }

    @Test func answersMustAgreeWithTheID() throws {
        let facts = try HyperBufferFacts(
            of: HyperSamples.id, type: 2, exporter: 3, size: 4096, unexported: 5)
        #expect(facts == HyperBufferFacts(bytes: 4096, isUnexported: true))
        for (type, exporter, size): (UInt64, UInt64, UInt64) in [
            (1, 3, 4096), (2, 4, 4096), (2, 3, 0), (2, 3, 1 << 33), (2, .max, 4096),
        ] {
            #expect(
                HyperSamples.reason { () throws(Refusal) in
                    _ = try HyperBufferFacts(
                        of: HyperSamples.id, type: type, exporter: exporter, size: size,
                        unexported: 0)
                } == .badValue)
        }
        // Domains above 255 have the same ids as those 256 below.
        #expect(
            HyperSamples.reason { () throws(Refusal) in
                _ = try HyperBufferFacts(
                    of: HyperSamples.id, type: 2, exporter: 0x103, size: 1, unexported: 0)
            } == nil)
    }
}

@Suite("[pure] hyper_dmabuf: messages of the kernel about devices")
struct KernelUeventTests {
    private func message(_ parts: String...) -> [UInt8] { parts.flatMap { Array($0.utf8) + [0] } }

    @Test func addRemoveChange() throws {
        for (word, action): (String, KernelUevent.Action) in [
            ("add", .add), ("remove", .remove), ("change", .change), ("bind", .other),
        ] {
            let bytes = message(
                "\(word)@/devices/virtual/misc/hyper_dmabuf", "ACTION=\(word)",
                "DEVPATH=/devices/virtual/misc/hyper_dmabuf", "SUBSYSTEM=misc", "MAJOR=10",
                "MINOR=122", "DEVNAME=hyper_dmabuf", "SEQNUM=1234")
            let parsed = KernelUevent(bytes.span)
            let event = try #require(parsed)
            #expect(event.action == action)
            #expect(event.subsystem == "misc")
            #expect(event.node == "hyper_dmabuf")
            #expect(event.buffer == nil)
        }
    }

    @Test func aBuffersID() throws {
        func buffer(_ text: String) throws -> HyperBufferID? {
            let bytes = message("change@/x", "ACTION=change", "HYPER_DMABUF_ID=\(text)")
            let parsed = KernelUevent(bytes.span)
            return try #require(parsed).buffer
        }
        #expect(try buffer("07000003111111112222222233333333") == HyperSamples.id)
        #expect(try buffer("0700000311111111222222223333333") == nil)
        #expect(try buffer("") == nil)
    }

    @Test func othersForms() {
        for bytes in [
            [], [0], Array("add@/x".utf8), message("libudev"), message("add", "ACTION=add"),
            message("add@x", "ACTION=add"), message("add@/x"), message("add@/x", "ACTION=remove"),
            message("add@/x", "ACTION=add") + [UInt8](repeating: 1, count: 8192),
        ] {
            #expect(KernelUevent(bytes.span) == nil)
        }
        // A last field without its end is none; so is one without a name.
        let cut = message("add@/x", "ACTION=add", "=", "nothing") + Array("DEVNAME=hyper".utf8)
        #expect(KernelUevent(cut.span)?.node == "")
    }

    @Test func truncatedAndMutated() {
        let whole = message(
            "change@/devices/virtual/misc/hyper_dmabuf", "ACTION=change", "SUBSYSTEM=misc",
            "HYPER_DMABUF_ID=07000003111111112222222233333333")
        for length in 0..<whole.count {
            let event = KernelUevent(Array(whole.prefix(length)).span)
            #expect((event == nil) == (length < 56))
            #expect(event?.buffer == nil)
        }
        var random = Random(seed: 66)
        for _ in 0..<5000 {
            var bytes = whole
            for _ in 0...random.below(6) {
                bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next())
            }
            if let event = KernelUevent(bytes.span) { #expect(event.subsystem.utf8.count < 1000) }
        }
    }
}
