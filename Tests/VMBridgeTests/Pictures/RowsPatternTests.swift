import Testing

@testable import VMBridge

@Suite("rows pattern [pure]") struct RowsPatternTests {
    private func rows(_ width: Int = 300, _ height: Int = 40, seed: UInt32 = 5) throws
        -> RowsPattern
    {
        try RowsPattern(width: width, height: height, seed: seed)
    }

    /// A screen with something coloured behind the windows.
    private func screen(_ windows: (Picture, x: Int, y: Int)...) -> Picture {
        var screen = Picture(width: 800, height: 300, fill: Colour(40, 90, 130))
        for window in windows { screen.blit(window.0, toX: window.x, y: window.y) }
        return screen
    }

    private func only(_ picture: Picture) throws -> RowsWindow {
        let windows = RowsPattern.windows(in: picture)
        #expect(windows.count == 1)
        return try #require(windows.first)
    }

    @Test func codesSurviveTheCells() throws {
        for (frame, row, width, height): (UInt32, Int, Int, Int) in [
            (0, 0, 128, 1), (1, 5, 640, 480), (.max, 16_383, 16_384, 16_384),
            (RowsPattern.poison, 99, 129, 100),
        ] {
            let code = RowCode(seed: 0xa50f, frame: frame, row: row, width: width, height: height)
            let first = code.cells(isFirst: true)
            let later = code.cells(isFirst: false)
            #expect(RowCode(first.high, first.low) == code)
            #expect(RowCode(later.high, later.low) == code)
            #expect(first.high >> 48 == RowCode.firstSync)
            #expect(later.high >> 48 == RowCode.laterSync)
        }
    }

