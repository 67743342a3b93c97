import Descriptors

extension MemoryFile {
    /// Makes a memfd that holds these bytes, and then seals it.
    ///
    /// - Parameters:
    ///   - bytes: at least one.
    ///   - seals: with ``Seals/write`` nobody changes them any more. A wl_shm pool must go without that:
    ///     compositors map it for writing.
    package static func create(
        name: String, holding bytes: [UInt8], seals: Seals
    ) throws(KernelError) -> OwnedDescriptor {
        let file = try create(name: name, size: UInt64(bytes.count), seals: [])
        try fill(file.number, bytes)
        // Nothing maps it for writing any more, or the seal against that would be refused.
        try add(seals, to: file.number)
        return file
    }

    private static func fill(_ file: Int32, _ bytes: [UInt8]) throws(KernelError) {
        var memory = try MappedMemory(file, count: bytes.count, access: .readWrite)
        memory.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
    }
}
