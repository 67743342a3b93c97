import CWayland

/// Sends requests; used by generated code only.
enum Marshal {
    /// The longest string put into a message: a message has at most 4096 bytes, and the rest of any
    /// request with a string is far below 96.
    static let longestString = 4000

    /// `WL_MARSHAL_FLAG_DESTROY`, which has a shift in it and is not imported.
    private static let destroyFlag: UInt32 = 1

    @inline(__always)
    static func send(
        _ proxy: OpaquePointer, opcode: UInt32, bytes: Int, descriptors: Int,
        arguments: UnsafeMutablePointer<wl_argument>?
    ) {
        ConnectionState.of(proxy)?._withUnsafeGuaranteedRef {
            $0.note(bytes: bytes, descriptors: descriptors)
        }
        _ = wl_proxy_marshal_array_flags(
            proxy, opcode, nil, wl_proxy_get_version(proxy), 0, arguments)
    }

    static func destroy(
        _ proxy: OpaquePointer, opcode: UInt32, bytes: Int, descriptors: Int,
        arguments: UnsafeMutablePointer<wl_argument>?
    ) {
        ConnectionState.of(proxy)?._withUnsafeGuaranteedRef {
            $0.note(bytes: bytes, descriptors: descriptors)
            $0.forget(proxy)
        }
        _ = wl_proxy_marshal_array_flags(
            proxy, opcode, nil, wl_proxy_get_version(proxy), destroyFlag, arguments)
    }

    static func create(
        _ proxy: OpaquePointer, opcode: UInt32, bytes: Int, descriptors: Int,
        arguments: UnsafeMutablePointer<wl_argument>?, interface: Int, version: UInt32? = nil
    ) -> OpaquePointer {
        let state = ConnectionState.of(proxy)
        state?._withUnsafeGuaranteedRef { $0.note(bytes: bytes, descriptors: descriptors) }
        let created = wl_proxy_marshal_array_flags(
            proxy, opcode, InterfaceTables.table(interface),
            version ?? wl_proxy_get_version(proxy), 0, arguments)
        // libwayland makes the object even on a lost connection; without memory there is no way on.
        guard let created else { fatalError("out of memory for a Wayland object") }
        state?._withUnsafeGuaranteedRef { $0.adopt(created) }
        return created
    }

    static func forget(_ proxy: OpaquePointer) {
        ConnectionState.of(proxy)?._withUnsafeGuaranteedRef { $0.forget(proxy) }
    }

    /// A string or array argument, lent for the call, and its bytes beyond the length word.
    struct Slot {
        let argument: wl_argument
        let bytes: Int
    }

    static func withString<Result>(_ text: String, _ body: (Slot) -> Result) -> Result {
        let utf8 = text.utf8
        if utf8.count > longestString {
            var end = utf8.index(utf8.startIndex, offsetBy: longestString)
            while end.samePosition(in: text.unicodeScalars) == nil { end = utf8.index(before: end) }
            return withString(String(text[..<end]), body)
        }
        return text.withCString { characters in
            body(Slot(argument: wl_argument(s: characters), bytes: padded(utf8.count + 1)))
        }
    }

    static func withString<Result>(_ text: String?, _ body: (Slot) -> Result) -> Result {
        guard let text else { return body(Slot(argument: wl_argument(s: nil), bytes: 0)) }
        return withString(text, body)
    }

    static func withBytes<Result>(_ bytes: [UInt8], _ body: (Slot) -> Result) -> Result {
        bytes.withUnsafeBytes { buffer in
            // libwayland only reads an array that is sent.
            var array = wl_array(
                size: buffer.count, alloc: 0,
                data: UnsafeMutableRawPointer(mutating: buffer.baseAddress))
            return withUnsafeMutablePointer(to: &array) { pointer in
                body(Slot(argument: wl_argument(a: pointer), bytes: padded(buffer.count)))
            }
        }
    }

    /// Sizes on the wire are multiples of four.
    static func padded(_ count: Int) -> Int { (count + 3) & ~3 }
}
