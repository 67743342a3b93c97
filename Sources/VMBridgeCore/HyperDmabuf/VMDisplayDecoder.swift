/// vmdisplay's metadata as private data: one vm_header and one vm_buffer_info (vm-shared.h of intel/ias and
/// of IA-Hardware-Composer). Three layouts of the second exist, and two have the same length.
enum VMDisplayDecoder {
    /// Bytes of vm_header.
    static let headerBytes = 24
    /// Outputs that a guest can have.
    static let outputs = 12
    /// Buffers that one output can have in a frame.
    static let buffers = 64
    /// In a field: not used.
    private static let unused: UInt32 = 0xffff

    /// Where the fields of a vm_buffer_info stand, from its own start.
    private struct Layout {
        var size: Int
        var format: Int
        var pitch: Int
        var offset: Int
        var bitsPerPixel: Int?
        var tiling: Int
        var rotation: Int
        var name: Int
        var surface: Int
        var box: Int
        var bytes: Int

        /// Version 3: what both producers that fill the driver's private data send.
        static let current = Layout(
            size: 4, format: 12, pitch: 16, offset: 28, tiling: 40, rotation: 44, name: 72,
            surface: 136, box: 144, bytes: 160)
        /// Version 2 without an index: its format is a number of EGL's, not a fourcc.
        static let withTextureFormat = Layout(
            size: 0, format: 8, pitch: 12, offset: 24, bitsPerPixel: 36, tiling: 40, rotation: 44,
            name: 72, surface: 136, box: 144, bytes: 160)
        /// Version 2 with bits a pixel: 168 bytes of a 64-bit guest.
        static let withDepth = Layout(
            size: 4, format: 12, pitch: 16, offset: 28, tiling: 44, rotation: 48, name: 80,
            surface: 144, box: 152, bytes: 168)
        /// The same of a 32-bit guest.
        static let withDepthNarrow = Layout(
            size: 4, format: 12, pitch: 16, offset: 28, tiling: 44, rotation: 48, name: 76,
            surface: 140, box: 148, bytes: 164)
    }

    static func decode(
        _ bytes: borrowing Span<UInt8>, version: UInt32
    ) throws(Refusal) -> HyperAnnouncement {
        let layout = try layout(version, bytes: bytes.count)
        let output = bytes.u32(4)
        guard output < outputs else {
            throw Refusal(.badValue, "Output \(Int32(bitPattern: output)): there are 0 to 11.")
        }
        let count = bytes.u32(12)
        guard (1...UInt32(buffers)).contains(count) else {
            throw Refusal(
                .badValue, "A frame of \(Int32(bitPattern: count)) buffers: there are 1 to 64.")
        }
        let at = headerBytes
        let name = HyperSurfaceName(output: output, surface: bytes.u64(at + layout.surface))
        let title = CleanText.clean(bytes, from: at + layout.name, count: 64)
        var announcement = HyperAnnouncement(
            surface: name, layout: try buffer(bytes, layout))
        if !title.isEmpty { announcement.metadata.title = title }
        announcement.transform = try transform(bytes.u32(at + layout.rotation))
        announcement.crop = crop(bytes, at + layout.box, in: announcement.layout.size)
        announcement.share = HyperFrameShare(counter: bytes.u32(8), buffers: Int(count))
        // IA-Hardware-Composer's word for "the guest stops sharing"; elsewhere it is a number like others.
        announcement.isEnd = name.surface == 0xff && title.hasPrefix("Cluster_")
        return announcement
    }

    private static func layout(_ version: UInt32, bytes: Int) throws(Refusal) -> Layout {
        let candidates: [Layout]
        switch version {
        case 3: candidates = [.current]
        case 2: candidates = [.withTextureFormat, .withDepth, .withDepthNarrow]
        default:
            throw Refusal(
                .badField,
                "Private data begin with 0x\(String(version, radix: 16)): no layout has that."
            )
        }
        for layout in candidates where headerBytes + layout.bytes == bytes { return layout }
        throw Refusal(
            .badField, "vmdisplay's metadata of version \(version) do not have \(bytes) bytes.")
    }

