import Testing
import VMBridgeCore

@testable import VMBridge

/// The same with identity, since expectations call nothing that changes a value.
private final class Turns {
    private var turns: DomainTurns
    init(_ turns: DomainTurns) { self.turns = turns }
    func append(_ request: ReaderRequest) -> Bool { turns.append(request) }
    func next(now: UInt64) -> DomainTurns.Next { turns.next(now: now) }
    func ended(domain: UInt8, took: UInt64, now: UInt64) {
        turns.ended(domain: domain, took: took, now: now)
    }
    func timedOut(domain: UInt8, took: UInt64, now: UInt64) {
        turns.timedOut(domain: domain, took: took, now: now)
    }
    func remove(domain: UInt8) { turns.remove(domain: domain) }
    func removeAll() -> [ReaderRequest] { turns.removeAll() }
}

@Suite("[pure] hyper_dmabuf: words of the reader, turns of domains")
struct ReaderMessageTests {
    private let id = HyperBufferID(number: 0x0300_0007, key: .init(1, 2, 3))

    @Test func requestsByTheirBytes() {
        let bytes = ReaderWriter.bytes(.open(id), number: 0x0102)
        #expect(
            bytes == [
                1, 0, 0, 0, 32, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0,
                7, 0, 0, 3, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0,
            ])
        for request in [ReaderRequest.open(id), .ask(id), .describe(id)] {
            let bytes = ReaderWriter.bytes(request, number: 9)
            let read = ReaderDecoder.request(bytes, count: bytes.count)
            #expect(read?.request == request && read?.number == 9)
            #expect(ReaderDecoder.request(bytes + [0], count: bytes.count + 1) == nil)
            for count in 0..<bytes.count {
                #expect(ReaderDecoder.request(bytes, count: count) == nil)
            }
        }
    }

    @Test func wordsThereAndBack() {
        var facts = RawFacts()
        (facts.type, facts.exporter, facts.size, facts.unexported) = (2, 3, 4096, 1)
        let cases: [([UInt8], ReaderWord, UInt64, Int)] = [
            (ReaderWriter.ready(), .ready(version: 1), 0, 0),
            (ReaderWriter.records([1, 2, 3, 4], count: 3), .records(16..<19), 0, 0),
            (ReaderWriter.stolen(), .stolen, 0, 0),
            (
                ReaderWriter.answer(facts, number: 5, descriptors: 1), .answer(facts, 48..<48), 5, 1
            ),
            (
                ReaderWriter.answer(facts, number: 6, descriptors: 0, privateData: [7, 8]),
                .answer(facts, 48..<50), 6, 0
            ),
            (ReaderWriter.refused(22, number: 7), .refused(22), 7, 0),
            (ReaderWriter.ended(.taken, 11), .ended(.taken, 11), 0, 0),
        ]
        for (bytes, word, number, descriptors) in cases {
            let read = ReaderDecoder.word(bytes, count: bytes.count)
            #expect(read?.word == word)
            #expect(read?.number == number && read?.descriptors == descriptors)
            for count in 0..<bytes.count { #expect(ReaderDecoder.word(bytes, count: count) == nil) }
        }
    }

    @Test func whatMakesNoSense() {
        let long = ReaderWriter.answer(
            RawFacts(), number: 1, descriptors: 0, privateData: [UInt8](repeating: 0, count: 193))
        #expect(ReaderDecoder.word(long, count: long.count) == nil)
        var two = ReaderWriter.answer(RawFacts(), number: 1, descriptors: 2)
        #expect(ReaderDecoder.word(two, count: two.count) == nil)
        two[2] = 1
        #expect(ReaderDecoder.word(two, count: two.count) != nil)
        var with = ReaderWriter.stolen()
        with[2] = 1
        #expect(ReaderDecoder.word(with, count: with.count) == nil)
        var ended = ReaderWriter.ended(.failed, 1)
        ended[16] = 7
        #expect(ReaderDecoder.word(ended, count: ended.count) == nil)
        // A request is no word, and the other way round.
        let request = ReaderWriter.bytes(.ask(id), number: 1)
        #expect(ReaderDecoder.word(request, count: request.count) == nil)
        #expect(ReaderDecoder.request(ended, count: ended.count) == nil)
    }

    @Test func domainsTakeTurnsAndSlowOnesRest() {
        func id(_ domain: UInt32, _ number: UInt32) -> HyperBufferID {
            HyperBufferID(number: domain << 24 | number, key: .init(0, 0, 0))
        }
        let turns = Turns(DomainTurns(limit: 3))
        #expect(turns.next(now: 0) == .none)
        for number in 1...3 as ClosedRange<UInt32> { #expect(turns.append(.ask(id(1, number)))) }
        #expect(!turns.append(.ask(id(1, 4))))
        #expect(turns.append(.ask(id(1, 3))), "the same waits already")
        #expect(turns.append(.open(id(2, 1))))
        #expect(turns.next(now: 0) == .request(.ask(id(1, 1))))
        turns.ended(domain: 1, took: 1_000_000, now: 0)
        // Another domain's turn, and within one buffers come before questions.
        #expect(turns.append(.open(id(1, 9))))
        #expect(turns.next(now: 0) == .request(.open(id(2, 1))))
        turns.ended(domain: 2, took: 1000, now: 0)
        #expect(turns.next(now: 0) == .request(.open(id(1, 9))))
        turns.ended(domain: 1, took: 2_000_000_000, now: 100)
        // It took two seconds, and rests for two.
        #expect(turns.next(now: 100) == .restUntil(2_000_000_100))
        #expect(turns.append(.ask(id(2, 5))))
        #expect(turns.next(now: 100) == .request(.ask(id(2, 5))))
        #expect(turns.next(now: 2_000_000_100) == .request(.ask(id(1, 2))))
        #expect(turns.removeAll() == [.ask(id(1, 3))])
        #expect(turns.next(now: .max) == .none)
        turns.ended(domain: 3, took: .max, now: 5)
        #expect(turns.append(.ask(id(3, 1))))
        #expect(turns.next(now: 5) == .restUntil(5 + DomainTurns.longestRest))
        turns.remove(domain: 3)
        #expect(turns.next(now: 5) == .none)
        // Who never answers rests longer each time.
        #expect(turns.append(.ask(id(5, 1))))
        turns.timedOut(domain: 5, took: 1_000_000_000, now: 0)
        #expect(turns.next(now: 0) == .restUntil(2_000_000_000))
        turns.timedOut(domain: 5, took: 1_000_000_000, now: 0)
        #expect(turns.next(now: 0) == .restUntil(4_000_000_000))
        for _ in 0..<70 { turns.timedOut(domain: 5, took: 1_000_000_000, now: 0) }
        #expect(turns.next(now: 0) == .restUntil(DomainTurns.longestRest))
        turns.ended(domain: 5, took: 1000, now: 0)
        #expect(turns.next(now: 0) == .request(.ask(id(5, 1))))
    }
}
