import CWayland
import Descriptors
import Glibc

/// One connection to a compositor.
///
/// Everything of it belongs to one thread. Nothing here waits, but for ``roundtrip()``. A turn of
/// an event loop, in this order:
///
/// 1. `dispatchAndPrepareRead()`
/// 2. `flush()`; after `.blocked` wait for the descriptor to be writable too, and flush again then
/// 3. wait for `fileDescriptor` to be readable (level-triggered)
/// 4. readable: `readEvents()`, otherwise `cancelRead()`; every successful `prepareRead()` needs
///    exactly one of the two
/// 5. `dispatchPending()`
///
/// **Back-pressure.** libwayland 1.21 collects requests in 4096 bytes and 28 descriptors. When a
/// request does not fit, it sends all of it at once; if the socket takes nothing (the compositor
/// has not read some 200 kB), that request and the whole connection are lost with `EAGAIN` as the
/// error, for ever. (Later versions let the buffer grow instead.) So: before each group of requests
/// call ``reserve(bytes:descriptors:)`` and put the group off when it says `.blocked`. Between
/// reserving and the end of the group the requests must stay within what was reserved.
/// Marshalling also duplicates every descriptor: with none free (`EMFILE`) the connection is lost.
public final class WaylandConnection {
    /// What became of sending.
    public enum FlushOutcome: Equatable, Sendable {
        /// All requests are on their way.
        case done
        /// The socket is full: try again when it is writable. Nothing is lost.
        case blocked
        /// The connection is lost, with this errno. After `EPIPE` the reason may still lie in the
        /// socket: read and dispatch once more, then ask ``failure``.
        case lost(Int32)
    }

    /// What became of receiving or dispatching.
    public enum Outcome: Equatable, Sendable {
        /// How many events were dispatched (0 after reading).
        case done(Int)
        /// The connection is lost; ``failure`` says why.
        case lost(Int32)
    }

    /// Why a connection was lost.
    public enum Failure: Equatable, Sendable {
        /// The compositor found fault with a request. `interface` is nil if the object is gone
        /// already; `code` is a value of that interface's `ErrorCode`.
        case protocolError(interface: String?, object: UInt32, code: UInt32)
        /// A system error (`EPIPE`, `ECONNRESET`: the compositor is gone; `EAGAIN`: requests were
        /// marshalled into a full socket; `EMFILE`).
        case system(Int32)
    }

    private let pointer: OpaquePointer
    private let state = ConnectionState()

    /// Takes over a connected stream socket. Nothing is sent yet.
    ///
    /// - Throws: when there is no memory.
    public static func connect(
        to socket: consuming OwnedDescriptor
    ) throws(WaylandConnectError) -> WaylandConnection {
        guard socket.isValid else { throw .badDescriptor }
        // libwayland owns the descriptor from here on, and closes it if it fails.
        guard let pointer = wl_display_connect_to_fd(socket.release()) else { throw .noMemory }
        return WaylandConnection(pointer)
    }

    private init(_ pointer: OpaquePointer) {
        self.pointer = pointer
        state.adopt(pointer)
    }

    // Handlers that were not taken back end here; they must not touch their objects in a deinit.
    deinit { wl_display_disconnect(pointer) }

    /// The display object. It must not be destroyed.
    public var display: WlDisplay { WlDisplay(proxy: pointer) }

    /// The socket, for polling only. Lent.
    public var fileDescriptor: Int32 { wl_display_get_fd(pointer) }

    /// Dispatches what is there and announces a read: `.done` promises that ``readEvents()`` or
    /// ``cancelRead()`` may, and must, follow.
    public func dispatchAndPrepareRead() -> Outcome {
        var total = 0
        while !prepareRead() {
            // A lost connection keeps its undispatched events for ever.
            guard case .done(let count) = dispatchPending() else { return dispatchPending() }
            total += count
        }
        return .done(total)
    }

    /// Announces a read. False if there are events to dispatch first; on a lost connection that
    /// may stay so, see ``dispatchAndPrepareRead()``.
    public func prepareRead() -> Bool { wl_display_prepare_read(pointer) == 0 }

    /// Takes a prepared read back.
    public func cancelRead() { wl_display_cancel_read(pointer) }

    /// Reads what the socket has, after ``prepareRead()``; dispatches nothing.
    public func readEvents() -> Outcome {
        wl_display_read_events(pointer) < 0 ? .lost(errno) : .done(0)
    }

    /// Calls the receivers of the events read so far.
    @discardableResult
    public func dispatchPending() -> Outcome {
        let count = wl_display_dispatch_pending(pointer)
        return count < 0 ? .lost(errno) : .done(Int(count))
    }

    /// Sends what was marshalled, as far as the socket takes it.
    public func flush() -> FlushOutcome {
        if wl_display_flush(pointer) >= 0 {
            state.noteFlushed()
            return .done
        }
        let reason = errno
        // Once the connection has failed with EAGAIN (see above), flushing repeats that errno.
        if reason == EAGAIN, wl_display_get_error(pointer) == 0 { return .blocked }
        return .lost(reason)
    }

    /// Bytes marshalled and not known to be sent; never too low with libwayland 1.21.
    public var pendingBytes: Int { state.pendingBytes }

    /// Descriptors marshalled and not known to be sent; never too low with libwayland 1.21.
    public var pendingDescriptors: Int { state.pendingDescriptors }

    /// Makes room for a group of requests: `.done` promises that they can be marshalled without
    /// losing the connection to a full socket. Flushes only when the room is not there already.
    ///
    /// - Parameters:
    ///   - bytes: what the group needs, at most 4096. A frame's requests take about 250.
    ///   - descriptors: how many the group passes, at most 28.
    public func reserve(bytes: Int = 1024, descriptors: Int = 8) -> FlushOutcome {
        precondition(
            bytes <= ConnectionState.bufferBytes
                && descriptors <= ConnectionState.bufferDescriptors,
            "no buffer has room for that")
        let error = wl_display_get_error(pointer)
        if error != 0 { return .lost(error) }
        if state.pendingBytes + bytes <= ConnectionState.bufferBytes,
            state.pendingDescriptors + descriptors <= ConnectionState.bufferDescriptors
        {
            return .done
        }
        return flush()
    }

    /// Why the connection is lost; nil while it is not.
    public var failure: Failure? {
        let error = wl_display_get_error(pointer)
        guard error != 0 else { return nil }
        var interface: UnsafePointer<wl_interface>?
        var object: UInt32 = 0
        let code = wl_display_get_protocol_error(pointer, &interface, &object)
        // Errors of the display itself are reported as other errnos than EPROTO.
        guard error == EPROTO || interface != nil else { return .system(error) }
        return .protocolError(
            interface: (interface?.pointee.name).map { String(cString: $0) }, object: object,
            code: code)
    }

    /// Asks for a callback when the compositor has handled all requests so far. Set its target.
    public func sync() -> WlCallback { display.sync() }

    /// Sends, waits for the compositor's answer to everything sent, dispatching what comes. It
    /// blocks: for tests and start-up tools only, never in the loop.
    public func roundtrip() -> Outcome {
        let count = wl_display_roundtrip(pointer)
        if count < 0 { return .lost(errno) }
        state.noteFlushed()
        return .done(Int(count))
    }
}
