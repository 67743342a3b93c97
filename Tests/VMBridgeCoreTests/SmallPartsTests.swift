import Testing
import VMBridgeCore

@Suite("[pure] router")
struct RouterTests {
    private func metadata(_ title: String?, _ appID: String?) -> SurfaceMetadata {
        var metadata = SurfaceMetadata()
        metadata.title = title
        metadata.appID = appID
        return metadata
    }

    @Test func identities() {
        let router = Router(vmName: "work")
        for (title, appID, expected): (String?, String?, WindowIdentity) in [
            (nil, nil, WindowIdentity(title: "[work]", appID: "vm-bridge.work")),
            ("", "", WindowIdentity(title: "[work]", appID: "vm-bridge.work")),
            (
                "Term", "org.term",
                WindowIdentity(title: "[work] Term", appID: "vm-bridge.work.org.term")
            ),
            (
                "[home] Bank", "../x y",
                WindowIdentity(title: "[work] [home] Bank", appID: "vm-bridge.work..._x_y")
            ),
            ("\u{202e}evil\n", nil, WindowIdentity(title: "[work] evil", appID: "vm-bridge.work")),
        ] {
            #expect(router.identity(metadata(title, appID)) == expected)
            #expect(
                router.route(SurfaceFacts(role: .toplevel, metadata: metadata(title, appID)))
                    == .show(expected, ShowProperties()))
        }
    }

    @Test func neverLongerThan256Bytes() {
        for name in ["w", String(repeating: "n", count: 200), String(repeating: "é", count: 200)] {
            let router = Router(vmName: name)
            let long = String(repeating: "🙂", count: 200)
            let identity = router.identity(metadata(long, String(repeating: "a", count: 900)))
            #expect(identity.title.utf8.count <= 256 && identity.appID.utf8.count <= 256)
            #expect(identity.title.utf8.count > 252)
            #expect(identity.appID.hasPrefix("vm-bridge."))
        }
    }

    /// No guest text makes one VM's window carry the app id of another VM's.
    @Test func aGuestCannotBorrowAnotherName() {
        let work = Router(vmName: "work").identity(metadata(nil, "mail.term")).appID
        let mail = Router(vmName: "work.mail").identity(metadata(nil, "term")).appID
        #expect(work != mail)
        #expect(work == "vm-bridge.work.mail.term")
    }

    @Test func refusals() {
        let router = Router(vmName: "work")
        for role in [SurfaceRole.popup, .subsurface] {
            guard
                case .refuse(let refusal) = router.route(
                    SurfaceFacts(role: role, metadata: .init()))
            else {
                Issue.record("\(role) is shown")
                continue
            }
            #expect(refusal.reason == .unsupported)
        }
        guard
            case .refuse(let refusal) = router.route(
                SurfaceFacts(role: .toplevel, isGraphics: false, metadata: .init()))
        else {
            Issue.record("other content is shown")
            return
        }
        #expect(refusal.reason == .notRouted)
    }

    /// Rules are about windows: a cursor goes with its own, and only graphics can be one.
    @Test func cursorsAreNoMatterOfRules() {
        var configuration = Configuration()
        for action in [RuleAction.hide, .refuse(nil), .handTo(.consumer("c"))] {
            configuration.rules = [Rule(action: action)]
            let router = Router(vmName: "work", configuration: configuration)
            let route = router.route(SurfaceFacts(role: .cursor, metadata: .init()), wish: action)
            guard case .show(let identity, ShowProperties()) = route else {
                Issue.record("\(action): \(route)")
                continue
            }
            #expect(identity.appID.hasPrefix("vm-bridge.work"))
        }
        guard
            case .refuse(let refusal) = Router(vmName: "work").route(
                SurfaceFacts(role: .cursor, isGraphics: false, metadata: .init()))
        else {
            Issue.record("a cursor of sound")
            return
        }
        #expect(refusal.reason == .notRouted)
    }
}

@Suite("[pure] token bucket")
struct TokenBucketTests {
    private let second: UInt64 = 1_000_000_000

