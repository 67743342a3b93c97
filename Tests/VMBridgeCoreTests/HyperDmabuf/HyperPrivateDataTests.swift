import Testing
import VMBridgeCore

@Suite("[pure] hyper_dmabuf: private data")
struct HyperPrivateDataTests {
    typealias Metadata = HyperSamples.Metadata

    private func reason(_ bytes: [UInt8]) -> RefusalReason? {
        HyperSamples.reason { () throws(Refusal) in _ = try HyperSamples.decode(bytes) }
    }

    private func expected(_ format: FourCC) -> HyperAnnouncement {
        var wanted = HyperAnnouncement(
            surface: HyperSurfaceName(output: 1, surface: 0x1_0000_0005),
            layout: BufferLayout(
                size: Size(width: 640, height: 480), format: format, modifier: .linear,
                memory: .dmaBuf, planes: [PlaneLayout(descriptor: 0, offset: 0, stride: 2560)]))
        wanted.metadata.title = "A window"
        wanted.share = HyperFrameShare(counter: 77, buffers: 2)
        return wanted
    }

    @Test func everyLayoutOfVMDisplay() throws {
        var metadata = Metadata()
        #expect(metadata.current.count == 184)
        #expect(try HyperSamples.decode(metadata.current) == expected(.xrgb8888))
        metadata.version = 2
        #expect(metadata.withDepth(isNarrow: false).count == 192)
        #expect(metadata.withDepth(isNarrow: true).count == 188)
        #expect(try HyperSamples.decode(metadata.withDepth(isNarrow: false)) == expected(.xrgb8888))
        #expect(try HyperSamples.decode(metadata.withDepth(isNarrow: true)) == expected(.xrgb8888))
        // As long as version 3, but its format is a number of EGL's.
        metadata.format = 0x305e
        #expect(metadata.withTextureFormat.count == 184)
        #expect(try HyperSamples.decode(metadata.withTextureFormat) == expected(.argb8888))
        metadata.format = 0x305d
        #expect(try HyperSamples.decode(metadata.withTextureFormat) == expected(.xrgb8888))
    }

    @Test func versionFirstThenLength() {
        var metadata = Metadata()
        #expect(reason(metadata.current.dropLast()) == .badField)
        #expect(reason(metadata.current + [0]) == .badField)
        #expect(reason(metadata.withDepth(isNarrow: false)) == .badField)
        metadata.version = 2
        // A fourcc where a texture's number belongs.
        #expect(reason(metadata.withTextureFormat) == .badFormat)
        for version: UInt32 in [0, 1, 4, .max] {
            metadata.version = version
            #expect(reason(metadata.current) == .badField)
        }
        for count in 0..<4 { #expect(reason([UInt8](repeating: 3, count: count)) == .badField) }
    }

    @Test func numbersOutOfRange() {
        func reason(_ change: (inout Metadata) -> Void) -> RefusalReason? {
            var metadata = Metadata()
            change(&metadata)
            return self.reason(metadata.current)
        }
        #expect(reason { $0.output = 11 } == nil)
        #expect(reason { $0.output = 12 } == .badValue)
        #expect(reason { $0.output = .max } == .badValue)
        #expect(reason { $0.buffers = 64 } == nil)
        for count: UInt32 in [0, 65, .max] { #expect(reason { $0.buffers = count } == .badValue) }
        for side: UInt32 in [0, 16_385, .max, 0x8000_0000] {
            #expect(reason { $0.width = side } == .badValue)
            #expect(reason { $0.height = side } == .badValue)
        }
        #expect(reason { $0.format = 0 } == .badFormat)
        for tiling: UInt32 in [3, 5, .max] {
            #expect(reason { $0.tiling = tiling } == .badModifier)
        }
        for turn: UInt32 in [1, 89, 360, .max] {
            #expect(reason { $0.rotation = turn } == .badValue)
        }
    }

    @Test func tilingRotationBoxName() throws {
        var metadata = Metadata()
        for (tiling, modifier): (UInt32, UInt64) in [
            (0, 0), (0xffff, 0), (1, 0x0100_0000_0000_0001), (2, 0x0100_0000_0000_0002),
        ] {
            metadata.tiling = tiling
            #expect(try HyperSamples.decode(metadata.current).layout.modifier.rawValue == modifier)
        }
        metadata.tiling = 4
        metadata.pitch[1] = 64
        metadata.offset[1] = 1 << 20
        let compressed = try HyperSamples.decode(metadata.current).layout
        #expect(compressed.modifier.rawValue == 0x0100_0000_0000_0004)
        #expect(compressed.planes.count == 2)
        #expect(compressed.planes[1] == PlaneLayout(descriptor: 0, offset: 1 << 20, stride: 64))

        metadata = Metadata()
        for (turn, number): (UInt32, UInt32) in [(0, 0), (90, 1), (180, 2), (270, 3), (0xffff, 0)] {
            metadata.rotation = turn
            #expect(try HyperSamples.decode(metadata.current).transform.rawValue == number)
        }
        metadata = Metadata()
        metadata.box = [10, 20, 100, 200]
        #expect(
            try HyperSamples.decode(metadata.current).crop
                == Rectangle(x: 10, y: 20, width: 100, height: 200))
        // A place on the guest's screen, nothing, and what is no number of pixels.
        for box: [UInt32] in [[1000, 700, 640, 480], [0, 0, 0, 0], [.max, .max, .max, .max]] {
            metadata.box = box
            #expect(try HyperSamples.decode(metadata.current).crop == nil)
        }
        metadata.name = [UInt8](repeating: 0x61, count: 64)
        #expect(
            try HyperSamples.decode(metadata.current).metadata.title
                == String(repeating: "a", count: 64))
        metadata.name = [0x1b, 0x5b, 0x41, 0xff, 0, 0x42]
        #expect(try HyperSamples.decode(metadata.current).metadata.title == "[A\u{fffd}")
        metadata.name = []
        #expect(try HyperSamples.decode(metadata.current).metadata.title == nil)
        metadata.surface = 0xff
        #expect(try HyperSamples.decode(metadata.current).isEnd == false)
        metadata.name = Array("Cluster_0".utf8)
        #expect(try HyperSamples.decode(metadata.current).isEnd)
    }

