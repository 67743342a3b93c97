import Testing
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

/// One tranche as the fake compositor tells it.
struct FakeTranche {
    var indices: [UInt16]
    var device: UInt64?
    var isScanout = false
}

extension FakeSession {
    /// The usual globals with linux-dmabuf of a version that gives feedback.
    static func withFeedback(version: UInt32) -> [(interface: String, version: UInt32)] {
        usual.filter { $0.interface != "zwp_linux_dmabuf_v1" } + [("zwp_linux_dmabuf_v1", version)]
    }

    /// The feedback object for all surfaces.
    var defaultFeedback: UInt32 {
        compositor.requests("zwp_linux_dmabuf_v1.get_default_feedback").last?.created ?? 0
    }

    /// The feedback objects of surfaces, in the order in which they were asked for.
    var surfaceFeedbacks: [UInt32] {
        compositor.requests("zwp_linux_dmabuf_v1.get_surface_feedback").map(\.created)
    }

    /// Tells a feedback.
    ///
    /// - Parameters:
    ///   - rows: the table; nil when none is sent.
    ///   - isDone: whether it is made complete.
    func tell(
        _ feedback: UInt32, rows: [(FourCC, UInt64)]? = nil, mainDevice: UInt64? = nil,
        _ tranches: [FakeTranche], isDone: Bool = true
    ) throws {
        if let rows {
            let table = try MemoryFile.create(size: UInt64(rows.count * 16))
            var mapped = try MappedMemory(
                table.number, count: rows.count * 16, access: .readWrite)
            mapped.withUnsafeMutableBytes { bytes in
                for (row, pair) in rows.enumerated() {
                    bytes.storeBytes(
                        of: pair.0.rawValue, toByteOffset: row * 16, as: UInt32.self)
                    bytes.storeBytes(of: pair.1, toByteOffset: row * 16 + 8, as: UInt64.self)
                }
            }
            compositor.send(
                feedback, "format_table", .descriptor(table.number), .uint(UInt32(rows.count * 16)))
        }
        if let mainDevice {
            compositor.send(feedback, "main_device", .array(Self.bytes(mainDevice, 8)))
        }
        for tranche in tranches {
            if let device = tranche.device {
                compositor.send(feedback, "tranche_target_device", .array(Self.bytes(device, 8)))
            }
            compositor.send(
                feedback, "tranche_formats",
                .array(tranche.indices.flatMap { Self.bytes(UInt64($0), 2) }))
            compositor.send(feedback, "tranche_flags", .uint(tranche.isScanout ? 1 : 0))
            compositor.send(feedback, "tranche_done")
        }
        if isDone { compositor.send(feedback, "done") }
    }

    private static func bytes(_ number: UInt64, _ count: UInt64) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
    }
}
