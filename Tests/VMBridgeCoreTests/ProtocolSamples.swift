@testable import VMBridgeCore

/// The records of the document's worked example (§10), by the names of its blocks.
enum WorkedExample {
    static let fromProducer: [String: (ProducerRecord, Int)] = {
        var metadata = SurfaceMetadata()
        metadata.title = "Hello"
        metadata.appID = "org.example.hello"
        var frame = FrameRecord(
            surface: SurfaceKey(7), buffer: BufferKey(1), sequence: FrameSequence(1))
        frame.damage = .none
        frame.damage.add(Rectangle(x: 0, y: 0, width: 320, height: 240))
        let layout = BufferLayout(
            size: Size(width: 640, height: 480), format: .xrgb8888, modifier: .linear,
            memory: .memfd, planes: [PlaneLayout(descriptor: 0, offset: 0, stride: 2560)])
        var cursor = SurfaceMetadata()
        cursor.parent = SurfaceKey(7)
        cursor.hotSpot = HotSpot(x: 4, y: 3)
        return [
            "hello": (.hello(producer: "example"), 0),
            "hello-input": (.hello(producer: nil, wantsInput: true), 0),
            "cursor": (.surfaceCreate(SurfaceKey(8), .cursor, isGraphics: true, cursor), 0),
            "buffer": (.bufferCreate(BufferKey(1), layout), 1),
            "surface": (.surfaceCreate(SurfaceKey(7), .toplevel, isGraphics: true, metadata), 0),
            "frame": (.frame(frame), 0),
        ]
    }()

    static let fromBridge: [String: BridgeRecord] = [
        "welcome": .welcome(
            Welcome(
                generation: 1, limits: VMLimits(), vmName: "demo",
                formats: [
                    ImportableFormat(format: .xrgb8888, modifier: .linear, memory: 3),
                    ImportableFormat(format: .argb8888, modifier: .linear, memory: 3),
                ])),
        "released": .released(BufferKey(1), SurfaceKey(7), FrameSequence(1), .shown),
        "keymap": .keymap(KeymapRecord(size: 51200, repeatRate: 25, repeatDelay: 600)),
        "input-key": .input(
            SurfaceKey(7), InputRecord(.key(30, isPressed: true), time: 1_000_000_000)),
        "input-motion": .input(
            SurfaceKey(7),
            InputRecord(.pointerMotion(InputPoint(x: -384, y: 5120)), time: 1_000_000_000)),
        "refused": .refused(
            RefusedRecord(
                type: RecordType.bufferCreate, object: 1,
                refusal: Refusal(.badSeals, "Descriptor 0 is a memfd without F_SEAL_SHRINK."))),
    ]
}

/// A record whose members all have different values, so that each can be found by its value alone.
struct RecordSample {
    var name: String
    var bytes: [UInt8]
    /// Where its fields begin.
    var fieldsAt: Int
    var members: [String: UInt64]

    private init(
        _ name: String, _ record: ProducerRecord, descriptors: Int = 0, _ members: [String: UInt64]
    ) {
        var writer = RecordWriter()
        writer.append(record, descriptors: descriptors)
        (self.name, self.members, bytes) = (name, members, writer.bytes)
        fieldsAt = writer.bytes.count
    }

    private init(
        _ name: String, _ record: BridgeRecord, fieldBytes: Int = 0, _ members: [String: UInt64]
    ) {
        var writer = RecordWriter()
        writer.append(record)
        (self.name, self.members, bytes) = (name, members, writer.bytes)
        fieldsAt = writer.bytes.count - fieldBytes
    }

    /// A large number that differs in every byte.
    private static let wide: UInt64 = 0x1122_3344_5566_7788

    private static let layout = BufferLayout(
        size: Size(width: 101, height: 102), format: FourCC(0x0403_0201), modifier: Modifier(wide),
        memory: .memfd, isBottomUp: true,
        planes: [
            PlaneLayout(descriptor: 0, offset: 0, stride: 1),
            PlaneLayout(descriptor: 1, offset: 202, stride: 203),
        ])

    private static let welcome: BridgeRecord = {
        var limits = VMLimits()
        (limits.surfaces, limits.buffers, limits.bytes) = (11, 12, wide)
        (limits.usesPerBuffer, limits.baseRate, limits.ratePerSurface) = (13, 14, 15)
        limits.fenceLimit = 16_000_000
        var welcome = Welcome(
            generation: 1, limits: limits, vmName: "vm",
            formats: [
                ImportableFormat(
                    format: FourCC(0x0102_0304), modifier: Modifier(wide), memory: 2,
                    device: 0x0807_0605_0403_0201)
            ])
        (welcome.version, welcome.memoryKinds) = (17, 18)
        (welcome.acquireKinds, welcome.releaseKinds) = (19, 20)
        return .welcome(welcome)
    }()

    private static let configure: ConfigureRecord = {
        var configure = ConfigureRecord(
            size: Size(width: 31, height: 32), states: 33, wantsFrame: true)
        configure.scale = 34
        return configure
    }()

