/// One check's result.
package struct DoctorFinding: Sendable, Equatable {
    /// How it stands.
    package enum State: String, Sendable, CaseIterable {
        /// In order.
        case ok
        /// Worth knowing; nothing fails for it.
        case note
        /// Not there.
        case missing
        /// There, and does not work.
        case broken
    }

    /// What it is about; the headings of the text.
    package enum Group: String, Sendable, CaseIterable {
        /// System calls.
        case kernel
        /// Device nodes.
        case devices
        /// What this session may take.
        case limits
        /// Its globals.
        case compositor
        /// What each kind of source gets.
        case sources
    }

    /// A figure or name for programs.
    package enum Value: Sendable, Equatable {
        /// A name.
        case text(String)
        /// A count or size.
        case number(UInt64)
        /// Yes or no.
        case flag(Bool)
    }

    /// Where it belongs.
    package var group: Group
    /// Stable for programs; with the group it is the check's id.
    package var key: String
    /// For people.
    package var name: String
    /// How it stands.
    package var state: State
    /// What was found and what it means, for people; no full stop.
    package var text: String
    /// What to do about it, one imperative sentence; empty when all is in order.
    package var advice = ""
    /// Whether `vm-bridge run` cannot do its work for it.
    package var isFatal = false
    /// What `vm-bridge run` goes without because of it, in one or two words; empty when nothing.
    package var loss = ""
    /// The same for programs, in this order.
    package var values: [(name: String, value: Value)] = []

    /// "kernel.memfd-sealing".
    package var id: String { "\(group.rawValue).\(key)" }

    /// A result in order.
    init(_ group: Group, _ key: String, _ name: String, _ text: String) {
        self.init(group, key, name, .ok, text)
    }

    /// A result; one that is not in order needs ``advising(_:)``.
    init(_ group: Group, _ key: String, _ name: String, _ state: State, _ text: String) {
        self.group = group
        self.key = key
        self.name = name
        self.state = state
        self.text = text
    }

    /// The same with advice.
    func advising(_ advice: String) -> DoctorFinding {
        var copy = self
        copy.advice = advice
        return copy
    }

    /// The same, without which `vm-bridge run` does not work.
    func fatal() -> DoctorFinding {
        var copy = self
        copy.isFatal = true
        return copy
    }

    /// The same, for which `vm-bridge run` goes without something.
    func losing(_ loss: String) -> DoctorFinding {
        var copy = self
        copy.loss = loss
        return copy
    }

    /// The same with a value for programs.
    func value(_ name: String, _ value: Value) -> DoctorFinding {
        var copy = self
        copy.values.append((name, value))
        return copy
    }

    package static func == (one: DoctorFinding, other: DoctorFinding) -> Bool {
        one.id == other.id && one.name == other.name && one.state == other.state
            && one.text == other.text && one.advice == other.advice
            && one.isFatal == other.isFatal && one.loss == other.loss
            && one.values.elementsEqual(other.values) { $0.name == $1.name && $0.value == $1.value }
    }
}

/// All findings and what they come to.
package struct DoctorReport: Sendable, Equatable {
    /// In the order of their groups.
    package var findings: [DoctorFinding]
    /// Whether `vm-bridge run` would work, perhaps with less.
    package var works: Bool
    /// What it would go without.
    package var losses: [String]
    /// One sentence that sums it up.
    package var verdict: String
}
