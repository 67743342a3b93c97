import Logging
import VMBridgeCore

/// The consumer's half of a session: what the gate and the presenter report goes into the surfaces'
/// machines, and what these decide is performed.
extension VMSession {
    // MARK: Settling

    /// Takes what gathered since the last batch. The presenter's first: what a window has told must not
    /// be taken for the word of the one that replaces it, since both have the surface's name. Then the
    /// gate's, and what came of them.
    package func settle() {
        presenter.takeEvents { handle($0) }
        if !destinations.isEmpty { takeDestinationEvents() }
        if let graphics, graphics.hasEvents { graphics.takeEvents { handle($0) } }
        gate.takeEvents { handle($0) }
        presenter.takeEvents { handle($0) }
        if !destinations.isEmpty { takeDestinationEvents() }
        presenter.flush()
    }

    /// Hands the gathered feedback over and forgets it.
    package func takeFeedback(_ body: (BridgeRecord) -> Void) { feedback.take(body) }

    private func handle(_ event: GateEvent) {
        switch event {
        case .open(let use, let wait):
            guard let surface = surface(of: use) else { return }
            unblock(use, wait, surface)
        case .failed(let use, let code):
            let why = code == 0 ? "by the guest's word" : "with error \(code)"
            fail(use, Refusal(.fenceFailed, "The acquire fence ended in failure, \(why)."), .fence)
        case .timedOut(let use):
            fail(
                use,
                Refusal(
                    .fenceTimeout,
                    "The acquire fence did not signal within \(limits.fenceLimit / 1_000_000) ms."),
                .fenceTime)
        case .released(let use): finish(use, outcome(of: use), surface(of: use))
        }
    }

    /// What a frame waited for has come.
    private func unblock(_ use: UseID, _ wait: FrameWaits, _ surface: SurfaceSession) {
        let now = loop.now()
        tap?.unblocked(surface.key, ledger[use]?.sequence, wait, at: now)
        perform(surface.machine.unblock(use, wait, at: now), surface)
        if surface.machine.hasReadyFrame { armHiddenTimer() }
    }

    func surface(of use: UseID) -> SurfaceSession? {
        ledger[use].flatMap { surfaces[$0.surface.slot] }
    }

    /// What failed of a frame that was accepted.
    enum Failure {
        /// Its import.
        case image
        /// Its commit, since its buffer could not be read.
        case commit
        /// Its acquire fence, with an error.
        case fence
        /// Its acquire fence, by not signalling.
        case fenceTime
    }

    func fail(_ use: UseID, _ refusal: Refusal, _ what: Failure = .image) {
        guard let known = ledger[use], let surface = surfaces[known.surface.slot] else { return }
        count(
            refusal, about: "frame \(known.sequence) of surface", object: surface.key.value,
            surface: surface.key)
        feedback.append(
            .refused(
                RefusedRecord(
                    type: RecordType.frame, object: surface.key.value, sequence: known.sequence,
                    refusal: refusal)))
        var isRebuilt = false
        switch what {
        case .image: perform(surface.machine.fail(use), surface)
        case .commit: perform(surface.machine.commitFailed(use), surface)
        case .fence: perform(surface.machine.fail(use), surface)
        case .fenceTime:
            let actions = surface.machine.fenceStuck(use, known.sequence)
            perform(actions, surface)
            isRebuilt = actions.count > 0
        }
        guard what == .fence || what == .fenceTime, ledger[use] != nil else { return }
        // It was passed on: the compositor has the frame, and its release ends the use.
        badFences.insert(use)
        guard isRebuilt else { return }
        warn(
            "surface \(surface.key): made a new window, since the compositor holds frame \(known.sequence) whose fence does not signal",
            surface: surface.key)
    }

