import CLinux
import Descriptors
import Glibc
import VMBridgeCore

/// What each kind does, and what it waits for.
extension Misbehaver {
    func makeStages() -> [Stage] {
        switch kind {
        case .shortStride: [oddBuffer(.badLayout) { $0.planes[0].stride = 4 * 64 - 4 }]
        case .offsetOverflow: [oddBuffer(.badLayout) { $0.planes[0].offset = 0xffff_ffc0 }]
        case .foreignModifier: [oddBuffer(.badModifier) { $0.modifier = Self.tiled }]
        case .hugeSize: [oddBuffer(.badValue) { $0.size.width = VMLimits.maximumDimension + 1 }]
        case .hugeMemory:
            [
                buffer(.tooManyBytes) { [limits] () throws(ProducerFailure) in
                    try Self.memory(limits.bytes + 4096)
                }
            ]
        case .unsealedMemfd:
            [buffer(.badSeals) { () throws(ProducerFailure) in try Self.memory(seals: []) }]
        case .writeSealedMemfd:
            [
                buffer(.badSeals) { () throws(ProducerFailure) in
                    try Self.memory(seals: [.shrink, .grow, .write])
                }
            ]
        case .readOnlyMemfd:
            [buffer(.badAccess) { () throws(ProducerFailure) in try Self.readOnlyMemory() }]
        case .fifoAsBuffer:
            [buffer(.badDescriptor) { () throws(ProducerFailure) in try Self.pipeEnd() }]
        case .socketAsBuffer:
            [
                buffer(.badDescriptor) { () throws(ProducerFailure) in
                    try Self.valid(
                        socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0), "socket")
                }
            ]
        case .deviceAsBuffer:
            [
                buffer(.badDescriptor) { () throws(ProducerFailure) in
                    try Self.valid(open("/dev/zero", O_RDWR | O_CLOEXEC), "open /dev/zero")
                }
            ]
        case .eventfdAsFence: eventfdAsFence()
        case .fenceNever: fenceNever()
        case .unknownBuffer: unknownBuffer()
        case .destroyWhileShown: destroyWhileShown()
        case .idReuse: idReuse()
        case .longTitle: [longTitle()]
        case .unknownRecord: [unknownRecord()]
        case .surfaceFlood: [surfaceFlood()]
        case .bufferFlood: [bufferFlood()]
        case .flood: flood()
        case .neverReads:
            [
                Stage(
                    deed: { [unowned self] () throws(ProducerFailure) in pump.startUnread() },
                    isOpen: true, limit: 90_000_000_000)
            ]
        case .secondConnection:
            [rude(.busy, after: false) { $0.append(.hello(producer: "second")) }]
        case .vanish: [vanish()]
        case .truncatedDescriptors: [miscounted(claimed: 2, sent: 1, .descriptorCount)]
        case .extraDescriptors: [miscounted(claimed: 1, sent: 2, .descriptorCount)]
        case .manyDescriptors: [miscounted(claimed: 20, sent: 20, .truncated)]
        case .longDatagram:
            [raw(.truncated) { $0 += Array(repeating: 0, count: SourceProtocol.maximumDatagram) }]
        case .badFraming: [raw(.malformed) { $0[4] = 20 }]
        case .noGreeting:
            [rude(.notGreeted, after: true) { $0.append(.bufferDestroy(Self.bufferKey)) }]
        case .wrongVersion:
            [
                rude(
                    .version, after: true,
                    patch: { $0.replaceSubrange(20..<24, with: [9, 0, 9, 0]) }
                ) {
                    $0.append(.hello(producer: "version 9"))
                }
            ]
        }
    }

    private static var surfaceKey: SurfaceKey { SurfaceKey(first) }
    private static var bufferKey: BufferKey { BufferKey(first) }
    private static var secondKey: BufferKey { BufferKey(first + 1) }
    /// I915_FORMAT_MOD_X_TILED (drm_fourcc.h).
    private static var tiled: Modifier { Modifier(0x0100_0000_0000_0001) }

    // MARK: Buffers

    /// 64 by 64 pixels in one memfd.
    private static var layout: BufferLayout {
        BufferLayout(
            size: Size(width: 64, height: 64), format: .xrgb8888, modifier: .linear,
            memory: .memfd, planes: [PlaneLayout(descriptor: 0, offset: 0, stride: 4 * 64)])
    }

    private func oddBuffer(
        _ reason: RefusalReason, _ change: (inout BufferLayout) -> Void
    ) -> Stage {
        var layout = Self.layout
        change(&layout)
        return buffer(reason, layout) { () throws(ProducerFailure) in try Self.memory() }
    }

    private func buffer(
        _ reason: RefusalReason, _ layout: BufferLayout = layout,
        _ make: @escaping () throws(ProducerFailure) -> OwnedDescriptor
    ) -> Stage {
        Stage(
            deed: { [unowned self] () throws(ProducerFailure) in
                connection?.send(.bufferCreate(Self.bufferKey, layout), try make())
            },
            awaits: [
                .refused(
                    type: RecordType.bufferCreate, object: Self.bufferKey.value, reason)
            ])
    }

    private static func memory(
        _ size: UInt64 = 4 * 64 * 64, seals: Seals = [.shrink, .grow]
    ) throws(ProducerFailure) -> OwnedDescriptor {
        do throws(KernelError) {
            return try MemoryFile.create(name: "vm-bridge-misbehave", size: size, seals: seals)
        } catch { throw ProducerFailure("no memory: \(error)") }
    }

    private static func readOnlyMemory() throws(ProducerFailure) -> OwnedDescriptor {
        let memory = try memory()
        return try valid(
            open("/proc/self/fd/\(memory.number)", O_RDONLY | O_CLOEXEC), "open /proc/self/fd")
    }

    private static func pipeEnd() throws(ProducerFailure) -> OwnedDescriptor {
        var ends: [Int32] = [-1, -1]
        _ = pipe(&ends)
        _ = OwnedDescriptor(owning: ends[1])
        return try valid(ends[0], "pipe")
    }

    private static func valid(
        _ number: Int32, _ call: String
    ) throws(ProducerFailure) -> OwnedDescriptor {
        let code = errno
        let descriptor = OwnedDescriptor(owning: number)
        guard descriptor.isValid else {
            throw ProducerFailure("\(call): \(KernelError.text(of: code))")
        }
        return descriptor
    }

    // MARK: Frames

    private func createSurface(_ key: SurfaceKey = surfaceKey) {
        var metadata = SurfaceMetadata()
        metadata.title = "misbehaving: \(kind.rawValue)"
        connection?.send(.surfaceCreate(key, .toplevel, isGraphics: true, metadata))
    }

    /// Of the kind of memory that the producer was told to use.
    private func createBuffer(_ key: BufferKey = bufferKey) throws(ProducerFailure) {
        let kind = producer.options.memory
        var layout = Self.layout
        layout.memory = kind.kind
        let memory = try producer.device.allocate(kind, bytes: 4 * 64 * 64, rowBytes: 4 * 64)
        connection?.send(.bufferCreate(key, layout), memory)
    }

    private func frame(
        _ sequence: UInt64, _ buffer: BufferKey = bufferKey, acquire: AcquireKind = .none
    ) -> ProducerRecord {
        .frame(
            FrameRecord(
                surface: Self.surfaceKey, buffer: buffer, sequence: FrameSequence(sequence),
                acquire: acquire))
    }

    private func frameRefused(_ sequence: UInt64, _ reason: RefusalReason) -> [Awaited] {
        [
            .refused(type: RecordType.frame, object: Self.surfaceKey.value, reason),
            .released(Self.surfaceKey, sequence, [.refused]),
        ]
    }

    private func eventfdAsFence() -> [Stage] {
        [
            Stage(
                deed: { [unowned self] () throws(ProducerFailure) in
                    createSurface()
                    try createBuffer()
                    connection?.send(
                        frame(1, acquire: .syncFile), try Self.valid(vmb_eventfd(0), "eventfd"))
                }, awaits: frameRefused(1, .badDescriptor)),
            nextFrameIsTaken(2),
        ]
    }

    /// With `--fence sync_file` a kernel's fence that nobody signals, else a record that never comes.
    private func fenceNever() -> [Stage] {
        [
            Stage(
                deed: { [unowned self] () throws(ProducerFailure) in
                    createSurface()
                    try createBuffer()
                    try createBuffer(Self.secondKey)
                    connection?.send(frame(1))
                }, awaits: [.taken(Self.surfaceKey, 1)]),
            Stage(
                deed: { [unowned self] () throws(ProducerFailure) in
                    guard producer.options.fence == .syncFile else {
                        connection?.send(frame(2, Self.secondKey, acquire: .message))
                        return
                    }
                    let fence = try producer.device.makeFence()
                    connection?.send(
                        frame(2, Self.secondKey, acquire: .syncFile), fence.takeSyncFile())
                }, awaits: frameRefused(2, .fenceTimeout),
                limit: limits.fenceLimit + 5_000_000_000),
            nextFrameIsTaken(3),
        ]
    }

    private func nextFrameIsTaken(_ sequence: UInt64) -> Stage {
        Stage(
            deed: { [unowned self] () throws(ProducerFailure) in connection?.send(frame(sequence))
            },
            awaits: [.taken(Self.surfaceKey, sequence)])
    }

    private func unknownBuffer() -> [Stage] {
        [
            Stage(
                deed: { [unowned self] () throws(ProducerFailure) in
                    createSurface()
                    connection?.send(frame(1))
                }, awaits: frameRefused(1, .unknownObject))
        ]
    }

    private func destroyWhileShown() -> [Stage] {
        let key = Self.surfaceKey
        return [
            Stage(
                deed: { [unowned self] () throws(ProducerFailure) in
                    createSurface()
                    try createBuffer()
                    try createBuffer(Self.secondKey)
                    connection?.send(frame(1))
                }, awaits: [.taken(key, 1)]),
            Stage(
                deed: { [unowned self] () throws(ProducerFailure) in
                    connection?.send(.bufferDestroy(Self.bufferKey))
                    connection?.send(frame(2, Self.secondKey))
                },
                awaits: [
                    .released(key, 1, [.shown, .superseded]), .taken(key, 2),
                ]),
            Stage(
                deed: { [unowned self] () throws(ProducerFailure) in
                    connection?.send(.surfaceDestroy(key))
                    // The numbers are free: the buffer's since its release, the surface's at once.
                    createSurface()
                    try createBuffer()
                    connection?.send(frame(1))
                }, awaits: [.taken(key, 1)]),
        ]
    }

    private func idReuse() -> [Stage] {
        [
            Stage(
                deed: { [unowned self] () throws(ProducerFailure) in
                    createSurface()
                    try createBuffer()
                    connection?.send(frame(1))
                }, awaits: [.taken(Self.surfaceKey, 1)]),
            Stage(
                deed: { [unowned self] () throws(ProducerFailure) in
                    createSurface()
                    try createBuffer()
                    connection?.send(frame(1))
                },
                awaits: [
                    .refused(
                        type: RecordType.surfaceCreate, object: Self.surfaceKey.value,
                        .identifierInUse),
                    .refused(
                        type: RecordType.bufferCreate, object: Self.bufferKey.value,
                        .identifierInUse),
                ] + frameRefused(1, .badSequence)),
            nextFrameIsTaken(2),
        ]
    }

    // MARK: Too much

    private func longTitle() -> Stage {
        Stage(
            deed: { [unowned self] () throws(ProducerFailure) in
                var metadata = SurfaceMetadata()
                // With header, body and field header a datagram of exactly 64 KiB.
                metadata.title = String(
                    repeating: "t", count: SourceProtocol.maximumDatagram - 16 - 8 - 8)
                var writer = RecordWriter()
                writer.append(
                    .surfaceCreate(Self.surfaceKey, .toplevel, isGraphics: true, metadata))
                connection?.sendRaw(writer.bytes)
            },
            awaits: [
                .refused(
                    type: RecordType.surfaceCreate, object: Self.surfaceKey.value, .badField)
            ])
    }

    private func unknownRecord() -> Stage {
        let types: [UInt16] = [0x0fff, RecordType.clipboardOffer]
        return Stage(
            deed: { [unowned self] () throws(ProducerFailure) in
                for type in types {
                    var writer = RecordWriter()
                    writer.append(.surfaceDestroy(Self.surfaceKey))
                    var bytes = writer.bytes
                    bytes[0] = UInt8(type & 255)
                    bytes[1] = UInt8(type >> 8)
                    connection?.sendRaw(bytes)
                }
            },
            awaits: types.map {
                .refused(type: $0, object: Self.surfaceKey.value, .unsupported)
            })
    }

    private static var excess: Int { 4 }

    private func surfaceFlood() -> Stage {
        let fitting = max(0, limits.surfaces - producer.surfaces.count)
        return Stage(
            deed: { [unowned self] () throws(ProducerFailure) in
                for index in 0..<fitting + Self.excess {
                    createSurface(SurfaceKey(Self.first + UInt64(index)))
                }
            },
            awaits: (0..<Self.excess).map {
                .refused(
                    type: RecordType.surfaceCreate,
                    object: Self.first + UInt64(fitting + $0), .tooManySurfaces)
            })
    }

    private func bufferFlood() -> Stage {
        let own = producer.surfaces.reduce(0) { $0 + $1.buffers.count }
        let fitting = max(0, limits.buffers - own)
        return Stage(
            deed: { [unowned self] () throws(ProducerFailure) in
                // One memfd under many numbers: a descriptor of ours, hundreds of the bridge's.
                let memory = try Self.memory()
                for index in 0..<fitting + Self.excess {
                    connection?.send(
                        .bufferCreate(BufferKey(Self.first + UInt64(index)), Self.layout),
                        memory.duplicate())
                }
            },
            awaits: (0..<Self.excess).map {
                .refused(
                    type: RecordType.bufferCreate,
                    object: Self.first + UInt64(fitting + $0), .tooManyBuffers)
            })
    }

    private func flood() -> [Stage] {
        [
            Stage(
                deed: { [unowned self] () throws(ProducerFailure) in
                    createSurface()
                    try createBuffer()
                    connection?.flush()
                    pump.startTitles()
                }, isOpen: true, limit: 20_000_000_000),
            nextFrameIsTaken(1),
        ]
    }

    // MARK: Connections

    private func vanish() -> Stage {
        Stage(
            deed: { [unowned self] () throws(ProducerFailure) in
                createSurface()
                try createBuffer()
                connection?.send(frame(1, acquire: .message))
                connection?.flush()
                succeed()
            }, isOpen: true)
    }

    private func miscounted(claimed: Int, sent: Int, _ reason: RefusalReason) -> Stage {
        Stage(
            deed: { [unowned self] () throws(ProducerFailure) in
                let memory = try Self.memory()
                var writer = RecordWriter()
                writer.append(.bufferCreate(Self.bufferKey, Self.layout), descriptors: claimed)
                connection?.sendRaw(
                    writer.bytes, descriptors: Array(repeating: memory.number, count: sent))
            }, ends: reason)
    }

    /// A harmless record, made harmful.
    private func raw(_ reason: RefusalReason, _ patch: @escaping (inout [UInt8]) -> Void) -> Stage {
        Stage(
            deed: { [unowned self] () throws(ProducerFailure) in
                var writer = RecordWriter()
                writer.append(.surfaceDestroy(Self.surfaceKey))
                var bytes = writer.bytes
                patch(&bytes)
                connection?.sendRaw(bytes)
            }, ends: reason)
    }

    /// A connection that begins wrongly: beside the producer's, or after it has left.
    private func rude(
        _ reason: RefusalReason, after hasLeft: Bool,
        patch: @escaping (inout [UInt8]) -> Void = { _ in },
        _ write: @escaping (inout RecordWriter) -> Void
    ) -> Stage {
        Stage(
            deed: { [unowned self] () throws(ProducerFailure) in
                var writer = RecordWriter()
                write(&writer)
                var bytes = writer.bytes
                patch(&bytes)
                otherEnds = reason
                if hasLeft {
                    producer.stop()
                    producer.stop()
                }
                try openOther(bytes)
            }, isOpen: true)
    }
}
