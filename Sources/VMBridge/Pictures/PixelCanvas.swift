import Glibc

/// 32-bit pixels in memory that somebody else owns, and the drawing that everything here shares.
///
/// Unsafe because rows are moved with `memcpy` over memory that may be a mapped buffer; a debug
/// build would need a second for what takes a millisecond this way. Whoever makes one answers for
/// `base` holding `stride` × (`height` − 1) + `width` pixels, aligned to 4 bytes; all drawing is
/// clipped to `clip`, which never reaches beyond these.
struct PixelCanvas {
    let base: UnsafeMutablePointer<UInt32>
    let width: Int
    let height: Int
    /// Pixels from one row to the next.
    let stride: Int
    private(set) var clip: PixelRect

    init(base: UnsafeMutablePointer<UInt32>, width: Int, height: Int, stride: Int) {
        self.base = base
        self.width = width
        self.height = height
        self.stride = stride
        clip = PixelRect(x: 0, y: 0, width: width, height: height)
    }

    /// The same memory, drawing limited further.
    func clipped(to rect: PixelRect) -> PixelCanvas {
        var copy = self
        copy.clip = clip.intersection(rect)
        return copy
    }

    /// Sets every pixel of the rectangle to `word`.
    func fill(_ rect: PixelRect, _ word: UInt32) {
        let area = clip.intersection(rect)
        guard !area.isEmpty else { return }
        let first = base + (area.y * stride + area.x)
        Self.fill(first, area.width, word)
        var row = 1
        while row < area.height {
            memcpy(first + row * stride, first, area.width * 4)
            row += 1
        }
    }

    /// Copies `rect` (coordinates of the source) so that its corner lands on (`x`, `y`).
    /// `rect` must lie within the source.
    func copy(
        _ source: UnsafePointer<UInt32>, sourceStride: Int, _ rect: PixelRect, toX x: Int, y: Int
    ) {
        let area = clip.intersection(
            PixelRect(x: x, y: y, width: rect.width, height: rect.height))
        guard !area.isEmpty else { return }
        let from = source + ((rect.y + area.y - y) * sourceStride + rect.x + area.x - x)
        let to = base + (area.y * stride + area.x)
        var row = 0
        while row < area.height {
            memcpy(to + row * stride, from + row * sourceStride, area.width * 4)
            row += 1
        }
    }

    /// Writes `count` pixels by doubling what is there already.
    static func fill(_ pointer: UnsafeMutablePointer<UInt32>, _ count: Int, _ word: UInt32) {
        guard count > 0 else { return }
        pointer[0] = word
        var done = 1
        while done < count {
            let next = min(done, count - done)
            memcpy(pointer + done, pointer, next * 4)
            done += next
        }
    }
}
