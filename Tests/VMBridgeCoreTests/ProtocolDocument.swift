import Foundation

/// The repository's root, from this file's own place in it.
let repositoryRoot = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

/// Protocols/source-v1.md taken apart: its tables and its blocks of annotated hexadecimal bytes.
struct ProtocolDocument {
    /// A table of the document, under the heading that stands before it.
    struct Table {
        var heading: String
        var columns: [String]
        var rows: [[String]]

        /// The rows as dictionaries by column.
        var records: [[String: String]] {
            rows.map { Dictionary(uniqueKeysWithValues: zip(columns, $0)) }
        }
    }

    /// One place of a record's or structure's layout.
    struct Member: Equatable {
        var offset: Int
        var type: String
        var name: String
        /// Bytes that it takes.
        var width: Int {
            ["u16": 2, "u32": 4, "u64": 8, "plane[4]": 64][type] ?? 0
        }
    }

    /// A broken document.
    struct Broken: Error, CustomStringConvertible {
        var description: String
    }

    private(set) var tables: [Table] = []
    private(set) var blocks: [String: [UInt8]] = [:]

    init() throws {
        let file = repositoryRoot.appendingPathComponent("Protocols/source-v1.md")
        try self.init(text: String(contentsOf: file, encoding: .utf8))
    }

    init(text: String) throws {
        var heading = ""
        var fence: String?
        var table: Table?
        for line in text.components(separatedBy: "\n") {
            if line.hasPrefix("```") {
                if let name = fence, !name.isEmpty, blocks[name]?.isEmpty ?? true {
                    throw Broken(description: "The block \(name) is empty.")
                }
                let name = line.hasPrefix("```hex ") ? String(line.dropFirst(7)) : ""
                if fence == nil, !name.isEmpty {
                    guard blocks[name] == nil else { throw Broken(description: "two \(name)") }
                    blocks[name] = []
                }
                fence = fence == nil ? name : nil
            } else if let name = fence {
                if !name.isEmpty { try appendHex(line, to: name) }
            } else if line.hasPrefix("|") {
                let cells = line.dropFirst().dropLast().components(separatedBy: "|")
                    .map { $0.trimmingCharacters(in: CharacterSet(charactersIn: " `")) }
                if table == nil {
                    table = Table(heading: heading, columns: cells, rows: [])
                } else if !cells.allSatisfy({ $0.allSatisfy { $0 == "-" } }) {
                    guard cells.count == table?.columns.count else {
                        throw Broken(description: "Cells do not match their columns: \(line)")
                    }
                    table?.rows.append(cells)
                }
                continue
            } else if line.hasPrefix("#") {
                heading = line.trimmingCharacters(in: CharacterSet(charactersIn: "# `"))
            }
            if let ended = table {
                tables.append(ended)
                table = nil
            }
        }
    }

    /// "0010: 56 4d 42 31  ; text": the offset must be that of the bytes before.
    private mutating func appendHex(_ line: String, to name: String) throws {
        let halves = line.components(separatedBy: ";")[0].components(separatedBy: ":")
        guard halves.count == 2, line.contains("; "),
            Int(halves[0], radix: 16) == blocks[name]?.count
        else { throw Broken(description: "In \(name), not at its offset: \(line)") }
        for byte in halves[1].split(separator: " ") {
            guard byte.count == 2, let value = UInt8(byte, radix: 16) else {
                throw Broken(description: "In \(name), not a byte: \(line)")
            }
            blocks[name]?.append(value)
        }
    }

    /// The tables with these columns at their beginning.
    func tables(_ columns: String...) -> [Table] {
        tables.filter { $0.columns.starts(with: columns) }
    }

    /// All layouts, by the name in their heading.
    func layouts() throws -> [String: [Member]] {
        var result: [String: [Member]] = [:]
        for table in tables("Offset", "Type", "Name") {
            guard result[table.heading] == nil else {
                throw Broken(description: "Two layouts of \(table.heading).")
            }
            result[table.heading] = try table.rows.map { row in
                guard let offset = Int(row[0]) else {
                    throw Broken(description: "\(table.heading): the offset \(row[0])")
                }
                return Member(offset: offset, type: row[1], name: row[2])
            }
        }
        return result
    }
}

/// Numbers that the program's own source names, by the document's way of writing names.
enum NamedNumbers {
    /// The `static let name: UInt16 = 0x…` of an enum in WireConstants.swift.
    static func read(_ enumeration: String) throws -> [String: UInt16] {
        let file = repositoryRoot.appendingPathComponent(
            "Sources/VMBridgeCore/Wire/WireConstants.swift")
        let text = try String(contentsOf: file, encoding: .utf8)
        var result: [String: UInt16] = [:]
        var isInside = false
        for line in text.components(separatedBy: "\n") {
            if line.contains("enum \(enumeration) {") { isInside = true }
            if line.hasPrefix("}") { isInside = false }
            guard isInside, let match = line.firstMatch(of: /static let (\w+): UInt16 = (\w+)/)
            else { continue }
            let digits = match.2.hasPrefix("0x") ? match.2.dropFirst(2) : match.2
            result[snake(String(match.1))] = UInt16(
                digits, radix: match.2.hasPrefix("0x") ? 16 : 10)
        }
        return result
    }

    /// "appID" to "app_id".
    static func snake(_ name: String) -> String {
        var result = ""
        var wasLower = false
        for character in name {
            if character.isUppercase, wasLower { result.append("_") }
            wasLower = character.isLowercase
            result.append(contentsOf: character.lowercased())
        }
        return result
    }

    /// "0x0301" or "7" to a number.
    static func number(_ text: String) -> UInt16? {
        text.hasPrefix("0x") ? UInt16(text.dropFirst(2), radix: 16) : UInt16(text)
    }
}
