import Descriptors
import Testing

@testable import VMBridge
@testable import VMBridgeCore

private typealias Pair = FormatCatalog.Pair

private let xr24 = FourCC.xrgb8888.rawValue
private let ar24 = FourCC.argb8888.rawValue
private let nv12 = FourCC.nv12.rawValue

/// Tells a tranche.
private func tell(
    _ feedback: inout DmabufFeedback, _ indices: [UInt16], device: UInt64? = nil,
    isScanout: Bool = false
) {
    if let device { feedback.setTrancheDevice(device) }
    feedback.setTrancheFlags(isScanout: isScanout)
    feedback.addToTranche(indices)
    feedback.endTranche()
}

/// Makes what was told complete.
private func end(
    _ feedback: inout DmabufFeedback, changes isExpected: Bool,
    at place: SourceLocation = #_sourceLocation
) {
    let isChanged = feedback.end()
    #expect(isChanged == isExpected, sourceLocation: place)
}

@Suite("[pure] linux-dmabuf feedback")
struct DmabufFeedbackTests {
    @Test func tranchesKeepTheirOrderDeviceAndFlag() {
        var feedback = DmabufFeedback()
        feedback.setTable([Pair(format: xr24, modifier: 0), Pair(format: ar24, modifier: 7)])
        feedback.setMainDevice(5)
        tell(&feedback, [1], device: 9, isScanout: true)
        // Neither the device nor the flag of a tranche is the next one's.
        feedback.addToTranche([0])
        feedback.addToTranche([1])
        feedback.endTranche()
        #expect(feedback.offers.isEmpty && feedback.mainDevice == 0)
        end(&feedback, changes: true)
        #expect(feedback.mainDevice == 5)
        #expect(
            feedback.offers == [
                .init(pair: Pair(format: ar24, modifier: 7), device: 9, isScanout: true),
                .init(pair: Pair(format: xr24, modifier: 0), device: 5),
                .init(pair: Pair(format: ar24, modifier: 7), device: 5),
            ])
    }

    @Test func nothingIsInForceBeforeDoneAndTheTableStays() {
        var feedback = DmabufFeedback()
        feedback.setTable([Pair(format: xr24, modifier: 0), Pair(format: ar24, modifier: 0)])
        tell(&feedback, [0])
        end(&feedback, changes: true)
        let first = feedback.offers
        // Told again without a table: the same, so nothing has changed.
        tell(&feedback, [0])
        #expect(feedback.offers == first)
        end(&feedback, changes: false)
        tell(&feedback, [1, 0])
        #expect(feedback.offers == first)
        end(&feedback, changes: true)
        #expect(feedback.offers.map(\.pair.format) == [ar24, xr24])
        // Without tranches nothing may be sent; a tranche that was not ended does not count.
        feedback.addToTranche([0])
        end(&feedback, changes: true)
        #expect(feedback.offers.isEmpty)
        end(&feedback, changes: false)
    }

    @Test func rowsThatAreNotThereArePassedOver() {
        var feedback = DmabufFeedback()
        // Before any table.
        tell(&feedback, [0, 1, .max])
        end(&feedback, changes: false)
        feedback.setTable([Pair(format: xr24, modifier: 3)])
        tell(&feedback, [1, 0, .max])
        end(&feedback, changes: true)
        #expect(feedback.offers.map(\.pair) == [Pair(format: xr24, modifier: 3)])
        // A shorter table does not change what is in force.
        feedback.setTable([])
        #expect(feedback.offers.count == 1)
    }

    @Test func howeverMuchIsToldLittleIsKept() {
        var feedback = DmabufFeedback()
        feedback.setTable(
            (0..<UInt64(FormatTable.mostRows)).map { Pair(format: xr24, modifier: $0) })
        let all = (0...UInt16.max).map { $0 }
        for _ in 0..<20 { feedback.addToTranche(all) }
        feedback.endTranche()
        for _ in 0..<20 { tell(&feedback, all) }
        end(&feedback, changes: true)
        #expect(feedback.offers.count == DmabufFeedback.most)
        var catalog = FormatCatalog()
        catalog.apply(feedback)
        let isChanged = catalog.rebuild()
        #expect(isChanged)
        #expect(catalog.entries.count == FormatCatalog.longest)
        #expect(catalog.preferred(by: feedback).count == FormatCatalog.longestPreference)
    }

    @Test func anyOrderOfEventsIsTaken() {
        var state: UInt32 = 20_240_601
        func random(_ bound: UInt32) -> UInt32 {
            state ^= state << 13
            state ^= state >> 17
            state ^= state << 5
            return state % bound
        }
        for _ in 0..<2000 {
            var feedback = DmabufFeedback()
            var table: [Pair] = []
            var named: Set<Pair> = []
            for _ in 0..<random(40) {
                switch random(7) {
                case 0:
                    table = (0..<random(6)).map { _ in
                        Pair(
                            format: [xr24, ar24, nv12, 1][Int(random(4))],
                            modifier: UInt64(random(3)))
                    }
                    feedback.setTable(table)
                case 1: feedback.setMainDevice(UInt64(random(3)))
                case 2: feedback.setTrancheDevice(UInt64(random(3)))
                case 3: feedback.setTrancheFlags(isScanout: random(2) == 0)
                case 4: feedback.addToTranche((0..<random(5)).map { _ in UInt16(random(8)) })
                case 5: feedback.endTranche()
                default: _ = feedback.end()
                }
                named.formUnion(table)
            }
            _ = feedback.end()
            var catalog = FormatCatalog()
            catalog.apply(feedback)
            _ = catalog.rebuild()
            #expect(feedback.offers.allSatisfy { named.contains($0.pair) })
            let offered = Set(feedback.offers.map(\.pair))
            for pair in named {
                let isOffered = catalog.has(FourCC(pair.format), Modifier(pair.modifier))
                #expect(isOffered == offered.contains(pair))
            }
        }
    }
}

