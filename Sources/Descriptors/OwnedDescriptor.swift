import Glibc

/// The one owner of one file descriptor; closes it when the value's life ends.
///
/// Handing a descriptor over consumes the value, so a double close or a use after closing does not
/// compile. A value that holds no descriptor (``none``, or one made from a negative number, as
/// failed system calls return) closes nothing.
public struct OwnedDescriptor: ~Copyable {
    /// The descriptor's number, lent: valid only while this value lives. Negative when there is none.
    public let number: Int32

    /// Takes over `number`; nobody else may close it from now on.
    public init(owning number: Int32) { self.number = number }

    /// A value that holds no descriptor.
    public static var none: OwnedDescriptor { OwnedDescriptor(owning: -1) }

    /// Whether there is a descriptor.
    public var isValid: Bool { number >= 0 }

    /// Gives the number to a new owner outside this type (a C function that closes it, for instance).
    public consuming func release() -> Int32 {
        let released = number
        discard self
        return released
    }

    /// A second descriptor of the same open file, close-on-exec, with its own owner.
    ///
    /// Not valid when the kernel refused (`EMFILE`, or there is nothing to duplicate); `errno` says why.
    public func duplicate() -> OwnedDescriptor {
        OwnedDescriptor(owning: fcntl(number, F_DUPFD_CLOEXEC, 0))
    }

    // After close(2) the number is free even if it reports EINTR (Linux), so it is never repeated.
    deinit { if number >= 0 { _ = close(number) } }
}
