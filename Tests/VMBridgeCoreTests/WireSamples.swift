import VMBridgeCore

/// One record as bytes written by hand; the protocol document shows the same ones.
struct Sample: Sendable {
    var name: String
    var bytes: [UInt8]
    var descriptors = 0
}

/// Hand-written bytes of every specified record. None of them was made by the encoder.
enum Samples {
    static let hello = Sample(
        name: "HELLO",
        bytes: hex(
            """
            01 00 00 00 28 00 00 00 | HELLO, no descriptors, 40 bytes
            00 00 00 00 00 00 00 00 | object: none
            56 4d 42 31 01 00 01 00 | "VMB1", versions 1 to 1
            02 01 00 00 04 00 00 00 | field: producer's name, 4 bytes
            64 65 6d 6f 00 00 00 00 | "demo", padded to 8
            """))
    static let helloConsumer = Sample(
        name: "HELLO of a consumer",
        bytes: hex(
            """
            01 00 00 00 48 00 00 00 | HELLO, no descriptors, 72 bytes
            00 00 00 00 00 00 00 00 | object: none
            56 4d 42 31 01 00 01 00 | "VMB1", versions 1 to 1
            02 01 00 00 03 00 00 00 | field: name, 3 bytes
            72 65 63 00 00 00 00 00 | "rec", padded to 8
            0a 01 01 00 04 00 00 00 | field: connection role, required
            02 00 00 00 00 00 00 00 | consumer
            06 08 00 00 04 00 00 00 | field: acquire wanted
            02 00 00 00 00 00 00 00 | with fences
            """))
    static let helloInput = Sample(
        name: "HELLO that wants input",
        bytes: hex(
            """
            01 00 00 00 38 00 00 00 | HELLO, no descriptors, 56 bytes
            00 00 00 00 00 00 00 00 | object: none
            56 4d 42 31 01 00 01 00 | "VMB1", versions 1 to 1
            02 01 00 00 03 00 00 00 | field: name, 3 bytes
            76 6d 6d 00 00 00 00 00 | "vmm", padded to 8
            06 09 00 00 04 00 00 00 | field: input wanted
            01 00 00 00 00 00 00 00 | yes
            """))
    static let targetsQuery = Sample(
        name: "TARGETS_QUERY",
        bytes: hex(
            """
            40 00 00 00 10 00 00 00 | TARGETS_QUERY, 16 bytes
            00 00 00 00 00 00 00 00 | object: none
            """))
    static let targets = Sample(
        name: "TARGETS",
        bytes: hex(
            """
            40 80 00 00 28 00 00 00 | TARGETS, 40 bytes
            00 00 00 00 00 00 00 00 | object: none
            0b 01 00 00 0f 00 00 00 | field: targets, 15 bytes
            63 6f 6e 73 75 6d 65 72 | "consumer"
            3a 61 20 76 6d 3a 62 00 | ":a vm:b", padded to 8
            """))
    static let handedSurface = Sample(
        name: "SURFACE_CREATE, handed over",
        bytes: hex(
            """
            20 00 00 00 38 00 00 00 | SURFACE_CREATE, 56 bytes
            03 00 00 00 00 00 00 00 | surface 3
            01 00 00 00 01 00 00 00 | role toplevel, content of another kind
            01 03 00 00 05 00 00 00 | field: title, 5 bytes
            5b 61 5d 20 54 00 00 00 | "[a] T"
            0c 01 00 00 01 00 00 00 | field: origin VM, 1 byte
            61 00 00 00 00 00 00 00 | "a"
            """))
    static let bufferMemfd = Sample(
        name: "BUFFER_CREATE, memfd",
        bytes: hex(
            """
            10 00 01 00 70 00 00 00 | BUFFER_CREATE, 1 descriptor, 112 bytes
            07 00 00 00 00 00 00 00 | buffer 7
            80 02 00 00 e0 01 00 00 | 640 x 480
            58 52 32 34 00 00 00 00 | XR24, no flags
            00 00 00 00 00 00 00 00 | modifier LINEAR
            02 00 00 00 01 00 00 00 | memfd, 1 plane
            00 00 00 00 00 10 00 00 | plane 0: descriptor 0, offset 4096
            00 0a 00 00 00 00 00 00 | stride 2560, reserved
            00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 | plane 1: not there
            00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 | plane 2: not there
            00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 | plane 3: not there
            """), descriptors: 1)
    static let bufferPlanes = Sample(
        name: "BUFFER_CREATE, dma-buf with two planes",
        bytes: hex(
            """
            10 00 02 00 70 00 00 00 | BUFFER_CREATE, 2 descriptors, 112 bytes
            08 07 06 05 04 03 02 01 | buffer 0x0102030405060708
            41 01 00 00 c9 00 00 00 | 321 x 201
            4e 56 31 32 01 00 00 00 | NV12, flags: bottom up
            02 00 00 00 00 00 00 01 | modifier 0x0100000000000002
            01 00 00 00 02 00 00 00 | dma-buf, 2 planes
            00 00 00 00 00 00 00 00 | plane 0: descriptor 0, offset 0
            80 01 00 00 00 00 00 00 | stride 384, reserved
            01 00 00 00 40 00 00 00 | plane 1: descriptor 1, offset 64
            80 01 00 00 00 00 00 00 | stride 384, reserved
            00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 | plane 2: not there
            00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 | plane 3: not there
            """), descriptors: 2)
    static let bufferAllocate = Sample(
        name: "BUFFER_ALLOCATE",
        bytes: hex(
            """
            12 00 00 00 40 00 00 00 | BUFFER_ALLOCATE, no descriptors, 64 bytes
            09 00 00 00 00 00 00 00 | buffer 9
            80 02 00 00 e0 01 00 00 | 640 x 480
            58 52 32 34 01 00 00 00 | XR24, contiguous
            00 00 00 00 00 00 00 00 | reserved
            02 04 00 00 10 00 00 00 | field: allocation, 16 bytes
            02 00 00 00 00 00 00 01 | modifier 0x0100000000000002
            00 00 00 00 00 00 00 00 | modifier LINEAR
            """))
    static let allocated = Sample(
        name: "ALLOCATED",
        bytes: hex(
            """
            11 80 02 00 80 00 00 00 | ALLOCATED, 2 descriptors, 128 bytes
            09 00 00 00 00 00 00 00 | buffer 9
            40 01 00 00 c8 00 00 00 | 320 x 200
            4e 56 31 32 00 00 00 00 | NV12, no flags
            00 00 00 00 00 00 00 00 | LINEAR
            01 00 00 00 02 00 00 00 | dma-buf, 2 planes
            00 00 00 00 00 00 00 00 | plane 0: descriptor 0, offset 0
            80 01 00 00 00 00 00 00 | stride 384, reserved
            01 00 00 00 40 00 00 00 | plane 1: descriptor 1, offset 64
            80 01 00 00 00 00 00 00 | stride 384, reserved
            00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 | plane 2: not there
            00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 | plane 3: not there
            03 04 00 00 04 00 00 00 | field: allocator, 4 bytes
            03 00 00 00 00 00 00 00 | the system heap, padded to 8
            """), descriptors: 2)
    static let bufferDestroy = Sample(
        name: "BUFFER_DESTROY",
        bytes: hex(
            """
            11 00 00 00 10 00 00 00 | BUFFER_DESTROY, 16 bytes
            07 00 00 00 00 00 00 00 | buffer 7
            """))
    static let surfaceCreate = Sample(
        name: "SURFACE_CREATE",
        bytes: hex(
            """
            20 00 00 00 38 00 00 00 | SURFACE_CREATE, 56 bytes
            01 00 00 00 00 00 00 00 | surface 1
            01 00 00 00 00 00 00 00 | role toplevel, content graphics
            01 03 00 00 04 00 00 00 | field: title, 4 bytes
            54 65 72 6d 00 00 00 00 | "Term"
            02 03 00 00 08 00 00 00 | field: app id, 8 bytes
            6f 72 67 2e 74 65 72 6d | "org.term"
            """))
    static let cursorCreate = Sample(
        name: "SURFACE_CREATE, a cursor",
        bytes: hex(
            """
            20 00 00 00 38 00 00 00 | SURFACE_CREATE, 56 bytes
            02 00 00 00 00 00 00 00 | surface 2
            04 00 00 00 00 00 00 00 | role cursor, content graphics
            01 02 00 00 08 00 00 00 | field: parent, 8 bytes
            01 00 00 00 00 00 00 00 | surface 1
            05 02 00 00 08 00 00 00 | field: hot spot, 8 bytes
            07 00 00 00 09 00 00 00 | at 7, 9
            """))
    static let surfaceUpdate = Sample(
        name: "SURFACE_UPDATE",
        bytes: hex(
            """
            21 00 00 00 60 00 00 00 | SURFACE_UPDATE, 96 bytes
            01 00 00 00 00 00 00 00 | surface 1
            05 01 00 00 03 00 00 00 | field: consumer tag, 3 bytes
            69 76 69 00 00 00 00 00 | "ivi"
            01 02 00 00 08 00 00 00 | field: parent, 8 bytes
            02 00 00 00 00 00 00 00 | surface 2
            07 05 00 00 10 00 00 00 | field: size limits, 16 bytes
            40 00 00 00 30 00 00 00 | at least 64 x 48
            00 40 00 00 00 00 00 00 | at most 16384 wide, any height
            05 05 00 00 10 00 00 00 | field: opaque region, 16 bytes
            01 00 00 00 02 00 00 00 | at 1, 2
            03 00 00 00 04 00 00 00 | 3 x 4
            """))
    static let surfaceDestroy = Sample(
        name: "SURFACE_DESTROY",
        bytes: hex(
            """
            22 00 00 00 10 00 00 00 | SURFACE_DESTROY, 16 bytes
            01 00 00 00 00 00 00 00 | surface 1
            """))
    static let framePlain = Sample(
        name: "FRAME, whole",
        bytes: hex(
            """
            30 00 00 00 28 00 00 00 | FRAME, no descriptors, 40 bytes
            01 00 00 00 00 00 00 00 | surface 1
            07 00 00 00 00 00 00 00 | buffer 7
            2a 00 00 00 00 00 00 00 | sequence 42
            04 00 00 00 00 00 00 00 | acquire: by message, no flags
            """))
    static let frameFull = Sample(
        name: "FRAME, all fields",
        bytes: hex(
            """
            30 00 01 00 98 00 00 00 | FRAME, 1 descriptor, 152 bytes
            01 00 00 00 00 00 00 00 | surface 1
            07 00 00 00 00 00 00 00 | buffer 7
            2b 00 00 00 00 00 00 00 | sequence 43
            02 00 00 00 00 00 00 00 | acquire: sync_file, no flags
            01 06 00 00 20 00 00 00 | field: damage, 2 rectangles
            00 00 00 00 00 00 00 00 | at 0, 0
            10 00 00 00 08 00 00 00 | 16 x 8
            00 01 00 00 c8 00 00 00 | at 256, 200
            01 00 00 00 01 00 00 00 | 1 x 1
            01 05 00 00 10 00 00 00 | field: crop
            08 00 00 00 04 00 00 00 | at 8, 4
            40 01 00 00 f0 00 00 00 | 320 x 240
            02 05 00 00 08 00 00 00 | field: destination
            80 02 00 00 e0 01 00 00 | 640 x 480
            04 05 00 00 04 00 00 00 | field: transform
            06 00 00 00 00 00 00 00 | 6, flipped and turned by 180 degrees
            01 07 00 00 08 00 00 00 | field: target time
            40 42 0f 00 00 00 00 00 | 1 ms after receipt
            """), descriptors: 1)
    static let fenceSignal = Sample(
        name: "FENCE_SIGNAL",
        bytes: hex(
            """
            31 00 00 00 20 00 00 00 | FENCE_SIGNAL, 32 bytes
            01 00 00 00 00 00 00 00 | surface 1
            2a 00 00 00 00 00 00 00 | sequence 42
            01 00 00 00 00 00 00 00 | status: error, reserved
            """))
    static let welcome = Sample(
        name: "WELCOME",
        bytes: hex(
            """
            01 80 00 00 80 00 00 00 | WELCOME, 128 bytes
            03 00 00 00 00 00 00 00 | generation 3
            01 00 00 00 03 00 00 00 | version 1, memory: dma-buf and memfd
            15 00 00 00 03 00 00 00 | acquire: none, sync_file, message; release by record or fence
            40 00 00 00 00 01 00 00 | 64 surfaces, 256 buffers
            00 00 00 40 00 00 00 00 | 1 GiB
            00 40 00 00 00 00 01 00 | sides to 16384, datagrams to 65536
            10 00 00 00 d0 07 00 00 | 16 descriptors, fences for 2000 ms
            f4 01 00 00 fa 00 00 00 | 500 records a second, 250 a surface
            08 00 00 00 00 00 00 00 | 8 uses of a buffer, reserved
            01 01 00 00 04 00 00 00 | field: the VM's name, 4 bytes
            77 6f 72 6b 00 00 00 00 | "work"
            01 0b 00 00 18 00 00 00 | field: formats, 1 entry
            58 52 32 34 03 00 00 00 | XR24, dma-buf and memfd
            00 00 00 00 00 00 00 00 | LINEAR
            80 e2 00 00 00 00 00 00 | device 226:128
            """))
    static let formatsChanged = Sample(
        name: "FORMATS_CHANGED",
        bytes: hex(
            """
            02 80 00 00 48 00 00 00 | FORMATS_CHANGED, 72 bytes
            00 00 00 00 00 00 00 00 | object: none
            01 0b 00 00 30 00 00 00 | field: formats, 2 entries
            41 52 32 34 02 00 00 00 | AR24, memfd
            00 00 00 00 00 00 00 00 | LINEAR
            00 00 00 00 00 00 00 00 | no device
            4e 56 31 32 01 00 00 00 | NV12, dma-buf
            ff ff ff ff ff ff ff 00 | INVALID
            80 e2 00 00 00 00 00 00 | device 226:128
            """))
    static let surfaceFormats = Sample(
        name: "FORMATS_CHANGED for a surface",
        bytes: hex(
            """
            02 80 00 00 30 00 00 00 | FORMATS_CHANGED, 48 bytes
            01 00 00 00 00 00 00 00 | surface 1
            01 0b 00 00 18 00 00 00 | field: formats, 1 entry
            58 52 32 34 01 01 00 00 | XR24, dma-buf, to the screen as it is
            07 00 00 00 00 00 00 01 | a modifier
            80 e2 00 00 00 00 00 00 | device 226:128
            """))
    static let released = Sample(
        name: "RELEASED",
        bytes: hex(
            """
            10 80 00 00 28 00 00 00 | RELEASED, 40 bytes
            07 00 00 00 00 00 00 00 | buffer 7
            01 00 00 00 00 00 00 00 | surface 1
            2a 00 00 00 00 00 00 00 | sequence 42
            02 00 00 00 00 00 00 00 | superseded, reserved
            """))
    static let configure = Sample(
        name: "CONFIGURE",
        bytes: hex(
            """
            20 80 00 00 28 00 00 00 | CONFIGURE, 40 bytes
            01 00 00 00 00 00 00 00 | surface 1
            20 03 00 00 58 02 00 00 | 800 x 600
            b4 00 00 00 12 00 00 00 | scale 180/120; states maximized and activated
            01 00 00 00 00 00 00 00 | a frame is wanted, reserved
            """))
    static let close = Sample(
        name: "CLOSE",
        bytes: hex(
            """
            21 80 00 00 10 00 00 00 | CLOSE, 16 bytes
            01 00 00 00 00 00 00 00 | surface 1
            """))
    static let presented = Sample(
        name: "PRESENTED",
        bytes: hex(
            """
            30 80 00 00 30 00 00 00 | PRESENTED, 48 bytes
            01 00 00 00 00 00 00 00 | surface 1
            2a 00 00 00 00 00 00 00 | sequence 42
            00 ca 9a 3b 00 00 00 00 | 1 s of CLOCK_MONOTONIC
            40 42 0f 00 00 00 00 00 | 1 ms after receipt
            1a 2c fe 00 07 00 00 00 | refresh 16657434 ns, vsync, hardware clock and completion
            """))
    static let discarded = Sample(
        name: "DISCARDED",
        bytes: hex(
            """
            31 80 00 00 18 00 00 00 | DISCARDED, 24 bytes
            01 00 00 00 00 00 00 00 | surface 1
            2a 00 00 00 00 00 00 00 | sequence 42
            """))
    static let refused = Sample(
        name: "REFUSED",
        bytes: hex(
            """
            f0 80 00 00 30 00 00 00 | REFUSED, 48 bytes
            01 00 00 00 00 00 00 00 | surface 1
            30 00 1f 00 00 00 00 00 | FRAME, reason 31 fence_timeout, reserved
            2a 00 00 00 00 00 00 00 | sequence 42
            05 03 00 00 05 00 00 00 | field: sentence, 5 bytes
            4c 61 74 65 2e 00 00 00 | "Late."
            """))