    @Test func everyWrongCellIsNoticed() {
        let cells = RowCode(seed: 3, frame: 77, row: 9, width: 640, height: 480).cells(
            isFirst: true)
        for bit: UInt64 in 0..<48 { #expect(RowCode(cells.high ^ 1 << bit, cells.low) == nil) }
        for bit: UInt64 in 0..<64 { #expect(RowCode(cells.high, cells.low ^ 1 << bit) == nil) }
        #expect(RowCode(0, 0) == nil)
        #expect(RowCode(.max, .max) == nil)
    }

    @Test(
        arguments: PixelFormat.allCases, [(128, 1), (131, 17), (256, 3), (383, 20), (641, 31)])
    func aPictureIsReadBack(format: PixelFormat, size: (Int, Int)) throws {
        let pattern = try RowsPattern(
            width: size.0, height: size.1, format: format, seed: 0x1_0007)
        let window = try only(screen((try pattern.picture(frame: 123_456_789), x: 13, y: 57)))
        #expect(window.seed == 7)
        #expect(window.area == PixelRect(x: 13, y: 57, width: size.0, height: size.1))
        #expect(window.rows.allSatisfy { $0 == .frame(123_456_789) })
        #expect(window.frame == 123_456_789 && window.wholeRows == size.1)
        #expect(window.faults().isEmpty)
    }

    @Test func aPictureOfTwoFramesIsFoundRowByRow() throws {
        let pattern = try rows()
        var mixed = try pattern.picture(frame: 8)
        mixed.blit(
            try pattern.picture(frame: 9), from: PixelRect(x: 0, y: 25, width: 300, height: 15),
            toX: 0, y: 25)
        let window = try only(screen((mixed, x: 100, y: 20)))
        #expect(window.frame == 8 && window.wholeRows == 25)
        let faults = window.faults()
        #expect(faults.map(\.row) == Array(25..<40))
        #expect(faults.allSatisfy { $0.shows == .frame(9) })
    }

    @Test func oneRowOfAnotherFrameIsFound() throws {
        let pattern = try rows()
        for row in [0, 17, 39] {
            var mixed = try pattern.picture(frame: 8)
            let part = PixelRect(x: 0, y: row, width: 300, height: 1)
            mixed.blit(try pattern.picture(frame: 7), from: part, toX: 0, y: row)
            let faults = try only(screen((mixed, x: 1, y: 2))).faults()
            #expect(faults.count == 1)
            #expect(faults.first?.row == row && faults.first?.shows == .frame(7))
        }
    }

    @Test(arguments: [
        (128, RowsWindow.Row.mixed([8, 9])), (256, .unreadable), (70, .unreadable), (20, .frame(9)),
    ])
    func aRowOfTwoFramesIsFound(column: Int, shows: RowsWindow.Row) throws {
        let pattern = try rows()
        var mixed = try pattern.picture(frame: 8)
        // From the column to the right edge: at the second copy, in the cut-off one, behind the first
        // copy's number and before it.
        let part = PixelRect(x: column, y: 11, width: 300 - column, height: 1)
        mixed.blit(try pattern.picture(frame: 9), from: part, toX: column, y: 11)
        let window = try only(screen((mixed, x: 40, y: 30)))
        #expect(window.faults().map(\.row) == [11])
        #expect(window.rows[11] == shows)
    }

    @Test func poisonIsAFault() throws {
        let pattern = try rows()
        var picture = try pattern.picture(frame: 3)
        let poison = try pattern.picture(frame: RowsPattern.poison)
        picture.blit(poison, from: PixelRect(x: 0, y: 38, width: 300, height: 2), toX: 0, y: 38)
        #expect(try only(screen((picture, x: 0, y: 0))).faults().map(\.row) == [38, 39])
        #expect(try only(screen((poison, x: 0, y: 0))).faults().count == 40)
        #expect(
            try only(screen((poison, x: 0, y: 0))).faults(toleratesCover: true).count == 40)
    }

    @Test func windowsOfOtherSeedsMayHideOneAnother() throws {
        let (below, above) = (try rows(), try rows(200, 30, seed: 6))
        let picture = screen(
            (try below.picture(frame: 1), x: 20, y: 20),
            (try above.picture(frame: 2), x: 250, y: 35))
        let windows = RowsPattern.windows(in: picture)
        #expect(windows.map(\.seed) == [5, 6])
        #expect(windows.allSatisfy { $0.faults().isEmpty })
        #expect(windows.map(\.frame) == [1, 2])
        // One that hides the left end: only the cut-off copy is left of some rows, which says nothing alone.
        let left = screen(
            (try below.picture(frame: 1), x: 20, y: 20),
            (try above.picture(frame: 2), x: 0, y: 35))
        let lower = try #require(RowsPattern.windows(in: left).first { $0.seed == 5 })
        #expect(lower.faults().isEmpty && lower.wholeRows == 15)
        #expect(lower.rows.count { $0 == .hidden } == 25)
    }

    @Test func otherThingsHideOnlyWhenTold() throws {
        var picture = screen((try rows().picture(frame: 4), x: 20, y: 20))
        picture.fill(Colour(200, 30, 30), PixelRect(x: 60, y: 30, width: 20, height: 5))
        let window = try only(picture)
        #expect(window.faults().map(\.row) == Array(10..<15))
        #expect(window.faults(toleratesCover: true).isEmpty)
        #expect(window.frame == 4 && window.wholeRows == 35)
    }

    @Test func whatThePictureCutsOffIsHidden() throws {
        let window = try only(screen((try rows().picture(frame: 4), x: 600, y: 280)))
        #expect(window.area == PixelRect(x: 600, y: 280, width: 300, height: 40))
        #expect(window.faults().isEmpty && window.wholeRows == 20)
        #expect(window.rows.count { $0 == .hidden } == 20)
    }

    @Test func aRowInTheWrongPlaceIsAFault() throws {
        let pattern = try rows()
        var picture = try pattern.picture(frame: 4)
        picture.blit(
            try pattern.picture(frame: 4), from: PixelRect(x: 0, y: 10, width: 300, height: 1),
            toX: 0, y: 20)
        let windows = RowsPattern.windows(in: screen((picture, x: 9, y: 50)))
        #expect(windows.contains { $0.faults().contains { $0.row == 20 } })
    }

    @Test func thereIsNoneWhereNoneIs() throws {
        let test = try TestPattern(width: 320, height: 200, seed: 1)
        #expect(RowsPattern.windows(in: screen((try test.picture(frame: 9), x: 5, y: 5))).isEmpty)
        #expect(
            RowsPattern.windows(in: Picture(width: 500, height: 50, fill: .white)).isEmpty)
    }

    @Test func tooNarrowIsRefused() {
        #expect(throws: PictureError.size(width: 127, height: 5)) {
            try RowsPattern(width: 127, height: 5)
        }
    }
}
