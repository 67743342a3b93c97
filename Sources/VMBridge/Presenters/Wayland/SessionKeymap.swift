import Descriptors
import VMBridgeCore

/// The keymap of one keyboard, in memory of ours that nobody can change: producers get a copy of its
/// descriptor.
final class SessionKeymap {
    /// What is kept at most; those of known layouts have some 60 KiB.
    static let mostBytes = 1 << 20

    private let file: OwnedDescriptor
    /// Bytes of the text, its final zero included.
    let size: UInt32

    /// Takes what wl_keyboard.keymap tells over; nil when it is none, or not to be read.
    ///
    /// - Parameters:
    ///   - descriptor: the compositor's; closed when this returns.
    ///   - size: bytes by its word. That the last one is zero is not relied on.
    init?(_ descriptor: consuming OwnedDescriptor, size: UInt32) {
        guard size > 0, Int(size) <= Self.mostBytes,
            var text = SharedFile.contents(of: descriptor, count: Int(size))
        else { return nil }
        if let end = text.firstIndex(of: 0) { text.removeSubrange(end...) }
        guard !text.isEmpty else { return nil }
        text.append(0)
        do throws(KernelError) {
            file = try MemoryFile.create(
                name: "vm-bridge-keymap", holding: text, seals: [.write, .shrink, .grow, .seal])
        } catch { return nil }
        self.size = UInt32(text.count)
    }

    /// Another descriptor of the text; not valid when there is none to be had.
    func copy() -> OwnedDescriptor { file.duplicate() }

    /// Whether two have the same text.
    func isSame(as other: SessionKeymap) -> Bool {
        guard size == other.size, let text = SharedFile.contents(of: copy(), count: Int(size))
        else { return false }
        return text == SharedFile.contents(of: other.copy(), count: Int(size))
    }
}
