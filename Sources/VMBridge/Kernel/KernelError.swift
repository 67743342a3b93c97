import CLinux

/// A system call that failed, with what it was about.
public struct KernelError: Error, Equatable, CustomStringConvertible {
    /// The call or the kernel's name of the request, `"bind"` or `"UDMABUF_CREATE"`.
    public let call: String
    /// The errno, positive.
    public let code: Int32
    /// What the call was made on (a path, a device), or empty.
    public let subject: String
    /// One sentence for people: why this happens or what helps. May be empty.
    public let advice: String

    /// A failure of `call` with the positive errno `code`.
    public init(_ call: String, _ code: Int32, subject: String = "", advice: String = "") {
        self.call = call
        self.code = code
        self.subject = subject
        self.advice = advice
    }

    /// `"bind /run/x.sock: Address already in use (EADDRINUSE): another process listens there"`.
    public var description: String {
        var text = subject.isEmpty ? call : "\(call) \(subject)"
        text += ": \(Self.text(of: code)) (\(Self.name(of: code)))"
        return advice.isEmpty ? text : "\(text): \(advice)"
    }

    /// The argument makes no sense to whoever was asked (`EINVAL`), or there is no such thing (`ENOENT`).
    static let invalid: Int32 = 22
    static let noEntry: Int32 = 2

    /// The symbolic name of an errno, `"EACCES"`; the number for one the C library does not know.
    public static func name(of code: Int32) -> String {
        // SAFETY: a static string of the C library.
        vmb_error_name(code).map { String(cString: $0) } ?? "errno \(code)"
    }

    /// The C library's (untranslated) words for an errno.
    public static func text(of code: Int32) -> String {
        // SAFETY: a static string of the C library.
        vmb_error_text(code).map { String(cString: $0) } ?? "unknown error"
    }
}

/// Throws the error of a shim's answer (its result, or the negated errno).
///
/// The strings are made on failure only.
@inline(__always)
@discardableResult
func check<Answer: SignedInteger>(
    _ answer: Answer, _ call: @autoclosure () -> String,
    subject: @autoclosure () -> String = "", advice: @autoclosure () -> String = ""
) throws(KernelError) -> Answer {
    guard answer < 0 else { return answer }
    throw KernelError(call(), Int32(-answer), subject: subject(), advice: advice())
}
