/// The functions of libsystemd.so.0 that are used here (systemd/sd-bus.h), opened when a D-Bus connection is first
/// wanted: hosts without the library run everything else.
final class SDBusLibrary: @unchecked Sendable {
    // UNSAFE (@unchecked): addresses of a library's functions, never changed.

    // UNSAFE: the library's objects are opaque to us: sd_bus, sd_bus_message, sd_bus_slot.
    typealias Bus = OpaquePointer
    typealias Message = OpaquePointer
    typealias Text = UnsafePointer<CChar>
    typealias Filter =
        @convention(c) (Message?, UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Int32

    typealias BusCall = @convention(c) (Bus) -> Int32
    typealias BusChoice = @convention(c) (Bus, Int32) -> Int32
    typealias Maker = @convention(c) (UnsafeMutablePointer<Bus?>) -> Int32
    typealias Named = @convention(c) (Message) -> Text?
    typealias MessageMaker = @convention(c) (Message, UnsafeMutablePointer<Message?>) -> Int32

    // Connections.
    let new: Maker
    let openUser: Maker
    let setDescriptors: @convention(c) (Bus, Int32, Int32) -> Int32
    // UNSAFE: sd_id128_t, a union of 16 bytes passed by value, travels as two 64-bit integers do, on x86_64 and aarch64.
    let setServer: @convention(c) (Bus, Int32, UInt64, UInt64) -> Int32
    let negotiateDescriptors: BusChoice
    let setBusClient: BusChoice
    let start: BusCall
    let descriptor: BusCall
    let events: BusCall
    let timeout: @convention(c) (Bus, UnsafeMutablePointer<UInt64>) -> Int32
    let process: @convention(c) (Bus, UnsafeMutablePointer<Message?>?) -> Int32
    let isReady: BusCall
    let close: @convention(c) (Bus) -> Void
    let unref: @convention(c) (Bus) -> Bus?
    let uniqueName: @convention(c) (Bus, UnsafeMutablePointer<Text?>) -> Int32
    let addFilter:
        @convention(c) (Bus, UnsafeMutablePointer<OpaquePointer?>?, Filter, UnsafeMutableRawPointer)
            -> Int32

    // Messages that we make.
    let methodCall:
        @convention(c) (Bus, UnsafeMutablePointer<Message?>, Text?, Text, Text, Text) -> Int32
    let methodReturn: MessageMaker
    let replyErrno: @convention(c) (Message, Int32, UnsafeRawPointer?) -> Int32
    let appendBasic: @convention(c) (Message, CChar, UnsafeRawPointer?) -> Int32
    let appendArray: @convention(c) (Message, CChar, UnsafeRawPointer?, Int) -> Int32
    let openContainer: @convention(c) (Message, CChar, Text) -> Int32
    let closeContainer: BusCall
    let send: @convention(c) (Bus, Message, UnsafeMutablePointer<UInt64>?) -> Int32

    // Messages that came.
    let messageRef: @convention(c) (Message) -> Message?
    let messageUnref: @convention(c) (Message) -> Message?
    let type: @convention(c) (Message, UnsafeMutablePointer<UInt8>) -> Int32
    let replyCookie: @convention(c) (Message, UnsafeMutablePointer<UInt64>) -> Int32
    let expectsReply: BusCall
    let path: Named
    let interface: Named
    let member: Named
    let sender: Named
    let hasSignature: @convention(c) (Message, Text) -> Int32
    let error: @convention(c) (Message) -> UnsafeRawPointer?
    let readBasic: @convention(c) (Message, CChar, UnsafeMutableRawPointer?) -> Int32
    let readArray:
        @convention(c) (
            Message, CChar, UnsafeMutablePointer<UnsafeRawPointer?>, UnsafeMutablePointer<Int>
        ) -> Int32
    let enterContainer: @convention(c) (Message, CChar, Text?) -> Int32
    let exitContainer: BusCall
    let skip: @convention(c) (Message, Text?) -> Int32
    let atEnd: @convention(c) (Message, Int32) -> Int32

    /// The library, opened once; nil when it is not there or too old.
    static let shared = SDBusLibrary()

    private init?() {
        guard let library = LoadedLibrary("libsystemd.so.0") else { return nil }
        struct Missing: Error {}
        func named<Function>(_ name: String) throws -> Function {
            guard let function = library.function("sd_bus_" + name, Function.self) else {
                throw Missing()
            }
            return function
        }
        do {
            new = try named("new")
            openUser = try named("open_user")
            setDescriptors = try named("set_fd")
            setServer = try named("set_server")
            negotiateDescriptors = try named("negotiate_fds")
            setBusClient = try named("set_bus_client")
            start = try named("start")
            descriptor = try named("get_fd")
            events = try named("get_events")
            timeout = try named("get_timeout")
            process = try named("process")
            isReady = try named("is_ready")
            close = try named("close")
            unref = try named("unref")
            uniqueName = try named("get_unique_name")
            addFilter = try named("add_filter")
            methodCall = try named("message_new_method_call")
            methodReturn = try named("message_new_method_return")
            replyErrno = try named("reply_method_errno")
            appendBasic = try named("message_append_basic")
            appendArray = try named("message_append_array")
            openContainer = try named("message_open_container")
            closeContainer = try named("message_close_container")
            send = try named("send")
            messageRef = try named("message_ref")
            messageUnref = try named("message_unref")
            type = try named("message_get_type")
            replyCookie = try named("message_get_reply_cookie")
            expectsReply = try named("message_get_expect_reply")
            path = try named("message_get_path")
            interface = try named("message_get_interface")
            member = try named("message_get_member")
            sender = try named("message_get_sender")
            hasSignature = try named("message_has_signature")
            error = try named("message_get_error")
            readBasic = try named("message_read_basic")
            readArray = try named("message_read_array")
            enterContainer = try named("message_enter_container")
            exitContainer = try named("message_exit_container")
            skip = try named("message_skip")
            atEnd = try named("message_at_end")
        } catch {
            return nil
        }
    }
}
