import VMBridgeCore

/// A small world around one machine and one ledger: a guest that changes pixels, a compositor that
/// shows, releases, falls silent and dies, and the interpreter of actions between them. It keeps its
/// own books and says in `problem` what first went against them.
struct SurfaceWorld {
    static let width = 8
    static let height = 6

    /// What a frame's buffer holds and how it is laid out.
    struct Picture {
        var cells: [UInt32]
        var size: Size
        var destination: Size?
    }

    /// The books on one frame.
    struct Entry {
        var sequence: UInt64
        var waits: FrameWaits
        var wasCommitted = false
    }

    var random: Random
    var problem: String?
    /// A destroy comes once in so many tries.
    var destroyOdds = 6
    var machine = SurfaceMachine()
    var ledger = BufferLedger()
    let surface = SurfaceID(SlotIndex(index: 0, generation: 0))
    var limits = VMLimits()

    // The guest.
    var cells = [UInt32](repeating: 0, count: width * height)
    var size = Size(width: UInt32(width), height: UInt32(height))
    var destination: Size?
    var version: UInt32 = 0
    var sequence: UInt64 = 0
    var lastAccepted: UInt64 = 0
    var pictures: [UInt64: Picture] = [:]

    /// Given up on after too long without a compositor: its frames end at once.
    var isDormant = false

    // The books.
    var live: [UseID: Entry] = [:]
    var begun = 0
    var ended = 0
    var commits = 0
    var mostActions = 0

    // The compositor.
    var hasWindow = false
    var isConfigured = false
    var isCallbackPending = false
    var isWindowLeaving = false
    var lastCommitted: UInt64 = 0
    /// Committed and not released, the current one included.
    var held: [UseID] = []
    /// What the screen showed before the last commit.
    var before: Picture?
    var screen: Picture?

    init(seed: UInt64) {
        random = Random(seed: seed)
        limits.usesPerBuffer = 4
        limits.buffers = 4
    }

    mutating func fail(_ text: String) { if problem == nil { problem = text } }

    // MARK: The guest's side

    /// Changes some cells and says which; the rest stays as it was.
    mutating func paint() -> Damage {
        var damage = Damage.none
        if random.oneIn(12) {
            version += 1
            for index in cells.indices { cells[index] = version }
            return .whole
        }
        for _ in 0..<random.below(random.oneIn(8) ? 14 : 4) {
            let (x, y) = (random.below(SurfaceWorld.width), random.below(SurfaceWorld.height))
            let rectangle = Rectangle(
                x: UInt32(x), y: UInt32(y), width: UInt32(1 + random.below(3)),
                height: UInt32(1 + random.below(3)))
            version += 1
            damage.add(rectangle)
            for row in y..<min(y + Int(rectangle.height), SurfaceWorld.height) {
                for column in x..<min(x + Int(rectangle.width), SurfaceWorld.width) {
                    cells[row * SurfaceWorld.width + column] = version
                }
            }
        }
        return damage.clipped(to: size)
    }

    mutating func sendFrame(key: UInt64? = nil) {
        sequence += 1 + UInt64(random.below(3))
        if random.oneIn(12) {
            // Another layout: everything may differ, and the guest need not say so.
            if random.oneIn(2) {
                size.height = UInt32(SurfaceWorld.height * 2 + 1) - size.height
            } else {
                destination = destination == nil ? Size(width: 5, height: 5) : nil
            }
            version += 1
            for index in cells.indices { cells[index] = version }
        }
        let damage = paint()
        guard let buffer = pickBuffer(key) else { return refuseFrame() }
        let use: UseID
        do {
            use = try ledger.begin(
                buffer, surface: surface, key: SurfaceKey(1), sequence: FrameSequence(sequence),
                limits: limits)
        } catch {
            return refuseFrame()
        }
        begun += 1
        var waits: FrameWaits = []
        if !hasWindow || random.oneIn(4) { waits.insert(.importing) }
        if random.oneIn(3) { waits.insert(.fence) }
        if random.oneIn(10) { waits.insert(.time) }
        live[use] = Entry(sequence: sequence, waits: waits)
        pictures[sequence] = Picture(cells: cells, size: size, destination: destination)
        var record = FrameRecord(
            surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(sequence))
        record.damage = damage
        record.destination = destination
        if machine.phase != .closing, machine.phase != .gone { lastAccepted = sequence }
        perform(
            machine.accept(
                Frame(
                    record, use: use, buffer: buffer, size: size, receivedAt: 0, waits: waits)),
            mayDiscard: isDormant)
    }

