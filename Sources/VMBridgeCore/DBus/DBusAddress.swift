/// Where a bus listens (D-Bus specification, "Server Addresses").
public enum DBusAddress: Equatable, Sendable {
    /// A socket in the file system.
    case path(String)
    /// A name in the abstract name space.
    case abstract(String)

    /// Reads a list of addresses; those of kinds that are not unix sockets are left out.
    public static func parse(_ list: String) -> [DBusAddress] {
        list.split(separator: ";").compactMap { entry in
            guard let colon = entry.firstIndex(of: ":"), entry[..<colon] == "unix" else {
                return nil
            }
            for pair in entry[entry.index(after: colon)...].split(separator: ",") {
                guard let sign = pair.firstIndex(of: "="),
                    let value = unescaped(pair[pair.index(after: sign)...]), !value.isEmpty
                else { continue }
                switch pair[..<sign] {
                case "path": return .path(value)
                case "abstract": return .abstract(value)
                default: continue
                }
            }
            return nil
        }
    }

    /// Bytes may be written as a per cent sign with two digits of base 16.
    private static func unescaped(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, let digits = String(digits),
                let value = UInt8(digits, radix: 16), value != 0
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
