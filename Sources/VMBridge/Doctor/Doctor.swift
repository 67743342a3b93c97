/// Judges a host: facts in, findings out. Pure; the system is asked by ``DoctorFacts/gather(_:)``.
package enum Doctor {
    /// The findings and what they come to.
    package static func examine(_ facts: DoctorFacts) -> DoctorReport {
        let findings = findings(facts)
        var losses: [String] = []
        for finding in findings where !finding.loss.isEmpty && !losses.contains(finding.loss) {
            losses.append(finding.loss)
        }
        let obstacles = findings.filter(\.isFatal)
        return DoctorReport(
            findings: findings, works: obstacles.isEmpty, losses: losses,
            verdict: verdict(facts, obstacles, losses))
    }

    /// One finding for each check.
    package static func findings(_ facts: DoctorFacts) -> [DoctorFinding] {
        kernel(facts) + devices(facts) + limits(facts) + compositor(facts) + sources(facts)
    }

    private static func verdict(
        _ facts: DoctorFacts, _ obstacles: [DoctorFinding], _ losses: [String]
    ) -> String {
        let command = facts.target == .headless ? "vm-bridge run --headless" : "vm-bridge run"
        guard let first = obstacles.first else {
            guard !losses.isEmpty else { return "\(command) works here." }
            return "\(command) works here, but without \(list(losses))."
        }
        var sentence = "\(command) would not work here: \(first.text)."
        if obstacles.allSatisfy({ $0.group == .compositor }) {
            sentence += " vm-bridge run --headless would."
        }
        return sentence
    }

    /// "a", "a and b", "a, b and c".
    static func list(_ words: [String]) -> String {
        guard words.count > 1, let last = words.last else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " and " + last
    }

    /// "1 format", "2 formats".
    static func count(_ number: Int, _ word: String) -> String {
        "\(number) \(word)\(number == 1 ? "" : "s")"
    }

    /// A trial for programs.
    static func word(_ trial: DoctorTrial) -> DoctorFinding.Value {
        switch trial {
        case .works: .text("works")
        case .fails(let error): .text(KernelError.name(of: error.code))
        case .untried: .text("untried")
        }
    }

    /// Why a call was refused, in the C library's words.
    static func reason(_ error: KernelError) -> String {
        "\(error.call): \(KernelError.text(of: error.code))"
    }
}