    /// The guest painted, and the machine never learns what.
    mutating func refuseFrame() {
        version += 1
        for _ in 0..<3 { cells[random.below(cells.count)] = version }
        machine.frameWasRefused()
    }

    mutating func pickBuffer(_ key: UInt64?) -> BufferID? {
        let key = BufferKey(key ?? UInt64(1 + random.below(5)))
        if let id = ledger.find(key) { return id }
        return try? ledger.create(key, size: size, bytes: 100, limits: limits)
    }

    mutating func destroyBuffer() {
        let key = BufferKey(UInt64(1 + random.below(5)))
        guard let id = ledger.find(key) else { return }
        let wasHeld = (ledger[id]?.uses ?? 0) > 0
        let freed = try? ledger.destroy(key)
        if (freed == nil) != wasHeld { fail("a held buffer was freed, or a free one kept") }
    }

    // MARK: The compositor's side

    mutating func releaseOne() {
        guard !held.isEmpty else { return }
        let use = held.remove(at: random.below(held.count))
        machine.released(use)
        end(use, .shown)
    }

    mutating func configure() {
        guard hasWindow else {
            // Nobody can send one; the machine must not mind a late one.
            perform(machine.configured(ConfigureRecord(size: .zero), serial: 0))
            return
        }
        isConfigured = true
        let configure = ConfigureRecord(
            size: Size(width: UInt32(random.below(3)), height: 1),
            states: random.oneIn(4) ? 1 << 9 : 0)
        perform(machine.configured(configure, serial: UInt32(random.below(100))))
    }

    mutating func map() {
        isDormant = false
        perform(machine.map())
    }

    mutating func holdTooLong() {
        if machine.phase == .unmapped { isDormant = true }
        perform(machine.heldTooLong())
    }

    mutating func lose() {
        let wasHeld = held
        (hasWindow, isConfigured, isCallbackPending, isWindowLeaving) = (false, false, false, false)
        (held, screen) = ([], nil)
        perform(machine.compositorLost())
        // What only the compositor held is lost; what the machine kept is its own again.
        let kept = machine.uses
        for use in wasHeld where live[use] != nil && !kept.contains(use) { end(use, .lost) }
        for frame in machine.framesLackingImport { live[frame.use]?.waits.insert(.importing) }
    }

    mutating func windowGone() {
        guard isWindowLeaving else {
            perform(machine.windowGone())
            return
        }
        isWindowLeaving = false
        hasWindow = false
        let wasHeld = held
        held = []
        perform(machine.windowGone())
        for use in wasHeld where live[use] != nil { end(use, .shown) }
    }

    // MARK: The interpreter

