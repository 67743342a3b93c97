import CWayland

/// What a connection keeps for its proxies. Every proxy's tag points here.
///
/// libwayland's tag (1.18) is the one word of a proxy that is free beside the user data; it saves a
/// dictionary from proxies to connections.
final class ConnectionState {
    /// libwayland's outgoing buffer, and the most descriptors it holds (both 1.21).
    static let bufferBytes = 4096
    static let bufferDescriptors = 28

    /// Bytes and descriptors marshalled and not known to be sent.
    private(set) var pendingBytes = 0
    private(set) var pendingDescriptors = 0

    /// Handlers of cold interfaces, kept alive for their proxies' user data.
    private var handlers: [OpaquePointer: AnyObject] = [:]

    /// Follows what `wl_closure_send` does in libwayland 1.21: descriptors are queued first, and a
    /// full queue flushes; then the bytes, and what would not fit flushes. A flush that fails there
    /// is fatal, so after it the buffers were empty (or nothing matters any more).
    func note(bytes: Int, descriptors: Int) {
        for _ in 0..<descriptors {
            if pendingDescriptors == Self.bufferDescriptors { noteFlushed() }
            pendingDescriptors += 1
        }
        if pendingBytes + bytes > Self.bufferBytes { noteFlushed() }
        pendingBytes += bytes
    }

    func noteFlushed() {
        pendingBytes = 0
        pendingDescriptors = 0
    }

    func keep(_ handler: AnyObject, for proxy: OpaquePointer) { handlers[proxy] = handler }

    func forget(_ proxy: OpaquePointer) { handlers[proxy] = nil }

    /// Tags a proxy of this connection.
    func adopt(_ proxy: OpaquePointer) {
        let tag = UnsafeRawPointer(Unmanaged.passUnretained(self).toOpaque())
        wl_proxy_set_tag(proxy, tag.assumingMemoryBound(to: UnsafePointer<CChar>?.self))
    }

    /// The state of a proxy's connection; nil for a proxy that is not of these bindings.
    static func of(_ proxy: OpaquePointer) -> Unmanaged<ConnectionState>? {
        wl_proxy_get_tag(proxy).map { .fromOpaque(UnsafeRawPointer($0)) }
    }
}
