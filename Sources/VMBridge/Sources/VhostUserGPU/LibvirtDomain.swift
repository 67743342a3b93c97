import VMBridgeCore

/// Whose graphics card a helper is that libvirt started. libvirt tells it no name; but the file that it locks for the helper, and that the
/// helper inherits, is called after the domain: `…/1-desk-video0-vhost-user-gpu.pid`.
public enum LibvirtDomain {
    /// The domain's name, as a VM's name; nil when nothing that was inherited says one. To be asked at the start: later peers choose what
    /// descriptors are called.
    public static func inherited() -> String? {
        // Those that libvirt passes are the lowest.
        (3..<256).lazy.compactMap { DescriptorProbe.name(of: $0).flatMap(name(inPath:)) }.first
    }

    /// The domain that a file of libvirt's is called after; libvirt keeps 20 characters of its name.
    static func name(inPath path: String) -> String? {
        let ending = "-vhost-user-gpu.pid"
        guard path.hasPrefix("/"), path.hasSuffix(ending),
            let file = path.dropLast(ending.count).split(separator: "/").last,
            let first = file.firstIndex(of: "-"), first != file.startIndex,
            file[..<first].utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        // What is left is the name and the device's alias. One that a person chose may have any number of parts, and tells no end of the name.
        let rest = file[file.index(after: first)...]
        guard let last = rest.lastIndex(of: "-") else { return nil }
        let alias = rest[last...].dropFirst()
        let number = alias.dropFirst("video".count)
        guard alias.hasPrefix("video"), !number.isEmpty, number.allSatisfy(\.isNumber) else {
            return nil
        }
        let name = CleanText.identifier(String(rest[..<last]))
        return VMConfiguration.problem(ofName: name) == nil ? name : nil
    }
}
