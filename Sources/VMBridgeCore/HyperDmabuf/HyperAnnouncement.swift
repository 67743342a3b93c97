/// A surface of a domain, as its private data name it: ids of different outputs are different windows.
public struct HyperSurfaceName: Hashable, Sendable {
    /// Output of the guest's compositor; 0 where there is none.
    public var output: UInt32
    /// The guest's number of the surface.
    public var surface: UInt64
    /// A surface of an output.
    public init(output: UInt32, surface: UInt64) {
        self.output = output
        self.surface = surface
    }
}

/// Which frame of its output a record belongs to, and how many records such a frame has.
public struct HyperFrameShare: Hashable, Sendable {
    /// The frame's counter.
    public var counter: UInt32
    /// Buffers of the output in that frame, 1 to 64.
    public var buffers: Int
    /// A share of a frame.
    public init(counter: UInt32, buffers: Int) {
        self.counter = counter
        self.buffers = buffers
    }
}

/// What the private data of a buffer say: content for a surface, in one vocabulary for all layouts.
public struct HyperAnnouncement: Sendable, Equatable {
    /// Where the content belongs.
    public var surface: HyperSurfaceName
    /// How the pixels lie in the buffer; its one descriptor is 0.
    public var layout: BufferLayout
    /// Title and the like.
    public var metadata = SurfaceMetadata()
    /// Part of the buffer to show; nil for all.
    public var crop: Rectangle?
    /// How to turn it.
    public var transform: Transform = .normal
    /// What changed; nil for everything.
    public var damage: Rectangle?
    /// Its frame, for layouts that tell of them: surfaces that a whole frame has nothing of are gone.
    public var share: HyperFrameShare?
    /// The surface ends; there is no new content.
    public var isEnd = false

    /// An announcement of whole content.
    public init(surface: HyperSurfaceName, layout: BufferLayout) {
        self.surface = surface
        self.layout = layout
    }
}

/// Private data into announcements: vmdisplay's layouts, and the record of ours.
public enum HyperPrivateData {
    /// Which layout it is is told by the first word alone (our mark, or vmdisplay's version), and only
    /// then must the length be the layout's.
    ///
    /// - Throws: what is wrong, for the guest's log; nothing of it is used then.
    public static func decode(
        _ bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> HyperAnnouncement {
        guard bytes.count >= 4 else {
            throw Refusal(.badField, "\(bytes.count) bytes of private data are no layout.")
        }
        let mark = bytes.u32(0)
        if mark == HyperMetadataRecord.mark { return try HyperMetadataRecord.decode(bytes) }
        return try VMDisplayDecoder.decode(bytes, version: mark)
    }
}