    func handle(_ event: PresenterEvent) {
        switch event {
        case .frameCallback(let id): with(id) { frameCallback($0) }
        case .released(let use):
            let surface = surface(of: use)
            surface?.machine.released(use)
            finish(use, outcome(of: use), surface)
        case .releasedWithFence(let use): released(use, with: presenter.takeReleaseFence())
        case .copied(let id, let bytes): with(id) { copied($0, bytes) }
        case .presented(let id, let sequence, let time, let refresh, let flags):
            with(id) { presented($0, sequence, time, refresh, flags) }
        case .discarded(let id, let sequence):
            with(id) {
                tap?.presented($0.key, sequence, isSeen: false)
                feedback.append(.discarded($0.key, sequence))
            }
        case .imported(let use):
            if let surface = surface(of: use) { unblock(use, .importing, surface) }
        case .importFailed(let use, let refusal): fail(use, refusal)
        case .commitFailed(let use, let refusal): fail(use, refusal, .commit)
        case .bufferRefused(let id, let refusal): refuse(id, refusal)
        case .configured(let id, let configure, let serial):
            with(id) { perform($0.machine.configured(configure, serial: serial), $0) }
        case .closeRequested(let id): with(id) { perform($0.machine.closeRequested(), $0) }
        case .input(let id, let event, let time): with(id) { take(event, time, $0) }
        case .keymapChanged: tellKeymap()
        case .windowGone(let id):
            with(id) {
                $0.leavingWindows = max($0.leavingWindows - 1, 0)
                windowGone($0)
            }
        case .ready: presenterReady()
        case .lost(let why): presenterLost(why)
        case .formatsChanged: tellFormats()
        case .surfaceFormats(let id): with(id) { tellFormats(of: $0) }
        }
    }

    private func with(_ id: SurfaceID, _ body: (SurfaceSession) -> Void) {
        if let surface = surfaces[id.slot] { body(surface) }
    }

    private func frameCallback(_ surface: SurfaceSession) {
        if tellsFrameCallbacks, let frame = surface.machine.current {
            frameCallbacks.append((surface.key, frame.sequence))
        }
        perform(surface.machine.frameCallback(), surface)
    }

    private func copied(_ surface: SurfaceSession, _ bytes: UInt64) {
        // Its first buffers may have been imported.
        if surface.counters.bytesCopied == 0, let frame = surface.machine.current {
            surface.counters.importPath = importPath(of: frame.buffer)
            surface.counters.releasePath = presenter.releasePath(of: frame.buffer)
        }
        surface.counters.bytesCopied += bytes
    }

    private func presented(
        _ surface: SurfaceSession, _ sequence: FrameSequence, _ time: UInt64, _ refresh: UInt32,
        _ flags: UInt32
    ) {
        let received = surface.presented(sequence, at: time)
        tap?.presented(surface.key, sequence, isSeen: true)
        guard !surface.isDetached else { return }
        // A compositor that tells a time before the frame was ours does not know it.
        let isKnown = received == 0 || time >= received
        feedback.append(
            .presented(
                surface.key,
                PresentedRecord(
                    sequence: sequence, time: isKnown ? time : 0,
                    latency: received == 0 || !isKnown ? 0 : time - received,
                    refresh: refresh, flags: flags)))
    }

    private func refuse(_ id: BufferID, _ refusal: Refusal) {
        guard let buffer = ledger[id] else { return }
        unimportable[id] = refusal
        count(refusal, about: "buffer", object: buffer.key.value)
        feedback.append(
            .refused(
                RefusedRecord(
                    type: RecordType.bufferCreate, object: buffer.key.value, refusal: refusal)))
    }

    /// The list for all surfaces, which replaces every other, and then those that differ from it.
    private func tellFormats() {
        feedback.append(.formatsChanged(presenter.formats))
        for place in surfaces.places {
            guard let surface = surfaces.element(at: place) else { continue }
            surface.toldFormats = nil
            tellFormats(of: surface)
        }
    }

    private func tellFormats(of surface: SurfaceSession) {
        guard !surface.isDetached, surface.destination == nil,
            let formats = presenter.formats(for: surface.id)
        else { return }
        let former = surface.toldFormats ?? Array(presenter.formats.prefix(formats.count))
        guard formats != former else { return }
        surface.toldFormats = formats
        feedback.append(.surfaceFormats(surface.key, formats))
    }

    private func presenterReady() {
        isPatienceOver = false
        if let timer = patienceTimer { loop.disarm(timer) }
        tellFormats()
        logger.info("\(name): \(presenter.name) is there")
        for slot in surfaces.slots {
            if let surface = surfaces[slot], surface.destination == nil { map(surface) }
        }
    }

    /// Gives a surface its window, and images to the frames that were kept for it.
    func map(_ surface: SurfaceSession) {
        for frame in surface.machine.framesLackingImport {
            switch reserveImage(frame.use, of: frame.buffer, surface) {
            case .ready:
                perform(surface.machine.unblock(frame.use, .importing, at: loop.now()), surface)
            case .pending: break
            case .refused(let refusal): fail(frame.use, refusal)
            }
        }
        perform(surface.machine.map(), surface)
    }

