/// What can be asked of the driver about a buffer (hyper_dmabuf.h, `hyper_dmabuf_query`).
public enum HyperQueryItem: Int32, Sendable, CaseIterable {
    /// 1 exported by this host, 2 imported.
    case type = 0x10
    /// The exporting domain.
    case exporter = 0x11
    /// The importing domain.
    case importer = 0x12
    /// Bytes; of pages once a dma-buf of it exists.
    case size = 0x13
    /// Whether somebody holds it.
    case busy = 0x14
    /// Whether its exporter took it back.
    case unexported = 0x15
    /// Bytes of its private data.
    case privateSize = 0x17
}

/// The driver's word on an imported buffer, with what makes no sense refused.
public struct HyperBufferFacts: Sendable, Equatable {
    /// Bytes, in whole pages or not.
    public var bytes: UInt64
    /// Its exporter took it back; what is open goes on.
    public var isUnexported: Bool

    /// Facts.
    public init(bytes: UInt64, isUnexported: Bool) {
        self.bytes = bytes
        self.isUnexported = isUnexported
    }

    /// The most bytes that one buffer can have: two levels of 1024 references to pages.
    public static let maximumBytes: UInt64 = 1 << 32

    /// Judges the answers about one buffer.
    ///
    /// - Parameters:
    ///   - id: the buffer asked about.
    ///   - answers: each item and its value, whatever the driver or the reader said.
    /// - Throws: `badValue` when they contradict the id or each other.
    public init(
        of id: HyperBufferID, type: UInt64, exporter: UInt64, size: UInt64, unexported: UInt64
    ) throws(Refusal) {
        guard type == 2 else {
            throw Refusal(.badValue, "Buffer \(id) is not imported here (type \(type)).")
        }
        // 256 domains can be told apart by an id; the rest of the number is not in it.
        guard exporter & 0xff == UInt64(id.domain), exporter <= 0xffff else {
            throw Refusal(
                .badValue,
                "Buffer \(id) is said to be of domain \(exporter), its id says \(id.domain).")
        }
        guard size > 0, size <= Self.maximumBytes else {
            throw Refusal(.badValue, "Buffer \(id) is said to have \(size) bytes.")
        }
        self.init(bytes: size, isUnexported: unexported != 0)
    }
}
