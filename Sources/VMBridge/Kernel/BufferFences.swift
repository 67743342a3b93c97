import Descriptors
import Glibc

/// The fences that a dma-buf carries itself (implicit synchronisation), asked for without waiting
/// (Documentation/driver-api/dma-buf.rst).
package enum BufferFences {
    /// Whether somebody else's work stands against such access: one poll, which is all there is to it for
    /// a buffer that is idle. A dma-buf polls readable when its writers' fences have signalled, writable
    /// when all have.
    ///
    /// - Parameter access: `.read` waits for writers, `.write` for everybody.
    package static func isBusy(_ dmaBuf: Int32, for access: DMABufDirection) -> Bool {
        let events = access.contains(.write) ? POLLOUT : POLLIN
        var state = pollfd(fd: dmaBuf, events: Int16(events), revents: 0)
        return poll(&state, 1, 0) == 0
    }

    /// What a reader or a writer of any of these dma-bufs would have to wait for, as one sync_file; the
    /// caller's own. Of no dma-buf at all there is none, and the value holds no descriptor.
    ///
    /// - Parameters:
    ///   - access: `.read` waits for writers, `.write` for everybody.
    ///   - count: how many dma-bufs there are.
    ///   - descriptor: the number of each, lent.
    package static func gather(
        for access: DMABufDirection, _ count: Int, _ descriptor: (Int) -> Int32
    ) throws(KernelError) -> OwnedDescriptor {
        let kernel = LinuxKernelBuffers()
        var all = OwnedDescriptor.none
        for index in 0..<count {
            let one = try kernel.exportFence(dmaBuf: descriptor(index), for: access)
            if all.isValid {
                all = try kernel.merge(all.number, one.number)
            } else {
                all = one
            }
        }
        return all
    }
}
