/// A configuration file's name and content, not looked at yet.
public struct ConfigurationText: Sendable, Equatable {
    /// The file's name, for messages.
    public var file: String
    /// What is in it.
    public var bytes: [UInt8]

    /// A file that was read.
    public init(file: String, bytes: [UInt8]) {
        self.file = file
        self.bytes = bytes
    }
}

/// Reads configuration files: text in, a configuration and what is to be said about it out. Never
/// traps and never recurses, whatever the bytes are; time and memory are bounded by `limit`.
public enum ConfigurationReader {
    /// Most bytes of one file.
    public static let limit = 1 << 18

    /// Reads one file.
    ///
    /// - Returns: nil instead of a configuration when there is an error; diagnostics in the text's order.
    public static func read(
        _ text: String, file: String
    ) -> (configuration: Configuration?, diagnostics: [Diagnostic]) {
        read([ConfigurationText(file: file, bytes: Array(text.utf8))])
    }

    /// Reads files that lie one below the other, the most important first: a VM or consumer that a
    /// file names is what that file says of it and nothing of those below; rules of all files are kept, those
    /// of the first file first. No file at all gives the empty configuration.
    ///
    /// - Returns: nil instead of a configuration when any has an error; diagnostics file by file.
    public static func read(
        _ files: [ConfigurationText]
    ) -> (configuration: Configuration?, diagnostics: [Diagnostic]) {
        var layers: [ConfigurationFileReader] = []
        for file in files {
            var layer = ConfigurationFileReader(file: file.file)
            if file.bytes.count > limit {
                layer.report(
                    .error, "the file has \(file.bytes.count) bytes, \(limit) are the most",
                    at: TextPlace(line: 1, column: 1))
            } else if let text = String(validating: file.bytes, as: UTF8.self) {
                layer.read(text)
            } else {
                layer.report(
                    .error, "this is not UTF-8", at: placeOfFirstBadByte(file.bytes))
            }
            layers.append(layer)
        }
        var checks = ConfigurationChecks(layers)
        checks.run()
        let diagnostics = checks.layers.flatMap { layer in
            // A later check speaks of an earlier line; equal places keep their order.
            layer.diagnostics.enumerated().sorted { one, other in
                (one.element.line, one.element.column, one.offset)
                    < (other.element.line, other.element.column, other.offset)
            }.map(\.element)
        }
        let isGood = !diagnostics.contains { $0.severity == .error }
        return (isGood ? checks.configuration : nil, diagnostics)
    }

    private static func placeOfFirstBadByte(_ bytes: [UInt8]) -> TextPlace {
        var place = TextPlace(line: 1, column: 1)
        var codec = UTF8()
        var iterator = bytes.makeIterator()
        while case .scalarValue(let scalar) = codec.decode(&iterator) {
            if scalar == "\n" {
                place = TextPlace(line: place.line + 1, column: 1)
            } else {
                place.column += 1
            }
        }
        return place
    }
}
