/// How a part of a line looks.
package enum TopStyle: Sendable, Equatable {
    /// As usual.
    case plain
    /// White on black, or the other way round: the headings.
    case inverse
    /// Bold.
    case strong
    /// Less than usual.
    case faint
    /// Worth a look.
    case warning
    /// Wrong.
    case bad
}

/// One line of the screen: parts from left to right, each from a column of its own, so that a character
/// which a terminal draws wider than we think moves nothing behind it.
package struct TopLine: Sendable, Equatable {
    /// Text without control characters, the cell at which it begins, and its looks.
    package struct Part: Sendable, Equatable {
        package var column: Int
        package var text: String
        package var style: TopStyle
    }

    /// Parts, none over another.
    package private(set) var parts: [Part] = []
    /// Cells that are taken.
    package private(set) var width = 0

    /// An empty line.
    package init() {}

    /// A line of one part.
    package init(_ text: String, _ style: TopStyle = .plain) { append(text, style) }

    /// Puts a part behind the others.
    package mutating func append(_ text: String, _ style: TopStyle = .plain) {
        guard !text.isEmpty else { return }
        parts.append(Part(column: width, text: text, style: style))
        width += DisplayText.width(text)
    }

    /// The line without looks, without space at its end.
    package var plain: String {
        var text = ""
        for part in parts { text += part.text }
        return String(text.reversed().drop { $0 == " " }.reversed())
    }

    /// At most so many cells of it.
    package func cut(_ count: Int) -> TopLine {
        var line = TopLine()
        for part in parts {
            let room = count - line.width
            guard room > 0 else { break }
            let width = DisplayText.width(part.text)
            line.append(
                width <= room ? part.text : DisplayText.fit(part.text, room), part.style)
        }
        return line
    }
}

/// What there is about the table beside its numbers.
package struct TopNotice: Sendable, Equatable {
    /// In words; clean.
    package var text: String
    /// Whether something is wrong.
    package var isBad: Bool

    /// A sentence for the first line.
    package init(_ text: String, isBad: Bool = false) {
        self.text = text
        self.isBad = isBad
    }
}

