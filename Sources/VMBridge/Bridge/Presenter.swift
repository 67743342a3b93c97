import Descriptors
import VMBridgeCore

/// What happened on the presenting side, as a value: the session takes them after each batch, so a
/// presenter never calls back into it.
package enum PresenterEvent: Sendable {
    /// A consumer is there: windows can be made and buffers imported.
    case ready
    /// The consumer is gone with all windows and images; why, in words.
    case lost(String)
    /// What can be imported changed.
    case formatsChanged
    /// What suits one surface best changed; `formats(for:)` says it.
    case surfaceFormats(SurfaceID)
    /// The first import of a buffer failed; frames that name it will be refused.
    case bufferRefused(BufferID, Refusal)
    /// The image that a use waited for is there.
    case imported(UseID)
    /// It will not come.
    case importFailed(UseID, Refusal)
    /// The buffer of a committed frame could not be read: the consumer did not get it.
    case commitFailed(UseID, Refusal)
    /// The window should become something; to be acknowledged.
    case configured(SurfaceID, ConfigureRecord, serial: UInt32)
    /// The window is ready for its next frame.
    case frameCallback(SurfaceID)
    /// The consumer no longer reads the buffer of a committed use.
    case released(UseID)
    /// It no longer will when a fence signals, which `takeReleaseFence` gives: one for each such event.
    case releasedWithFence(UseID)
    /// A frame reached the screen.
    case presented(SurfaceID, FrameSequence, time: UInt64, refresh: UInt32, flags: UInt32)
    /// A committed frame never will.
    case discarded(SurfaceID, FrameSequence)
    /// This many bytes of a window's buffer were read by us. Importing reads none.
    case copied(SurfaceID, bytes: UInt64)
    /// The window was asked to close.
    case closeRequested(SurfaceID)
    /// A person did something to a surface; places are of its picture. Loss of focus is told by `InputEvent`'s
    /// own words, not what it releases.
    case input(SurfaceID, InputEvent, time: UInt64)
    /// The session's keyboard is another one now; `keymap` says which.
    case keymapChanged
    /// A destroyed window is gone, and with it every hold on its buffers.
    case windowGone(SurfaceID)
}

/// The answer to a wish for an image of a buffer.
package enum ImageAnswer: Sendable {
    /// It is reserved for the use.
    case ready
    /// It is being imported; `imported` or `importFailed` follows.
    case pending
    /// It cannot be had.
    case refused(Refusal)
}

/// What makes a surface the pointer's image.
package struct CursorProperties: Sendable, Equatable {
    /// The surface that it is shown on.
    package var parent: SurfaceID
    /// The point of the picture that the pointer is at.
    package var hotSpot: HotSpot
}

/// What the presenter is told of a window beside its frames.
package struct WindowProperties: Sendable, Equatable {
    /// Title and app id.
    package var identity: WindowIdentity
    /// Smallest size; zero for none.
    package var minimumSize: Size
    /// Largest size; zero for none.
    package var maximumSize: Size
    /// Opaque part of the buffer, when the guest names one.
    package var opaqueRegion: Rectangle?
    /// The state that it asks for when it is made, and whenever this changes.
    package var mode = ShowProperties.Mode.normal
    /// Whether smallest and largest size are those at which its frame is shown.
    package var isFixedSize = false
    /// Whether the consumer is asked to draw a frame around it.
    package var hasFrame = true
    /// What the consumer's own rules may go by; empty for nothing.
    package var tag = ""
    /// It is no window but the pointer's image on one; `configured` is told at once, sizes mean nothing.
    package var cursor: CursorProperties?
}