    private func presenterLost(_ why: String) {
        logger.warning("\(name): lost \(presenter.name): \(why); waiting for it to return")
        unimportable.removeAll()
        for slot in surfaces.slots {
            guard let surface = surfaces[slot] else { continue }
            endInput(of: surface)
            if surface.destination == nil {
                perform(surface.machine.compositorLost(), surface)
            } else {
                for _ in 0..<surface.leavingWindows {
                    perform(surface.machine.windowGone(), surface)
                }
            }
            surface.leavingWindows = 0
            endLostUses(surface)
        }
        beginPatience()
    }

    /// Ends the uses of which nobody will tell any more.
    func endLostUses(_ surface: SurfaceSession) {
        let kept = surface.machine.uses
        for use in ledger.uses(of: surface.id)
        where !kept.contains(use) && !gate.isReleasing(use)
            && surface.destination?.holds(use) != true
        {
            finish(use, .lost, surface)
        }
        removeIfGone(surface)
    }

    func windowGone(_ surface: SurfaceSession) {
        perform(surface.machine.windowGone(), surface)
        removeIfGone(surface)
    }

    func beginPatience() {
        if let timer = patienceTimer { loop.arm(timer, after: patience) }
    }

    func patienceEnded() {
        isPatienceOver = true
        for slot in surfaces.slots {
            if let surface = surfaces[slot], surface.destination == nil {
                perform(surface.machine.heldTooLong(), surface)
            }
        }
    }

    func hiddenBeat(_ now: UInt64) {
        isHiddenTimerArmed = false
        var isNeeded = false
        for place in surfaces.places {
            guard let surface = surfaces.element(at: place) else { continue }
            if surface.machine.isCallbackPending, now >= surface.committedAt + Self.hiddenBeat {
                perform(surface.machine.silence(), surface)
            }
            perform(surface.machine.hiddenTick(), surface)
            isNeeded =
                isNeeded || surface.machine.isCallbackPending || surface.machine.hasReadyFrame
        }
        if isNeeded { armHiddenTimer() }
    }

    func armHiddenTimer() {
        guard !isHiddenTimerArmed, let timer = hiddenTimer else { return }
        isHiddenTimerArmed = true
        loop.arm(timer, after: Self.hiddenBeat)
    }

    // MARK: Actions

    func perform(_ actions: SurfaceActions, _ surface: SurfaceSession) {
        for index in 0..<actions.count { perform(actions[index], surface) }
    }

    // Not inlined: before a loop the compiler asks for access to whatever any action may need.
    @inline(never)
    func perform(_ action: SurfaceAction, _ surface: SurfaceSession) {
        switch action {
        case .commit: commit(surface)
        case .end(let use, let outcome): finish(use, outcome, surface)
        case .giveBackImage(let use): cancelImage(use, surface)
        case .cancelWaits(let use): gate.cancel(use)
        case .acknowledge(let serial):
            if surface.destination == nil { presenter.acknowledge(surface.id, serial: serial) }
        case .commitState: if surface.destination == nil { presenter.commitState(surface.id) }
        case .createWindow: createWindow(surface)
        case .destroyWindow:
            endInput(of: surface)
            destroyWindow(surface)
        case .tellConfigure(let configure):
            if !surface.isDetached { feedback.append(.configure(surface.key, configure)) }
        case .tellDiscarded(let sequence):
            if !surface.isDetached { feedback.append(.discarded(surface.key, sequence)) }
        case .tellClose:
            if !surface.isDetached { feedback.append(.close(surface.key)) }
        }
    }

    private func commit(_ surface: SurfaceSession) {
        guard let frame = surface.machine.current else { return }
        if let destination = surface.destination {
            hand(frame, surface, to: destination)
        } else {
            presenter.commit(surface.id, frame)
        }
        if surface.committed(frame, now: loop.now()), surface.destination == nil {
            surface.counters.importPath = importPath(of: frame.buffer)
            surface.counters.releasePath = presenter.releasePath(of: frame.buffer)
        }
        tap?.committed(
            surface.key, frame, presenter.memory(of: frame.buffer), at: surface.committedAt)
        armHiddenTimer()
    }

    func finish(_ use: UseID, _ outcome: UseOutcome, _ surface: SurfaceSession?) {
        guard let ended = ledger.end(use, outcome) else { return }
        tap?.ended(ended.surface, ended.sequence, outcome)
        // The watch over a fence that was passed on, and what it had said.
        if gate.count > 0 { gate.cancel(use) }
        if !badFences.isEmpty { badFences.remove(use) }
        if outcome != .shown {
            cancelImage(use, surface)
            surface?.counters.count(outcome)
        }
        feedback.append(.released(ended.buffer, ended.surface, ended.sequence, outcome))
        if let freed = ended.freed { forget(freed) }
    }
}
