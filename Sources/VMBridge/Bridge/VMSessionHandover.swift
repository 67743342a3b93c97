import VMBridgeCore

/// A consumer that a session hands surfaces to.
struct Destination {
    let presenter: ConsumerPresenter
    /// Armed while it is away.
    let patience: TimerID
    /// It was away for so long that no frame is kept for it.
    var isPatienceOver = false
}

/// Surfaces that go to consumers instead of windows: such a surface has a destination, which takes the
/// place of the session's presenter for everything about it.
extension VMSession {
    // MARK: Destinations

    /// Who takes the frames of a surface of that route; nil for the session's presenter, and where the host
    /// has nobody of that name.
    func destination(of route: Route) -> ConsumerPresenter? {
        guard case .handTo(let target, _) = route else { return nil }
        if let known = destinations.first(where: { $0.presenter.target == target }) {
            return known.presenter
        }
        guard let made = handover?.presenter(for: target, vm: name) else { return nil }
        let timer = loop.makeTimer { [unowned self, unowned made] _ in self.patienceEnded(made) }
        destinations.append(Destination(presenter: made, patience: timer))
        // What happened before anybody was interested is no news.
        made.takeEvents { _ in }
        if !made.isReady { loop.arm(timer, after: patience) }
        return made
    }

    func isPatienceOver(for surface: SurfaceSession) -> Bool {
        guard let destination = surface.destination else { return isPatienceOver }
        return destinations.first { $0.presenter === destination }?.isPatienceOver ?? false
    }

    private func index(of presenter: ConsumerPresenter) -> Int? {
        destinations.firstIndex { $0.presenter === presenter }
    }

    // MARK: Events

    /// Takes what consumers have said.
    func takeDestinationEvents() {
        for place in destinations.indices {
            let presenter = destinations[place].presenter
            guard presenter.hasEvents else { continue }
            presenter.takeEvents { handle($0, from: presenter) }
        }
    }

    private func handle(_ event: PresenterEvent, from presenter: ConsumerPresenter) {
        switch event {
        case .ready: consumerCame(presenter)
        case .lost(let why): consumerLost(presenter, why)
        case .releasedWithFence(let use):
            released(
                use, with: presenter.takeReleaseFence(), deadline: loop.now() + presenter.patience)
        case .windowGone(let id): if let surface = surfaces[id.slot] { windowGone(surface) }
        default: handle(event)
        }
    }

    private func consumerCame(_ presenter: ConsumerPresenter) {
        guard let place = index(of: presenter) else { return }
        destinations[place].isPatienceOver = false
        loop.disarm(destinations[place].patience)
        for slot in surfaces.slots {
            guard let surface = surfaces[slot], surface.destination === presenter else { continue }
            map(surface)
        }
    }

    private func consumerLost(_ presenter: ConsumerPresenter, _ why: String) {
        guard let place = index(of: presenter) else { return }
        for slot in surfaces.slots {
            guard let surface = surfaces[slot], surface.destination === presenter else { continue }
            perform(surface.machine.compositorLost(), surface)
            endLostUses(surface)
        }
        loop.arm(destinations[place].patience, after: patience)
    }

    private func patienceEnded(_ presenter: ConsumerPresenter) {
        guard let place = index(of: presenter) else { return }
        destinations[place].isPatienceOver = true
        for slot in surfaces.slots {
            guard let surface = surfaces[slot], surface.destination === presenter else { continue }
            perform(surface.machine.heldTooLong(), surface)
        }
    }

    // MARK: One or the other

    /// An image of a buffer for a frame, where its surface is seen.
    func reserveImage(
        _ use: UseID, of buffer: BufferID, _ surface: SurfaceSession
    ) -> ImageAnswer {
        guard let destination = surface.destination else {
            return presenter.reserveImage(use, of: buffer)
        }
        if !destination.knows(buffer), let memory = presenter.memory(of: buffer) {
            destination.addBuffer(buffer, memory)
        }
        return destination.reserveImage(use, of: buffer)
    }

    /// Gives an image back. A surface may have been moved since it was reserved.
    func cancelImage(_ use: UseID, _ surface: SurfaceSession?) {
        presenter.cancelImage(use)
        surface?.destination?.cancelImage(use)
    }

    func createWindow(_ surface: SurfaceSession) {
        guard let destination = surface.destination else {
            return presenter.createWindow(surface.id, surface.properties)
        }
        destination.createWindow(
            surface.id, surface.properties, isGraphics: surface.isGraphics)
    }

    func destroyWindow(_ surface: SurfaceSession) {
        guard let destination = surface.destination else {
            surface.leavingWindows += 1
            return presenter.destroyWindow(surface.id)
        }
        destination.destroyWindow(surface.id)
    }

    /// Hands a frame over; what is told of its way is how the buffer goes.
    func hand(_ frame: Frame, _ surface: SurfaceSession, to destination: ConsumerPresenter) {
        destination.commit(surface.id, frame)
        surface.counters.importPath = destination.importPath(of: frame.buffer)
        surface.counters.releasePath = destination.releasePath(of: frame.buffer)
    }
}
