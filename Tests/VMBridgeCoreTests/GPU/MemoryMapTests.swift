import Testing
import VMBridgeCore

@Suite("[pure] guest memory: regions and addresses")
struct MemoryMapTests {
    private func region(
        _ guest: UInt64, _ size: UInt64, user: UInt64? = nil, offset: UInt64 = 0
    ) -> MemoryRegion {
        MemoryRegion(guest: guest, size: size, user: user ?? guest + (1 << 40), offset: offset)
    }

    private func why(_ regions: [MemoryRegion]) -> RefusalReason? {
        reason { () throws(Refusal) in try MemoryMap(regions) }
    }

    @Test func tablesThatAreRefused() {
        let good = region(0, 4096)
        let cases: [(String, [MemoryRegion], RefusalReason)] = [
            ("empty", [], .badValue),
            ("no size", [region(0, 0)], .badValue),
            ("half a page", [region(0, 2048)], .badValue),
            ("guest not aligned", [region(1, 4096, user: 0)], .badValue),
            ("user not aligned", [region(0, 4096, user: 17)], .badValue),
            ("offset not aligned", [region(0, 4096, offset: 1)], .badValue),
            ("wraps in the guest", [region(0 &- 4096, 8192, user: 0)], .badValue),
            ("ends at the last address", [region(0 &- 4096, 4096, user: 0)], .badValue),
            ("wraps in the front end", [region(0, 8192, user: 0 &- 4096)], .badValue),
            ("too large", [region(0, 1 << 47)], .badValue),
            ("offset too far", [region(0, 4096, offset: 1 << 47)], .badValue),
            ("twice", [good, good], .badValue),
            ("overlap in the guest", [region(0, 8192), region(4096, 4096, user: 0)], .badValue),
            (
                "overlap in the front end",
                [region(0, 8192, user: 0), region(8192, 4096, user: 4096)], .badValue
            ),
            ("nine", (0..<9).map { region($0 * 4096, 4096) }, .tooManyBuffers),
        ]
        for (name, regions, wanted) in cases { #expect(why(regions) == wanted, "\(name)") }
        #expect(why((0..<8).map { region($0 * 4096, 4096) }) == nil)
        #expect(why([region(8192, 4096), region(0, 8192)]) == nil, "neighbours in any order")
    }

    @Test func everyAddressOfThreeRegions() throws {
        // A hole between the first two, none between the last two.
        let map = try MemoryMap([
            region(0x8000, 0x2000, user: 0x20000, offset: 0x1000),
            region(0x1000, 0x2000, user: 0x50000),
            region(0xa000, 0x1000, user: 0x10000, offset: 0x7000),
        ])
        for address in stride(from: UInt64(0), to: 0xd000, by: 0x800) {
            let wanted: (Int, UInt64)? =
                switch address {
                case 0x1000..<0x3000: (1, address - 0x1000)
                case 0x8000..<0xa000: (0, address - 0x8000 + 0x1000)
                case 0xa000..<0xb000: (2, address - 0xa000 + 0x7000)
                default: nil
                }
            let piece = map.piece(at: address, length: 16)
            #expect(piece?.file == wanted?.0, "\(address)")
            #expect(piece?.offset == wanted?.1, "\(address)")
        }
        #expect(map.piece(at: 0x2ff0, length: 64)?.length == 16)
        #expect(map.piece(at: 0x2000, length: 0) == nil)
        #expect(map.piece(at: .max, length: 8) == nil)
        #expect(map.guestAddress(ofUser: 0x20000, count: 0x2000) == 0x8000)
        #expect(map.guestAddress(ofUser: 0x20001, count: 0x2000) == nil)
        #expect(map.guestAddress(ofUser: 0x1ffff, count: 1) == nil)
        #expect(map.guestAddress(ofUser: 0x50ff0, count: .max) == nil)
    }

    @Test func listsBecomePieces() throws {
        let map = try MemoryMap([region(0x8000, 0x2000, offset: 0x1000), region(0xa000, 0x1000)])
        func pieces(_ ranges: [(UInt64, UInt64)]) throws(Refusal) -> [MemoryPiece] {
            try map.pieces(of: ranges.map { GuestRange(address: $0.0, length: $0.1) })
        }
        #expect(
            try pieces([(0x8000, 0x1000), (0x9000, 0x800)]) == [
                MemoryPiece(file: 0, offset: 0x1000, length: 0x1800)
            ])
        #expect(
            try pieces([(0x9000, 0x1000), (0x8000, 0x1000)]) == [
                MemoryPiece(file: 0, offset: 0x2000, length: 0x1000),
                MemoryPiece(file: 0, offset: 0x1000, length: 0x1000),
            ])
        // Across two files.
        #expect(
            try pieces([(0x9f00, 0x200)]) == [
                MemoryPiece(file: 0, offset: 0x2f00, length: 0x100),
                MemoryPiece(file: 1, offset: 0, length: 0x100),
            ])
        for bad: [(UInt64, UInt64)] in [
            [(0x7fff, 2)], [(0xafff, 2)], [(.max, 1)], [(0, .max)], [(0x8000, 0x1000), (0, 1)],
        ] {
            #expect(reason { () throws(Refusal) in try pieces(bad) } == .badLayout)
        }
    }

    /// Every table that is taken is free of overlaps, by another reckoning than the map's.
    @Test func randomTables() {
        var random = Random(seed: 11)
        var taken = 0
        for _ in 0..<100_000 {
            let regions = (0..<1 + random.below(4)).map { _ in
                MemoryRegion(
                    guest: UInt64(random.below(12)) * 4096, size: UInt64(random.below(5)) * 4096,
                    user: UInt64(random.below(12)) * 4096 + UInt64(random.below(9) / 8),
                    offset: UInt64(random.below(3)) * 4096)
            }
            guard let map = try? MemoryMap(regions) else { continue }
            taken += 1
            var pages: Set<UInt64> = []
            for region in regions {
                for page in 0..<region.size / 4096 {
                    #expect(pages.insert(region.guest / 4096 + page).inserted)
                }
            }
            for page in 0..<20 as Range<UInt64> {
                #expect((map.piece(at: page * 4096, length: 1) != nil) == pages.contains(page))
            }
        }
        #expect(taken > 1000)
    }
}