@Suite("[pure] what can be imported")
struct FormatCatalogTests {
    private func feedback(_ rows: [Pair], isScanout: Bool = false) -> DmabufFeedback {
        var feedback = DmabufFeedback()
        feedback.setTable(rows)
        feedback.setMainDevice(5)
        tell(&feedback, rows.indices.map(UInt16.init), device: 6, isScanout: isScanout)
        _ = feedback.end()
        return feedback
    }

    private func catalog(_ feedback: DmabufFeedback) -> FormatCatalog {
        var catalog = FormatCatalog()
        catalog.addShm(1)
        catalog.apply(feedback)
        let isChanged = catalog.rebuild()
        #expect(isChanged)
        let isChangedAgain = catalog.rebuild()
        #expect(!isChangedAgain)
        return catalog
    }

    @Test func entriesStandInTheOrderOfTheTranches() {
        var told = DmabufFeedback()
        told.setTable([
            Pair(format: xr24, modifier: 0), Pair(format: ar24, modifier: 7),
            Pair(format: 0x2020_2020, modifier: 0),
        ])
        told.setMainDevice(5)
        tell(&told, [1, 2], device: 6, isScanout: true)
        tell(&told, [0, 1])
        _ = told.end()
        let catalog = catalog(told)
        // A pair stands where it is named first; formats that are not known here are no entries, yet
        // they were offered.
        #expect(
            Array(catalog.entries.prefix(3)) == [
                ImportableFormat(
                    format: .argb8888, modifier: Modifier(7),
                    memory: 1 | ImportableFormat.scanout, device: 6),
                ImportableFormat(format: .xrgb8888, modifier: .linear, memory: 1, device: 5),
                ImportableFormat(format: .xrgb8888, modifier: .linear, memory: 2),
            ])
        #expect(catalog.has(FourCC(0x2020_2020), .linear) && !catalog.has(.argb8888, .linear))
        #expect(catalog.mainDevice == 5)
    }

    @Test func aSurfacePrefersOnlyWhatMayBeSent() {
        let catalog = catalog(
            feedback([
                Pair(format: xr24, modifier: 0), Pair(format: ar24, modifier: 0),
                Pair(format: ar24, modifier: 7),
            ]))
        let list = catalog.preferred(
            by: feedback(
                [
                    Pair(format: ar24, modifier: 9), Pair(format: ar24, modifier: 7),
                    Pair(format: nv12, modifier: 0), Pair(format: xr24, modifier: 0),
                    Pair(format: ar24, modifier: 7),
                ], isScanout: true))
        #expect(
            list == [
                ImportableFormat(
                    format: .argb8888, modifier: Modifier(7),
                    memory: 1 | ImportableFormat.scanout, device: 6),
                ImportableFormat(
                    format: .xrgb8888, modifier: .linear, memory: 1 | ImportableFormat.scanout,
                    device: 6),
            ])
        // NV12 in LINEAR is in the list, since it can be copied, and still is no pair to send.
        #expect(catalog.entries.contains { $0.format == .nv12 } && !catalog.has(.nv12, .linear))
        // Nothing that may be sent, or nothing at all: what stands for all.
        let useless = feedback([Pair(format: nv12, modifier: 0)])
        #expect(catalog.preferred(by: useless) == Array(catalog.entries.prefix(256)))
        #expect(catalog.preferred(by: DmabufFeedback()) == Array(catalog.entries.prefix(256)))
    }

    @Test func oldVersionsOfTheProtocolHaveALimitToo() {
        var catalog = FormatCatalog()
        for number in 0..<UInt64(DmabufFeedback.most) + 5 { catalog.addPair(xr24, number) }
        for number in 0..<UInt32(2000) { catalog.addShm(number) }
        _ = catalog.rebuild()
        #expect(catalog.entries.count == FormatCatalog.longest)
        #expect(catalog.has(.xrgb8888, Modifier(UInt64(DmabufFeedback.most) - 1)))
        #expect(!catalog.has(.xrgb8888, Modifier(UInt64(DmabufFeedback.most))))
        #expect(catalog.mainDevice == nil)
    }
}

