/// The words before the first message (D-Bus specification, "Authentication Protocol"): EXTERNAL, and descriptors.
///
/// Pure: lines in, words out.
public struct DBusAuthentication: Sendable {
    /// Which end this is.
    public enum Role: Sendable {
        /// Leaves it to the other end to find out who it is: in a user namespace our own number for that is another.
        case client
        /// Takes everybody, as who pretends to be QEMU does.
        case server
    }

    /// What a line led to.
    public enum Step: Equatable, Sendable {
        /// These are to be sent; more lines follow.
        case words(String)
        /// These are to be sent; messages follow.
        case done(String)
    }

    private enum State {
        case waitingForAcceptance
        case waitingForDescriptors
        case serving
    }

    /// A line's bytes, the most that are waited for.
    public static let lineLimit = 1024

    private let role: Role
    private var state: State

    /// Before the first word.
    public init(_ role: Role) {
        self.role = role
        if case .server = role { state = .serving } else { state = .waitingForAcceptance }
    }

    /// What is to be sent before anything comes.
    public var greeting: String {
        if case .client = role { "\0AUTH EXTERNAL\r\n" } else { "" }
    }

    /// Takes a line without its end. A server's first one begins with a zero byte, which may be left in.
    ///
    /// - Throws: `unsupported` when the other end turns us away or cannot pass descriptors, `malformed` for other words.
    public mutating func take(_ line: String) throws(Refusal) -> Step {
        let words = line.split(separator: " ")
        switch (state, words.first.map { String($0) } ?? "") {
        case (.waitingForAcceptance, "DATA"): return .words("DATA\r\n")
        case (.waitingForAcceptance, "OK"):
            state = .waitingForDescriptors
            return .words("NEGOTIATE_UNIX_FD\r\n")
        case (.waitingForAcceptance, "REJECTED"), (.waitingForAcceptance, "ERROR"):
            throw Refusal(.unsupported, "It did not let us in.")
        case (.waitingForDescriptors, "AGREE_UNIX_FD"): return .done("BEGIN\r\n")
        case (.waitingForDescriptors, "ERROR"):
            throw Refusal(.unsupported, "It passes no descriptors.")
        case (.serving, "AUTH"), (.serving, "\0AUTH"):
            return .words(words.count > 2 ? Self.acceptance : "DATA\r\n")
        case (.serving, "DATA"): return .words(Self.acceptance)
        case (.serving, "NEGOTIATE_UNIX_FD"): return .words("AGREE_UNIX_FD\r\n")
        case (.serving, "BEGIN"): return .done("")
        default:
            throw Refusal(
                .malformed, "“\(CleanText.clean(line))” is not how a connection of D-Bus begins.")
        }
    }

    private static let acceptance = "OK 0123456789abcdef0123456789abcdef\r\n"
}
