import Testing

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[pure] copies of what cannot be imported: what is copied where")
struct CopyPlanTests {
    private func catalog(_ formats: [FourCC] = [.argb8888, .xrgb8888]) -> FormatCatalog {
        var catalog = FormatCatalog()
        for format in formats { catalog.addShm(FormatCatalog.shmNumber(format)) }
        return catalog
    }

    private func layout(
        _ format: FourCC, _ size: Size, modifier: Modifier = .linear, isBottomUp: Bool = false
    ) -> BufferLayout {
        BufferLayout(
            size: size, format: format, modifier: modifier, memory: .dmaBuf,
            isBottomUp: isBottomUp, planes: [])
    }

    private func damage(_ parts: [Rectangle]) -> Damage {
        var damage = Damage.none
        for part in parts { damage.add(part) }
        return damage
    }

    @Test func rowsAreCopiedWhereTheCompositorKnowsTheFormat() throws {
        let size = Size(width: 5, height: 3)
        let plan = try CopyPlan(layout(.xrgb8888, size), catalog())
        #expect(plan.shmFormat == 1 && plan.converted == nil)
        #expect(plan.stride == 20 && plan.bytes == 60)
        #expect(plan.path == "copied by damage into wl_shm")
        let sixteen = FourCC(PixelFormat.rgb565.rawValue)
        let short = try CopyPlan(layout(sixteen, size), catalog([sixteen]))
        #expect(short.shmFormat == sixteen.rawValue && short.stride == 12)
    }

    @Test func otherFormatsAreConverted() throws {
        let size = Size(width: 5, height: 3)
        let plain = try CopyPlan(layout(.nv12, size), catalog())
        #expect(plain.converted == .nv12 && plain.target == .xrgb8888 && plain.bytes == 60)
        #expect(plain.path == "copied by damage into wl_shm as XR24")
        let clear = try CopyPlan(layout(.abgr8888, size), catalog())
        #expect(clear.converted == .abgr8888 && clear.target == .argb8888 && clear.shmFormat == 0)
    }

    @Test func whatCannotBeCopiedSaysWhy() throws {
        func why(_ layout: BufferLayout) -> String {
            do throws(Refusal) {
                _ = try CopyPlan(layout, catalog())
                return ""
            } catch { return error.sentence }
        }
        let size = Size(width: 4, height: 4)
        #expect(why(layout(.xrgb8888, size, modifier: Modifier(1))).contains("LINEAR"))
        // AB30: known to the wire, but neither offered nor convertible.
        #expect(why(layout(FourCC(0x3033_4241), size)).contains("no conversion"))
    }

    @Test func areasAreDamageInMemory() throws {
        let size = Size(width: 100, height: 51)
        let part = Rectangle(x: 11, y: 3, width: 4, height: 2)
        let plan = try CopyPlan(layout(.xrgb8888, size), catalog())
        #expect(plan.areas(.whole) == [PixelRect(x: 0, y: 0, width: 100, height: 51)])
        #expect(plan.areas(.none).isEmpty)
        // Widened to pairs of pixels and rows.
        #expect(plan.areas(damage([part])) == [PixelRect(x: 10, y: 2, width: 6, height: 4)])
        let bottom = Rectangle(x: 99, y: 50, width: 9, height: 9)
        #expect(plan.areas(damage([bottom])) == [PixelRect(x: 98, y: 50, width: 2, height: 1)])
        let outside = Rectangle(x: 100, y: 0, width: 9, height: 9)
        #expect(plan.areas(damage([outside])).isEmpty)
        let turned = try CopyPlan(layout(.xrgb8888, size, isBottomUp: true), catalog())
        // Rows 3 and 4 from the top are 46 and 47 in memory.
        #expect(turned.areas(damage([part])) == [PixelRect(x: 10, y: 46, width: 6, height: 2)])
    }

    @Test func nothingIsCopiedTwiceForNothing() throws {
        let plan = try CopyPlan(layout(.xrgb8888, Size(width: 40, height: 40)), catalog())
        let small = Rectangle(x: 4, y: 4, width: 2, height: 2)
        let large = Rectangle(x: 0, y: 0, width: 20, height: 20)
        let area = PixelRect(x: 0, y: 0, width: 20, height: 20)
        #expect(plan.areas(damage([small, large])) == [area])
        #expect(plan.areas(damage([large, small, large])) == [area])
        // A bar that moves to the right: what it left, it crossed and it covers, once.
        let bars = (0..<3).map { Rectangle(x: $0 * 4, y: 2, width: 12, height: 30) }
        #expect(plan.areas(damage(bars)) == [PixelRect(x: 0, y: 2, width: 20, height: 30)])
        // Two corners are not worth all that lies between them.
        let corner = Rectangle(x: 30, y: 30, width: 4, height: 4)
        #expect(plan.areas(damage([small, corner])).count == 2)
        let half = Rectangle(x: 0, y: 0, width: 40, height: 24)
        let other = Rectangle(x: 0, y: 20, width: 40, height: 20)
        #expect(
            plan.areas(damage([half, other])) == [PixelRect(x: 0, y: 0, width: 40, height: 40)])
    }

    @Test func anImageLacksWhatChangedSinceItsCopy() {
        // A window that took another's place shares nothing with it.
        var other = DamageHistory(window: 1)
        for _ in 0..<3 { other.commit(.none) }
        #expect(DamageHistory(window: 2).since(other.count).isWhole)
        var next = DamageHistory(window: 2)
        for _ in 0..<4 { next.commit(.none) }
        #expect(next.since(other.count).isWhole && !next.since(next.count - 1).isWhole)
        var history = DamageHistory()
        #expect(history.since(nil).isWhole && history.since(0).isEmpty)
        for index in 0..<20 as Range<UInt32> {
            history.commit(damage([Rectangle(x: index, y: 0, width: 1, height: 1)]))
        }
        let two = history.since(18)
        #expect(two.count == 2 && two[0].x == 18 && two[1].x == 19)
        #expect(history.since(20).isEmpty)
        #expect(history.since(12).count == 8 && history.since(12)[0].x == 12)
        // Longer ago than is remembered, or of another count.
        #expect(history.since(11).isWhole && history.since(21).isWhole)
        history.commit(.whole)
        #expect(history.since(20).isWhole && !history.since(21).isWhole)
    }
}
