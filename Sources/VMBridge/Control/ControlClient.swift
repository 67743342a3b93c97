import Descriptors
import Glibc
import VMBridgeCore

/// Why a client did not get what it asked for.
package enum ControlClientError: Error, Equatable, CustomStringConvertible {
    /// Nobody listens at the path; nil: there is no runtime directory to look in.
    case notRunning(path: String?)
    /// The socket is there, and not for us.
    case forbidden(path: String)
    /// The bridge has fulfilled nothing and says why.
    case refused(code: String, sentence: String)
    /// What came is not the protocol, or another version of it.
    case notUnderstood(String)
    /// The bridge has ended or closed the connection.
    case ended
    /// Nothing came for too long.
    case silent
    /// A system call failed.
    case kernel(KernelError)

    /// One sentence.
    package var description: String {
        switch self {
        case .notRunning(let path?):
            "no vm-bridge is running: nobody listens at \(path). Start one with “vm-bridge run”, or name its control socket with --socket."
        case .notRunning(nil):
            "XDG_RUNTIME_DIR is not set, so there is no usual control socket: name one with --socket."
        case .forbidden(let path): "no right to use the control socket \(path)"
        case .refused(_, let sentence): sentence
        case .notUnderstood(let what): "the answer makes no sense: \(what)"
        case .ended: "the bridge has ended"
        case .silent: "the bridge does not answer"
        case .kernel(let error): "\(error)"
        }
    }
}

/// The other end of a control socket, for programs that may wait: every call does.
package final class ControlClient {
    private let socket: StreamSocket
    private var input: [UInt8] = []
    private var start = 0
    private var chunk = [UInt8](repeating: 0, count: 64 * 1024)
    private var bundle = DescriptorBundle()
    /// Events that came before a reply.
    private var early: [JSONValue] = []
    /// How long a reply may take, milliseconds.
    package var patience: Int32

    /// The bridge's process.
    package private(set) var process: UInt64 = 0
    /// The bridge's name and version.
    package private(set) var program = ""

    /// Connects and reads the greeting.
    ///
    /// - Parameters:
    ///   - path: of the socket; nil for the usual one.
    ///   - patience: how long the greeting and a reply may take, milliseconds.
    package init(path: String? = nil, patience: Int32 = 30_000) throws(ControlClientError) {
        self.patience = patience
        guard let path = path ?? ControlPath.usual else { throw .notRunning(path: nil) }
        socket = try Self.connect(path)
        let greeting = try line(milliseconds: patience)
        guard let greeting else { throw .silent }
        if let error = Self.refusal(in: greeting) { throw error }
        guard let version = greeting["version"]?.count else {
            throw .notUnderstood("it does not greet as a vm-bridge does")
        }
        guard version == ControlProtocol.version else {
            throw .notUnderstood(
                "it speaks version \(version), this program \(ControlProtocol.version)")
        }
        process = greeting["pid"]?.count ?? 0
        program = greeting["program"]?.text ?? ""
    }

    private static func connect(_ path: String) throws(ControlClientError) -> StreamSocket {
        for _ in 0..<100 {
            do throws(KernelError) {
                return try StreamSocket(connectingTo: path)
            } catch {
                switch error.code {
                case ENOENT, ENOTDIR, ECONNREFUSED: throw .notRunning(path: path)
                case EACCES, EPERM: throw .forbidden(path: path)
                // Its queue is full for a moment.
                case EAGAIN: usleep(20_000)
                default: throw .kernel(error)
                }
            }
        }
        throw .silent
    }

    /// The socket's number, lent: to be watched beside others for `nextEvent`.
    package var number: Int32 { socket.number }

    /// Asks, and waits for the reply.
    ///
    /// - Parameter descriptor: lent; goes along with the request.
    /// - Returns: the whole reply.
    /// - Throws: `.refused` when the bridge said no.
    @discardableResult
    package func ask(
        _ request: ControlRequest, descriptor: Int32? = nil
    ) throws(ControlClientError) -> JSONValue {
        try send(request.value().line + "\n", descriptor: descriptor)
        while true {
            guard let value = try line(milliseconds: patience) else { throw .silent }
            if value["event"] != nil {
                early.append(value)
                continue
            }
            if let error = Self.refusal(in: value) { throw error }
            guard value["ok"]?.truth == true else { throw .notUnderstood("a reply without “ok”") }
            return value
        }
    }

    /// The next event of a stream that was asked for.
    ///
    /// - Parameter milliseconds: to wait at most; -1 for ever.
    /// - Returns: nil when none came in time.
    package func nextEvent(milliseconds: Int32 = -1) throws(ControlClientError) -> JSONValue? {
        if !early.isEmpty { return early.removeFirst() }
        return try line(milliseconds: milliseconds)
    }

    /// Sends a text as it is.
    package func send(_ text: String, descriptor: Int32? = nil) throws(ControlClientError) {
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            switch socket.send(bytes, from: done, descriptor: done == 0 ? descriptor : nil) {
            case .sent(let count): done += count
            case .wouldBlock:
                guard socket.wait(toSend: true, milliseconds: patience) else { throw .silent }
            case .closed:
                // Its last words may say why.
                let said = try? line(milliseconds: 0)
                if let said, let error = Self.refusal(in: said) { throw error }
                throw .ended
            case .failed(let code): throw .kernel(KernelError("sendmsg", code))
            }
        }
    }

    private static func refusal(in value: JSONValue) -> ControlClientError? {
        guard value["ok"]?.truth == false else { return nil }
        return .refused(
            code: value["error"]?.text ?? "", sentence: value["sentence"]?.text ?? "it said no")
    }

    /// The next line as a value; nil when none came in time.
    package func line(milliseconds: Int32) throws(ControlClientError) -> JSONValue? {
        let end = MonotonicClock.now() + UInt64(max(milliseconds, 0)) * 1_000_000
        var searched = start
        while true {
            if let found = input[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                let bytes = input[start..<found]
                start = found + 1
                return try Self.value(bytes)
            }
            input.removeFirst(start)
            start = 0
            searched = input.count
            switch socket.receive(into: &chunk, descriptors: &bundle) {
            case .bytes(let count): input += chunk[..<count]
            case .wouldBlock:
                var left: Int32 = -1
                if milliseconds >= 0 {
                    let now = MonotonicClock.now()
                    left = now < end ? Int32((end - now + 999_999) / 1_000_000) : 0
                }
                guard socket.wait(milliseconds: left) else { return nil }
            case .closed: throw .ended
            case .failed(let code): throw .kernel(KernelError("recvmsg", code))
            }
        }
    }

    private static func value(_ bytes: ArraySlice<UInt8>) throws(ControlClientError) -> JSONValue {
        do throws(JSONError) {
            return try JSONValue(parsing: bytes)
        } catch {
            throw .notUnderstood("\(error)")
        }
    }
}
