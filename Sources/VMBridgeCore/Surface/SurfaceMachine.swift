/// Decides what happens to one surface: pure, one method an event, each returning actions.
///
/// Frames pass through three places. `older` and `newer` wait for what they lack: two, so that a
/// producer whose fences always lag one frame behind still gets every ready frame shown. `ready` is the
/// mailbox: the latest complete frame, waiting for the compositor's frame callback. `current` was
/// committed. A frame that becomes ready supersedes everything before it.
public struct SurfaceMachine: Sendable {
    /// Where the surface stands.
    public enum Phase: Sendable, CaseIterable {
        /// No window: there is no compositor.
        case unmapped
        /// A window without content, waiting for its first configure.
        case awaitingConfigure
        /// Configured; nothing was committed yet.
        case ready
        /// A frame was committed.
        case presenting
        /// The compositor shows nothing of it, so nothing is committed.
        case hidden
        /// No window, since the host wants none; its frames end at the hidden beat.
        case concealed
        /// The producer destroyed it, the window is being taken away.
        case closing
        /// Nothing is left.
        case gone
    }

    /// Where the surface stands.
    public private(set) var phase = Phase.unmapped
    /// The last committed frame. Its use may have ended: see `isCurrentHeld`.
    public private(set) var current: Frame?
    /// Whether the compositor still holds the last committed frame's buffer.
    public private(set) var isCurrentHeld = false
    /// A frame callback is outstanding.
    public private(set) var isCallbackPending = false
    private var older: Frame?
    private var newer: Frame?
    private var ready: Frame?
    private var skipped = Damage.none
    /// The newest frame whose change is in `skipped`; a commit of an older one does not repaint it.
    private var skippedUpTo = FrameSequence(0)
    private var lastAccepted = FrameSequence(0)
    private var lastGeometry: FrameGeometry?
    private var lastConfigure = ConfigureRecord(size: .zero)
    /// A frame was let go that nobody saw, and no later one was shown.
    private var owesFrame = false
    /// No frame is kept while there is no compositor.
    private var isDormant = false
    /// Windows of it that are being taken away.
    private var departing = 0
    /// The last frame that one of them got.
    private var departedUpTo = FrameSequence(0)
    /// The window keeps what it shows; later frames end at the hidden beat.
    public private(set) var isFrozen = false

    /// A surface that has no window yet.
    public init() {}

    /// Uses that the machine still answers for.
    public var uses: [UseID] {
        [older?.use, newer?.use, ready?.use, isCurrentHeld ? current?.use : nil].compactMap { $0 }
    }

    /// The use of a frame that still waits for something; nil when no frame of that number does.
    public func waitingUse(_ sequence: FrameSequence) -> UseID? {
        if let older, older.sequence == sequence { return older.use }
        if let newer, newer.sequence == sequence { return newer.use }
        return nil
    }

    /// Whether a complete frame waits for the compositor.
    public var hasReadyFrame: Bool { ready != nil }
    /// A frame that is not shown yet and needs its buffer imported anew, after a compositor came back.
    public var framesLackingImport: [Frame] {
        [older, newer].compactMap { $0 }.filter { $0.waits.contains(.importing) }
    }

    // MARK: Compositor

    /// There is a compositor.
    public mutating func map() -> SurfaceActions {
        var actions = SurfaceActions()
        guard phase == .unmapped else { return actions }
        phase = .awaitingConfigure
        isDormant = false
        actions.append(.createWindow)
        return actions
    }

    /// The compositor says what the window should be.
    ///
    /// - Parameters:
    ///   - configure: size, and states as bits.
    ///   - serial: to be acknowledged.
    public mutating func configured(_ configure: ConfigureRecord, serial: UInt32) -> SurfaceActions
    {
        var actions = SurfaceActions()
        switch phase {
        case .unmapped, .concealed, .closing, .gone: return actions
        case .awaitingConfigure: phase = .ready
        case .ready, .presenting, .hidden: break
        }
        actions.append(.acknowledge(serial: serial))
        let isSuspended = configure.states & (1 << 9) != 0
        let wasSuspended = lastConfigure.states & (1 << 9) != 0
        if phase == .presenting, isSuspended {
            phase = .hidden
        } else if phase == .hidden, wasSuspended, !isSuspended {
            phase = .presenting
        }
        let isFirst = phase == .ready && current == nil
        let asksFrame = owesFrame && phase != .hidden && ready == nil && takesFrames
        var told = configure
        told.wantsFrame = asksFrame
        if configure != lastConfigure || asksFrame || isFirst {
            actions.append(.tellConfigure(told))
        }
        if asksFrame { owesFrame = false }
        lastConfigure = configure
        let before = actions.count
        commitIfPossible(&actions)
        // Before the first content an acknowledge waits for the buffer's own commit.
        if actions.count == before, phase == .presenting || phase == .hidden {
            actions.append(.commitState)
        }
        return actions
    }

