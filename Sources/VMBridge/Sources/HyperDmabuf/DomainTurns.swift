import VMBridgeCore

/// Requests that wait for the driver, by domain. Domains take turns; one whose last request took long rests
/// for as long, so that the others have at least half of the time.
struct DomainTurns {
    /// What is to be done now.
    enum Next: Equatable {
        /// Nothing waits.
        case none
        /// All domains that have something rest until then.
        case restUntil(UInt64)
        /// This.
        case request(ReaderRequest)
    }

    private struct Domain {
        var number: UInt8
        var waiting: [ReaderRequest] = []
        var restsUntil: UInt64 = 0
        /// Requests in a row that were given up.
        var strikes: UInt64 = 0
    }

    /// A rest never lasts longer, nanoseconds.
    static let longestRest: UInt64 = 120_000_000_000
    private let limit: Int
    /// In the order of their turns.
    private var domains: [Domain] = []

    init(limit: Int) { self.limit = limit }

    /// Adds a request, unless the same waits already.
    ///
    /// - Returns: false when too many of its domain wait.
    mutating func append(_ request: ReaderRequest) -> Bool {
        let number = request.id.domain
        let index = index(of: number)
        if domains[index].waiting.contains(request) { return true }
        guard domains[index].waiting.count < limit else { return false }
        domains[index].waiting.append(request)
        return true
    }

    private mutating func index(of number: UInt8) -> Int {
        if let index = domains.firstIndex(where: { $0.number == number }) { return index }
        domains.append(Domain(number: number))
        return domains.count - 1
    }

    mutating func next(now: UInt64) -> Next {
        var soonest: UInt64?
        for index in domains.indices where !domains[index].waiting.isEmpty {
            guard domains[index].restsUntil > now else {
                var domain = domains.remove(at: index)
                // Buffers before questions: somebody waits to see them.
                let first = domain.waiting.firstIndex { if case .open = $0 { true } else { false } }
                let request = domain.waiting.remove(at: first ?? 0)
                domains.append(domain)
                return .request(request)
            }
            soonest = min(soonest ?? .max, domains[index].restsUntil)
        }
        return soonest.map { .restUntil($0) } ?? .none
    }

    /// A request of the domain is over.
    mutating func ended(domain: UInt8, took: UInt64, now: UInt64) {
        let index = index(of: domain)
        // What takes no time needs no rest.
        let rest = took < 20_000_000 ? 0 : min(took, Self.longestRest)
        domains[index].restsUntil = now + rest
        domains[index].strikes = 0
    }

    /// A request of the domain was given up, and the reader with it: each time in a row it rests twice as long.
    mutating func timedOut(domain: UInt8, took: UInt64, now: UInt64) {
        let index = index(of: domain)
        domains[index].strikes = min(domains[index].strikes + 1, 16)
        let rest = took.multipliedReportingOverflow(by: 1 << domains[index].strikes)
        domains[index].restsUntil =
            now + (rest.overflow ? Self.longestRest : min(rest.partialValue, Self.longestRest))
    }

    mutating func remove(domain: UInt8) {
        if let index = domains.firstIndex(where: { $0.number == domain }) {
            domains[index].waiting.removeAll()
        }
    }

    /// Forgets all requests, not who rests.
    @discardableResult
    mutating func removeAll() -> [ReaderRequest] {
        let all = domains.flatMap(\.waiting)
        for index in domains.indices { domains[index].waiting.removeAll() }
        return all
    }
}
