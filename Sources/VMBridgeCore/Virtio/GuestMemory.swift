/// A run of guest-physical memory as a guest names it; nothing says that it is RAM.
package struct GuestRange: Hashable, Sendable {
    /// Guest-physical address of the first byte.
    package var address: UInt64
    /// Bytes; with `address` it does not reach past 2⁶⁴ (checked on entry).
    package var length: UInt64

    /// A run of bytes.
    package init(address: UInt64, length: UInt64) {
        self.address = address
        self.length = length
    }
}

/// Access to a guest's RAM by guest-physical address. The guest writes to it at the same time: what was read is a
/// copy, and is read once.
///
/// Every call checks its whole range first: false or nil says that a byte of it is not RAM, and nothing was done then.
package protocol GuestMemory: AnyObject {
    /// Appends a copy of `count` bytes.
    func read(_ address: UInt64, count: Int, into bytes: inout [UInt8]) -> Bool
    /// Writes all of `bytes`.
    func write(_ bytes: ArraySlice<UInt8>, at address: UInt64) -> Bool
    /// Loads a little-endian number at an even address, with acquire ordering.
    func load16(_ address: UInt64) -> UInt16?
    /// Stores a little-endian number at an even address, with release ordering.
    func store16(_ value: UInt16, at address: UInt64) -> Bool
    /// A full memory barrier: stores before it are seen by the guest before loads after it are made.
    func fence()
}