    /// The compositor is ready for the next frame.
    public mutating func frameCallback() -> SurfaceActions {
        var actions = SurfaceActions()
        resume(&actions)
        return actions
    }

    /// No frame callback came for a while.
    public mutating func silence() -> SurfaceActions {
        if phase == .presenting, isCallbackPending { phase = .hidden }
        return SurfaceActions()
    }

    /// The slow beat at which the frames of a hidden, concealed or frozen surface end, so that its
    /// producer goes on.
    public mutating func hiddenTick() -> SurfaceActions {
        var actions = SurfaceActions()
        let isUnseen =
            switch phase {
            case .hidden, .concealed: true
            case .ready, .presenting: !takesFrames
            case .unmapped, .awaitingConfigure, .closing, .gone: false
            }
        guard isUnseen, let frame = ready else { return actions }
        ready = nil
        skip(frame, .superseded, &actions)
        actions.append(.tellDiscarded(frame.sequence))
        owesFrame = true
        return actions
    }

    /// The compositor is done with a committed frame's buffer.
    public mutating func released(_ use: UseID) {
        if current?.use == use { isCurrentHeld = false }
    }

    /// The window was asked to close.
    public mutating func closeRequested() -> SurfaceActions {
        var actions = SurfaceActions()
        switch phase {
        case .awaitingConfigure, .ready, .presenting, .hidden: actions.append(.tellClose)
        case .unmapped, .concealed, .closing, .gone: break
        }
        return actions
    }

    /// The compositor is gone: the newest complete frame is kept for the next one, others are lost.
    public mutating func compositorLost() -> SurfaceActions {
        var actions = SurfaceActions()
        switch phase {
        case .gone: return actions
        case .unmapped, .concealed:
            // At most windows that were being taken away; the frames have no image.
            departing = 0
            departedUpTo = FrameSequence(0)
            return actions
        case .closing:
            phase = .gone
            if isCurrentHeld, let current { actions.append(.end(current.use, .lost)) }
            isCurrentHeld = false
            return actions
        case .awaitingConfigure, .ready, .presenting, .hidden: phase = .unmapped
        }
        var candidates = InlineArray<4, Frame?>(repeating: nil)
        candidates[0] = newer
        candidates[1] = older
        candidates[2] = ready
        candidates[3] = isCurrentHeld ? current : nil
        // A fence that was passed on went with the compositor: the next one gets the frame without.
        for index in 0..<4 where candidates[index]?.isFencePassed == true {
            candidates[index]?.isFencePassed = false
            candidates[index]?.waits.insert(.fence)
        }
        (newer, older, ready, current) = (nil, nil, nil, nil)
        isCurrentHeld = false
        isCallbackPending = false
        departing = 0
        departedUpTo = FrameSequence(0)
        skipped = .whole
        lastConfigure = ConfigureRecord(size: .zero)
        // Newest first; one whose fence is pending only counts when there is nothing else.
        var keep = (0..<4).first { index in
            guard let frame = candidates[index] else { return false }
            return !frame.waits.contains(.fence)
        }
        if keep == nil { keep = (0..<4).first { candidates[$0] != nil } }
        for index in 0..<4 {
            guard let frame = candidates[index] else { continue }
            if index == keep {
                var frame = frame
                frame.waits.insert(.importing)
                newer = frame
            } else {
                // One that is newer than the kept frame is missing in what that one shows.
                skip(frame, .lost, &actions)
            }
        }
        if newer == nil { owesFrame = true }
        return actions
    }

