import VMBridgeCore
import Wayland

/// A feedback object of linux-dmabuf (version 4 and later), for all surfaces or for one. Its tables are
/// read and closed as they come.
final class FeedbackObject {
    /// What is in force.
    private(set) var told = DmabufFeedback()
    private let object: ZwpLinuxDmabufFeedbackV1
    private let tables: LatestTable
    private let onChange: (FeedbackObject) -> Void
    private let onUnreadable: () -> Void

    /// - Parameters:
    ///   - object: fresh; ended by `destroy`.
    ///   - tables: shared by all objects of a connection.
    ///   - onUnreadable: a table could not be read; nothing is offered by its rows.
    ///   - onChange: something else is in force than before.
    init(
        _ object: ZwpLinuxDmabufFeedbackV1, _ tables: LatestTable,
        onUnreadable: @escaping () -> Void, onChange: @escaping (FeedbackObject) -> Void
    ) {
        self.object = object
        self.tables = tables
        self.onUnreadable = onUnreadable
        self.onChange = onChange
        object.onEvent { [unowned self] event in take(event) }
    }

    func destroy() { object.destroy() }

    private func take(_ event: consuming ZwpLinuxDmabufFeedbackV1.Event) {
        switch consume event {
        case .formatTable(let descriptor, let size):
            let rows = FormatTable.read(descriptor, size: size)
            if rows == nil { onUnreadable() }
            told.setTable(tables.shared(rows ?? []))
        case .mainDevice(let device): told.setMainDevice(Self.number(device))
        case .trancheTargetDevice(let device): told.setTrancheDevice(Self.number(device))
        case .trancheFormats(let indices): told.addToTranche(indices)
        case .trancheFlags(let flags):
            told.setTrancheFlags(isScanout: flags.contains(.scanout))
        case .trancheDone: told.endTranche()
        case .done: if told.end() { onChange(self) }
        }
    }

    /// A dev_t in the machine's byte order.
    private static func number(_ bytes: [UInt8]) -> UInt64 {
        bytes.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// The table that came last. Compositors send the same one for each surface: it is kept once.
final class LatestTable {
    private var rows: [FormatCatalog.Pair] = []

    func shared(_ rows: [FormatCatalog.Pair]) -> [FormatCatalog.Pair] {
        if rows != self.rows { self.rows = rows }
        return self.rows
    }
}

/// What the compositor prefers for one window. However often it is told, the session hears of it at
/// most once until it asks.
final class SurfaceFeedback {
    private let object: FeedbackObject
    private let news: News

    private final class News {
        var isUnheard = false
    }

    init(
        _ id: SurfaceID, _ object: ZwpLinuxDmabufFeedbackV1, _ tables: LatestTable,
        _ books: PresenterBooks, onUnreadable: @escaping () -> Void
    ) {
        let news = News()
        self.news = news
        self.object = FeedbackObject(object, tables, onUnreadable: onUnreadable) { _ in
            guard !news.isUnheard else { return }
            news.isUnheard = true
            books.tell(.surfaceFormats(id))
        }
    }

    /// The list for that surface.
    func formats(_ catalog: FormatCatalog) -> [ImportableFormat] {
        news.isUnheard = false
        return catalog.preferred(by: object.told)
    }

    func destroy() { object.destroy() }
}
