/// A key as a terminal sends it.
package enum TopKey: Sendable, Equatable {
    /// A character.
    case character(UInt8)
    /// Arrows and what moves further.
    case up, down, pageUp, pageDown, home, end
    /// The escape key, or a sequence that means nothing here.
    case other
}

/// Turns the bytes of a terminal into keys. A sequence may be split between two reads.
package struct TopKeyDecoder: Sendable {
    private enum Place { case ground, escape, sequence }

    private var place = Place.ground
    private var parameter: UInt8 = 0

    /// At the beginning of a key.
    package init() {}

    /// Takes a byte; gives the key that it ends.
    package mutating func take(_ byte: UInt8) -> TopKey? {
        switch place {
        case .ground:
            guard byte != 0x1b else {
                place = .escape
                return nil
            }
            return .character(byte)
        case .escape:
            // CSI, or SS3, which arrows use in application mode.
            if byte == UInt8(ascii: "[") || byte == UInt8(ascii: "O") {
                place = .sequence
                parameter = 0
                return nil
            }
            place = byte == 0x1b ? .escape : .ground
            return .other
        case .sequence:
            guard (0x40...0x7e).contains(byte) else {
                if (0x30...0x39).contains(byte), parameter == 0 { parameter = byte }
                return nil
            }
            place = .ground
            switch byte {
            case UInt8(ascii: "A"): return .up
            case UInt8(ascii: "B"): return .down
            case UInt8(ascii: "H"): return .home
            case UInt8(ascii: "F"): return .end
            case UInt8(ascii: "~"):
                switch parameter {
                case UInt8(ascii: "5"): return .pageUp
                case UInt8(ascii: "6"): return .pageDown
                case UInt8(ascii: "1"), UInt8(ascii: "7"): return .home
                case UInt8(ascii: "4"), UInt8(ascii: "8"): return .end
                default: return .other
                }
            default: return .other
            }
        }
    }
}

/// What a key asks of whoever draws.
package enum TopWish: Sendable, Equatable {
    /// Nothing.
    case none
    /// Draw again.
    case draw
    /// Leave.
    case quit
}

/// What the keys have chosen. Pure.
package struct TopState: Sendable, Equatable {
    /// Order of VMs and surfaces.
    package var sort = TopSort.name
    /// What p50 and p99 are of.
    package var stage = TopStage.total
    /// The picture stands still.
    package var isFrozen = false
    /// Help is shown instead of the table.
    package var isHelpShown = false
    /// Lines above the first one shown.
    package private(set) var offset = 0
    private var page = 1

    /// At the start.
    package init() {}

    /// Takes a key.
    package mutating func press(_ key: TopKey) -> TopWish {
        switch key {
        case .up: offset = max(offset - 1, 0)
        case .down: offset += 1
        case .pageUp: offset = max(offset - page, 0)
        case .pageDown: offset += page
        case .home: offset = 0
        case .end: offset = Int.max / 2
        case .other:
            guard isHelpShown else { return .none }
            isHelpShown = false
        case .character(let byte):
            switch byte {
            case UInt8(ascii: "q"), UInt8(ascii: "Q"), 3: return .quit
            case UInt8(ascii: "s"):
                sort = sort.next
                offset = 0
            case UInt8(ascii: "t"): stage = stage.next
            case UInt8(ascii: "k"): return press(.up)
            case UInt8(ascii: "j"): return press(.down)
            case UInt8(ascii: " "): isFrozen.toggle()
            case UInt8(ascii: "h"), UInt8(ascii: "?"):
                isHelpShown.toggle()
                offset = 0
            case 0x0c: break
            default: return .none
            }
        }
        return .draw
    }

    /// Brings the scroll position into the bounds of what there is to show.
    mutating func clamp(lines: Int, room: Int) {
        page = max(room - 1, 1)
        offset = min(offset, max(lines - room, 0))
    }
}
