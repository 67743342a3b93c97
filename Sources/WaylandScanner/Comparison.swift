import Foundation

/// Checks a transcribed protocol file against a newer, official one.
///
/// Everything ours says must be in the newer file with the same name, opcode, type and value. What
/// the newer file adds in later versions is no difference; what it has in our version and ours
/// lacks is one.
enum Comparison {
    /// The differences, one a line; empty when the files agree. `newer` is a file, or a directory
    /// that is searched for the file of the same protocol.
    static func run(ours: String, newer: String) throws -> [String] {
        let mine = try ProtocolReader.read(contentsOf: ours)
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: newer, isDirectory: &isDirectory) else {
            throw ScannerError("\(newer): there is no such file or directory")
        }
        if !isDirectory.boolValue {
            return differences(ours: mine, newer: try ProtocolReader.read(contentsOf: newer))
        }
        let root = URL(fileURLWithPath: newer)
        let files = FileManager.default.enumerator(at: root, includingPropertiesForKeys: nil)
        while let file = files?.nextObject() as? URL {
            guard file.pathExtension == "xml" else { continue }
            let other = try ProtocolReader.read(contentsOf: file.path)
            if other.name == mine.name { return differences(ours: mine, newer: other) }
        }
        throw ScannerError("\(newer): no file of the protocol \(mine.name) below it")
    }

    static func differences(ours: ProtocolDescription, newer: ProtocolDescription) -> [String] {
        var result: [String] = []
        if ours.name != newer.name { result.append("protocol: \(ours.name) ≠ \(newer.name)") }
        for interface in ours.interfaces {
            guard let other = newer.interfaces.first(where: { $0.name == interface.name }) else {
                result.append("- interface \(interface.name): not in the newer file")
                continue
            }
            if other.version < interface.version {
                result.append(
                    "interface \(interface.name): version \(interface.version), "
                        + "the newer file has only \(other.version)")
            }
            let mine = facts(of: interface, upTo: interface.version)
            let theirs = facts(of: other, upTo: interface.version)
            let mineSet = Set(mine)
            let theirsSet = Set(theirs)
            result += mine.filter { !theirsSet.contains($0) }.map { "- \($0)" }
            result += theirs.filter { !mineSet.contains($0) }.map { "+ \($0)" }
        }
        let names = Set(ours.interfaces.map(\.name))
        for interface in newer.interfaces where !names.contains(interface.name) {
            result.append("+ interface \(interface.name)")
        }
        return result
    }

    /// One line for each fact of an interface that is in force at `version`.
    private static func facts(of interface: InterfaceDescription, upTo version: UInt32) -> [String]
    {
        var result: [String] = []
        for (kind, messages) in [("request", interface.requests), ("event", interface.events)] {
            for (opcode, message) in messages.enumerated() where message.since <= version {
                let arguments = message.arguments.map { argument in
                    "\(argument.name) \(argument.kind.rawValue)"
                        + (argument.interface.map { "<\($0)>" } ?? "")
                        + (argument.allowsNull ? "?" : "")
                }
                result.append(
                    "\(interface.name) \(kind) \(opcode) \(message.name)"
                        + "(\(arguments.joined(separator: ", "))) since \(message.since)"
                        + (message.isDestructor ? " destructor" : ""))
            }
        }
        for enumeration in interface.enumerations {
            let kind = enumeration.isBitfield ? "bitfield" : "enum"
            for entry in enumeration.entries where entry.since <= version {
                result.append(
                    "\(interface.name) \(kind) \(enumeration.name).\(entry.name) = \(entry.value)"
                        + " since \(entry.since)")
            }
        }
        return result
    }
}
