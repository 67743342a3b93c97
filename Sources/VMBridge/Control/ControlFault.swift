/// Why a request was not fulfilled: a word for programs and a sentence for people.
package struct ControlFault: Error, Equatable, Sendable, CustomStringConvertible {
    /// The words, as they stand in replies; docs/control.md says what each means.
    package enum Code: String, Sendable, CaseIterable {
        case malformed
        case version
        case unknownRequest = "unknown_request"
        case badMember = "bad_member"
        case noSuchVM = "no_such_vm"
        case noSuchSurface = "no_such_surface"
        case noPicture = "no_picture"
        case noDescriptor = "no_descriptor"
        case cannotWrite = "cannot_write"
        case failed
        case lineTooLong = "line_too_long"
        case tooManyClients = "too_many_clients"
        case forbidden
    }

    /// The word.
    package var code: Code
    /// One sentence without a line end.
    package var sentence: String

    /// A fault from its parts.
    package init(_ code: Code, _ sentence: String) {
        self.code = code
        self.sentence = sentence
    }

    /// The sentence.
    package var description: String { sentence }
}
