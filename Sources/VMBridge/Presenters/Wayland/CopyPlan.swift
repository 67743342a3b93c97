import VMBridgeCore

/// How a buffer that cannot be imported gets into memory of ours: pure.
struct CopyPlan {
    /// wl_shm's number of what is shown.
    let shmFormat: UInt32
    /// What is shown.
    let target: FourCC
    /// The guest's format, when its pixels must be converted; nil when rows are copied as they are.
    let converted: PixelFormat?
    /// Bytes from row to row of our memory.
    let stride: Int
    /// Bytes of our memory.
    let bytes: Int
    let layout: BufferLayout
    let info: PixelFormatInfo

    /// Plans the copy of a validated buffer.
    ///
    /// - Parameters:
    ///   - layout: of the guest's buffer.
    ///   - catalog: what the compositor shows from shared memory.
    /// - Throws: `importFailed` with the reason, half a sentence.
    init(_ layout: BufferLayout, _ catalog: FormatCatalog) throws(Refusal) {
        guard layout.modifier == .linear else {
            throw Self.refusal("only LINEAR buffers can, not \(layout.modifier)")
        }
        guard let info = PixelFormatInfo.of(layout.format) else {
            throw Self.refusal("the format \(layout.format) is not known here")
        }
        self.layout = layout
        self.info = info
        let width = Int(layout.size.width)
        let rowBytes: Int
        if let number = catalog.shmFormat(layout.format), info.planes.count == 1 {
            (shmFormat, target, converted) = (number, layout.format, nil)
            rowBytes = Self.bytes(info.planes[0], width)
        } else if let format = PixelFormat(rawValue: layout.format.rawValue) {
            target = info.hasAlpha ? .argb8888 : .xrgb8888
            guard let number = catalog.shmFormat(target) else {
                throw Self.refusal("the compositor does not show \(target) from shared memory")
            }
            (shmFormat, converted) = (number, format)
            rowBytes = width * 4
        } else {
            throw Self.refusal("there is no conversion from \(layout.format)")
        }
        // pixman makes no image of rows that are not whole 32-bit words.
        stride = (rowBytes + 3) & ~3
        bytes = stride * Int(layout.size.height)
        guard bytes > 0, bytes <= Int(Int32.max) else {
            throw Self.refusal("\(layout.size) is too large for shared memory")
        }
    }

    /// Whether a dma-buf of that format can be shown by a copy on such a compositor.
    static func canCopy(_ format: FourCC, _ info: PixelFormatInfo, shm: (FourCC) -> Bool) -> Bool {
        if info.planes.count == 1, shm(format) { return true }
        guard PixelFormat(rawValue: format.rawValue) != nil else { return false }
        return shm(info.hasAlpha ? .argb8888 : .xrgb8888)
    }

    private static func refusal(_ why: String) -> Refusal { Refusal(.importFailed, why) }

    /// The import path, in the words of status.
    var path: String {
        "copied by damage into wl_shm" + (converted == nil ? "" : " as \(target)")
    }

    /// Bytes of so many pixels of a row, whole blocks.
    static func bytes(_ plane: PixelFormatInfo.Plane, _ pixels: Int) -> Int {
        let side = Int(plane.horizontal)
        return (pixels + side - 1) / side * Int(plane.blockBytes)
    }

    /// A part of the picture, where memory has it, widened to what can be copied alone; nil when nothing
    /// of it is inside.
    func area(_ part: Rectangle) -> PixelRect? {
        var part = part.clipped(to: layout.size)
        guard part.width > 0, part.height > 0 else { return nil }
        if layout.isBottomUp { part.y = layout.size.height - part.y - part.height }
        let bounds = PixelRect(
            x: 0, y: 0, width: Int(layout.size.width), height: Int(layout.size.height))
        // Neighbours that share their colour go together.
        let left = Int(part.x) & ~1
        let top = Int(part.y) & ~1
        let right = (Int(part.x) + Int(part.width) + 1) & ~1
        let bottom = (Int(part.y) + Int(part.height) + 1) & ~1
        let wide = PixelRect(x: left, y: top, width: right - left, height: bottom - top)
        return wide.intersection(bounds)
    }

    /// Adds an area; one that overlaps another is joined with it where that copies no more.
    private static func add(_ area: PixelRect, to areas: inout [PixelRect]) {
        var area = area
        while let index = areas.firstIndex(where: {
            let joined = $0.union(area)
            return joined.width * joined.height
                <= $0.width * $0.height + area.width * area.height
        }) {
            area = areas.remove(at: index).union(area)
        }
        areas.append(area)
    }

    /// The areas to copy for some damage; all of it when the parts together are no less.
    func areas(_ damage: Damage) -> [PixelRect] {
        let whole = PixelRect(
            x: 0, y: 0, width: Int(layout.size.width), height: Int(layout.size.height))
        guard !damage.isWhole else { return [whole] }
        var areas: [PixelRect] = []
        for index in 0..<damage.count {
            guard let area = area(damage[index]) else { continue }
            Self.add(area, to: &areas)
        }
        let sum = areas.reduce(0) { $0 + $1.width * $1.height }
        return sum >= whole.width * whole.height ? [whole] : areas
    }
}
