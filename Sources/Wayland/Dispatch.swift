import CWayland
import Descriptors

/// Keeps the closure of a cold interface's object.
final class EventHandler<Event: ~Copyable> {
    let handle: (consuming Event) -> Void
    init(_ handle: @escaping (consuming Event) -> Void) { self.handle = handle }
}

/// Brings events to their receivers; used by generated code only.
///
/// libwayland calls a dispatcher with the demarshalled arguments. Descriptors among them belong to
/// the dispatcher from then on, taken or not.
enum Dispatch {
    typealias Function =
        @convention(c) (
            UnsafeRawPointer?, UnsafeMutableRawPointer?, UInt32, UnsafePointer<wl_message>?,
            UnsafeMutablePointer<wl_argument>?
        ) -> Int32

    static func setTarget(
        _ target: HotEventTarget?, of proxy: OpaquePointer, _ function: Function
    ) {
        install(target.map { Unmanaged.passUnretained($0).toOpaque() }, on: proxy, function)
    }

    static func setHandler<Event: ~Copyable>(
        _ handler: @escaping (consuming Event) -> Void, of proxy: OpaquePointer,
        _ function: Function
    ) {
        let kept = EventHandler<Event>(handler)
        guard let state = ConnectionState.of(proxy) else {
            preconditionFailure("a proxy that these bindings have not made")
        }
        install(Unmanaged.passUnretained(kept).toOpaque(), on: proxy, function)
        state._withUnsafeGuaranteedRef { $0.keep(kept, for: proxy) }
    }

    /// The dispatcher can be set once, the user data at any time.
    private static func install(
        _ data: UnsafeMutableRawPointer?, on proxy: OpaquePointer, _ function: Function
    ) {
        guard wl_proxy_get_listener(proxy) == nil else {
            wl_proxy_set_user_data(proxy, data)
            return
        }
        // The second pointer only marks the proxy as taken.
        let mark = UnsafeRawPointer(InterfaceTables.table(0))
        _ = wl_proxy_add_dispatcher(proxy, function, mark, data)
    }

    @inline(__always)
    static func with(_ user: UnsafeMutableRawPointer, _ body: (HotEventTarget) -> Void) {
        Unmanaged<HotEventTarget>.fromOpaque(user)._withUnsafeGuaranteedRef(body)
    }

    static func deliver<Event: ~Copyable>(_ event: consuming Event, to proxy: OpaquePointer) {
        guard let user = wl_proxy_get_user_data(proxy) else { return }
        // Retained for the call: the handler may destroy its object, and itself with it.
        let handler = Unmanaged<EventHandler<Event>>.fromOpaque(user).takeUnretainedValue()
        handler.handle(event)
    }

    /// An object that an event brought: now of the same connection as the sender.
    static func adopt(_ object: OpaquePointer?, from sender: OpaquePointer) -> OpaquePointer? {
        guard let object else { return nil }
        ConnectionState.of(sender)?._withUnsafeGuaranteedRef { $0.adopt(object) }
        return object
    }

    /// Text from the compositor; invalid UTF-8 is repaired.
    static func string(_ characters: UnsafePointer<CChar>?) -> String {
        characters.map { String(cString: $0) } ?? ""
    }

    static func optionalString(_ characters: UnsafePointer<CChar>?) -> String? {
        characters.map { String(cString: $0) }
    }

    /// A copy of an array's whole elements; a rest of bytes at the end is left out.
    static func array<Element: BitwiseCopyable>(
        _ array: UnsafeMutablePointer<wl_array>?, of type: Element.Type
    ) -> [Element] {
        guard let array, let data = array.pointee.data else { return [] }
        let stride = MemoryLayout<Element>.stride
        return (0..<array.pointee.size / stride).map {
            data.loadUnaligned(fromByteOffset: $0 * stride, as: Element.self)
        }
    }

    /// An array of words where libwayland has it, valid during the event. libwayland keeps arrays
    /// at multiples of four bytes.
    static func words(_ array: UnsafeMutablePointer<wl_array>?) -> UnsafeBufferPointer<UInt32> {
        guard let array, let data = array.pointee.data else {
            return UnsafeBufferPointer(start: nil, count: 0)
        }
        return UnsafeBufferPointer(
            start: data.assumingMemoryBound(to: UInt32.self), count: array.pointee.size / 4)
    }
}