/// The presenting half of one VM: performs a surface machine's actions, in protocol order, and reports
/// what came of them as events. Two exist: Wayland and headless.
///
/// Every call returns at once. While the consumer cannot take requests a presenter keeps them; their
/// number is bounded, since a surface has at most one commit on its way.
package protocol Presenter: AnyObject {
    /// What can be imported now; empty while unknown.
    var formats: [ImportableFormat] { get }
    /// What suits one surface best, best first; all of it is in `formats`. Nil where nobody says so.
    func formats(for surface: SurfaceID) -> [ImportableFormat]?
    /// The device that draws the windows, in words; nil when unknown.
    var device: String? { get }
    /// Whether the consumer's connection bears the VM's name; nil while unknown, or where none can.
    var securityContext: SecurityContextStatus? { get }
    /// Whether windows can be made now.
    var isReady: Bool { get }
    /// Why there is no consumer, in words; nil while there is one or nothing went wrong yet.
    var trouble: String? { get }
    /// A word for the consumer in status and logs.
    var name: String { get }

    /// Takes a buffer over and starts its first import.
    func addBuffer(_ id: BufferID, _ memory: BufferMemory)
    /// Lets go of a buffer; its uses have ended.
    func forgetBuffer(_ id: BufferID)
    /// Reserves an image of a buffer for one use. Images serve one use at a time, so that a release
    /// always says which use it ends, also when a buffer is committed again while held.
    func reserveImage(_ use: UseID, of buffer: BufferID) -> ImageAnswer
    /// Gives back a reserved image that was never committed.
    func cancelImage(_ use: UseID)
    /// The memory of a buffer that was added; nil once it is forgotten.
    func memory(of buffer: BufferID) -> BufferMemory?
    /// Whether the pending acquire fence of a use that has its image may go to the consumer.
    func passesFence(of use: UseID) -> Bool
    /// Takes the pending acquire fence of such a use.
    func pass(_ fence: consuming OwnedDescriptor, with use: UseID)
    /// Whether releases are wanted as soon as there is a fence for them.
    var wantsReleaseFences: Bool { get set }
    /// The fence of the next `releasedWithFence`.
    func takeReleaseFence() -> OwnedDescriptor
    /// How the consumer says that it is done with a buffer, in the words of status.
    func releasePath(of buffer: BufferID) -> String

    /// How a buffer's pixels get to the consumer, in the words of status.
    func importPath(of buffer: BufferID) -> String

    /// Makes a window without content; `configured` follows.
    func createWindow(_ id: SurfaceID, _ properties: WindowProperties)
    /// Changes title, app id and limits.
    func updateWindow(_ id: SurfaceID, _ properties: WindowProperties)
    /// What of a window's properties could not be had, in words; nil when all could.
    func shortfall(of id: SurfaceID) -> String?
    /// Changes what happens to frames whose fence is pending, from the next frame on.
    ///
    /// - Parameter limit: how long one is waited for, nanoseconds.
    func setFences(_ policy: FencePolicy, limit: UInt64)
    /// Answers a configure.
    func acknowledge(_ id: SurfaceID, serial: UInt32)
    /// Commits a frame whose image is reserved; `frameCallback` and `released` follow.
    func commit(_ id: SurfaceID, _ frame: Frame)
    /// Commits without a new frame.
    func commitState(_ id: SurfaceID)
    /// The session's keyboard; nil when there is none.
    var keymap: KeymapRecord? { get }
    /// A copy of the descriptor that holds the keymap's text; the text cannot change.
    func copyKeymap() -> OwnedDescriptor
    /// Takes the window away; `windowGone` follows.
    func destroyWindow(_ id: SurfaceID)

    /// Descriptors of its own that are open: not those of buffers, nor of its graphics worker.
    var descriptors: Int { get }
    /// How a graphics worker of its own fares; nil when it needed none.
    var graphicsStatus: GraphicsWorkerStatus? { get }

    /// Hands the gathered events over and forgets them.
    func takeEvents(_ body: (PresenterEvent) -> Void)
    /// Sends what was gathered; called after each batch of events.
    func flush()
    /// Ends all: nothing is sent or reported any more.
    func shutDown()
}

/// A consumer that knows no fences: frames are held for theirs, and a release is one.
extension Presenter {
    package func memory(of buffer: BufferID) -> BufferMemory? { nil }
    package func passesFence(of use: UseID) -> Bool { false }
    package func pass(_ fence: consuming OwnedDescriptor, with use: UseID) {}
    package var wantsReleaseFences: Bool {
        get { false }
        set {}
    }
    package func takeReleaseFence() -> OwnedDescriptor { .none }
    package func releasePath(of buffer: BufferID) -> String { "message" }
}

/// A consumer without a seat.
extension Presenter {
    package var keymap: KeymapRecord? { nil }
    package func copyKeymap() -> OwnedDescriptor { .none }
}

/// A consumer that prefers nothing for a surface and has no device and no worker of its own.
extension Presenter {
    package func formats(for surface: SurfaceID) -> [ImportableFormat]? { nil }
    package var device: String? { nil }
    package var securityContext: SecurityContextStatus? { nil }
    package var graphicsStatus: GraphicsWorkerStatus? { nil }
    package func shortfall(of id: SurfaceID) -> String? { nil }
    package func setFences(_ policy: FencePolicy, limit: UInt64) {}
    package var descriptors: Int { 0 }
}
