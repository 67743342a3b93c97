import VMBridgeCore

/// Cursors: surfaces that are the pointer's image on a toplevel, and go where that goes (source-v1 §5.2).
extension VMSession {
    /// What a cursor says about itself when it is made, or changes its parent: that must be a toplevel without
    /// another cursor.
    func checkCursor(_ metadata: SurfaceMetadata, of key: SurfaceKey) throws(Refusal) {
        guard let parent = metadata.parent, toplevel(parent) != nil else {
            throw Refusal(.unknownObject, "A cursor's parent is a toplevel that exists.")
        }
        for place in surfaces.places {
            guard let other = surfaces.element(at: place), other.role == .cursor,
                !other.isDetached, other.key != key, other.metadata.parent == parent
            else { continue }
            throw Refusal(.badValue, "Surface \(parent) has a cursor already, \(other.key).")
        }
    }

    /// The route of a surface. A cursor's is its parent's as far as that is shown, else nobody sees it.
    func route(_ facts: SurfaceFacts, wish: RuleAction? = nil) -> Route {
        let route = router.route(facts, wish: wish)
        guard facts.role == .cursor, case .show(let identity, _) = route else { return route }
        guard let parent = facts.metadata.parent.flatMap(toplevel), case .show = parent.route else {
            return .hide(identity)
        }
        return route
    }

    /// What a cursor's presenter is told; nil for other roles, and without a parent.
    func cursorProperties(_ facts: SurfaceFacts) -> CursorProperties? {
        guard facts.role == .cursor, let parent = facts.metadata.parent.flatMap(toplevel) else {
            return nil
        }
        return CursorProperties(
            parent: parent.id, hotSpot: facts.metadata.hotSpot ?? HotSpot(x: 0, y: 0))
    }

    /// A toplevel goes somewhere else, and its cursor with it.
    ///
    /// - Parameter isGone: it is destroyed. The cursor is nobody's then, also when the key is used again.
    func rerouteCursors(of parent: SurfaceKey, isGone: Bool = false) {
        for place in surfaces.places {
            guard let surface = surfaces.element(at: place), surface.role == .cursor,
                !surface.isDetached, surface.metadata.parent == parent
            else { continue }
            if isGone { surface.metadata.parent = nil }
            reroute(surface)
        }
    }

    /// What status says of a cursor's route.
    func cursorWords(of surface: SurfaceSession) -> String {
        guard let parent = surface.metadata.parent else { return "cursor of no surface" }
        return "cursor of surface \(parent)"
    }

    private func toplevel(_ key: SurfaceKey) -> SurfaceSession? {
        guard let id = identifiers[key], let surface = surfaces[id.slot],
            surface.role == .toplevel
        else { return nil }
        return surface
    }
}