    static let all: [RecordSample] = [
        RecordSample(
            "HELLO", .hello(producer: nil), ["magic": 0x3142_4d56, "lowest": 1, "highest": 1]),
        RecordSample(
            "WELCOME", welcome, fieldBytes: 16 + 32,
            [
                "version": 17, "memory_kinds": 18, "acquire_kinds": 19, "release_kinds": 20,
                "surfaces": 11, "buffers": 12, "bytes": wide, "dimension": 16_384,
                "datagram": 65_536, "datagram_descriptors": 16, "fence_limit": 16, "rate": 14,
                "surface_rate": 15, "buffer_uses": 13, "zero": 0,
            ]),
        RecordSample(
            "BUFFER_CREATE", .bufferCreate(BufferKey(1), layout), descriptors: 2,
            [
                "width": 101, "height": 102, "fourcc": 0x0403_0201, "flags": 1, "modifier": wide,
                "memory": 2, "plane_count": 2, "planes": 0,
            ]),
        RecordSample(
            "BUFFER_ALLOCATE",
            .bufferAllocate(
                BufferKey(1),
                BufferWish(
                    size: Size(width: 111, height: 112), format: FourCC(0x0403_0201),
                    isContiguous: true)),
            ["width": 111, "height": 112, "fourcc": 0x0403_0201, "flags": 1, "zero": 0]),
        RecordSample(
            "ALLOCATED", .allocated(BufferKey(1), layout, allocator: 4), fieldBytes: 16,
            [
                "width": 101, "height": 102, "fourcc": 0x0403_0201, "flags": 1, "modifier": wide,
                "memory": 2, "plane_count": 2, "planes": 0,
            ]),
        RecordSample(
            "SURFACE_CREATE",
            .surfaceCreate(SurfaceKey(1), .cursor, isGraphics: false, SurfaceMetadata()),
            ["role": 4, "content": 1]),
        RecordSample(
            "FRAME",
            .frame(
                FrameRecord(
                    surface: SurfaceKey(1), buffer: BufferKey(wide), sequence: FrameSequence(42),
                    acquire: .message)),
            ["buffer": wide, "sequence": 42, "acquire": 4, "flags": 0]),
        RecordSample(
            "FENCE_SIGNAL", .fenceSignal(SurfaceKey(1), FrameSequence(wide), isError: true),
            ["sequence": wide, "status": 1, "zero": 0]),
        RecordSample(
            "RELEASED", .released(BufferKey(1), SurfaceKey(wide), FrameSequence(51), .lost),
            ["surface": wide, "sequence": 51, "outcome": 4, "fence": 0]),
        RecordSample(
            "CONFIGURE", .configure(SurfaceKey(1), configure),
            ["width": 31, "height": 32, "scale": 34, "states": 33, "flags": 1, "zero": 0]),
        RecordSample(
            "PRESENTED",
            .presented(
                SurfaceKey(1),
                PresentedRecord(
                    sequence: FrameSequence(61), time: wide, latency: 62, refresh: 63, flags: 64)),
            ["sequence": 61, "time": wide, "latency": 62, "refresh": 63, "flags": 64]),
        RecordSample(
            "DISCARDED", .discarded(SurfaceKey(1), FrameSequence(wide)), ["sequence": wide]),
        RecordSample(
            "INPUT",
            .input(
                SurfaceKey(1),
                InputRecord(
                    .modifiers(depressed: 92, latched: 93, locked: 94, group: 95), time: wide)),
            ["kind": 4, "detail": 0, "time": wide, "a": 92, "b": 93, "c": 94, "d": 95]),
        RecordSample(
            "KEYMAP", .keymap(KeymapRecord(size: 96, repeatRate: 97, repeatDelay: 98)),
            ["format": 1, "size": 96, "repeat_rate": 97, "repeat_delay": 98]),
        RecordSample(
            "REFUSED",
            .refused(
                RefusedRecord(
                    type: 0x30, object: 1, sequence: FrameSequence(wide),
                    refusal: Refusal(.badLayout, "Why"))),
            fieldBytes: 16, ["type": 0x30, "reason": 27, "zero": 0, "sequence": wide]),
    ]

    /// Structures inside records: where one stands, and its members in order.
    static let parts: [(String, (bytes: [UInt8], offset: Int), [(String, UInt64)])] = {
        var metadata = SurfaceMetadata()
        metadata.minimumSize = Size(width: 71, height: 72)
        metadata.maximumSize = Size(width: 73, height: 74)
        metadata.opaqueRegion = Rectangle(x: 81, y: 82, width: 83, height: 84)
        var cursor = RecordWriter()
        var spot = SurfaceMetadata()
        spot.hotSpot = HotSpot(x: 85, y: 86)
        cursor.append(.surfaceUpdate(SurfaceKey(wide), spot))
        var surface = RecordWriter()
        surface.append(.surfaceUpdate(SurfaceKey(wide), metadata))
        var frame = FrameRecord(
            surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(1))
        frame.destination = Size(width: 91, height: 92)
        var sized = RecordWriter()
        sized.append(.frame(frame))
        return [
            (
                "HEADER", (all[2].bytes, 0),
                [("type", 0x10), ("descriptors", 2), ("length", 112), ("object", 1)]
            ),
            ("FIELD", (surface.bytes, 16), [("tag", 0x507), ("flags", 0), ("length", 16)]),
            (
                "SIZE_LIMITS", (surface.bytes, 24),
                [
                    ("smallest_width", 71), ("smallest_height", 72), ("largest_width", 73),
                    ("largest_height", 74),
                ]
            ),
            (
                "RECTANGLE", (surface.bytes, 48),
                [("x", 81), ("y", 82), ("width", 83), ("height", 84)]
            ),
            ("HOT_SPOT", (cursor.bytes, 24), [("x", 85), ("y", 86)]),
            ("SIZE", (sized.bytes, 48), [("width", 91), ("height", 92)]),
            (
                "FORMAT", (all[1].bytes, 80 + 16 + 8),
                [
                    ("fourcc", 0x0102_0304), ("memory", 2), ("modifier", wide),
                    ("device", 0x0807_0605_0403_0201),
                ]
            ),
            (
                "PLANE", (all[2].bytes, 64),
                [("descriptor", 1), ("offset", 202), ("stride", 203), ("zero", 0)]
            ),
        ]
    }()
}