    /// No compositor came for so long that the kept frame is let go too.
    public mutating func heldTooLong() -> SurfaceActions {
        var actions = SurfaceActions()
        guard phase == .unmapped else { return actions }
        isDormant = true
        owesFrame = true
        endAllWaiting(.lost, &actions)
        return actions
    }

    // MARK: The host's wishes

    /// The host wants no window of it, whatever the compositor does: the window is taken away, the
    /// images of frames that were not committed are given back, and frames are accepted and end at the
    /// hidden beat until `reveal`.
    public mutating func conceal() -> SurfaceActions {
        var actions = SurfaceActions()
        let hasWindow: Bool
        switch phase {
        case .concealed, .closing, .gone: return actions
        case .unmapped: hasWindow = false
        case .awaitingConfigure, .ready, .presenting, .hidden: hasWindow = true
        }
        phase = .concealed
        isDormant = false
        replace(&actions) { frame, actions in
            actions.append(.giveBackImage(frame.use))
            frame.waits.remove(.importing)
            guard frame.isFencePassed else { return }
            // It went with the image.
            frame.isFencePassed = false
            frame.waits.insert(.fence)
        }
        let told = ConfigureRecord(size: lastConfigure.size, states: Self.suspended)
        if hasWindow {
            takeWindowAway()
            actions.append(.destroyWindow)
        }
        actions.append(.tellConfigure(told))
        return actions
    }

    /// The host wants it shown again. To be followed by what a new surface gets: imports of
    /// `framesLackingImport` and `map` when there is a compositor, `heldTooLong` when that time is over.
    public mutating func reveal() -> SurfaceActions {
        var actions = SurfaceActions()
        guard phase == .concealed else { return actions }
        phase = .unmapped
        replace(&actions) { frame, _ in frame.waits.insert(.importing) }
        keepOneWhileUnmapped(&actions)
        return actions
    }

    /// The window keeps the frame that it shows, or gets one when it has none; later ones end at the
    /// hidden beat until `thaw`.
    public mutating func freeze() { isFrozen = true }

    /// Frames are shown again, beginning with the newest one that is complete.
    public mutating func thaw() -> SurfaceActions {
        var actions = SurfaceActions()
        isFrozen = false
        commitIfPossible(&actions)
        askIfOwing(&actions)
        return actions
    }

    // MARK: Producer

    /// An accepted frame; its sequence is above all before it.
    public mutating func accept(_ frame: Frame) -> SurfaceActions {
        var actions = SurfaceActions()
        if phase == .closing || phase == .gone {
            end(frame, .lost, &actions)
            return actions
        }
        lastAccepted = frame.sequence
        // Damage counts from the frame before, shown or not: one of another geometry in between makes
        // two frames of the same geometry differ anywhere.
        var frame = frame
        if frame.geometry != lastGeometry {
            frame.damage = .whole
            lastGeometry = frame.geometry
        }
        if isDormant {
            skip(frame, .superseded, &actions)
            return actions
        }
        place(frame, &actions)
        keepOneWhileUnmapped(&actions)
        return actions
    }

    /// Something that a frame waited for has come, or a fence that was passed on has signalled.
    ///
    /// - Parameter time: when, nanoseconds, for the times of its stages; 0 when that is not of
    ///   interest. Nothing is decided by it.
    public mutating func unblock(
        _ use: UseID, _ wait: FrameWaits, at time: UInt64 = 0
    ) -> SurfaceActions {
        var actions = SurfaceActions()
        if wait == .fence { fenceEnded(use) }
        if var frame = older, frame.use == use {
            older = frame.unblock(wait, at: time) ? nil : frame
            if frame.waits.isEmpty { promote(frame, &actions) }
        } else if var frame = newer, frame.use == use {
            newer = frame.unblock(wait, at: time) ? nil : frame
            if frame.waits.isEmpty { promote(frame, &actions) }
        }
        keepOneWhileUnmapped(&actions)
        return actions
    }

