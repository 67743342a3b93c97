import Foundation

#if canImport(FoundationXML)
    import FoundationXML
#endif

/// Reads one protocol file (the format that wayland.dtd describes).
///
/// Strict where a mistake would change the wire (unknown argument type, number that does not parse),
/// lenient to elements and attributes that newer files may add.
final class ProtocolReader: NSObject, XMLParserDelegate {
    private var result = ProtocolDescription()
    private var failure: ScannerError?
    private var isInEvent = false
    /// Open elements, innermost last; a description belongs to the innermost that can have one.
    private var open: [String] = []
    private var text = ""

    static func read(contentsOf path: String) throws -> ProtocolDescription {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ScannerError("\(path): cannot be read")
        }
        return try read(data, named: path)
    }

    static func read(_ data: Data, named name: String) throws -> ProtocolDescription {
        let reader = ProtocolReader()
        let parser = XMLParser(data: data)
        parser.delegate = reader
        let parsed = parser.parse()
        if let failure = reader.failure { throw ScannerError("\(name): \(failure)") }
        guard parsed else {
            let reason = parser.parserError.map { "\($0)" } ?? "not well formed"
            throw ScannerError("\(name):\(parser.lineNumber): \(reason)")
        }
        // The parser does not mind a file that ends in the middle.
        guard reader.open.isEmpty else {
            throw ScannerError("\(name): ends in <\(reader.open[0])>")
        }
        guard !reader.result.name.isEmpty else { throw ScannerError("\(name): no protocol in it") }
        return reader.result
    }

    func parser(
        _ parser: XMLParser, didStartElement element: String, namespaceURI: String?,
        qualifiedName: String?, attributes: [String: String]
    ) {
        do {
            try start(element, attributes)
            open.append(element)
        } catch let error as ScannerError {
            failure = ScannerError("line \(parser.lineNumber): \(error)")
            parser.abortParsing()
        } catch {
            failure = ScannerError("line \(parser.lineNumber): \(error)")
            parser.abortParsing()
        }
    }

    func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }

    func parser(
        _ parser: XMLParser, didEndElement element: String, namespaceURI: String?,
        qualifiedName: String?
    ) {
        open.removeLast()
        if element == "description" { document { $0.text = text } }
    }

    private func start(_ element: String, _ attributes: [String: String]) throws {
        switch element {
        case "protocol":
            result.name = try required("name", of: element, attributes)
        case "interface":
            result.interfaces.append(
                InterfaceDescription(
                    name: try required("name", of: element, attributes),
                    version: try number(try required("version", of: element, attributes))))
        case "request", "event":
            isInEvent = element == "event"
            let message = MessageDescription(
                name: try required("name", of: element, attributes),
                since: try attributes["since"].map(number) ?? 1,
                isDestructor: attributes["type"] == "destructor")
            try inInterface { interface in
                if isInEvent {
                    interface.events.append(message)
                } else {
                    interface.requests.append(message)
                }
            }
        case "arg":
            guard open.last == "request" || open.last == "event" else {
                throw ScannerError("argument outside a request or event")
            }
            let argument = try argument(attributes)
            try inInterface { interface in
                if isInEvent {
                    interface.events[interface.events.count - 1].arguments.append(argument)
                } else {
                    interface.requests[interface.requests.count - 1].arguments.append(argument)
                }
            }
        case "enum":
            let enumeration = EnumerationDescription(
                name: try required("name", of: element, attributes),
                isBitfield: attributes["bitfield"] == "true")
            try inInterface { $0.enumerations.append(enumeration) }
        case "entry":
            guard open.last == "enum" else { throw ScannerError("entry outside an enum") }
            let entry = EnumerationDescription.Entry(
                name: try required("name", of: element, attributes),
                value: try number(try required("value", of: element, attributes)),
                since: try attributes["since"].map(number) ?? 1,
                summary: attributes["summary"] ?? "")
            try inInterface { $0.enumerations[$0.enumerations.count - 1].entries.append(entry) }
        case "description":
            text = ""
            document { $0.summary = attributes["summary"] ?? "" }
        default:
            break
        }
    }

    private func argument(_ attributes: [String: String]) throws -> ArgumentDescription {
        let name = try required("name", of: "arg", attributes)
        let type = try required("type", of: "arg", attributes)
        guard let kind = ArgumentDescription.Kind(rawValue: type) else {
            throw ScannerError("argument \(name) has the unknown type \(type)")
        }
        return ArgumentDescription(
            name: name, kind: kind, interface: attributes["interface"],
            allowsNull: attributes["allow-null"] == "true", enumeration: attributes["enum"],
            summary: attributes["summary"] ?? "")
    }

    /// Changes the documentation of the innermost open element that has one.
    private func document(_ change: (inout Documentation) -> Void) {
        guard !result.interfaces.isEmpty else { return }
        let last = result.interfaces.count - 1
        switch open.last {
        case "interface":
            change(&result.interfaces[last].documentation)
        case "request":
            change(
                &result.interfaces[last].requests[result.interfaces[last].requests.count - 1]
                    .documentation)
        case "event":
            change(
                &result.interfaces[last].events[result.interfaces[last].events.count - 1]
                    .documentation)
        case "enum":
            change(
                &result.interfaces[last].enumerations[
                    result.interfaces[last].enumerations.count - 1
                ].documentation)
        default:
            break
        }
    }

    private func inInterface(_ change: (inout InterfaceDescription) throws -> Void) throws {
        guard !result.interfaces.isEmpty else { throw ScannerError("element outside an interface") }
        try change(&result.interfaces[result.interfaces.count - 1])
    }

    private func required(_ name: String, of element: String, _ attributes: [String: String]) throws
        -> String
    {
        guard let value = attributes[name], !value.isEmpty else {
            throw ScannerError("<\(element)> lacks \(name)")
        }
        return value
    }

    /// Decimal, or hexadecimal with 0x, as the files have both.
    private func number(_ text: String) throws -> UInt32 {
        let hexadecimal = text.hasPrefix("0x") || text.hasPrefix("0X")
        let value =
            hexadecimal ? UInt32(text.dropFirst(2), radix: 16) : UInt32(text, radix: 10)
        guard let value else { throw ScannerError("\(text) is not an unsigned 32-bit number") }
        return value
    }
}
