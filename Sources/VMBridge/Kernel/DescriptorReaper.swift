import CLinux
import Descriptors
import Glibc

/// Closes descriptors that a peer sent and nobody wants, on a thread of its own: the last close of a
/// file can wait for its sender (a FUSE daemon's flush, a TCP socket that lingers), and the loop must
/// not.
///
/// Numbers go to the thread through a pipe. A full one (16,384 numbers) closes in place instead.
package final class DescriptorReaper {
    private let entrance: OwnedDescriptor

    /// Starts the thread; it ends with this object, once all handed over is closed.
    package init() throws(KernelError) { entrance = try Self.start() }

    /// Makes the pipe and the thread at its end; hands over the end that is written to.
    private static func start() throws(KernelError) -> OwnedDescriptor {
        var ends: (Int32, Int32) = (-1, -1)
        // UNSAFE: a pair of Int32 has the layout of int[2].
        let made = withUnsafeMutablePointer(to: &ends) {
            $0.withMemoryRebound(to: Int32.self, capacity: 2) { vmb_pipe($0) }
        }
        try check(made, "pipe2")
        let entrance = OwnedDescriptor(owning: ends.1)
        // The thread's own end stays as it is: its reads are meant to wait.
        try check(vmb_fcntl(entrance.number, VMB_F_SETFL, Int(VMB_O_NONBLOCK)), "F_SETFL")
        var thread = pthread_t()
        // UNSAFE: the other end's number travels as the pointer's bits; no memory is behind it.
        let exit = UnsafeMutableRawPointer(bitPattern: Int(ends.0) + 1)
        let code = pthread_create(&thread, nil, { DescriptorReaper.close(from: $0) }, exit)
        guard code == 0 else {
            _ = OwnedDescriptor(owning: ends.0)
            throw KernelError("pthread_create", code)
        }
        pthread_detach(thread)
        return entrance
    }

    /// Closes the descriptor soon.
    package func close(_ descriptor: consuming OwnedDescriptor) {
        guard descriptor.isValid else { return }
        var number = descriptor.number
        // UNSAFE: four bytes of a local value; a write this short is whole or not at all.
        let written = withUnsafeBytes(of: &number) {
            write(entrance.number, $0.baseAddress, $0.count)
        }
        // What the thread has not taken over closes here, with the value.
        if written == MemoryLayout<Int32>.size { _ = descriptor.release() }
    }

    private static func close(from argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        let exit = OwnedDescriptor(owning: Int32(Int(bitPattern: argument) - 1))
        var number: Int32 = -1
        while true {
            let count = withUnsafeMutableBytes(of: &number) {
                read(exit.number, $0.baseAddress, $0.count)
            }
            if count < 0 && errno == EINTR { continue }
            guard count == MemoryLayout<Int32>.size else { return nil }
            _ = OwnedDescriptor(owning: number)
        }
    }
}
