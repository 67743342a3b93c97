import Testing
import VMBridgeCore

/// Bytes as the driver and vmdisplay's producers write them, put together field by field from the
/// published layouts and not by the code under test.
enum HyperSamples {
    static let id = HyperBufferID(
        number: 0x0300_0007, key: .init(0x1111_1111, 0x2222_2222, 0x3333_3333))

    static func little(_ number: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
    }

    static func words(_ numbers: [UInt32]) -> [UInt8] { numbers.flatMap(little) }

    /// A record of the queue; `size` stands in its header, whatever the private data's length.
    static func event(
        _ priv: [UInt8], of id: HyperBufferID = id, type: UInt32 = 0x10000, size: Int32? = nil
    ) -> [UInt8] {
        words([type, id.number, id.key.first, id.key.second, id.key.third])
            + little(UInt32(bitPattern: size ?? Int32(priv.count))) + priv
    }

    /// What a vm_header and a vm_buffer_info say.
    struct Metadata {
        var version: UInt32 = 3
        var output: UInt32 = 1
        var counter: UInt32 = 77
        var buffers: UInt32 = 2
        var width: UInt32 = 640
        var height: UInt32 = 480
        var format: UInt32 = 0x3432_5258
        var pitch: [UInt32] = [2560, 0, 0]
        var offset: [UInt32] = [0, 0, 0]
        var bitsPerPixel: UInt32 = 32
        var tiling: UInt32 = 0
        var rotation: UInt32 = 0
        var name: [UInt8] = Array("A window".utf8)
        var surface: UInt64 = 0x1_0000_0005
        var box: [UInt32] = [0, 0, 640, 480]

        private var header: [UInt8] {
            HyperSamples.words([version, output, counter, buffers, 1920, 1080])
        }
        private var tail: [UInt8] {
            Array(name.prefix(64)) + [UInt8](repeating: 0, count: 64 - min(name.count, 64))
                + HyperSamples.words([UInt32(truncatingIfNeeded: surface), UInt32(surface >> 32)])
                + HyperSamples.words(box)
        }
        private var staleID: [UInt8] { HyperSamples.words([.max, 0, 0, 0]) }

        /// 24 + 160: with an index, as both producers of the driver's private data send it.
        var current: [UInt8] {
            header
                + HyperSamples.words(
                    [0, width, height, format] + pitch + offset + [tiling, rotation, 1, 9])
                + staleID + tail
        }
        /// 24 + 160: without an index, with bits a pixel.
        var withTextureFormat: [UInt8] {
            header
                + HyperSamples.words(
                    [width, height, format] + pitch + offset + [
                        bitsPerPixel, tiling, rotation, 1, 9,
                    ])
                + staleID + tail
        }
        /// 24 + 168, or 24 + 164 of a guest of 32 bits.
        func withDepth(isNarrow: Bool) -> [UInt8] {
            header
                + HyperSamples.words(
                    [0, width, height, format] + pitch + offset
                        + [bitsPerPixel, tiling, rotation, 1, 9] + (isNarrow ? [] : [0]))
                + staleID + tail
        }
    }

    static func decode(_ bytes: [UInt8]) throws(Refusal) -> HyperAnnouncement {
        try HyperPrivateData.decode(bytes.span)
    }

    /// All that a read's bytes give: events, and refusals in between.
    static func walk(_ bytes: [UInt8]) -> (events: [HyperEvent], refusals: [RefusalReason]) {
        var reader = HyperEventReader()
        var events: [HyperEvent] = []
        var refusals: [RefusalReason] = []
        while true {
            do throws(Refusal) {
                guard let event = try reader.next(in: bytes.span) else { return (events, refusals) }
                events.append(event)
            } catch {
                refusals.append(error.reason)
                if refusals.count > bytes.count + 1 {
                    Issue.record("the walk does not end")
                    return (events, refusals)
                }
            }
        }
    }

    static func reason(_ body: () throws(Refusal) -> Void) -> RefusalReason? {
        do throws(Refusal) {
            try body()
            return nil
        } catch { return error.reason }
    }
}
