import Descriptors
import Glibc

/// What reading a dma-buf with the CPU asks of the kernel, without ever waiting. Tests put something
/// else in its place, since a memfd that stands in for a dma-buf knows none of it.
package protocol BufferAccess {
    /// Whether somebody still writes into it, by its implicit fences: beginning to read would wait.
    func isBusy(_ dmaBuf: Int32) -> Bool
    /// What becomes readable when it is no longer busy; the caller's own.
    func watchable(_ dmaBuf: Int32) -> OwnedDescriptor
    /// Begins to read; only what is not busy.
    func begin(_ dmaBuf: Int32) throws(KernelError)
    /// Has read.
    func end(_ dmaBuf: Int32)
}

/// The running kernel: a dma-buf polls readable once its writers' fences have signalled
/// (Documentation/driver-api/dma-buf.rst, "Implicit Fence Poll Support").
package struct LinuxBufferAccess: BufferAccess {
    package init() {}

    package func isBusy(_ dmaBuf: Int32) -> Bool {
        BufferFences.isBusy(dmaBuf, for: .read)
    }

    /// A duplicate: planes may share a descriptor, and the loop watches each number once.
    package func watchable(_ dmaBuf: Int32) -> OwnedDescriptor {
        let lent = OwnedDescriptor(owning: dmaBuf)
        let own = lent.duplicate()
        _ = lent.release()
        return own
    }

    /// `DMA_BUF_IOCTL_SYNC` waits for fences, and whoever holds the dma-buf may attach one after
    /// `isBusy` was asked: the loop must not make that call. What it would add is the cache work for
    /// devices that do not snoop the processor's caches. x86 has next to none, and there it is left
    /// out; elsewhere pixels could be stale without it (docs/limits.md).
    package func begin(_ dmaBuf: Int32) throws(KernelError) {
        #if !arch(x86_64)
            try LinuxKernelBuffers().synchronize(dmaBuf: dmaBuf, .begin(.read))
        #endif
    }

    package func end(_ dmaBuf: Int32) {
        #if !arch(x86_64)
            // The end of reading waits for nothing; when it fails, the buffer is no worse for it.
            try? LinuxKernelBuffers().synchronize(dmaBuf: dmaBuf, .end(.read))
        #endif
    }
}