    private static func buffer(
        _ bytes: borrowing Span<UInt8>, _ layout: Layout
    ) throws(Refusal) -> BufferLayout {
        let at = headerBytes
        let limit = VMLimits.maximumDimension
        let size = Size(width: bytes.u32(at + layout.size), height: bytes.u32(at + layout.size + 4))
        guard (1...limit).contains(size.width), (1...limit).contains(size.height) else {
            throw Refusal(
                .badValue,
                "A buffer of \(Int32(bitPattern: size.width))x\(Int32(bitPattern: size.height)): sides go from 1 to \(limit)."
            )
        }
        var format = FourCC(bytes.u32(at + layout.format))
        if let depth = layout.bitsPerPixel {
            format = try textureFormat(format.rawValue, bitsPerPixel: bytes.u32(at + depth))
        }
        guard let info = PixelFormatInfo.of(format) else {
            throw Refusal(.badFormat, "The format \(format) is not known here.")
        }
        let modifier = try modifier(bytes.u32(at + layout.tiling))
        // Compression adds a plane of its own to the pixels'.
        let count = info.planes.count + (modifier == yTiledCompressed ? 1 : 0)
        guard count <= 3 else {
            throw Refusal(.badLayout, "\(format) has no compressed form.")
        }
        var planes: [PlaneLayout] = []
        for index in 0..<count {
            planes.append(
                PlaneLayout(
                    descriptor: 0, offset: bytes.u32(at + layout.offset + 4 * index),
                    stride: bytes.u32(at + layout.pitch + 4 * index)))
        }
        return BufferLayout(
            size: size, format: format, modifier: modifier, memory: .dmaBuf, planes: planes)
    }

    /// EGL's names of textures (eglext.h), as far as they leave no doubt.
    private static func textureFormat(
        _ number: UInt32, bitsPerPixel: UInt32
    ) throws(Refusal) -> FourCC {
        switch (number, bitsPerPixel) {
        case (0x305d, 32): return .xrgb8888  // EGL_TEXTURE_RGB
        case (0x305e, 32): return .argb8888  // EGL_TEXTURE_RGBA
        case (0x31d8, _): return .nv12  // EGL_TEXTURE_Y_UV_WL
        default:
            throw Refusal(
                .badFormat,
                "The texture format 0x\(String(number, radix: 16)) of \(bitsPerPixel) bits is not known here."
            )
        }
    }

    private static let yTiledCompressed = Modifier(0x0100_0000_0000_0004)

    /// vmdisplay's tiling into drm_fourcc.h's modifiers of Intel.
    private static func modifier(_ tiling: UInt32) throws(Refusal) -> Modifier {
        switch tiling {
        case 0, unused: return .linear
        case 1: return Modifier(0x0100_0000_0000_0001)
        case 2: return Modifier(0x0100_0000_0000_0002)
        case 4: return yTiledCompressed
        default:
            throw Refusal(.badModifier, "The tiling \(Int32(bitPattern: tiling)) is not known.")
        }
    }

    /// Degrees, clockwise, by which the content is to be turned.
    private static func transform(_ rotation: UInt32) throws(Refusal) -> Transform {
        if rotation == unused { return .normal }
        guard rotation % 90 == 0, let transform = Transform(rawValue: rotation / 90),
            rotation < 360
        else {
            throw Refusal(
                .badValue, "A rotation is 0, 90, 180 or 270, not \(Int32(bitPattern: rotation)).")
        }
        return transform
    }

    /// The bounding box where it is a part of the buffer; where it is a place on the guest's screen, it
    /// means nothing here.
    private static func crop(
        _ bytes: borrowing Span<UInt8>, _ at: Int, in size: Size
    ) -> Rectangle? {
        let box = Rectangle(
            x: bytes.u32(at), y: bytes.u32(at + 4), width: bytes.u32(at + 8),
            height: bytes.u32(at + 12))
        guard box.width > 0, box.height > 0, box.fits(in: size), box != Rectangle(size) else {
            return nil
        }
        return box
    }
}