/// A model as lines of a given width and height. Pure.
package enum TopScreen {
    /// Fewest columns that anything is laid out for; on fewer, lines are cut.
    package static let minimumWidth = 20
    private static let titleMinimum = 14

    /// The table's columns behind the title, left to right.
    package enum Column: Sendable, CaseIterable {
        case size, frames, superseded, refused, median, late, importing, sync, stages

        var width: Int {
            switch self {
            case .size: 9
            case .frames: 6
            case .superseded, .refused: 5
            case .median, .late: 7
            case .importing: 8
            case .sync: 6
            case .stages: TopScreen.stageColumns.count * 9 - 1
            }
        }

        /// Which columns go first where there is no room: the first of these, then the next.
        package static let dropped: [Column] = [
            .stages, .sync, .importing, .refused, .superseded, .size, .median,
        ]
    }

    private static var stageColumns: [TopStage] { TopStage.allCases.filter { $0 != .total } }

    /// The columns that fit.
    package static func columns(_ width: Int) -> [Column] {
        var columns = Column.allCases
        for column in Column.dropped {
            guard columns.reduce(titleMinimum, { $0 + $1.width + 1 }) > width else { break }
            columns.removeAll { $0 == column }
        }
        return columns
    }

    // MARK: The whole picture

    /// Exactly `height` lines, or fewer when there is less to show; none is wider than `width`.
    ///
    /// - Parameter state: what the keys have chosen; its scroll position is brought into bounds.
    package static func lines(
        _ model: TopModel, _ state: inout TopState, width: Int, height: Int,
        notice: TopNotice? = nil
    ) -> [TopLine] {
        guard width > 0, height > 0 else { return [] }
        let columns = columns(width)
        let body = state.isHelpShown ? help(columns) : self.body(model, columns, width, state.stage)
        let room = max(height - 3, 0)
        state.clamp(lines: body.count, room: room)
        let end = min(state.offset + room, body.count)
        var lines = [title(model, state, notice)]
        if height > 1 { lines.append(headings(columns, width)) }
        lines += body[min(state.offset, end)..<end]
        if height > 2 {
            while lines.count < height - 1 { lines.append(TopLine()) }
            lines.append(footer(state, shown: state.offset..<end, of: body.count))
        }
        return lines.map { $0.cut(width) }
    }

    /// The table alone, for scripts and logs.
    package static func table(_ model: TopModel, width: Int, stage: TopStage) -> [TopLine] {
        let columns = columns(width)
        return ([headings(columns, width)] + body(model, columns, width, stage))
            .map { $0.cut(width) }
    }

    // MARK: Parts

    private static func title(
        _ model: TopModel, _ state: TopState, _ notice: TopNotice?
    ) -> TopLine {
        var line = TopLine("vm-bridge", .strong)
        if let notice {
            line.append("  " + notice.text, notice.isBad ? .bad : .warning)
            return line
        }
        let windows = model.vms.reduce(0) { $0 + $1.surfaces.count }
        var text = "  \(counted(model.vms.count, "VM")), \(counted(windows, "window"))"
        if let rate = model.framesPerSecond { text += ", \(ShortNumber.rate(rate)) frames/s" }
        line.append(text)
        if model.seconds > 0 {
            line.append(" in \(ShortNumber.rate(model.seconds)) s", .faint)
        }
        if state.isFrozen { line.append("  frozen", .warning) }
        return line
    }

    private static func counted(_ number: Int, _ word: String) -> String {
        "\(number) \(word)" + (number == 1 ? "" : "s")
    }

    private static func headings(_ columns: [Column], _ width: Int) -> TopLine {
        var line = TopLine(DisplayText.fit("VM, window", titleWidth(columns, width)), .inverse)
        for column in columns {
            let words =
                switch column {
                case .size: "size"
                case .frames: "fps"
                case .superseded: "sup/s"
                case .refused: "ref"
                case .median: "p50 ms"
                case .late: "p99 ms"
                case .importing: "import"
                case .sync: "sync"
                case .stages:
                    stageColumns.map { DisplayText.fit($0.heading, 8, isRight: true) }
                        .joined(separator: " ")
                }
            line.append(
                " " + DisplayText.fit(words, column.width, isRight: isRight(column)), .inverse)
        }
        return line
    }

    private static func isRight(_ column: Column) -> Bool {
        switch column {
        case .importing, .sync: false
        default: true
        }
    }

    private static func titleWidth(_ columns: [Column], _ width: Int) -> Int {
        max(width - columns.reduce(0) { $0 + $1.width + 1 }, min(titleMinimum, width))
    }

    private static func body(
        _ model: TopModel, _ columns: [Column], _ width: Int, _ stage: TopStage
    ) -> [TopLine] {
        var lines: [TopLine] = []
        for vm in model.vms {
            lines.append(line(vm))
            for surface in vm.surfaces {
                lines.append(line(surface, of: vm.now.name, columns, width, stage))
            }
        }
        if lines.isEmpty { lines.append(TopLine("no VM", .faint)) }
        return lines
    }

    private static func line(_ vm: TopModel.VM) -> TopLine {
        let now = vm.now
        let name = DisplayText.clean(now.name)
        var line = TopLine(
            DisplayText.width(name) > 20 ? DisplayText.fit(name, 20) : name, .strong)
        line.append("  \(counted(Int(clamping: now.buffers), "buffer"))")
        line.append(", \(ShortNumber.bytes(now.bytes))")
        if let descriptors = now.descriptors {
            line.append(", \(counted(Int(clamping: descriptors), "descriptor"))")
        }
        if now.refused > 0 { line.append(", \(now.refused) refused", .bad) }
        if !now.isConnected { line.append(", no producer", .faint) }
        if let trouble = now.trouble {
            line.append(", not shown: \(DisplayText.clean(trouble))", .warning)
        }
        return line
    }

    private static func line(
        _ surface: TopModel.Surface, of vm: String, _ columns: [Column], _ width: Int,
        _ stage: TopStage
    ) -> TopLine {
        let now = surface.now
        // As shown the title begins with the VM's name, which stands above it here.
        var title = now.title
        if title.hasPrefix("[\(vm)] ") { title.removeFirst(vm.count + 3) }
        title = DisplayText.clean(title)
        if title.isEmpty { title = "#\(now.key)" }
        var line = TopLine(DisplayText.fit("  " + title, titleWidth(columns, width)))
        for column in columns {
            let (text, style) = cell(surface, column, stage)
            line.append(" " + DisplayText.fit(text, column.width, isRight: isRight(column)), style)
        }
        return line
    }

    private static func cell(
        _ surface: TopModel.Surface, _ column: Column, _ stage: TopStage
    ) -> (String, TopStyle) {
        let now = surface.now
        switch column {
        case .size: return (DisplayText.clean(now.size), .plain)
        case .frames: return (surface.framesPerSecond.map(ShortNumber.rate) ?? "-", .plain)
        case .superseded:
            let rate = surface.supersededPerSecond
            return (rate.map(ShortNumber.rate) ?? "-", (rate ?? 0) > 0 ? .warning : .plain)
        case .refused: return ("\(now.refused)", now.refused > 0 ? .bad : .plain)
        case .median: return (percentile(surface, stage, 0.5), .plain)
        case .late: return (percentile(surface, stage, 0.99), .plain)
        case .importing: return (word(ofPath: now.importPath), .plain)
        case .sync:
            let visibility = now.visibility ?? "shown"
            return visibility == "shown" || visibility.isEmpty
                ? (word(ofSync: now.syncPath), .plain) : (DisplayText.clean(visibility), .warning)
        case .stages:
            let cells = stageColumns.map {
                DisplayText.fit(percentile(surface, $0, 0.99), 8, isRight: true)
            }
            return (cells.joined(separator: " "), .faint)
        }
    }

    private static func percentile(
        _ surface: TopModel.Surface, _ stage: TopStage, _ share: Double
    ) -> String {
        surface.durations[stage]?.percentile(share).map(ShortNumber.milliseconds) ?? "-"
    }

    /// The first word of an import path, which says the way; what follows says why.
    private static func word(ofPath path: String) -> String {
        let words = DisplayText.clean(path).split { " ,:(".contains($0) }
        return words.first.map(String.init) ?? "-"
    }

    private static func word(ofSync path: String) -> String {
        switch path {
        case "no fence": "none"
        case "passed on": "passed"
        case "passed on, some held in the loop": "mixed"
        case "fence signalled on arrival": "early"
        case "held in the loop": "held"
        default: word(ofPath: path)
        }
    }

    private static func footer(_ state: TopState, shown: Range<Int>, of all: Int) -> TopLine {
        var line = TopLine(
            "q quit  h help  s: \(state.sort.rawValue)  t: \(state.stage.heading)", .faint)
        if shown.count < all {
            line.append("  \(shown.lowerBound + 1)-\(shown.upperBound) of \(all)", .faint)
        }
        return line
    }

    private static func help(_ columns: [Column]) -> [TopLine] {
        [
            "q              quit", "s              order: as told, fps, p99, superseded",
            "t              p50 and p99 of: latency, then each stage",
            "up down j k    scroll; space to freeze, again to go on",
            "h ?            this, again to leave it", "",
            "fps     frames committed a second     sup/s  superseded",
            "ref     refused so far                import how pixels come",
            "latency from receipt to commit        sync   how fences wait",
            "Stages: validate, import, fence, commit, present, in this",
            "order. Rates and percentiles are of the time since the last",
            "picture. Wider terminals show the p99 of every stage. On",
            "narrower ones these columns go, one after the other: sync,",
            "import, ref, sup/s, size, p50.",
        ].map { TopLine($0) }
    }
}