    @Test func burstOfOneSecondThenTheRate() {
        for (rate, step): (Int, UInt64) in [
            (500, 1_000), (500, 3_000), (500, 7_777), (750, 1_000_000), (16_500, 1_000),
            (1, 10_000_000), (16_500, 61_000), (3, 333_333_333),
        ] {
            var now: UInt64 = 5 * second
            var bucket = TokenBucket(rate: rate, now: now)
            var taken = 0
            while bucket.isOpen(now: now) {
                bucket.take(1, now: now)
                taken += 1
            }
            #expect(taken == rate, "the burst of \(rate)")
            taken = 0
            let end = now + 4 * second
            while now < end {
                now += step
                while bucket.isOpen(now: now) {
                    bucket.take(1, now: now)
                    taken += 1
                }
                if rate == 16_500, step == 1_000, taken > 20_000 { break }
            }
            let elapsed = Double(now - 5 * second) / Double(second)
            let expected = Double(rate) * elapsed
            #expect(
                abs(Double(taken) - expected) <= 1 + expected / 1000,
                "rate \(rate) looked at every \(step) ns: \(taken) in \(elapsed) s")
        }
    }

    @Test func debtIsPaidOff() {
        var bucket = TokenBucket(rate: 500, now: 0)
        bucket.take(4096, now: 0)
        let atOnce = bucket.isOpen(now: 0)
        #expect(!atOnce)
        // 3596 are owed and one is wanted: 3597 / 500 s.
        #expect(bucket.delay() == 7_194_000_000)
        let early = bucket.isOpen(now: 7_193_000_000)
        let inTime = bucket.isOpen(now: 7_194_000_000)
        #expect(!early && inTime)
        #expect(bucket.delay() == 0)
        // However long it rests, it holds one second's worth.
        var count = 0
        let later: UInt64 = 1_000_000 * second
        while bucket.isOpen(now: later) {
            bucket.take(1, now: later)
            count += 1
        }
        #expect(count == 500)
    }

    @Test func delayIsExact() {
        var random = Random(seed: 0xb0c)
        for _ in 0..<2_000 {
            var now = UInt64(random.below(1_000_000_000))
            let rate = 1 + random.below(20_000)
            var bucket = TokenBucket(rate: rate, now: now)
            bucket.take(random.below(3 * rate + 5), now: now)
            now += UInt64(random.below(100_000_000))
            if bucket.isOpen(now: now) {
                #expect(bucket.delay() == 0)
                continue
            }
            let delay = bucket.delay()
            #expect(delay > 0)
            var copy = bucket
            let opens = copy.isOpen(now: now + delay)
            #expect(opens, "rate \(rate)")
        }
    }

    @Test func rateChanges() {
        var bucket = TokenBucket(rate: 500, now: 0)
        bucket.setRate(750, now: 0)
        bucket.take(500, now: 0)
        let opens = bucket.isOpen(now: 0)
        #expect(!opens)
        let full = bucket.isOpen(now: second)
        #expect(full)
        bucket.setRate(100, now: second)
        var count = 0
        while bucket.isOpen(now: second) {
            bucket.take(1, now: second)
            count += 1
        }
        #expect(count == 100)
        // A clock that stands or steps back gives nothing and takes nothing.
        let back = bucket.isOpen(now: second / 2)
        #expect(!back)
    }

    /// A configuration's rates, however odd, never trap and never make the loop spin.
    @Test func oddRates() {
        for rate in [0, -1, 1, 1_000_000, Int(Int32.max), Int.max / 2, Int.max] {
            var bucket = TokenBucket(rate: rate, now: 0)
            bucket.take(10, now: 1)
            bucket.setRate(rate, now: 2)
            bucket.take(Int(UInt16.max), now: 60 * second)
            let isOpen = bucket.isOpen(now: .max)
            #expect(isOpen || bucket.delay() > 0, "rate \(rate)")
        }
    }
}

@Suite("[pure] damage")
struct DamageTests {
    private func covers(_ damage: Damage, _ x: UInt32, _ y: UInt32) -> Bool {
        damage.isWhole
            || (0..<damage.count).contains {
                let one = damage[$0]
                return x >= one.x && x < one.x + one.width && y >= one.y && y < one.y + one.height
            }
    }

    @Test func foldingCoversEverythingAdded() {
        var random = Random(seed: 0xda3a6e)
        for round in 0..<400 {
            let list = (0..<1 + random.below(64)).map { _ in
                Rectangle(
                    x: UInt32(random.below(30)), y: UInt32(random.below(30)),
                    width: UInt32(random.below(6)), height: UInt32(random.below(6)))
            }
            let folded = damage(list)
            #expect(folded.count <= Damage.capacity)
            let clipped = folded.clipped(to: Size(width: 32, height: 20))
            for x in 0..<36 as Range<UInt32> {
                for y in 0..<36 as Range<UInt32> {
                    let isAsked = list.contains {
                        x >= $0.x && x < $0.x + $0.width && y >= $0.y && y < $0.y + $0.height
                    }
                    if isAsked, !covers(folded, x, y) {
                        Issue.record("round \(round): \(x), \(y) was lost")
                        return
                    }
                    let isInside = x < 32 && y < 20
                    if covers(clipped, x, y) != (isInside && covers(folded, x, y)) {
                        Issue.record("round \(round): \(x), \(y) was clipped wrongly")
                        return
                    }
                }
            }
            // A few are kept as they are.
            if list.allSatisfy({ $0.area > 0 }), list.count <= Damage.capacity {
                #expect(rectangles(folded) == list)
            }
        }
    }

