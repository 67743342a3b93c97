/// A call of org.qemu.Display1.Listener or of its further interfaces, as its arguments stand: types and number are
/// right, values not looked at. Bytes and descriptors stay with the message.
public enum QEMUListenerCall: Sendable, Equatable {
    /// A whole picture as bytes.
    case scanout(width: UInt32, height: UInt32, stride: UInt32, pixman: UInt32, bytes: Int)
    /// A part of it as bytes.
    case update(QEMUArea, stride: UInt32, pixman: UInt32, bytes: Int)
    /// A picture in memory that QEMU shares.
    case scanoutMap(
        offset: UInt32, width: UInt32, height: UInt32, stride: UInt32, pixman: UInt32)
    /// A part of that changed.
    case updateMap(QEMUArea)
    /// A picture in dma-bufs.
    case scanoutDMABUF(QEMUDMABUF)
    /// A part of that changed; the guest is held back until the answer.
    case updateDMABUF(QEMUArea)
    /// There is no picture, or the former one's memory goes.
    case disable
    /// Whether the guest shows a pointer.
    case mouseSet(isShown: Bool)
    /// The pointer's picture: 4 bytes a pixel, words of ARGB.
    case cursorDefine(
        width: Int32, height: Int32, hotX: Int32, hotY: Int32, bytes: Int)
}

/// A rectangle as QEMU sends it.
public struct QEMUArea: Sendable, Equatable {
    /// Left edge.
    public var x: Int32
    /// Top edge.
    public var y: Int32
    /// Pixels from left to right.
    public var width: Int32
    /// Pixels from top to bottom.
    public var height: Int32
    /// A rectangle.
    public init(x: Int32, y: Int32, width: Int32, height: Int32) {
        self.x = x
        self.y = y
        self.width = width
        self.height = height
    }
}

/// A picture in dma-bufs as QEMU describes it (ScanoutDMABUF, ScanoutDMABUF2).
public struct QEMUDMABUF: Sendable, Equatable {
    /// Left edge of the picture in its memory.
    public var x: UInt32 = 0
    /// Top edge.
    public var y: UInt32 = 0
    /// Pixels from left to right.
    public var width: UInt32
    /// Pixels from top to bottom.
    public var height: UInt32
    /// Width of what the memory holds.
    public var backingWidth: UInt32
    /// Height of what the memory holds.
    public var backingHeight: UInt32
    /// Bytes before each plane.
    public var offsets: [UInt32]
    /// Bytes from one row of a plane to the next.
    public var strides: [UInt32]
    /// Pixel format.
    public var fourcc: UInt32
    /// Memory layout.
    public var modifier: UInt64
    /// Row 0 is the lowest. (QEMU's name for it, y0_top, reads the other way round.)
    public var isBottomUp: Bool
    /// How many descriptors came.
    public var descriptors: Int

    /// A picture that fills its memory.
    public init(
        width: UInt32, height: UInt32, offsets: [UInt32] = [0], strides: [UInt32],
        fourcc: UInt32, modifier: UInt64, isBottomUp: Bool, descriptors: Int = 1
    ) {
        self.width = width
        self.height = height
        backingWidth = width
        backingHeight = height
        self.offsets = offsets
        self.strides = strides
        self.fourcc = fourcc
        self.modifier = modifier
        self.isBottomUp = isBottomUp
        self.descriptors = descriptors
    }

    /// QEMU 11 names no modifier for the guest's own pages, which few can import that way. They come by udmabuf, in
    /// which a picture lies row after row.
    ///
    /// - Parameter exporters: what made each of its descriptors, by the kernel's name.
    public static func known(_ layout: BufferLayout, exporters: [String?]) -> BufferLayout {
        guard layout.memory == .dmaBuf, layout.modifier == .invalid,
            exporters.allSatisfy({ $0 == "udmabuf" })
        else { return layout }
        var known = layout
        known.modifier = .linear
        return known
    }

    /// The layout of its memory, and the part to show; nil for all.
    ///
    /// Whether it fits its memory is for the session to find out, from the kernel.
    func layout() throws(Refusal) -> (layout: BufferLayout, crop: Rectangle?) {
        let size = try QEMUPicture.size(width, height)
        let backing = try QEMUPicture.size(backingWidth, backingHeight)
        let crop = Rectangle(x: x, y: y, width: width, height: height)
        guard crop.fits(in: backing) else {
            throw Refusal(
                .badValue,
                "A picture of \(size) at \(x),\(y) lies outside its memory of \(backing).")
        }
        guard (1...4).contains(strides.count), offsets.count == strides.count else {
            throw Refusal(
                .badLayout, "\(strides.count) strides and \(offsets.count) offsets: 1 to 4 planes.")
        }
        guard descriptors == 1 || descriptors == strides.count else {
            throw Refusal(
                .badDescriptor, "\(descriptors) descriptors for \(strides.count) planes.")
        }
        let planes = strides.indices.map {
            PlaneLayout(
                descriptor: descriptors == 1 ? 0 : UInt32($0), offset: offsets[$0],
                stride: strides[$0])
        }
        let layout = BufferLayout(
            size: backing, format: FourCC(fourcc), modifier: Modifier(modifier), memory: .dmaBuf,
            isBottomUp: isBottomUp, planes: planes)
        return (layout, crop == Rectangle(backing) ? nil : crop)
    }
}
