import VMBridgeCore

/// What a compositor says that it can import: linux-dmabuf pairs in its order of preference, wl_shm
/// formats, and what can be copied into those. Pure; the feedback object's events are applied as a
/// whole at `done`.
struct FormatCatalog {
    /// One row of the format table: 16 bytes on the wire.
    struct Pair: Hashable {
        var format: UInt32
        var modifier: UInt64
    }

    /// Longest list that a producer is told; far above what compositors have for known formats.
    static let longest = 1024

    private(set) var entries: [ImportableFormat] = []
    private var pairs: Set<Pair> = []
    private var dmabuf: [(pair: Pair, device: UInt64)] = []
    private var shm: [UInt32] = []

    // The feedback that is being told.
    private var table: [Pair] = []
    private var told: [(pair: Pair, device: UInt64)] = []
    private var tranche: [UInt16] = []
    private var mainDevice: UInt64 = 0
    private var trancheDevice: UInt64?

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
        guard dmabuf.count < Self.longest * 8 else { return }
        dmabuf.append((Pair(format: format, modifier: modifier), 0))
    }

    // MARK: Feedback, from version 4 on

    /// A new table; indices that follow mean its rows.
    mutating func setTable(_ rows: [Pair]) { table = rows }

    mutating func setMainDevice(_ device: UInt64) { mainDevice = device }
    mutating func setTrancheDevice(_ device: UInt64) { trancheDevice = device }
    mutating func addToTranche(_ indices: [UInt16]) { tranche += indices }

    mutating func endTranche() {
        let device = trancheDevice ?? mainDevice
        for index in tranche where Int(index) < table.count {
            told.append((table[Int(index)], device))
        }
        tranche = []
        trancheDevice = nil
    }

    /// The feedback is complete and takes the former one's place. The table stays: a compositor need
    /// not send it again.
    mutating func endFeedback() {
        dmabuf = told
        told = []
        tranche = []
        trancheDevice = nil
    }

    // MARK: The list

    /// Makes the list anew.
    ///
    /// - Returns: whether it differs from the former one.
    mutating func rebuild() -> Bool {
        let former = entries
        entries = []
        pairs = []
        for (pair, device) in dmabuf where pairs.insert(pair).inserted {
            let format = FourCC(pair.format)
            guard PixelFormatInfo.of(format) != nil else { continue }
            append(
                ImportableFormat(
                    format: format, modifier: Modifier(pair.modifier),
                    memory: ImportableFormat.bit(.dmaBuf), device: device))
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

    private mutating func append(_ entry: ImportableFormat) {
        if entries.count < Self.longest { entries.append(entry) }
    }
}
