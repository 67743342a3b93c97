import VMBridgeCore

/// Where surfaces go: what the router says of each is performed on its machine and its window, when it
/// is made and whenever the rules, a person's wish or its own words change that.
extension VMSession {
    // MARK: Changes

    /// Goes on by other rules: every surface is routed anew, apart from those that a person has sent
    /// somewhere. What was refused before it existed stays refused; its producer may ask again.
    package func apply(_ router: Router) {
        self.router = router
        let lookedAtFrames = looksAtFrames
        looksAtFrames = router.looksAtFrames
        for slot in surfaces.slots {
            guard let surface = surfaces[slot], !surface.isDetached else { continue }
            if looksAtFrames, !lookedAtFrames {
                // Nobody has looked until now; what is shown is known all the same.
                surface.frameShape = surface.machine.current.map { ($0.size, $0.transform) }
            }
            reroute(surface)
        }
    }

    /// Fulfils a person's wish.
    ///
    /// - Parameters:
    ///   - wish: stands above the rules until it is taken back or the surface ends.
    ///   - key: the surface; nil for all that the VM has now.
    /// - Returns: how many surfaces it concerned. Cursors go with their surface and have no wishes of their own.
    package func fulfil(_ wish: SurfaceWish, of key: SurfaceKey?) -> Int {
        var count = 0
        for slot in surfaces.slots {
            guard let surface = surfaces[slot], !surface.isDetached,
                key == nil || key == surface.key, surface.role == .toplevel
            else { continue }
            fulfil(wish, surface)
            count += 1
        }
        return count
    }

    private func fulfil(_ wish: SurfaceWish, _ surface: SurfaceSession) {
        switch wish {
        case .close: feedback.append(.close(surface.key))
        case .hide: send(surface, .hide)
        case .move(let action): send(surface, action)
        case .show:
            thaw(surface)
            send(surface, nil)
            if case .show = surface.route { return }
            send(surface, .show(ShowProperties()))
        case .freeze: surface.machine.freeze()
        case .thaw: thaw(surface)
        }
    }

    private func send(_ surface: SurfaceSession, _ wish: RuleAction?) {
        surface.wish = wish
        reroute(surface)
    }

    private func thaw(_ surface: SurfaceSession) { perform(surface.machine.thaw(), surface) }

    /// A rule goes by the shape of frames: a surface whose next one differs may go elsewhere with it.
    func look(at frame: FrameRecord, _ size: Size, _ surface: SurfaceSession) {
        if let shape = surface.frameShape, shape == (size, frame.transform) { return }
        surface.frameShape = (size, frame.transform)
        reroute(surface)
    }

    // MARK: Performing a route

    /// A surface that was just made.
    func begin(_ surface: SurfaceSession) {
        surface.destination = destination(of: surface.route)
        guard isShown(surface.route) || surface.destination != nil else {
            return perform(surface.machine.conceal(), surface)
        }
        mapOrWait(surface)
    }

    /// Finds the route of a surface anew and follows it.
    func reroute(_ surface: SurfaceSession) {
        let former = surface.route
        let route = route(surface.facts, wish: surface.wish)
        surface.route = route
        let properties = properties(of: route, surface.facts)
        let isConcealed = surface.machine.phase == .concealed
        let isChanged = properties != surface.properties
        surface.properties = properties
        let destination = destination(of: route)
        let isSeen = isShown(route) || destination != nil
        if isSeen == isConcealed || destination !== surface.destination {
            // What its window has told until now must not be taken for the word of the next one.
            presenter.takeEvents { handle($0) }
            takeDestinationEvents()
            if !isConcealed { conceal(surface) }
            surface.destination = destination
            if isSeen { reveal(surface) }
        } else if isChanged, !isConcealed, surface.machine.phase != .unmapped {
            if let destination {
                destination.updateWindow(surface.id, properties)
            } else {
                presenter.updateWindow(surface.id, properties)
            }
        }
        if surface.role == .toplevel { rerouteCursors(of: surface.key) }
        guard case .refuse(let refusal) = route else { return }
        if case .refuse = former { return }
        count(refusal, about: "surface", object: surface.key.value)
        feedback.append(
            .refused(
                RefusedRecord(
                    type: RecordType.surfaceCreate, object: surface.key.value, refusal: refusal)))
    }