    /// A waiting frame cannot be shown: its fence failed or its buffer was not imported. Of a committed
    /// one only its fence can have failed: the compositor has it, and the next frame is shown whole.
    public mutating func fail(_ use: UseID) -> SurfaceActions {
        var actions = SurfaceActions()
        if let frame = older, frame.use == use {
            older = nil
            skip(frame, .refused, &actions)
        } else if let frame = newer, frame.use == use {
            newer = nil
            skip(frame, .refused, &actions)
        } else if let frame = ready, frame.use == use {
            ready = nil
            skip(frame, .refused, &actions)
        } else {
            fenceEnded(use)
            // What the compositor made of it is not known.
            frameWasRefused()
        }
        return actions
    }

    /// The committed frame never got to the compositor: its buffer could not be read. No frame callback
    /// will come for it, and what it changed is still to be shown.
    public mutating func commitFailed(_ use: UseID) -> SurfaceActions {
        var actions = SurfaceActions()
        guard let frame = current, isCurrentHeld, frame.use == use else { return actions }
        isCurrentHeld = false
        skip(frame, .refused, &actions)
        resume(&actions)
        return actions
    }

    /// The fence that was passed on with a frame did not signal in time. A frame that waits is refused.
    /// A commit cannot be recalled: when the compositor has the frame, its window is given up for a new
    /// one, and the use ends when the compositor has confirmed that. Once for a window: another stuck
    /// frame of it changes nothing any more.
    public mutating func fenceStuck(_ use: UseID, _ sequence: FrameSequence) -> SurfaceActions {
        if [older?.use, newer?.use, ready?.use].contains(use) { return fail(use) }
        var actions = SurfaceActions()
        fenceEnded(use)
        switch phase {
        case .unmapped, .concealed, .closing, .gone: return actions
        case .awaitingConfigure, .ready, .presenting, .hidden: break
        }
        guard sequence > departedUpTo, let last = current else { return actions }
        // Released without having waited for it.
        if last.use == use, !isCurrentHeld { return actions }
        phase = .awaitingConfigure
        takeWindowAway()
        actions.append(.destroyWindow)
        actions.append(.createWindow)
        return actions
    }

    /// A frame of this surface was refused before it came here: what it changed is not known.
    public mutating func frameWasRefused() {
        skipped = .whole
        // A pending frame from before does not repaint it; the next accepted one does.
        skippedUpTo = lastAccepted
    }

    /// The producer destroyed the surface, or is gone itself.
    public mutating func destroy() -> SurfaceActions {
        var actions = SurfaceActions()
        switch phase {
        case .closing, .gone: return actions
        case .unmapped, .concealed:
            // A window may still be on its way out.
            phase = departing > 0 ? .closing : .gone
            endAllWaiting(.lost, &actions)
        case .awaitingConfigure, .ready, .presenting, .hidden:
            phase = .closing
            endAllWaiting(.lost, &actions)
            departing += 1
            actions.append(.destroyWindow)
        }
        return actions
    }

    /// The compositor has done away with the window.
    public mutating func windowGone() -> SurfaceActions {
        var actions = SurfaceActions()
        departing = max(departing - 1, 0)
        guard phase == .closing, departing == 0 else { return actions }
        phase = .gone
        if isCurrentHeld, let current { actions.append(.end(current.use, .shown)) }
        isCurrentHeld = false
        return actions
    }

    // MARK: Parts

    /// The state of xdg_toplevel that says that nothing of a window is seen.
    private static var suspended: UInt32 { 1 << 9 }

    /// Whether a frame may be committed, as far as the host is concerned: a frozen window keeps what it
    /// shows, and one without content gets it first.
    private var takesFrames: Bool { !isFrozen || current == nil }

    /// The window goes and keeps what was committed to it until it is gone.
    private mutating func takeWindowAway() {
        departing += 1
        if let current {
            departedUpTo = current.sequence
            owesFrame = true
        }
        current = nil
        isCurrentHeld = false
        isCallbackPending = false
        skipped = .whole
        skippedUpTo = lastAccepted
        lastConfigure = ConfigureRecord(size: .zero)
    }

    /// Changes what the frames that are not committed wait for, and puts each where it then belongs.
    private mutating func replace(
        _ actions: inout SurfaceActions,
        _ change: (inout Frame, inout SurfaceActions) -> Void
    ) {
        // In the order of their numbers.
        let frames: InlineArray<3, Frame?> = [ready, older, newer]
        (ready, older, newer) = (nil, nil, nil)
        for index in 0..<3 {
            guard var frame = frames[index] else { continue }
            change(&frame, &actions)
            place(frame, &actions)
        }
    }

