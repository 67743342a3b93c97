import CLinux
import Descriptors

/// The descriptors that came with one datagram: at most ``capacity``, stored inline, each with one owner.
///
/// What nobody took is closed when the bundle is reset or its life ends. Reuse one bundle for every
/// receive: nothing is allocated.
public struct DescriptorBundle: ~Copyable {
    /// The most descriptors a datagram may carry.
    public static var capacity: Int { Int(VMB_DESCRIPTOR_SLOTS) - 1 }

    // One slot more than a datagram may use, so that one too many is seen as such. Taken slots are -1.
    private var received = vmb_received()
    private let reaper: DescriptorReaper?

    /// An empty bundle that closes in place: for descriptors of known kinds.
    public init() { reaper = nil }

    /// An empty bundle for whatever a peer sends: what nobody takes goes to the reaper.
    package init(reaper: DescriptorReaper) { self.reaper = reaper }

    deinit {
        for index in 0..<Int(received.count) {
            Self.close(Self.number(in: received, at: index), reaper)
        }
    }

    private static func close(_ number: Int32, _ reaper: DescriptorReaper?) {
        let descriptor = OwnedDescriptor(owning: number)
        if let reaper { reaper.close(descriptor) }
    }

    /// How many descriptors came; taking one does not change it.
    public var count: Int { Int(received.count) }

    /// The number at `index`, lent, or nil if it was taken or never came.
    public func number(at index: Int) -> Int32? {
        guard index >= 0, index < count else { return nil }
        let number = Self.number(in: received, at: index)
        return number < 0 ? nil : number
    }

    /// Hands over the descriptor at `index`; nil the second time and for an index that never came.
    public mutating func take(_ index: Int) -> OwnedDescriptor? {
        guard let number = number(at: index) else { return nil }
        set(index, to: -1)
        return OwnedDescriptor(owning: number)
    }

    /// Closes what was not taken; the bundle is empty and can be used again.
    public mutating func reset() {
        for index in 0..<count {
            guard let number = number(at: index) else { continue }
            set(index, to: -1)
            Self.close(number, reaper)
        }
        received.count = 0
    }

    /// Adds a descriptor as if it had come with a datagram (replays, tests); false and closed when the bundle is full.
    package mutating func append(_ descriptor: consuming OwnedDescriptor) -> Bool {
        guard count < Self.capacity, descriptor.isValid else { return false }
        let index = count
        received.count += 1
        set(index, to: descriptor.release())
        return true
    }

    /// Lets the receiving shim fill the slots; the bundle must be empty. Returns the shim's answer and the message's flags.
    mutating func fill(
        _ body: (UnsafeMutablePointer<vmb_received>) -> Int64
    ) -> (answer: Int64, flags: Int32) {
        let answer = body(&received)
        return (answer, received.flags)
    }

    // UNSAFE: a C array is imported as a tuple; it is reached as the array that it is in memory. Both callers checked the index
    // against `count`, which the kernel's control buffer bounds to the tuple's length.
    private static func number(in received: vmb_received, at index: Int) -> Int32 {
        withUnsafeBytes(of: received.descriptors) {
            $0.load(fromByteOffset: index * MemoryLayout<Int32>.stride, as: Int32.self)
        }
    }

    private mutating func set(_ index: Int, to number: Int32) {
        withUnsafeMutableBytes(of: &received.descriptors) {
            $0.storeBytes(
                of: number, toByteOffset: index * MemoryLayout<Int32>.stride, as: Int32.self)
        }
    }
}