    @Test func wholeAndNone() {
        var damage = Damage.none
        #expect(damage.isEmpty && !damage.isWhole)
        damage.merge(.none)
        #expect(damage.isEmpty)
        damage.add(Rectangle(x: 1, y: 1, width: 0, height: 5))
        #expect(damage.isEmpty)
        damage.add(Rectangle(x: 1, y: 1, width: 5, height: 5))
        damage.merge(.whole)
        #expect(damage.isWhole && damage.count == 0 && !damage.isEmpty)
        damage.add(Rectangle(x: 1, y: 1, width: 5, height: 5))
        damage.merge(.none)
        #expect(damage.isWhole && damage.count == 0)
        #expect(damage.clipped(to: .zero).isWhole)
    }

    @Test func extremes() {
        let far = Rectangle(x: .max, y: .max, width: .max, height: .max)
        #expect(far.union(Rectangle(x: 0, y: 0, width: 1, height: 1)).x == 0)
        #expect(!far.fits(in: Size(width: .max, height: .max)))
        #expect(far.clipped(to: Size(width: 10, height: 10)).area == 0)
        let wide = Rectangle(x: 5, y: 6, width: .max, height: .max)
        #expect(
            wide.clipped(to: Size(width: 10, height: 10))
                == Rectangle(x: 5, y: 6, width: 5, height: 4))
        var damage = Damage.none
        for _ in 0..<100 { damage.add(far) }
        #expect(damage.count == 8)
    }

    @Test func transforms() {
        for value in 0...7 as ClosedRange<UInt32> {
            #expect(Transform(rawValue: value)?.swapsAxes == [1, 3, 5, 7].contains(value))
        }
        #expect(Transform(rawValue: 8) == nil && Transform(rawValue: .max) == nil)
    }
}

@Suite("[pure] slot table")
struct SlotTableTests {
    @Test func staleNamesFindNothing() {
        var table = SlotTable<String>()
        let a = table.insert("a")
        let b = table.insert("b")
        #expect(table[a] == "a" && table[b] == "b" && table.count == 2)
        let first = table.remove(a)
        let second = table.remove(a)
        #expect(first == "a" && second == nil && table.count == 1)
        let c = table.insert("c")
        #expect(c.index == a.index && c != a)
        #expect(table[a] == nil && !table.contains(a) && table[c] == "c")
        table[a] = "changed"
        table[a]?.append("!")
        #expect(table[c] == "c" && table.count == 2)
        table[c]?.append("!")
        #expect(table[c] == "c!")
        #expect(table.slots == [c, b])
        #expect(table[SlotIndex(index: 9, generation: 0)] == nil)
        #expect(table[SlotIndex(index: .max, generation: .max)] == nil)
    }

    /// Setting nil takes the entry out like `remove` does: no place is lost.
    @Test func settingNilRemoves() {
        var table = SlotTable<Int>()
        let a = table.insert(1)
        table[a] = nil
        #expect(table.count == 0 && !table.contains(a))
        let b = table.insert(2)
        #expect(b.index == a.index && b != a && table[a] == nil && table[b] == 2)
    }

    @Test func agreesWithADictionary() {
        var random = Random(seed: 0x510c)
        var table = SlotTable<Int>()
        var model: [SlotIndex: Int] = [:]
        var handedOut: [SlotIndex] = []
        for step in 0..<5_000 {
            if random.oneIn(2), model.count < 40 {
                let slot = table.insert(step)
                #expect(model[slot] == nil)
                model[slot] = step
                handedOut.append(slot)
            } else if !handedOut.isEmpty {
                let slot = handedOut[random.below(handedOut.count)]
                let removed = table.remove(slot)
                #expect(removed == model.removeValue(forKey: slot))
            }
            if step % 100 == 0 {
                #expect(table.count == model.count)
                for slot in handedOut { #expect(table[slot] == model[slot]) }
            }
        }
        #expect(Set(handedOut).count == handedOut.count)
    }
}