    mutating func perform(_ actions: SurfaceActions, mayDiscard: Bool = false) {
        mostActions = max(mostActions, actions.count)
        let callbackBefore = isCallbackPending
        for index in 0..<actions.count {
            switch actions[index] {
            case .createWindow:
                if hasWindow { fail("a second window") }
                hasWindow = true
            case .destroyWindow:
                if !hasWindow || isWindowLeaving { fail("no window to destroy") }
                isWindowLeaving = true
                isConfigured = false
            case .acknowledge:
                if !isConfigured { fail("an acknowledge without a configure") }
            case .commit:
                if callbackBefore || isCallbackPending { fail("a commit with a callback pending") }
                commit()
            case .commitState:
                if !isConfigured || screen == nil { fail("a state commit without content") }
            case .end(let use, let outcome):
                if outcome == .superseded, let entry = live[use], entry.sequence >= lastAccepted,
                    !mayDiscard
                {
                    fail("frame \(entry.sequence) superseded by nothing")
                }
                if outcome == .superseded || outcome == .refused, held.contains(use) {
                    fail("an end of a frame that the compositor holds")
                }
                if let entry = live[use], !entry.waits.isEmpty { fail("an end before its waits") }
                held.removeAll { $0 == use }
                end(use, outcome)
            case .cancelWaits(let use):
                if live[use]?.waits.isEmpty != false { fail("a cancel of no wait") }
                live[use]?.waits = []
            case .tellDiscarded:
                if !mayDiscard { fail("a discard out of turn") }
            case .tellConfigure:
                if machine.phase == .unmapped || machine.phase == .gone { fail("a late configure") }
            case .tellClose:
                if !hasWindow { fail("a close without a window") }
            }
        }
    }

    /// The presenter finds that it cannot read what was committed last.
    mutating func failCommit() {
        guard isCallbackPending, let before, let current = machine.current, machine.isCurrentHeld,
            !isWindowLeaving
        else { return }
        screen = before
        self.before = nil
        isCallbackPending = false
        held.removeAll { $0 == current.use }
        perform(machine.commitFailed(current.use))
    }

    mutating func end(_ use: UseID, _ outcome: UseOutcome) {
        guard let entry = live.removeValue(forKey: use) else { return fail("a stale use") }
        if outcome == .shown, !entry.wasCommitted { fail("shown without a commit") }
        guard let ended = ledger.end(use, outcome) else { return fail("an end of an ended use") }
        if ended.sequence.value != entry.sequence || ended.outcome != outcome {
            fail("the ledger told another frame")
        }
        if let freed = ended.freed, ledger[freed] != nil { fail("freed and still there") }
        if ledger.end(use, outcome) != nil { fail("a use ended twice") }
        self.ended += 1
    }

    mutating func commit() {
        commits += 1
        guard machine.phase == .presenting, hasWindow, isConfigured, !isWindowLeaving else {
            return fail("a commit in \(machine.phase)")
        }
        guard let frame = machine.current, let picture = pictures[frame.sequence.value] else {
            return fail("a commit of nothing")
        }
        guard let entry = live[frame.use], entry.waits.isEmpty else {
            return fail("a commit of a frame that ended or waits")
        }
        let isAgain = screen == nil && entry.wasCommitted
        if frame.sequence.value < lastCommitted || frame.sequence.value == lastCommitted && !isAgain
        {
            fail("a commit out of order")
        }
        lastCommitted = frame.sequence.value
        live[frame.use]?.wasCommitted = true
        if held.contains(frame.use) { fail("one use held twice") }
        held.append(frame.use)
        isCallbackPending = true
        before = screen
        show(picture, frame.damage)
    }

    /// Repaints only what the commit says, then compares the whole screen.
    mutating func show(_ picture: Picture, _ damage: Damage) {
        var next = picture
        if let screen, !damage.isWhole {
            if screen.size != picture.size || screen.destination != picture.destination {
                fail("another layout with partial damage")
            }
            next.cells = screen.cells
            for index in 0..<damage.count {
                let one = damage[index].clipped(
                    to: Size(
                        width: UInt32(SurfaceWorld.width), height: UInt32(SurfaceWorld.height)))
                for row in Int(one.y)..<Int(one.y + one.height) {
                    for column in Int(one.x)..<Int(one.x + one.width) {
                        let cell = row * SurfaceWorld.width + column
                        next.cells[cell] = picture.cells[cell]
                    }
                }
            }
        } else if screen == nil, !damage.isWhole {
            fail("the first content of a window is not whole")
        }
        if next.cells != picture.cells { fail("the screen differs from frame \(lastCommitted)") }
        screen = next
    }
}
