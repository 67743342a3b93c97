/// All protocols of one run: checks that every reference leads somewhere and numbers the interfaces.
struct Catalog {
    let protocols: [ProtocolDescription]
    private let numbers: [String: Int]
    private let enumerations: [String: EnumerationDescription]

    init(_ protocols: [ProtocolDescription]) throws {
        self.protocols = protocols
        var numbers: [String: Int] = [:]
        var enumerations: [String: EnumerationDescription] = [:]
        for interface in protocols.flatMap(\.interfaces) {
            guard numbers.updateValue(numbers.count, forKey: interface.name) == nil else {
                throw ScannerError("interface \(interface.name) is defined twice")
            }
            for enumeration in interface.enumerations {
                enumerations["\(interface.name).\(enumeration.name)"] = enumeration
            }
        }
        self.numbers = numbers
        self.enumerations = enumerations
        for interface in protocols.flatMap(\.interfaces) {
            for message in interface.requests + interface.events {
                for argument in message.arguments {
                    try check(argument, of: "\(interface.name).\(message.name)", in: interface)
                }
            }
        }
    }

    var interfaces: [InterfaceDescription] { protocols.flatMap(\.interfaces) }

    /// The number of an interface that ``init(_:)`` has seen.
    func number(of interface: String) -> Int { numbers[interface] ?? -1 }

    /// The enumeration an argument's value belongs to, as `interface.enum`.
    func enumeration(
        of argument: ArgumentDescription, message: String, in interface: String
    ) -> String? {
        guard argument.kind == .uint || argument.kind == .int else { return nil }
        let named =
            argument.enumeration ?? Choices.enumerations["\(interface).\(message).\(argument.name)"]
        return named.map { $0.contains(".") ? $0 : "\(interface).\($0)" }
    }

    private func check(
        _ argument: ArgumentDescription, of message: String, in interface: InterfaceDescription
    ) throws {
        if let other = argument.interface, numbers[other] == nil {
            throw ScannerError("\(message): argument \(argument.name) names unknown \(other)")
        }
        if let enumeration = argument.enumeration {
            let full =
                enumeration.contains(".") ? enumeration : "\(interface.name).\(enumeration)"
            if enumerations[full] == nil {
                throw ScannerError("\(message): argument \(argument.name) names unknown \(full)")
            }
        }
    }
}
