/// Values that gather during a batch of the loop and are taken after it, in order; steady use
/// allocates nothing.
///
/// Most wake-ups gather nothing somewhere, so that nothing is there is a plain flag: looking into an
/// array in a class costs a check of exclusive access, taking from it several.
final class Gathered<Element> {
    /// Whether nothing is there.
    private(set) var isEmpty = true
    private var elements: ContiguousArray<Element> = []
    /// The other array of the two that change places, empty.
    private var spare: ContiguousArray<Element> = []

    init(capacity: Int) {
        elements.reserveCapacity(capacity)
        spare.reserveCapacity(capacity)
    }

    func append(_ element: Element) {
        isEmpty = false
        elements.append(element)
    }

    /// Hands all over, those included that come meanwhile, and forgets them. Not to be called from
    /// inside `body`.
    func take(_ body: (Element) -> Void) {
        guard !isEmpty else { return }
        // Asked for at its end only: the compiler looks into arrays before a loop begins.
        repeat {
            isEmpty = true
            var taken = ContiguousArray<Element>()
            swap(&taken, &spare)
            swap(&taken, &elements)
            for index in taken.indices { body(taken[index]) }
            taken.removeAll(keepingCapacity: true)
            swap(&taken, &spare)
        } while !isEmpty
    }

    /// Forgets all.
    func removeAll() {
        isEmpty = true
        elements.removeAll(keepingCapacity: true)
    }
}