    @Test func ourOwnRecord() throws {
        var wanted = HyperAnnouncement(
            surface: HyperSurfaceName(output: 0, surface: 9),
            layout: BufferLayout(
                size: Size(width: 64, height: 32), format: .nv12, modifier: .linear,
                memory: .dmaBuf, isBottomUp: true,
                planes: [
                    PlaneLayout(descriptor: 0, offset: 0, stride: 64),
                    PlaneLayout(descriptor: 0, offset: 2048, stride: 64),
                ]))
        wanted.metadata.title = "Zwölf"
        wanted.crop = Rectangle(x: 1, y: 2, width: 3, height: 4)
        wanted.damage = Rectangle(x: 5, y: 6, width: 7, height: 8)
        wanted.transform = try #require(Transform(rawValue: 7))
        let bytes = try #require(HyperMetadataRecord.bytes(of: wanted))
        #expect(
            bytes.prefix(72)
                == hex(
                    """
                    56 4d 42 31 01 00 01 00 | VMB1, version, flags
                    09 00 00 00 00 00 00 00 | surface
                    40 00 00 00 20 00 00 00 4e 56 31 32 02 00 00 00 | size, NV12, planes
                    00 00 00 00 00 00 00 00 | modifier
                    00 00 00 00 40 00 00 00 00 08 00 00 40 00 00 00 00 00 00 00 00 00 00 00
                    01 03 00 00 06 00 00 00 | a title of 6 bytes
                    """)[...])
        #expect(try HyperSamples.decode(bytes) == wanted)
        wanted.isEnd = true
        #expect(try HyperSamples.decode(#require(HyperMetadataRecord.bytes(of: wanted))) == wanted)
        wanted.metadata.title = String(repeating: "x", count: 200)
        #expect(HyperMetadataRecord.bytes(of: wanted) == nil)
    }

    @Test func ourOwnRecordRefused() throws {
        let good = try #require(
            HyperMetadataRecord.bytes(
                of: HyperAnnouncement(
                    surface: HyperSurfaceName(output: 0, surface: 9),
                    layout: BufferLayout(
                        size: Size(width: 64, height: 32), format: .xrgb8888, modifier: .linear,
                        memory: .dmaBuf,
                        planes: [PlaneLayout(descriptor: 0, offset: 0, stride: 256)]))))
        func reason(_ change: (inout [UInt8]) -> Void) -> RefusalReason? {
            var bytes = good
            change(&bytes)
            return self.reason(bytes)
        }
        #expect(reason { _ in } == nil)
        #expect(reason { $0[4] = 2 } == .badValue)
        #expect(reason { $0[6] = 4 } == .badValue)
        #expect(reason { $0[8] = 0 } == .badValue)
        #expect(reason { $0[28] = 0 } == .badValue)
        #expect(reason { $0[28] = 4 } == .badValue)
        #expect(reason { $0[48] = 1 } == .badValue)
        #expect(reason { $0.removeLast() } == .badField)
        #expect(reason { $0 += [UInt8](repeating: 0, count: 136) } == .badField)
        #expect(reason { $0 += hex("99 09 01 00 00 00 00 00") } == .unsupported)
        #expect(reason { $0 += hex("99 09 00 00 00 00 00 00") } == nil)
        #expect(
            reason { $0 += hex("01 05 00 00 08 00 00 00 00 00 00 00 00 00 00 00") } == .badField)
        #expect(
            reason { $0 += hex("04 05 00 00 04 00 00 00 08 00 00 00 00 00 00 00") } == .badValue)
    }

    @Test func truncatedAndMutated() throws {
        var old = Metadata()
        old.version = 2
        var own = expected(.xrgb8888)
        own.share = nil
        own.surface.output = 0
        own.crop = Rectangle(x: 1, y: 2, width: 3, height: 4)
        let samples = [
            Metadata().current, old.withDepth(isNarrow: true), old.withDepth(isNarrow: false),
            old.withTextureFormat, try #require(HyperMetadataRecord.bytes(of: own)),
        ]
        var random = Random(seed: 666)
        var refused = 0
        for sample in samples {
            for length in 0..<sample.count where length != 64 {
                // Our own record has boundaries between its fields, which are not missed.
                if reason(Array(sample.prefix(length))) == nil { #expect(length > 64) }
            }
            for _ in 0..<10_000 {
                var bytes = sample
                for _ in 0...random.below(8) {
                    bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next())
                }
                do {
                    let announcement = try HyperSamples.decode(bytes)
                    #expect((1...4).contains(announcement.layout.planes.count))
                    #expect(announcement.surface.output < 12)
                    #expect((announcement.metadata.title ?? "").utf8.count <= CleanText.limit)
                    if let share = announcement.share { #expect((1...64).contains(share.buffers)) }
                } catch { refused += 1 }
            }
        }
        #expect(refused > 1000)
    }
}
