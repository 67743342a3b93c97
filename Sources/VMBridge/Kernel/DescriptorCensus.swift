import CLinux
import Descriptors

/// How many descriptors this process has open, by kind. Equal before and after means that nothing leaked.
public struct DescriptorCensus: Equatable, Sendable, CustomStringConvertible {
    /// Kind (`"dma-buf"`, `"socket"`, `"anon_inode:[eventfd]"`) to number.
    public let counts: [String: Int]
    /// All together.
    public let total: Int

    /// Counts now; nil without /proc.
    public static func take() -> DescriptorCensus? {
        guard let directory = vmb_directory_open("/proc/self/fd") else { return nil }
        defer { vmb_directory_close(directory) }
        let own = vmb_directory_descriptor(directory)
        var counts: [String: Int] = [:]
        var total = 0
        // UNSAFE: the entry's name is valid until the next call, and copied at once.
        while let entry = vmb_directory_next(directory) {
            guard let number = Int32(String(cString: entry)), number != own else { continue }
            counts[kind(DescriptorProbe.name(of: number) ?? "gone"), default: 0] += 1
            total += 1
        }
        return DescriptorCensus(counts: counts, total: total)
    }

    /// The kind in a descriptor's name, without what tells it from others of its kind.
    static func kind(_ name: String) -> String {
        if name.hasPrefix("/dmabuf:") { return "dma-buf" }
        if name.hasPrefix("/memfd:") { return "memfd" }
        if name.hasPrefix("anon_inode:") { return name }
        if name.hasPrefix("/dev/") { return "device" }
        if name.hasPrefix("/") { return "file" }
        return name.split(separator: ":").first.map(String.init) ?? "unknown"
    }

    /// `"3: 2 socket, 1 memfd"`, kinds in alphabetical order.
    public var description: String {
        let kinds = counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
        return "\(total): \(kinds.joined(separator: ", "))"
    }
}
