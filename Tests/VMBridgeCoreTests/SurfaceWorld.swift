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
        /// Its fence goes with it and is pending.
        var isPassed = false
        /// The guest was told that its fence is bad.
        var isBad = false
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

    /// The host wants no window.
    var isConcealed = false
    /// The host wants the window to stay as it is.
    var isFrozen = false

    /// Given up on after too long without a compositor: its frames end at once.
    var isDormant = false

    // The books.
    var live: [UseID: Entry] = [:]
    var begun = 0
    var ended = 0
    var commits = 0
    var mostActions = 0
    var rebuilt = 0
    var concealed = 0

    // The compositor.
    var hasWindow = false
    var isConfigured = false
    var isCallbackPending = false
    /// What each window holds that is being taken away, the first to go first.
    var leaving: [[UseID]] = []
    var lastCommitted: UInt64 = 0
    /// Committed to the window and not released, the current one included.
    var held: [UseID] = []
    /// By any window.
    var allHeld: [UseID] { leaving.reduce(held, +) }
    /// The compositor has just said that a window's holds are over.
    private var isWindowEnding = false
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
        // Nothing is imported for a surface that the host has concealed.
        if !isConcealed, !hasWindow || random.oneIn(4) { waits.insert(.importing) }
        if random.oneIn(3) { waits.insert(.fence) }
        if random.oneIn(10) { waits.insert(.time) }
        // The presenter takes a fence along for an image that is there.
        let isPassed = hasWindow && !waits.contains(.importing) && random.oneIn(4)
        if isPassed { waits.remove(.fence) }
        live[use] = Entry(sequence: sequence, waits: waits, isPassed: isPassed)
        pictures[sequence] = Picture(cells: cells, size: size, destination: destination)
        var record = FrameRecord(
            surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(sequence))
        record.damage = damage
        record.destination = destination
        if machine.phase != .closing, machine.phase != .gone { lastAccepted = sequence }
        var frame = Frame(
            record, use: use, buffer: buffer, size: size, receivedAt: 0, waits: waits)
        frame.isFencePassed = isPassed
        perform(machine.accept(frame), mayDiscard: isDormant && !isConcealed)
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
        let all = allHeld
        guard !all.isEmpty else { return }
        release(all[random.below(all.count)])
    }

    /// The use ends by the compositor's word, also that of a window on its way out.
    private mutating func release(_ use: UseID) {
        letGo(use)
        machine.released(use)
        end(use, live[use]?.isBad == true ? .refused : .shown)
    }

    private mutating func letGo(_ use: UseID) {
        held.removeAll { $0 == use }
        for index in leaving.indices { leaving[index].removeAll { $0 == use } }
    }

    /// A fence that was passed on has signalled, failed or not signalled in time.
    mutating func endPassedFence() {
        let passed = live.filter { $0.value.isPassed }.keys.sorted { $0.slot.index < $1.slot.index }
        guard !passed.isEmpty else { return }
        let use = passed[random.below(passed.count)]
        guard let entry = live[use] else { return }
        let isHeld = allHeld.contains(use)
        switch random.below(3) {
        case 0:
            live[use]?.isPassed = false
            perform(machine.unblock(use, .fence))
        case 1:
            if isHeld { spoil(use) }
            let actions = machine.fail(use)
            perform(actions)
            if isHeld != (actions.count == 0) { fail("a failed fence of a frame") }
        default: stick(use, entry, isHeld)
        }
    }

    private mutating func spoil(_ use: UseID) {
        live[use]?.isPassed = false
        live[use]?.isBad = true
    }

    private mutating func stick(_ use: UseID, _ entry: Entry, _ isHeld: Bool) {
        let isOfTheWindow = held.contains(use) && machine.phase != .closing
        if isHeld { spoil(use) }
        let actions = machine.fenceStuck(use, FrameSequence(entry.sequence))
        perform(actions)
        if !isHeld, live[use] != nil { fail("a stuck frame that waits was kept") }
        if isHeld, isOfTheWindow != (actions.count == 2) { fail("the window of a stuck frame") }
        if isHeld, live[use] == nil { fail("a stuck frame ended while the compositor holds it") }
        if actions.count == 2, isOfTheWindow { rebuilt += 1 }
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

    // MARK: The host's wishes

    mutating func conceal() {
        let isOver = machine.phase == .closing || machine.phase == .gone
        let hadWindow = hasWindow
        perform(machine.conceal())
        if hadWindow, !hasWindow { concealed += 1 }
        guard !isOver else { return }
        (isConcealed, isDormant) = (true, false)
        if machine.phase != .concealed { fail("not concealed, but \(machine.phase)") }
        if hasWindow { fail("a window of a concealed surface") }
    }

    mutating func reveal() {
        guard isConcealed, machine.phase == .concealed else {
            let phase = machine.phase
            perform(machine.reveal())
            if machine.phase != phase { fail("revealed in \(phase)") }
            return
        }
        isConcealed = false
        let newest = machine.uses.compactMap { live[$0]?.sequence }.max()
        for use in machine.uses { live[use]?.waits.insert(.importing) }
        perform(machine.reveal())
        for frame in machine.framesLackingImport where frame.waits != live[frame.use]?.waits {
            fail("a revealed frame waits for \(frame.waits)")
        }
        if newest != machine.uses.compactMap({ live[$0]?.sequence }).max() {
            fail("the newest frame went with the reveal")
        }
        // The session does it in one go; an interrupted one must do no harm.
        if random.oneIn(8) { return }
        if random.oneIn(4) { holdTooLong() } else { map() }
    }

    mutating func freeze() {
        isFrozen = true
        machine.freeze()
    }

    mutating func thaw() {
        isFrozen = false
        perform(machine.thaw())
    }

    mutating func holdTooLong() {
        if machine.phase == .unmapped { isDormant = true }
        perform(machine.heldTooLong())
    }

    mutating func lose() {
        let wasHeld = allHeld
        (hasWindow, isConfigured, isCallbackPending) = (false, false, false)
        (held, leaving, screen) = ([], [], nil)
        perform(machine.compositorLost())
        // What only the compositor held is lost; what the machine kept is its own again.
        let kept = machine.uses
        for use in wasHeld where live[use] != nil && !kept.contains(use) { end(use, .lost) }
        for frame in machine.framesLackingImport {
            live[frame.use]?.waits.insert(.importing)
            // The next compositor gets the frame without its fence.
            if live[frame.use]?.isPassed == true { live[frame.use]?.waits.insert(.fence) }
            live[frame.use]?.isPassed = false
            if frame.isFencePassed || frame.waits != live[frame.use]?.waits {
                fail("a kept frame waits for \(frame.waits)")
            }
        }
    }

    mutating func windowGone() {
        guard !leaving.isEmpty else {
            // Nobody says so; a machine without such a window must not mind.
            perform(machine.windowGone())
            return
        }
        let wasHeld = leaving.removeFirst()
        // The presenter ends them one by one before it says so, or the machine ends the last one.
        let isTold = random.oneIn(2)
        if isTold { for use in wasHeld { release(use) } }
        isWindowEnding = true
        perform(machine.windowGone())
        isWindowEnding = false
        for use in wasHeld where live[use] != nil {
            end(use, live[use]?.isBad == true ? .refused : .shown)
        }
    }

    // MARK: The interpreter

    mutating func perform(_ actions: SurfaceActions, mayDiscard: Bool = false) {
        mostActions = max(mostActions, actions.count)
        let callbackBefore = isCallbackPending
        let isFirst = screen == nil
        for index in 0..<actions.count {
            switch actions[index] {
            case .createWindow:
                if hasWindow { fail("a second window") }
                if isConcealed { fail("a window for a concealed surface") }
                hasWindow = true
            case .destroyWindow:
                if !hasWindow { fail("no window to destroy") }
                leaving.append(held)
                (hasWindow, isConfigured, isCallbackPending) = (false, false, false)
                (held, screen) = ([], nil)
            case .acknowledge:
                if !isConfigured { fail("an acknowledge without a configure") }
            case .commit:
                if callbackBefore || isCallbackPending { fail("a commit with a callback pending") }
                if isFrozen, !isFirst { fail("a commit to a frozen window") }
                commit()
            case .commitState:
                if !isConfigured || screen == nil { fail("a state commit without content") }
            case .end(let use, let outcome):
                if outcome == .superseded, let entry = live[use], entry.sequence >= lastAccepted,
                    !mayDiscard
                {
                    fail("frame \(entry.sequence) superseded by nothing")
                }
                if outcome != .lost, allHeld.contains(use) {
                    fail("an end of a frame that the compositor holds")
                }
                if outcome == .shown, !isWindowEnding { fail("shown by the machine's word") }
                if let entry = live[use], !entry.waits.isEmpty { fail("an end before its waits") }
                letGo(use)
                end(use, outcome)
            case .giveBackImage(let use):
                guard let entry = live[use], !entry.wasCommitted || !allHeld.contains(use) else {
                    fail("an image given back of a frame that has none to give")
                    continue
                }
                live[use]?.waits.remove(.importing)
                if entry.isPassed { live[use]?.waits.insert(.fence) }
                live[use]?.isPassed = false
            case .cancelWaits(let use):
                if live[use]?.waits.isEmpty != false, live[use]?.isPassed != true {
                    fail("a cancel of no wait")
                }
                live[use]?.waits = []
                live[use]?.isPassed = false
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
            hasWindow
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
        guard machine.phase == .presenting, hasWindow, isConfigured else {
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
