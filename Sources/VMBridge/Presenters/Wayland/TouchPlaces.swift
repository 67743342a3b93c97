/// Fingers that are down on any touch screen, and what each is on: pure.
///
/// A compositor numbers the fingers of each seat as it likes. Here each gets the lowest free number of all, as the
/// slots of an input device have them.
struct TouchPlaces<Place: AnyObject> {
    /// Fingers at a time; more are not followed.
    static var most: Int { 32 }

    private struct Finger {
        /// Which touch screen, and its number of the finger.
        var screen: ObjectIdentifier
        var id: Int32
        var place: Place
    }

    private var fingers = ContiguousArray<Finger?>(repeating: nil, count: most)

    /// A finger goes down; its number, nil when it is down already or there is no room.
    mutating func add(_ screen: ObjectIdentifier, _ id: Int32, _ place: Place) -> UInt32? {
        guard find(screen, id) == nil, let free = fingers.firstIndex(where: { $0 == nil }) else {
            return nil
        }
        fingers[free] = Finger(screen: screen, id: id, place: place)
        return UInt32(free)
    }

    /// The number of a finger that is down, and where it is.
    func find(_ screen: ObjectIdentifier, _ id: Int32) -> (number: UInt32, place: Place)? {
        for index in fingers.indices {
            guard let finger = fingers[index], finger.screen == screen, finger.id == id else {
                continue
            }
            return (UInt32(index), finger.place)
        }
        return nil
    }

    /// A finger is up.
    mutating func remove(_ number: UInt32) { fingers[Int(number)] = nil }

    /// Forgets fingers by what they are on.
    mutating func removeAll(where isGone: (Place) -> Bool) {
        for index in fingers.indices {
            if let finger = fingers[index], isGone(finger.place) { fingers[index] = nil }
        }
    }

    /// Forgets those of a screen.
    ///
    /// - Parameter body: called once for each thing that one was on.
    mutating func removeAll(of screen: ObjectIdentifier, _ body: (Place) -> Void) {
        for index in fingers.indices {
            guard let finger = fingers[index], finger.screen == screen else { continue }
            fingers[index] = nil
            let isLast = !fingers.contains { $0?.screen == screen && $0?.place === finger.place }
            if isLast { body(finger.place) }
        }
    }
}
