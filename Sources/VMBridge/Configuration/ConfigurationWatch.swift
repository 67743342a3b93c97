import Descriptors
import Glibc

/// Tells when a configuration file may have changed: edited in place, replaced by another file (which is
/// what editors do), made for the first time, or taken away, with its directory or alone.
///
/// Watches directories by inotify, not files: that of each file, or the nearest one above that exists, and
/// where a file is a link, that of the file that it leads to. What is told gathers for a moment first, and
/// nothing of the events is looked at: whoever is told reads the files.
package final class ConfigurationWatch: EventHandler, TimerHandler {
    /// How long changes gather before they are told, nanoseconds.
    package static var delay: UInt64 { 100_000_000 }
    /// Reads of the kernel's queue in one turn of the loop.
    private static var reads: Int { 16 }

    private let files: [String]
    private let loop: EventLoop
    private let onChange: () -> Void
    private let descriptor: OwnedDescriptor
    private var registration: Registration?
    private var timer: TimerID?
    private var isArmed = false
    /// The kernel's number of each directory's watch.
    private var watches: [String: Int32] = [:]
    private var buffer = [UInt8](repeating: 0, count: 4096)

    /// Watches from now on, until `end`.
    ///
    /// - Parameters:
    ///   - files: absolute paths; none of them need exist.
    ///   - onChange: called on the loop's thread.
    package init(
        _ files: [String], loop: EventLoop, onChange: @escaping () -> Void
    ) throws(KernelError) {
        self.files = files
        self.loop = loop
        self.onChange = onChange
        let number = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
        guard number >= 0 else {
            throw KernelError(
                "inotify_init1", errno,
                advice:
                    "this user's number of inotify instances is limited by fs.inotify.max_user_instances"
            )
        }
        descriptor = OwnedDescriptor(owning: number)
        registration = try loop.register(number, .read, self)
        timer = loop.makeTimer(self)
        look()
    }

    /// Directories that are watched now.
    var directories: Set<String> { Set(watches.keys) }

    /// Nothing is told any more.
    package func end() {
        if let registration { loop.remove(registration) }
        if let timer { loop.remove(timer) }
        (registration, timer) = (nil, nil)
    }

    package func ready(_ registration: Registration, _ readiness: Readiness) {
        for _ in 0..<Self.reads {
            guard read(descriptor.number, &buffer, buffer.count) > 0 else { break }
        }
        guard !isArmed, let timer else { return }
        isArmed = true
        loop.arm(timer, after: Self.delay)
    }

    package func timerFired(_ timer: TimerID, now: UInt64) {
        isArmed = false
        // First: what happens in a directory after it was looked at is told again.
        look()
        onChange()
    }

    // MARK: Directories

    /// Watches what is to be watched as things stand.
    private func look() {
        var wanted: Set<String> = []
        for file in files {
            wanted.insert(Self.nearest(to: file))
            if let target = ResolvedPath.of(file), target != file {
                wanted.insert(Self.nearest(to: target))
            }
        }
        for (directory, watch) in watches where !wanted.contains(directory) {
            _ = inotify_rm_watch(descriptor.number, watch)
            watches[directory] = nil
        }
        let events =
            IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF
            | IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR
        for directory in wanted {
            // Again for one that is watched: another may have taken its place.
            let watch = inotify_add_watch(
                descriptor.number, directory, UInt32(truncatingIfNeeded: events))
            watches[directory] = watch >= 0 ? watch : nil
        }
    }

    /// The file's directory, or the nearest one above it that exists.
    private static func nearest(to file: String) -> String {
        var path = file[...]
        while let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            path = path[..<slash]
            var facts = stat()
            if stat(String(path), &facts) == 0, facts.st_mode & S_IFMT == S_IFDIR {
                return String(path)
            }
        }
        return "/"
    }
}