    /// Puts a frame into the mailbox when it is complete, else where it waits.
    private mutating func place(_ frame: Frame, _ actions: inout SurfaceActions) {
        if frame.waits.isEmpty {
            promote(frame, &actions)
        } else if older == nil {
            older = newer
            newer = frame
        } else {
            // The oldest will be complete first and the newest matters most: the middle one yields.
            if let middle = newer { skip(middle, .superseded, &actions) }
            newer = frame
        }
    }

    /// A fence that was passed on has ended: nobody tells of it again.
    private mutating func fenceEnded(_ use: UseID) {
        if older?.use == use { older?.isFencePassed = false }
        if newer?.use == use { newer?.isFencePassed = false }
        if ready?.use == use { ready?.isFencePassed = false }
        if current?.use == use { current?.isFencePassed = false }
    }

    /// With no compositor only the newest frame is kept, unless its fence is still pending.
    private mutating func keepOneWhileUnmapped(_ actions: inout SurfaceActions) {
        guard phase == .unmapped, let frame = newer, !frame.waits.contains(.fence) else { return }
        if let old = older {
            older = nil
            skip(old, .superseded, &actions)
        }
    }

    /// Puts a complete frame into the mailbox; all before it are superseded.
    private mutating func promote(_ frame: Frame, _ actions: inout SurfaceActions) {
        if let old = older, old.sequence < frame.sequence {
            older = nil
            skip(old, .superseded, &actions)
        }
        if let old = newer, old.sequence < frame.sequence {
            newer = nil
            skip(old, .superseded, &actions)
        }
        if let old = ready {
            if old.sequence > frame.sequence {
                skip(frame, .superseded, &actions)
                return
            }
            skip(old, .superseded, &actions)
        }
        ready = frame
        commitIfPossible(&actions)
    }

    private mutating func commitIfPossible(_ actions: inout SurfaceActions) {
        guard phase == .ready || phase == .presenting, !isCallbackPending, takesFrames,
            var frame = ready
        else { return }
        ready = nil
        if let current, frame.geometry == current.geometry {
            frame.damage.merge(skipped)
        } else {
            frame.damage = .whole
        }
        if skippedUpTo < frame.sequence { skipped = .none }
        current = frame
        isCurrentHeld = true
        isCallbackPending = true
        owesFrame = false
        phase = .presenting
        actions.append(.commit)
    }

    /// The next frame may be committed.
    private mutating func resume(_ actions: inout SurfaceActions) {
        isCallbackPending = false
        // A suspended window stays hidden until its state says otherwise.
        if phase == .hidden, lastConfigure.states & (1 << 9) == 0 { phase = .presenting }
        commitIfPossible(&actions)
        askIfOwing(&actions)
    }

    private mutating func askIfOwing(_ actions: inout SurfaceActions) {
        guard owesFrame, phase == .presenting, ready == nil, takesFrames else { return }
        owesFrame = false
        var configure = lastConfigure
        configure.wantsFrame = true
        actions.append(.tellConfigure(configure))
    }

    /// Ends a frame that will not be committed, and remembers what it had changed.
    private mutating func skip(
        _ frame: Frame, _ outcome: UseOutcome, _ actions: inout SurfaceActions
    ) {
        skipped.merge(frame.damage)
        skippedUpTo = max(skippedUpTo, frame.sequence)
        end(frame, outcome, &actions)
    }

    private mutating func end(
        _ frame: Frame, _ outcome: UseOutcome, _ actions: inout SurfaceActions
    ) {
        if !frame.waits.isEmpty || frame.isFencePassed {
            actions.append(.cancelWaits(frame.use))
        }
        actions.append(.end(frame.use, outcome))
    }

    private mutating func endAllWaiting(
        _ outcome: UseOutcome, _ actions: inout SurfaceActions
    ) {
        if let frame = older { end(frame, outcome, &actions) }
        if let frame = newer { end(frame, outcome, &actions) }
        if let frame = ready { end(frame, outcome, &actions) }
        (older, newer, ready) = (nil, nil, nil)
    }
}