    static let inputKey = Sample(
        name: "INPUT, a key",
        bytes: hex(
            """
            60 80 00 00 30 00 00 00 | INPUT, 48 bytes
            01 00 00 00 00 00 00 00 | surface 1
            03 00 00 00 1e 00 00 00 | key, KEY_A
            00 ca 9a 3b 00 00 00 00 | 1 s of CLOCK_MONOTONIC
            01 00 00 00 00 00 00 00 | down
            00 00 00 00 00 00 00 00 | nothing
            """))
    static let inputAxis = Sample(
        name: "INPUT, a wheel",
        bytes: hex(
            """
            60 80 00 00 30 00 00 00 | INPUT, 48 bytes
            01 00 00 00 00 00 00 00 | surface 1
            09 00 00 00 01 00 00 00 | axis, horizontal
            00 00 00 00 00 00 00 00 | nobody knows when
            00 f6 ff ff 88 ff ff ff | -10 pixels, -1 notch
            00 00 00 00 00 00 00 00 | nothing
            """))
    static let keymap = Sample(
        name: "KEYMAP",
        bytes: hex(
            """
            61 80 01 00 20 00 00 00 | KEYMAP, 1 descriptor, 32 bytes
            00 00 00 00 00 00 00 00 | object: none
            01 00 00 00 00 10 00 00 | XKB 1, 4096 bytes
            19 00 00 00 58 02 00 00 | 25 a second after 600 ms
            """), descriptors: 1)

    static let fromProducer = [
        hello, helloConsumer, helloInput, cursorCreate, targetsQuery, handedSurface, bufferMemfd,
        bufferPlanes,
        bufferAllocate, bufferDestroy, surfaceCreate,
        surfaceUpdate,
        surfaceDestroy, framePlain, frameFull, fenceSignal,
    ]
    static let fromBridge = [
        targets, welcome, formatsChanged, surfaceFormats, released, allocated, configure, close,
        presented,
        discarded,
        refused, inputKey, inputAxis, keymap,
    ]
    /// How many descriptors these have together.
    static let bridgeDescriptors = fromBridge.reduce(0) { $0 + $1.descriptors }
    /// A whole dialogue in one datagram.
    static let batch = Sample(
        name: "a batch",
        bytes: [
            hello, bufferMemfd, bufferPlanes, surfaceCreate, framePlain, frameFull, fenceSignal,
        ]
        .flatMap(\.bytes), descriptors: 4)
}
