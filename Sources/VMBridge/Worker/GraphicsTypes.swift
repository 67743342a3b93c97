import Descriptors
import VMBridgeCore

/// One request to a graphics worker; no two of a bridge's worker are equal.
package struct GraphicsRequest: Hashable, Sendable {
    /// Counts up from 1.
    package let number: UInt64
}

/// A source and the output that it is blitted to, as one run of the worker knows them.
package struct BlitPair: Hashable, Sendable {
    /// Which run of the worker: pairs end with it.
    let run: UInt32
    /// The worker's name for it.
    let number: UInt32
}

/// What made a buffer's memory.
package enum MemoryAllocator: UInt32, Sendable, CaseIterable {
    /// The display driver, through libgbm.
    case gbm = 1
    /// A dma-buf heap of contiguous memory.
    case contiguousHeap = 2
    /// The dma-buf heap `system`.
    case systemHeap = 3
    /// A memfd's pages, through /dev/udmabuf.
    case udmabuf = 4

    /// The word for it in status and logs.
    package var word: String {
        switch self {
        case .gbm: "gbm"
        case .contiguousHeap: "contiguous heap"
        case .systemHeap: "system heap"
        case .udmabuf: "udmabuf"
        }
    }
}

/// Why a request to a graphics worker came to nothing. Below 16 it is the worker's answer, from there
/// on the bridge's own finding.
package enum GraphicsReason: UInt32, Sendable, CaseIterable {
    /// No heap of contiguous memory is there, or it has no room.
    case noContiguous = 1
    /// No allocator that is there could make the memory.
    case noMemory = 2
    /// The request is none that can be fulfilled anywhere.
    case badRequest = 3
    /// No usable EGL or OpenGL ES.
    case noRenderer = 4
    /// The source cannot be imported by EGL.
    case sourceRefused = 5
    /// No output could be made, or not be drawn into.
    case noOutput = 6
    /// Drawing failed.
    case drawingFailed = 7

    /// The worker ended.
    case crashed = 16
    /// The worker did not answer in time.
    case timedOut = 17
    /// The worker's answer makes no sense.
    case malformed = 18
    /// The worker cannot be started.
    case notStarted = 19
    /// The worker was started too often lately.
    case tooManyStarts = 20
    /// Too many requests wait.
    case queueFull = 21
    /// The worker that knew the pair is gone.
    case pairGone = 22
    /// The bridge shut the worker down.
    case shutDown = 23
}

/// A request that came to nothing, with a sentence for people.
package struct GraphicsRefusal: Error, Equatable, Sendable {
    package var reason: GraphicsReason
    package var sentence: String

    package init(_ reason: GraphicsReason, _ sentence: String) {
        self.reason = reason
        self.sentence = sentence
    }
}

/// Memory for a buffer that somebody else will draw into.
package struct AllocationRequest: Hashable, Sendable {
    /// In pixels.
    package var size: Size
    package var format: FourCC
    /// What the memory layout may be, best first; at most ``maximumModifiers``. LINEAR or INVALID ones
    /// of libgbm's own choice are never given unless they are listed; INVALID never is.
    package var modifiers: [Modifier]
    /// In one piece for devices without an IOMMU.
    package var isContiguous: Bool

    /// Of one request.
    package static let maximumModifiers = 64

    package init(
        size: Size, format: FourCC, modifiers: [Modifier] = [.linear], isContiguous: Bool = false
    ) {
        self.size = size
        self.format = format
        self.modifiers = modifiers
        self.isContiguous = isContiguous
    }
}

/// Where blits of one source go: linear pixels, XR24 or AR24.
package final class BlitOutput {
    /// As a dma-buf; nil when none could be made.
    package let dmaBuf: BufferMemory?
    /// As a memfd that wl_shm and `mmap` can take; nil when the driver made the memory. With
    /// ``dmaBuf`` the same memory.
    package let memfd: BufferMemory?
    /// The renderer could not draw into the output, so pixels are read back into it.
    package let isReadBack: Bool

    init(dmaBuf: BufferMemory?, memfd: BufferMemory?, isReadBack: Bool) {
        self.dmaBuf = dmaBuf
        self.memfd = memfd
        self.isReadBack = isReadBack
    }
}

/// What came of a request.
package enum GraphicsEvent {
    /// The memory, its layout within what was asked for.
    case allocated(GraphicsRequest, BufferMemory, MemoryAllocator)
    /// The output of a source; the picture is in it already.
    case opened(GraphicsRequest, BlitPair, BlitOutput)
    /// The source's picture is in the output, finished; nanoseconds that it took the worker.
    case blitted(GraphicsRequest, UInt64)
    /// It came to nothing.
    case refused(GraphicsRequest, GraphicsRefusal)
}
