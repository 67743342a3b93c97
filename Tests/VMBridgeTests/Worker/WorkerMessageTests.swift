import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[pure] WorkerMessages")
struct WorkerMessageTests {
    static let layout = BufferLayout(
        size: Size(width: 640, height: 480), format: .nv12, modifier: Modifier(0x0123_4567_89ab),
        memory: .dmaBuf, isBottomUp: true,
        planes: [
            PlaneLayout(descriptor: 0, offset: 64, stride: 640),
            PlaneLayout(descriptor: 1, offset: 4096, stride: 704),
        ])
    static let requests: [(WorkerRequest, Int)] = [
        (
            .allocate(
                AllocationRequest(
                    size: Size(width: 3, height: 5), format: .argb8888,
                    modifiers: [.linear, Modifier(.max), .invalid], isContiguous: true)), 0
        ),
        (
            .allocate(
                AllocationRequest(size: Size(width: 1, height: 1), format: .nv12, modifiers: [])), 0
        ),
        (.open(layout), 2), (.blit(7), 0), (.drop(.max), 0),
    ]
    static let answers: [(WorkerAnswer, Int)] = [
        (.ready(version: 1), 0), (.allocated(layout, .udmabuf), 2),
        (.opened(layout, pair: 9, [.dmaBuf, .memfd, .readBack]), 2),
        (.done(nanoseconds: 1 << 40), 0), (.refused(.noContiguous, "No such heap."), 0),
        (.refused(.drawingFailed, ""), 0),
    ]

    @Test("What is said is heard")
    func roundTrip() {
        for (request, descriptors) in Self.requests {
            let bytes = WorkerWriter.bytes(request, number: 77, descriptors: descriptors)
            let read = WorkerReader.request(bytes[...])
            #expect(read?.request == request)
            #expect(read?.number == 77)
            #expect(read?.descriptors == descriptors)
            #expect(bytes.count <= WorkerProtocol.maximumBytes)
        }
        for (answer, descriptors) in Self.answers {
            let bytes = WorkerWriter.bytes(answer, number: .max, descriptors: descriptors)
            let read = WorkerReader.answer(bytes[...])
            #expect(read?.answer == answer)
            #expect(read?.number == .max)
            #expect(read?.descriptors == descriptors)
        }
    }

    @Test("A request is no answer, and an answer no request")
    func directions() {
        for (request, descriptors) in Self.requests {
            let bytes = WorkerWriter.bytes(request, number: 1, descriptors: descriptors)
            #expect(WorkerReader.answer(bytes[...]) == nil)
        }
        for (answer, descriptors) in Self.answers {
            let bytes = WorkerWriter.bytes(answer, number: 1, descriptors: descriptors)
            #expect(WorkerReader.request(bytes[...]) == nil)
        }
    }

    @Test("Shorter or longer by whatever number of bytes is nothing")
    func lengths() {
        for (answer, descriptors) in Self.answers {
            let bytes = WorkerWriter.bytes(answer, number: 1, descriptors: descriptors)
            for count in 0..<bytes.count { #expect(WorkerReader.answer(bytes[..<count]) == nil) }
            #expect(WorkerReader.answer((bytes + [0])[...]) == nil)
            // The same with a head that owns up to it.
            var longer = bytes + [0, 0, 0, 0]
            longer[4] += 4
            #expect(WorkerReader.answer(longer[...]) == nil)
        }
        for (request, descriptors) in Self.requests {
            let bytes = WorkerWriter.bytes(request, number: 1, descriptors: descriptors)
            for count in 0..<bytes.count { #expect(WorkerReader.request(bytes[..<count]) == nil) }
        }
    }

    @Test("Any byte may be anything: what is read is read the same when it is said again")
    func mutations() {
        var random = SystemRandomNumberGenerator()
        var understood = 0
        for (answer, descriptors) in Self.answers {
            let bytes = WorkerWriter.bytes(answer, number: 5, descriptors: descriptors)
            for place in bytes.indices {
                for value in [0, 1, 0x7f, 0x80, 0xff, UInt8.random(in: 0...255, using: &random)] {
                    var changed = bytes
                    changed[place] = value
                    guard let read = WorkerReader.answer(changed[...]) else { continue }
                    understood += 1
                    if case .refused = read.answer { continue }
                    let again = WorkerWriter.bytes(
                        read.answer, number: read.number, descriptors: read.descriptors)
                    #expect(again == changed)
                }
            }
        }
        #expect(understood > 1000)
    }

    @Test("Planes name descriptors that come, and reserved places are zero")
    func details() {
        let bytes = WorkerWriter.bytes(
            WorkerAnswer.allocated(Self.layout, .gbm), number: 1, descriptors: 2)
        func read(_ change: (inout [UInt8]) -> Void) -> WorkerAnswer? {
            var changed = bytes
            change(&changed)
            return WorkerReader.answer(changed[...])?.answer
        }
        #expect(read { _ in } != nil)
        #expect(read { $0[2] = 1 } == nil, "the second plane's descriptor does not come")
        #expect(read { $0[2] = 5 } == nil, "five descriptors")
        #expect(read { $0[16 + 24] = 0 } == nil, "no plane")
        #expect(read { $0[16 + 24] = 5 } == nil, "five planes")
        #expect(read { $0[16 + 28] = 1 } == nil, "reserved")
        #expect(read { $0[16 + 64] = 1 } == nil, "a plane that is not counted")
        #expect(read { $0[16 + 12] = 4 } == nil, "an unknown flag")
        #expect(read { $0[16 + 96] = 9 } == nil, "an unknown allocator")
    }

    @Test("A refusal's text is cut, and carries nothing that a log would choke on")
    func text() {
        let long = String(repeating: "ä", count: 400)
        let bytes = WorkerWriter.bytes(.refused(.noMemory, long), number: 1)
        #expect(
            WorkerReader.answer(bytes[...])?.answer == .refused(.noMemory, String(long.prefix(120)))
        )
        let odd = WorkerWriter.bytes(.refused(.noMemory, "a\nb\u{1b}c"), number: 1)
        #expect(WorkerReader.answer(odd[...])?.answer == .refused(.noMemory, "abc"))
        // What only the bridge can find is no answer.
        let crashed = WorkerWriter.bytes(.refused(.crashed, ""), number: 1)
        #expect(WorkerReader.answer(crashed[...]) == nil)
    }
}
