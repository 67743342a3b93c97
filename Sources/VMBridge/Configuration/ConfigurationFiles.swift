import CLinux
import Descriptors
import Glibc
import VMBridgeCore

/// Where configuration lies and what is in it.
///
/// A person's own file lies above the system's, in the order of the XDG Base Directory Specification:
/// `$XDG_CONFIG_HOME/vm-bridge/config` (`~/.config/…` without it), then `vm-bridge/config` in each of
/// `$XDG_CONFIG_DIRS` (`/etc/xdg` without it). All that exist count: a VM or consumer is what the topmost file
/// that names it says, and rules of a file stand before those of the files below, so that a person's own
/// rules win and the system's are the defaults. A file that was named instead stands alone.
package enum ConfigurationFiles {
    /// The places to look at, the most important first.
    ///
    /// - Parameter variable: gives variables of the environment; empty ones are as good as none, and so
    ///   are directories that are not absolute.
    package static func places(
        _ variable: (String) -> String? = ConfigurationFiles.environment
    ) -> [String] {
        func absolute(_ path: String?) -> String? { path?.hasPrefix("/") == true ? path : nil }
        var directories: [String] = []
        if let own = absolute(variable("XDG_CONFIG_HOME")) {
            directories.append(own)
        } else if let home = absolute(variable("HOME")) {
            directories.append("\(home)/.config")
        }
        let system = (variable("XDG_CONFIG_DIRS") ?? "").split(separator: ":").map(String.init)
        let usable = system.filter { absolute($0) != nil }
        directories += usable.isEmpty ? ["/etc/xdg"] : usable
        var known: Set<String> = []
        return directories.map { directory in
            var directory = directory[...]
            while directory.last == "/" { directory.removeLast() }
            return "\(directory)/vm-bridge/config"
        }.filter { known.insert($0).inserted }
    }

    /// A variable of the environment; nil when it is not set or empty.
    package static func environment(_ name: String) -> String? { SystemFiles.variable(name) }

    /// What to read: the named file, or all there are.
    ///
    /// - Throws: `KernelError` when the named file is not there, or any cannot be read.
    package static func load(
        named file: String? = nil,
        _ variable: (String) -> String? = ConfigurationFiles.environment
    ) throws(KernelError) -> [ConfigurationText] {
        guard let file else {
            var found: [ConfigurationText] = []
            for place in places(variable) {
                if let text = try read(place) { found.append(text) }
            }
            return found
        }
        guard let text = try read(file) else {
            throw KernelError("open", ENOENT, subject: file)
        }
        return [text]
    }

    /// One file; nil when there is none. Never waits: what is no regular file is not read.
    ///
    /// Reads one byte more than `ConfigurationReader.limit` allows, so that its reader sees the excess.
    package static func read(_ path: String) throws(KernelError) -> ConfigurationText? {
        let opened = vmb_open(path, VMB_OPEN_READ)
        if opened == -ENOENT || opened == -ENOTDIR { return nil }
        let number = try check(opened, "open", subject: path)
        let file = OwnedDescriptor(owning: number)
        var facts = vmb_file_facts()
        try check(vmb_file_facts(file.number, &facts), "stat", subject: path)
        guard facts.mode & S_IFMT == S_IFREG else {
            throw KernelError(
                "read", facts.mode & S_IFMT == S_IFDIR ? EISDIR : EINVAL, subject: path,
                advice: "a configuration is a regular file")
        }
        var all: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65_536)
        while all.count <= ConfigurationReader.limit {
            let wanted = min(part.count, ConfigurationReader.limit + 1 - all.count)
            let count = Glibc.read(file.number, &part, wanted)
            if count < 0 {
                let code = errno
                if code == EINTR { continue }
                throw KernelError("read", code, subject: path)
            }
            guard count > 0 else { break }
            all += part.prefix(count)
        }
        return ConfigurationText(file: path, bytes: all)
    }
}
