import Logging
import VMBridgeCore

/// The configuration of a running bridge: read from its files at the start, and again on demand and when
/// they change. Files that are not good change nothing: what held before goes on, and the log says why.
package final class ConfigurationKeeper {
    /// Which files count.
    package enum Files: Sendable, Equatable {
        /// Those of the usual places, however many there are.
        case usual
        /// One alone, which must be there.
        case named(String)
        /// None: the configuration is empty.
        case none
    }

    /// Diagnostics that the log is told of one reading.
    private static var longestList: Int { 50 }

    /// Which files count.
    package let files: Files
    private let logger: Logger
    private var watch: ConfigurationWatch?
    /// What was read last, good or not.
    private var seen: [ConfigurationText] = []
    /// What holds.
    package private(set) var configuration = Configuration()
    /// Files whose content holds, the most important first.
    package private(set) var names: [String] = []
    /// Called with each new configuration; answers with what of it could not be done, as sentences.
    package var onApply: ((Configuration) -> [String])?

    /// Nothing is read yet.
    package init(_ files: Files, logger: Logger) {
        self.files = files
        self.logger = logger
    }

    /// Reads the files for the first time.
    ///
    /// - Returns: whether they are good; if not the log has said why.
    package func load() -> Bool {
        read()
    }

    /// Reads the files anew and puts into force what they say.
    ///
    /// - Returns: whether they are good. Files that have not changed are put into force all the same.
    @discardableResult
    package func reload() -> Bool {
        guard read() else {
            logger.error("the configuration stays as it was")
            return false
        }
        let sentences = onApply?(configuration) ?? []
        for sentence in sentences { logger.warning("\(sentence)") }
        let source = names.isEmpty ? "no file" : names.joined(separator: ", ")
        logger.info("configuration read anew: \(source)")
        return true
    }

    /// Calls `reload` when the files change, until `end`.
    package func watch(_ loop: EventLoop) throws(KernelError) {
        let paths: [String]
        switch files {
        case .usual: paths = ConfigurationFiles.places()
        case .named(let file): paths = [file.hasPrefix("/") ? file : Self.absolute(file)]
        case .none: return
        }
        watch = try ConfigurationWatch(paths, loop: loop) { [unowned self] in filesMayHaveChanged()
        }
    }

    /// Ends the watching.
    package func end() {
        watch?.end()
        watch = nil
    }

    private func filesMayHaveChanged() {
        // Most of what happens in those directories is not about these files.
        if let now = try? find(), now == seen { return }
        reload()
    }

    private func find() throws(KernelError) -> [ConfigurationText] {
        switch files {
        case .usual: try ConfigurationFiles.load()
        case .named(let file): try ConfigurationFiles.load(named: file)
        case .none: []
        }
    }

    private func read() -> Bool {
        let texts: [ConfigurationText]
        do throws(KernelError) {
            texts = try find()
        } catch {
            logger.error("the configuration cannot be read: \(error)")
            return false
        }
        seen = texts
        let (configuration, diagnostics) = ConfigurationReader.read(texts)
        for diagnostic in diagnostics.prefix(Self.longestList) {
            switch diagnostic.severity {
            case .error: logger.error("\(diagnostic)")
            case .warning: logger.warning("\(diagnostic)")
            case .note: logger.info("\(diagnostic)")
            }
        }
        if diagnostics.count > Self.longestList {
            logger.warning(
                "\(diagnostics.count - Self.longestList) more: see vm-bridge check-config")
        }
        guard let configuration else { return false }
        self.configuration = configuration
        names = texts.map(\.file)
        return true
    }

    private static func absolute(_ path: String) -> String {
        ResolvedPath.of(".").map { "\($0)/\(path)" } ?? path
    }
}
