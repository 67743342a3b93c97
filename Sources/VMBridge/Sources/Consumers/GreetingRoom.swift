import Descriptors
import VMBridgeCore

/// Connections that have not greeted yet, on a socket that takes consumers: a greeting tells who they
/// are. Few at a time, each for a second at most.
final class GreetingRoom {
    private final class Visitor: EventHandler, TimerHandler {
        unowned let room: GreetingRoom
        var socket: SeqPacketSocket?
        var registration: Registration?
        var timer: TimerID?

        init(_ room: GreetingRoom) { self.room = room }

        func ready(_ registration: Registration, _ readiness: Readiness) { room.listen(to: self) }
        func timerFired(_ timer: TimerID, now: UInt64) {
            room.turnAway(self, room.answerToSilence)
        }
    }

    private let loop: EventLoop
    private var visitors: [Visitor] = []
    private var input = [UInt8](repeating: 0, count: 8192)
    private var bundle: DescriptorBundle
    /// Takes the connection of a consumer that has greeted.
    private let onConsumer: (consuming SeqPacketSocket, ConsumerGreeting) -> Void
    /// What a producer's greeting is answered with.
    private let answerToProducers: Refusal
    /// What silence is answered with.
    private let answerToSilence: Refusal

    /// Visitors at a time.
    private static var places: Int { 4 }
    /// Nanoseconds that a visitor has for its greeting.
    private static var patience: UInt64 { 1_000_000_000 }

    /// A room on a loop.
    ///
    /// - Parameters:
    ///   - reaper: closes descriptors that come with what is no greeting.
    ///   - answerToProducers: ends the connection of a producer.
    ///   - answerToSilence: ends that of somebody who says nothing.
    init(
        loop: EventLoop, reaper: DescriptorReaper, answerToProducers: Refusal,
        answerToSilence: Refusal,
        onConsumer: @escaping (consuming SeqPacketSocket, ConsumerGreeting) -> Void
    ) {
        self.loop = loop
        self.onConsumer = onConsumer
        self.answerToProducers = answerToProducers
        self.answerToSilence = answerToSilence
        bundle = DescriptorBundle(reaper: reaper)
    }

    /// Lets a connection in.
    func admit(_ socket: consuming SeqPacketSocket) {
        let visitor = Visitor(self)
        let number = socket.number
        visitor.socket = consume socket
        guard visitors.count < Self.places,
            let registration = try? loop.register(number, .read, visitor)
        else { return turnAway(visitor, answerToSilence) }
        visitor.registration = registration
        let timer = loop.makeTimer(visitor)
        visitor.timer = timer
        loop.arm(timer, after: Self.patience)
        visitors.append(visitor)
    }

    private func listen(to visitor: Visitor) {
        switch visitor.socket?.receive(into: &input, descriptors: &bundle) ?? .closed {
        case .wouldBlock: return
        case .datagram(let count):
            do throws(Refusal) {
                let greeting = try greeting(count)
                bundle.reset()
                leave(visitor)
                if let socket = visitor.socket.take() { onConsumer(socket, greeting) }
            } catch {
                bundle.reset()
                turnAway(visitor, error)
            }
        case .truncatedData, .tooManyDescriptors, .truncatedDescriptors:
            turnAway(visitor, Refusal(.truncated, "A greeting is short and has no descriptors."))
        case .closed, .failed: leave(visitor)
        }
    }

    private func greeting(_ count: Int) throws(Refusal) -> ConsumerGreeting {
        let datagram = Array(input[..<count])
        var walker = RecordWalker()
        guard
            let header = try walker.next(
                in: datagram.span, descriptorCount: bundle.count)
        else {
            throw Refusal(.notGreeted, "The first record is a greeting.")
        }
        let record: ProducerRecord
        do throws(Refusal) {
            record = try ProducerDecoder.decode(header, in: datagram.span)
        } catch {
            guard !error.reason.endsConnection else { throw error }
            throw Refusal(.notGreeted, error.sentence)
        }
        switch record {
        case .greetConsumer(let greeting):
            guard header.end == count else {
                throw Refusal(.notGreeted, "A consumer sends nothing behind its greeting.")
            }
            return greeting
        case .hello: throw answerToProducers
        default: throw Refusal(.notGreeted, "The first record is a greeting.")
        }
    }

    /// Says why, closes, and forgets the visitor.
    private func turnAway(_ visitor: Visitor, _ refusal: Refusal) {
        if let socket = visitor.socket.take() {
            Self.refuse(socket, refusal, &input, &bundle)
        }
        leave(visitor)
    }

    /// Sends one REFUSED and closes the connection.
    static func refuse(
        _ socket: consuming SeqPacketSocket, _ refusal: Refusal, _ input: inout [UInt8],
        _ bundle: inout DescriptorBundle
    ) {
        var writer = RecordWriter(capacity: 256)
        writer.append(.refused(RefusedRecord(type: 0, object: 0, refusal: refusal)))
        _ = socket.send(writer.bytes, count: writer.bytes.count)
        // Closing with unread data makes the kernel report an error to the peer before our last words.
        _ = socket.receive(into: &input, descriptors: &bundle)
        bundle.reset()
    }

    private func leave(_ visitor: Visitor) {
        if let registration = visitor.registration { loop.remove(registration) }
        if let timer = visitor.timer { loop.remove(timer) }
        visitor.registration = nil
        visitor.timer = nil
        visitors.removeAll { $0 === visitor }
    }

    /// Closes all connections.
    func shutDown() {
        for visitor in visitors {
            leave(visitor)
            visitor.socket = nil
        }
    }
}
