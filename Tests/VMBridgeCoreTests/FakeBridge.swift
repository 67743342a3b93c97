import Foundation
import Glibc

@testable import VMBridgeCore

/// A bridge with nothing behind it, for tests of producers: one connection, true decoding, validation
/// and ledger; a frame is "shown" when the next one comes, as compositors do.
final class FakeBridge {
    /// What the bridge does beside showing frames.
    enum Scenario: Sendable, CaseIterable {
        /// Nothing else.
        case plain
        /// After some frames it asks for another size.
        case resize
        /// After some frames it asks the window to close.
        case close
        /// It refuses the first buffer.
        case refuse
        /// It refuses the connection and hangs up without reading a word.
        case busy
    }

    /// What came to pass.
    struct Record {
        var producer: String?
        var title: String?
        var frames = 0
        var released = 0
        var sizes: [Size] = []
        var seals: Set<Int32> = []
        var isSurfaceDestroyed = false
        var refusals: [Refusal] = []
    }

    /// A socket call that failed.
    struct Failed: Error {
        var what: String
        var code = errno
    }

    private(set) var record = Record()
    private let scenario: Scenario
    private let listener: Int32
    private var connection: Int32 = -1
    private var ledger = BufferLedger()
    private var sizes: [BufferKey: Size] = [:]
    private var current: UseID?
    private let limits = VMLimits()
    private var answers = RecordWriter()

    /// Listens at a path.
    init(path: String, scenario: Scenario) throws {
        self.scenario = scenario
        listener = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard listener >= 0, path.utf8.count < capacity else { throw Failed(what: "socket") }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, listen(listener, 1) == 0 else { throw Failed(what: "bind, listen") }
    }

    deinit {
        Glibc.close(listener)
        if connection >= 0 { Glibc.close(connection) }
    }

    /// Serves one producer until it hangs up or five seconds pass without a word from it.
    func serve() throws {
        try wait(listener)
        connection = accept(listener, nil, nil)
        guard connection >= 0 else { throw Failed(what: "accept") }
        if scenario == .busy {
            try wait(connection)
            let refusal = Refusal(.busy, "Another producer is connected.")
            answers.append(.refused(RefusedRecord(type: 0, object: 0, refusal: refusal)))
            try flush()
            Glibc.close(connection)
            connection = -1
            return
        }
        while true {
            try wait(connection)
            let (bytes, descriptors) = try receive()
            defer { for descriptor in descriptors { Glibc.close(descriptor) } }
            if bytes.isEmpty { return }
            try handle(bytes, descriptors)
            try flush()
        }
    }

    private func flush() throws {
        guard !answers.isEmpty else { return }
        let sent = answers.bytes.withUnsafeBytes {
            send(connection, $0.baseAddress, $0.count, 0x4000)  // MSG_NOSIGNAL
        }
        guard sent == answers.bytes.count else { throw Failed(what: "send") }
        answers.removeAll()
    }

