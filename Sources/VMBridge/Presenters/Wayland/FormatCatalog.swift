import VMBridgeCore

/// What a compositor says that it can import: linux-dmabuf pairs in its order of preference, wl_shm
/// formats, and what can be copied into those. Pure.
struct FormatCatalog {
    /// One row of the format table: 16 bytes on the wire.
    struct Pair: Hashable {
        var format: UInt32
        var modifier: UInt64
    }

    /// Longest list that a producer is told; far above what compositors have for known formats.
    static let longest = 1024
    /// Longest list for one surface, which says what suits it best and not all that is possible.
    static let longestPreference = 256

    private(set) var entries: [ImportableFormat] = []
    private var pairs: Set<Pair> = []
    private var dmabuf: [DmabufFeedback.Offer] = []
    private var shm: [UInt32] = []
    /// The device that the compositor draws with (dev_t); nil when it has told none.
    private(set) var mainDevice: UInt64?

    /// Whether a dma-buf of that pair may be offered; anything else is a protocol error from
    /// linux-dmabuf version 4 on.
    func has(_ format: FourCC, _ modifier: Modifier) -> Bool {
        pairs.contains(Pair(format: format.rawValue, modifier: modifier.rawValue))
    }

    /// wl_shm's number of a format; nil when it was not told.
    func shmFormat(_ format: FourCC) -> UInt32? {
        let number = Self.shmNumber(format)
        return shm.contains(number) ? number : nil
    }

    /// wl_shm numbers formats by their fourcc, but for the first two.
    static func shmNumber(_ format: FourCC) -> UInt32 {
        switch format {
        case .argb8888: 0
        case .xrgb8888: 1
        default: format.rawValue
        }
    }

    // MARK: wl_shm and linux-dmabuf up to version 3

    mutating func addShm(_ number: UInt32) {
        if !shm.contains(number), shm.count < Self.longest { shm.append(number) }
    }

    mutating func addPair(_ format: UInt32, _ modifier: UInt64) {
        guard dmabuf.count < DmabufFeedback.most else { return }
        let pair = Pair(format: format, modifier: modifier)
        dmabuf.append(DmabufFeedback.Offer(pair: pair, device: 0))
    }

    // MARK: Feedback, from version 4 on

    /// What the feedback for all surfaces has in force.
    mutating func apply(_ feedback: DmabufFeedback) {
        dmabuf = feedback.offers
        mainDevice = feedback.mainDevice == 0 ? nil : feedback.mainDevice
    }

    // MARK: The list

    /// Makes the list anew.
    ///
    /// - Returns: whether it differs from the former one.
    mutating func rebuild() -> Bool {
        let former = entries
        entries = []
        pairs = []
        for offer in dmabuf where pairs.insert(offer.pair).inserted {
            if let entry = Self.entry(offer) { append(entry) }
        }
        for number in shm {
            let format: FourCC =
                switch number {
                case 0: .argb8888
                case 1: .xrgb8888
                default: FourCC(number)
                }
            // A memfd buffer has one plane here (source-v1 §5.3).
            guard PixelFormatInfo.of(format)?.planes.count == 1 else { continue }
            append(
                ImportableFormat(
                    format: format, modifier: .linear, memory: ImportableFormat.bit(.memfd)))
        }
        // Last, since they cost a copy: whatever the CPU can read; what is converted after what is not.
        let known = PixelFormatInfo.known.filter { !has($0, .linear) }
        let same = known.filter {
            shmFormat($0) != nil && PixelFormatInfo.of($0)?.planes.count == 1
        }
        for format in same + known.filter({ !same.contains($0) }) {
            guard let info = PixelFormatInfo.of(format),
                CopyPlan.canCopy(format, info, shm: { shmFormat($0) != nil })
            else { continue }
            append(
                ImportableFormat(
                    format: format, modifier: .linear, memory: ImportableFormat.bit(.dmaBuf)))
        }
        return entries != former
    }

    /// What suits a surface best: what its own feedback names and the feedback for all surfaces allows,
    /// best first. Where that is nothing, the beginning of the list for all.
    func preferred(by feedback: DmabufFeedback) -> [ImportableFormat] {
        var list: [ImportableFormat] = []
        var seen: Set<Pair> = []
        for offer in feedback.offers
        where pairs.contains(offer.pair) && seen.insert(offer.pair).inserted {
            guard let entry = Self.entry(offer) else { continue }
            list.append(entry)
            if list.count == Self.longestPreference { break }
        }
        return list.isEmpty ? Array(entries.prefix(Self.longestPreference)) : list
    }

    /// The entry of a pair; nil when its format is not known here.
    private static func entry(_ offer: DmabufFeedback.Offer) -> ImportableFormat? {
        let format = FourCC(offer.pair.format)
        guard PixelFormatInfo.of(format) != nil else { return nil }
        var memory = ImportableFormat.bit(.dmaBuf)
        if offer.isScanout { memory |= ImportableFormat.scanout }
        return ImportableFormat(
            format: format, modifier: Modifier(offer.pair.modifier), memory: memory,
            device: offer.device)
    }

    private mutating func append(_ entry: ImportableFormat) {
        if entries.count < Self.longest { entries.append(entry) }
    }
}
