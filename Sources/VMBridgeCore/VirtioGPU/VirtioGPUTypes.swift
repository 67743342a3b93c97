extension VirtioGPUDevice {
    /// The edge's name of a request that waits for its answer; each is answered exactly once, or forgotten with a reset.
    package typealias Token = UInt64

    /// One frame of a flush.
    package struct Shown: Hashable, Sendable {
        /// The window, or the cursor image.
        package var surface: SurfaceKey
        /// Counts upwards over all surfaces and resets of a device.
        package var sequence: FrameSequence
        /// The part of the buffer to show; nil for all of it.
        package var crop: Rectangle?
        /// What differs from the surface's last frame; nil for everything.
        package var damage: Rectangle?
    }

    /// What is to be done, in order.
    package enum Action: Sendable {
        /// Give the request back with these bytes.
        case answer(Token, [UInt8])
        /// A buffer of the guest's pages. The layout's memory kind is for the edge to choose.
        case createBuffer(BufferKey, BufferLayout, [GuestRange])
        /// No further frame shows it.
        case destroyBuffer(BufferKey)
        /// A scanout became a window.
        case createWindow(SurfaceKey, scanout: Int)
        /// A pointer image of a window, which shows nothing before its first frame.
        case createCursor(SurfaceKey, of: SurfaceKey, hotX: UInt32, hotY: UInt32)
        /// The point of the image that points.
        case moveHotSpot(SurfaceKey, hotX: UInt32, hotY: UInt32)
        /// The window or cursor is gone.
        case destroySurface(SurfaceKey)
        /// Show a buffer on one or more surfaces. `changed`: what the guest has written to it since it was last shown.
        case show(BufferKey, changed: Damage, [Shown])
        /// A command was refused: its name, the resource or scanout, and why.
        case refused(String, object: UInt64, Refusal)
    }

    /// What one device may have.
    package struct Limits: Sendable {
        /// Resources at a time.
        package var resources = 1024
        /// Bytes of guest memory in all page lists.
        package var bytes: UInt64 = 4 << 30
        /// Runs of guest memory in all page lists, neighbours counted as one.
        package var ranges = 131_072
        /// Answers that wait for a frame.
        package var deferred = 64
        /// How long an answer waits for its frame, nanoseconds: Linux's driver gives up after 50 ms.
        package var patience: UInt64 = 40_000_000

        /// The limits that are in force when nobody says otherwise.
        package init() {}
    }

    /// Why a command was not done: what the guest and what the host is told.
    struct Failure: Error {
        var response: VirtioGPUResponse
        var refusal: Refusal

        init(_ response: VirtioGPUResponse, _ reason: RefusalReason, _ sentence: String) {
            self.response = response
            refusal = Refusal(reason, sentence)
        }

        init(_ response: VirtioGPUResponse, _ refusal: Refusal) {
            self.response = response
            self.refusal = refusal
        }
    }

    /// A resource of the guest.
    struct Resource: Sendable {
        enum Kind: Sendable {
            case picture(Size, FourCC)
            case blob(UInt64)
        }
        var kind: Kind
        var backing: [GuestRange]?
        var backingBytes: UInt64 = 0
        /// What was transferred since the last flush.
        var dirty = Damage.none
        /// As a window's picture, and as a pointer's, which has alpha.
        var window: Buffer?
        var cursor: Buffer?
    }

    /// A buffer over a resource's pages.
    struct Buffer: Sendable {
        var key: BufferKey
        var layout: BufferLayout
    }

    /// One output of the device.
    struct Scanout: Sendable {
        struct Use: Sendable {
            var buffer: BufferKey
            var sequence: FrameSequence
        }
        /// What it shows; 0 when it is off.
        var resource: UInt32 = 0
        /// The picture that `area` is a part of.
        var layout: BufferLayout?
        var area = Rectangle(x: 0, y: 0, width: 0, height: 0)
        /// Something else is shown than by the last frame.
        var isChanged = true
        var isOpen: Bool { resource != 0 }
        /// Frames that were handed on and not released yet, oldest first.
        var uses: [Use] = []
        /// The last frame that had its callback.
        var calledBack = FrameSequence(0)
        var pointer = Pointer()
    }

    /// The pointer image of a scanout.
    struct Pointer: Sendable, Equatable {
        var resource: UInt32 = 0
        var hotX: UInt32 = 0
        var hotY: UInt32 = 0
        var isOpen = false
        var hasImage = false
    }

    /// A fenced flush whose answer waits.
    struct Deferred: Sendable {
        struct Target: Sendable {
            var scanout: Int
            var sequence: FrameSequence
            var buffer: BufferKey
            /// It will not be shown, or was passed over.
            var isOver = false
        }
        var token: Token
        var answer: [UInt8]
        var deadline: UInt64
        var targets: [Target]
    }
}
