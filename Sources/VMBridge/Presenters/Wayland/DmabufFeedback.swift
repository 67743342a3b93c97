/// What one linux-dmabuf feedback object tells: pairs in tranches, best first. Pure; what is told takes
/// effect as a whole at `done`, and the table of pairs stays until another one comes, since a
/// compositor need not send it again.
///
/// However much is told, no more is kept than `most` pairs and one table.
struct DmabufFeedback {
    /// A pair as a tranche names it.
    struct Offer: Equatable {
        var pair: FormatCatalog.Pair
        /// The device that the buffer is for (dev_t): what draws, or what scans out.
        var device: UInt64
        /// A buffer of that pair may go to the screen as it is.
        var isScanout = false
    }

    /// Pairs of all tranches together; far above what compositors have.
    static let most = FormatCatalog.longest * 8
    /// Indices of one tranche: each row of the longest table once.
    static let longestTranche = FormatTable.mostRows

    /// The device that the compositor draws with (dev_t); 0 while it has told none.
    private(set) var mainDevice: UInt64 = 0
    /// What may be sent, in the order of the tranches.
    private(set) var offers: [Offer] = []

    // Told and not in force yet.
    private(set) var table: [FormatCatalog.Pair] = []
    private var nextMainDevice: UInt64 = 0
    private var told: [Offer] = []
    private var tranche: [UInt16] = []
    private var trancheDevice: UInt64?
    private var isScanout = false

    /// A new table; indices that follow mean its rows.
    mutating func setTable(_ rows: [FormatCatalog.Pair]) { table = rows }

    mutating func setMainDevice(_ device: UInt64) { nextMainDevice = device }
    mutating func setTrancheDevice(_ device: UInt64) { trancheDevice = device }
    mutating func setTrancheFlags(isScanout: Bool) { self.isScanout = isScanout }

    mutating func addToTranche(_ indices: [UInt16]) {
        tranche += indices.prefix(Self.longestTranche - tranche.count)
    }

    /// The tranche is complete. Rows that the table does not have are passed over; without a device of
    /// its own a tranche is for the main device.
    mutating func endTranche() {
        let device = trancheDevice ?? nextMainDevice
        for index in tranche where Int(index) < table.count && told.count < Self.most {
            told.append(Offer(pair: table[Int(index)], device: device, isScanout: isScanout))
        }
        forgetTranche()
    }

    /// All is told and takes the place of what was in force.
    ///
    /// - Returns: whether that changed anything.
    mutating func end() -> Bool {
        let isChanged = told != offers || nextMainDevice != mainDevice
        offers = told
        mainDevice = nextMainDevice
        told = []
        forgetTranche()
        return isChanged
    }

    private mutating func forgetTranche() {
        tranche = []
        trancheDevice = nil
        isScanout = false
    }
}
