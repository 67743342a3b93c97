import Foundation

/// Turns protocol files into Swift, or compares two of them.
///
///     WaylandScanner generate SHARED-OUTPUT INPUT=OUTPUT…
///     WaylandScanner compare OURS NEWER
///
/// `generate` writes one file for each protocol and one for what they share. `compare` ends with
/// status 1 when a newer file (or the file of the same protocol below a directory) contradicts ours.
@main
struct Scanner {
    static func main() {
        do {
            let arguments = Array(CommandLine.arguments.dropFirst())
            switch arguments.first {
            case "generate" where arguments.count > 2:
                try generate(shared: arguments[1], pairs: arguments[2...])
            case "compare" where arguments.count == 3:
                let differences = try Comparison.run(ours: arguments[1], newer: arguments[2])
                if !differences.isEmpty {
                    print(differences.joined(separator: "\n"))
                    exit(1)
                }
                print("\(arguments[1]): the same facts as in \(arguments[2])")
            default:
                throw ScannerError(
                    "usage: WaylandScanner generate SHARED-OUTPUT INPUT=OUTPUT… | compare OURS NEWER"
                )
            }
        } catch {
            FileHandle.standardError.write(Data("WaylandScanner: \(error)\n".utf8))
            exit(2)
        }
    }

    static func generate(shared: String, pairs: ArraySlice<String>) throws {
        var inputs: [(path: String, output: String, description: ProtocolDescription)] = []
        for pair in pairs {
            guard let separator = pair.lastIndex(of: "=") else {
                throw ScannerError("\(pair) is not INPUT=OUTPUT")
            }
            let path = String(pair[..<separator])
            let output = String(pair[pair.index(after: separator)...])
            inputs.append((path, output, try ProtocolReader.read(contentsOf: path)))
        }
        let catalog = try Catalog(inputs.map(\.description))
        for input in inputs {
            let source = URL(fileURLWithPath: input.path).lastPathComponent
            try write(
                FileWriters.bindings(of: input.description, source: source, catalog: catalog),
                to: input.output)
        }
        try write(FileWriters.shared(catalog), to: shared)
    }

    private static func write(_ text: String, to path: String) throws {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
    }
}