    private func isShown(_ route: Route) -> Bool {
        if case .show = route { true } else { false }
    }

    private func conceal(_ surface: SurfaceSession) {
        perform(surface.machine.conceal(), surface)
        if surface.machine.hasReadyFrame { armHiddenTimer() }
    }

    private func reveal(_ surface: SurfaceSession) {
        perform(surface.machine.reveal(), surface)
        mapOrWait(surface)
    }

    private func mapOrWait(_ surface: SurfaceSession) {
        if surface.destination?.isReady ?? presenter.isReady {
            map(surface)
        } else if isPatienceOver(for: surface) {
            perform(surface.machine.heldTooLong(), surface)
        }
    }

    /// What the window of a surface is told, or would be.
    func properties(of route: Route, _ facts: SurfaceFacts) -> WindowProperties {
        let metadata = facts.metadata
        let identity: WindowIdentity
        var show = ShowProperties()
        switch route {
        case .show(let shown, let properties): (identity, show) = (shown, properties)
        case .hide(let kept), .handTo(_, let kept): identity = kept
        case .refuse: identity = router.identity(metadata)
        }
        var properties = WindowProperties(
            identity: identity, minimumSize: metadata.minimumSize ?? .zero,
            maximumSize: metadata.maximumSize ?? .zero, opaqueRegion: metadata.opaqueRegion,
            mode: show.mode, isFixedSize: show.isFixedSize, hasFrame: show.hasFrame,
            tag: tag(metadata))
        properties.cursor = cursorProperties(facts)
        return properties
    }

    /// What the compositor's own rules may go by: the VM's name, so that no guest passes for another,
    /// and the guest's tag where it has one.
    private func tag(_ metadata: SurfaceMetadata) -> String {
        guard let tag = metadata.consumerTag, !tag.isEmpty else { return name }
        return "\(name)/\(CleanText.clean(tag))"
    }

    // MARK: Limits

    /// Other limits from the next record on. What the VM has above them it keeps.
    package func apply(_ limits: VMLimits, fences: FencePolicy) {
        self.limits = limits
        presenter.setFences(fences, limit: limits.fenceLimit)
    }

    // MARK: Words

    func visibility(of surface: SurfaceSession) -> String {
        if surface.isDetached { return "gone" }
        if surface.machine.phase == .concealed { return "hidden" }
        if surface.destination != nil { return "handed" }
        return surface.machine.isFrozen ? "frozen" : "shown"
    }

    func routeWords(of surface: SurfaceSession) -> String {
        if surface.role == .cursor { return cursorWords(of: surface) }
        var words = surface.route.words
        if surface.wish != nil { words += ", as a person wished" }
        if case .handTo = surface.route {
            let isThere = surface.destination != nil
            if surface.destination?.isReady != true {
                words += isThere ? "; it is not connected" : "; there is no such target"
            }
        } else if let lack = presenter.shortfall(of: surface.id) {
            words += "; \(lack)"
        }
        return words
    }
}

extension Route {
    /// What it says, in the words of a rule.
    var words: String {
        switch self {
        case .show(_, let show): show.words
        case .hide: "hide"
        case .refuse(let refusal): "refuse: \(refusal.sentence)"
        case .handTo(let target, _): "hand-to \(target.words)"
        }
    }
}

extension HandTarget {
    /// The kind and the name.
    var words: String {
        switch self {
        case .consumer(let name): "consumer \(name)"
        case .vm(let name): "vm \(name)"
        }
    }
}

extension ShowProperties {
    /// What differs from a plain window.
    var words: String {
        var words = "show"
        switch mode {
        case .normal: break
        case .maximized: words += ", maximized"
        case .fullscreen(.anywhere): words += ", fullscreen"
        case .fullscreen(.output(let name)): words += ", fullscreen on \(name)"
        }
        if isFixedSize { words += ", fixed size" }
        if !hasFrame { words += ", no frame" }
        return words
    }
}
