import Foundation
import Testing

/// Texts that a command printed once and a person has read: Goldens/NAME.txt.
///
/// `VM_BRIDGE_REWRITE_GOLDENS=1 swift test --filter Golden` writes them anew; look at the difference before
/// it is kept.
enum Golden {
    private static let directory = Place.root + "/Tests/CommandTests/Goldens/"
    private static let isRewriting =
        ProcessInfo.processInfo.environment["VM_BRIDGE_REWRITE_GOLDENS"] == "1"

    /// Whether a text is the one that was kept.
    static func check(
        _ name: String, _ text: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let path = directory + name + ".txt"
        if isRewriting {
            try text.write(toFile: path, atomically: true, encoding: .utf8)
            return
        }
        let kept = try? String(contentsOfFile: path, encoding: .utf8)
        #expect(
            kept == text, "see Tests/CommandTests/Golden.swift: \(name)",
            sourceLocation: sourceLocation)
    }
}
