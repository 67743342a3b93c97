/// The buffers made of memory that QEMU shares. It sends a new descriptor of the same memory again and again: who finds
/// the buffer again spares the compositor an import. The least recently used goes when there are too many.
struct QEMUBufferCache: Sendable {
    /// Which memory it is, and how it is laid out.
    struct Name: Hashable, Sendable {
        /// Device and inode of each descriptor.
        var memory: [QEMUMemoryName]
        var layout: BufferLayout
    }

    /// Buffers at a time: guests flip among two or three.
    static let limit = 8

    /// Least recently used first.
    private var entries: [(name: Name, key: BufferKey)] = []

    /// All keys.
    var keys: [BufferKey] { entries.map(\.key) }

    /// Whether there is a buffer of that name.
    func contains(_ name: Name) -> Bool { entries.contains { $0.name == name } }

    /// The buffer of that name, which counts as used now.
    mutating func find(_ name: Name) -> BufferKey? {
        guard let index = entries.firstIndex(where: { $0.name == name }) else { return nil }
        let entry = entries.remove(at: index)
        entries.append(entry)
        return entry.key
    }

    /// Keeps a new one.
    ///
    /// - Returns: those that have to go for it.
    mutating func insert(_ name: Name, _ key: BufferKey) -> [BufferKey] {
        entries.append((name, key))
        let surplus = max(0, entries.count - Self.limit)
        defer { entries.removeFirst(surplus) }
        return entries.prefix(surplus).map(\.key)
    }

    /// Forgets one, if it is there.
    mutating func remove(_ key: BufferKey) { entries.removeAll { $0.key == key } }

    /// Forgets all.
    mutating func removeAll() { entries.removeAll() }
}

/// Which file a descriptor is of, from the kernel: the same for every descriptor of the same memory.
public struct QEMUMemoryName: Hashable, Sendable {
    /// The file system's device.
    public var device: UInt64
    /// The file's number there.
    public var inode: UInt64
    /// A file's name.
    public init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }
}