    private func wait(_ descriptor: Int32) throws {
        var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&item, 1, 5000) == 1 else { throw Failed(what: "poll: nobody speaks") }
    }

    private func receive() throws -> ([UInt8], [Int32]) {
        var bytes = [UInt8](repeating: 0, count: SourceProtocol.maximumDatagram)
        // A control message is its length (8 bytes), level and type (4 each), then the descriptors.
        var control = [UInt64](repeating: 0, count: 16)
        var header = msghdr()
        let count = bytes.withUnsafeMutableBytes { bytes in
            control.withUnsafeMutableBytes { control in
                var part = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                return withUnsafeMutablePointer(to: &part) { part in
                    header.msg_iov = part
                    header.msg_iovlen = 1
                    header.msg_control = control.baseAddress
                    header.msg_controllen = control.count
                    return recvmsg(connection, &header, 0)
                }
            }
        }
        // A producer that ends with words of ours unread resets the connection.
        if count < 0, errno == ECONNRESET { return ([], []) }
        guard count >= 0 else { throw Failed(what: "recvmsg") }
        var descriptors: [Int32] = []
        if header.msg_controllen > 16 {
            control.withUnsafeBytes { control in
                let length = control.load(as: UInt64.self)
                for place in stride(from: 16, to: Int(length), by: 4) {
                    descriptors.append(control.load(fromByteOffset: place, as: Int32.self))
                }
            }
        }
        return (Array(bytes.prefix(count)), descriptors)
    }

    private func handle(_ bytes: [UInt8], _ descriptors: [Int32]) throws {
        var walker = RecordWalker()
        while let frame = try walker.next(in: bytes.span, descriptorCount: descriptors.count) {
            let own = descriptors[
                frame.firstDescriptor..<frame.firstDescriptor + frame.descriptorCount]
            do throws(Refusal) {
                try handle(ProducerDecoder.decode(frame, in: bytes.span), Array(own))
            } catch {
                record.refusals.append(error)
                answers.append(
                    .refused(RefusedRecord(type: frame.type, object: frame.object, refusal: error)))
            }
        }
    }

    private func handle(_ offer: ProducerRecord, _ descriptors: [Int32]) throws(Refusal) {
        switch offer {
        case .hello(let producer, _, _):
            record.producer = producer
            let format = ImportableFormat(format: .xrgb8888, modifier: .linear, memory: 3)
            answers.append(
                .welcome(Welcome(generation: 1, limits: limits, vmName: "t", formats: [format])))
        case .surfaceCreate(let key, .toplevel, true, let metadata):
            record.title = metadata.title
            answers.append(.configure(key, ConfigureRecord(size: .zero)))
        case .bufferCreate(let key, let layout):
            if scenario == .refuse { throw Refusal(.importFailed, "Not today.") }
            let format = ImportableFormat(format: .xrgb8888, modifier: .linear, memory: 3)
            let bytes = try BufferValidator.validate(
                layout, facts: descriptors.map(facts), formats: [format])
            _ = try ledger.create(key, size: layout.size, bytes: bytes, limits: limits)
            sizes[key] = layout.size
        case .bufferDestroy(let key):
            _ = try ledger.destroy(key)
        case .frame(let frame):
            try show(frame)
        case .surfaceDestroy:
            record.isSurfaceDestroyed = true
            release(current)
            current = nil
        default:
            throw Refusal(.unsupported, "A simple producer does not send \(offer).")
        }
    }

    private func show(_ frame: FrameRecord) throws(Refusal) {
        guard let buffer = ledger.find(frame.buffer), let size = sizes[frame.buffer] else {
            throw Refusal(.unknownObject, "There is no buffer \(frame.buffer).")
        }
        let slot = SlotIndex(index: 0, generation: 0)
        let use = try ledger.begin(
            buffer, surface: SurfaceID(slot), key: frame.surface, sequence: frame.sequence,
            limits: limits)
        record.frames += 1
        record.sizes.append(size)
        release(current)
        current = use
        answers.append(
            .presented(
                frame.surface,
                PresentedRecord(
                    sequence: frame.sequence, time: 1, latency: 1, refresh: 0, flags: 0)))
        guard record.frames == 5 else { return }
        if scenario == .close { answers.append(.close(frame.surface)) }
        if scenario == .resize {
            let size = Size(width: 200, height: 100)
            answers.append(.configure(frame.surface, ConfigureRecord(size: size)))
        }
    }

    private func release(_ use: UseID?) {
        guard let use, let ended = ledger.end(use, .shown) else { return }
        record.released += 1
        answers.append(.released(ended.buffer, ended.surface, ended.sequence, ended.outcome))
    }

    private func facts(_ descriptor: Int32) -> DescriptorFacts {
        let seals = fcntl(descriptor, 1034)  // F_GET_SEALS
        record.seals.insert(seals)
        var status = stat()
        let isKnown = seals >= 0 && fstat(descriptor, &status) == 0
        return DescriptorFacts(
            kind: isKnown ? .memfd : .other, size: UInt64(status.st_size),
            isSealedAgainstShrinking: seals & 2 != 0, isSealedAgainstWriting: seals & 0x18 != 0,
            isReadWrite: fcntl(descriptor, F_GETFL) & O_ACCMODE == O_RDWR)
    }
}