@Suite("[kernel] tables of formats")
struct FormatTableTests {
    private func read(_ bytes: [UInt8], size: UInt32) throws -> [FormatCatalog.Pair]? {
        let file = try MemoryFile.create(size: UInt64(bytes.count))
        if !bytes.isEmpty {
            var mapped = try MappedMemory(file.number, count: bytes.count, access: .readWrite)
            mapped.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
        }
        return FormatTable.read(file, size: size)
    }

    @Test func rowsAreReadAsTheyLie() throws {
        let bytes = (0..<48).map { UInt8($0) }
        let rows = try #require(try read(bytes, size: 48))
        #expect(rows.count == 3)
        #expect(rows[0] == .init(format: 0x0302_0100, modifier: 0x0f0e_0d0c_0b0a_0908))
        #expect(rows[2] == .init(format: 0x2322_2120, modifier: 0x2f2e_2d2c_2b2a_2928))
    }

    @Test func whatIsLeftOfWholeRowsIsNone() throws {
        let bytes = [UInt8](repeating: 1, count: 47)
        #expect(try read(bytes, size: 47)?.count == 2)
        #expect(try read(bytes, size: 15) == [])
        #expect(try read(bytes, size: 0) == [])
        #expect(try read([], size: 0) == [])
    }

    @Test func whatIsNotThereIsNotRead() throws {
        #expect(try read([UInt8](repeating: 1, count: 47), size: 48) == nil)
        #expect(try read([], size: .max) == nil)
        // Longer than any index reaches, though the file has it all.
        let most = FormatTable.mostRows * 16
        let long = [UInt8](repeating: 0, count: most + 16)
        #expect(try read(long, size: UInt32(most))?.count == FormatTable.mostRows)
        #expect(try read(long, size: UInt32(most) + 15)?.count == FormatTable.mostRows)
        #expect(try read(long, size: UInt32(most) + 16) == nil)
        // No file at all.
        let pipe = try Pipe()
        #expect(FormatTable.read(pipe.reading.duplicate(), size: 16) == nil)
    }
}
