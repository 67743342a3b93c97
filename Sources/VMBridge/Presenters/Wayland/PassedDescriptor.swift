import Descriptors

extension OwnedDescriptor {
    /// Whether it can be duplicated now. libwayland does that with what a request passes, and loses the
    /// connection when it cannot.
    borrowing func canBePassed() -> Bool { duplicate().isValid }
}
