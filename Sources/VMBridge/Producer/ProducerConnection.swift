import Descriptors
import Glibc
import VMBridgeCore

/// Is told what comes from the bridge.
protocol ProducerConnectionDelegate: AnyObject {
    /// A record, in the order of sending, with its descriptor, which may be none.
    func connectionReceived(_ record: BridgeRecord, _ descriptor: consuming OwnedDescriptor)
    /// The socket takes datagrams again after it had refused one.
    func connectionIsWritable()
    /// The connection is gone; why, in words.
    func connectionEnded(_ why: String)
}

/// A producer's end of one source-v1 connection: gathers records into datagrams, sends what the socket
/// takes, and turns what comes into records.
final class ProducerConnection {
    /// Records that go together, with the descriptors that belong to them in order.
    private final class Datagram {
        var records = RecordWriter(capacity: 512)
        /// Sent instead of the records: any bytes.
        var raw: [UInt8]?
        var descriptors: [KeptDescriptor] = []
    }

    /// Lets a descriptor stand in an array.
    private final class KeptDescriptor {
        let descriptor: OwnedDescriptor
        init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
    }

    private unowned let delegate: any ProducerConnectionDelegate
    private let loop: EventLoop
    private var socket: SeqPacketSocket?
    private var registration: Registration?
    private var gathering = Datagram()
    /// Whole datagrams that the socket did not take yet.
    private var queue: [Datagram] = []
    private var isBlocked = false
    private var input = [UInt8](repeating: 0, count: SourceProtocol.maximumDatagram)
    private var received = DescriptorBundle()

    /// Connects; does not wait.
    init(
        path: String, loop: EventLoop, delegate: any ProducerConnectionDelegate
    ) throws(KernelError) {
        self.loop = loop
        self.delegate = delegate
        let socket = try SeqPacketSocket(connectingTo: path)
        registration = try loop.register(socket.number, .read) { [unowned self] in
            self.ready($0)
        }
        self.socket = consume socket
    }

    /// Whether datagrams wait for the socket.
    var isBacklogged: Bool { isBlocked || !queue.isEmpty }

    /// Whether the connection stands.
    var isOpen: Bool { socket != nil }

    /// Whether records are taken from the socket. A well-behaved producer always reads.
    var isReading = true {
        didSet { updateInterest() }
    }

    /// Closes the connection; the delegate is not told.
    func close() {
        if let registration { loop.remove(registration) }
        registration = nil
        socket = nil
        queue.removeAll()
        gathering = Datagram()
    }

    // MARK: Output

    /// Adds a record to the datagram that ``flush()`` will send.
    func send(_ record: ProducerRecord) {
        makeRoom(descriptors: 0)
        gathering.records.append(record)
    }

    /// Adds a record with one descriptor, which is handed over.
    func send(_ record: ProducerRecord, _ descriptor: consuming OwnedDescriptor) {
        makeRoom(descriptors: 1)
        gathering.records.append(record, descriptors: 1)
        gathering.descriptors.append(KeptDescriptor(descriptor))
    }

    /// Sends what has gathered, as far as the socket takes it; the rest follows when it can.
    func flush() {
        if !gathering.records.isEmpty {
            queue.append(gathering)
            gathering = Datagram()
        }
        var sent = 0
        while sent < queue.count, !isBlocked, socket != nil {
            let datagram = queue[sent]
            switch transmit(datagram) {
            case .sent: sent += 1
            case .wouldBlock: isBlocked = true
            // What the bridge said last is still to be read: the end shows there.
            case .closed: sent = queue.count
            case .failed(let code):
                return end("sending to the bridge failed: \(KernelError.text(of: code))")
            }
        }
        queue.removeFirst(min(sent, queue.count))
        updateInterest()
    }

    /// Sends one datagram of any bytes after what has gathered. Nothing is checked: for those who
    /// misbehave on purpose. The descriptors are lent.
    func sendRaw(_ bytes: [UInt8], descriptors: [Int32] = []) {
        flush()
        let datagram = Datagram()
        datagram.raw = bytes
        datagram.descriptors = descriptors.map {
            KeptDescriptor(OwnedDescriptor(owning: fcntl($0, F_DUPFD_CLOEXEC, 0)))
        }
        queue.append(datagram)
        flush()
    }

    /// The same if the socket takes it now; else nothing is kept and false is the answer.
    func sendRawNow(_ bytes: [UInt8]) -> Bool {
        flush()
        guard queue.isEmpty, !isBlocked, socket != nil else { return false }
        switch socket?.send(bytes, descriptors: []) ?? .closed {
        case .sent: return true
        case .wouldBlock:
            isBlocked = true
            updateInterest()
        case .closed, .failed: break
        }
        return false
    }

    private func transmit(_ datagram: Datagram) -> SendResult {
        socket?.send(
            datagram.raw ?? datagram.records.bytes,
            descriptors: datagram.descriptors.map { $0.descriptor.number }) ?? .closed
    }

    /// A record of ours has at most a few hundred bytes; the datagram's limit is far above.
    private func makeRoom(descriptors: Int) {
        let isFull =
            gathering.descriptors.count + descriptors > DescriptorBundle.capacity
            || gathering.records.bytes.count > SourceProtocol.maximumDatagram / 2
        if isFull { flush() }
    }

    private func updateInterest() {
        guard let registration else { return }
        var interest: Interest = isReading ? .read : []
        if isBlocked { interest.insert(.write) }
        _ = try? loop.setInterest(registration, interest)
    }

    // MARK: Input

    private func ready(_ readiness: Readiness) {
        if readiness.contains(.writable), isBlocked {
            isBlocked = false
            flush()
            if !isBlocked { delegate.connectionIsWritable() }
        }
        if isReading, !readiness.isDisjoint(with: [.readable, .hangUp, .error]) { read() }
    }

    private func read() {
        for _ in 0..<16 {
            guard isReading, socket != nil else { return }
            switch socket?.receive(into: &input, descriptors: &received) ?? .closed {
            case .datagram(let count):
                take(datagram: count)
                flush()
            case .wouldBlock: return
            case .closed: return end("the bridge closed the connection")
            case .failed(let code):
                return end("receiving from the bridge failed: \(KernelError.text(of: code))")
            case .truncatedData, .tooManyDescriptors, .truncatedDescriptors:
                return end("the bridge sent a datagram that no bridge sends")
            }
        }
    }

    private func take(datagram count: Int) {
        var walker = RecordWalker()
        do throws(Refusal) {
            while let header = try walker.next(
                in: input.span.extracting(0..<count), descriptorCount: received.count)
            {
                // A type that we do not know is of a later version: passed over.
                if let record = try BridgeDecoder.decode(
                    header, in: input.span.extracting(0..<count))
                {
                    // Of memory that the bridge makes the first holds all planes, or it is of no use here.
                    let descriptor =
                        header.descriptorCount == 0
                        ? nil : received.take(header.firstDescriptor)
                    delegate.connectionReceived(record, descriptor ?? .none)
                }
                guard socket != nil else { return }
            }
        } catch {
            end("what the bridge sent cannot be read: \(error.sentence)")
        }
    }

    private func end(_ why: String) {
        guard socket != nil else { return }
        close()
        delegate.connectionEnded(why)
    }
}
