import CLinux
import Descriptors
import Glibc

/// Small questions to the file system, for start-up tools; none of them belongs on the loop.
enum SystemFiles {
    /// The first 4 MiB of a file as text; nil when it cannot be read.
    static func text(_ path: String) -> String? {
        let file = OwnedDescriptor(owning: vmb_open(path, VMB_OPEN_READ))
        guard file.isValid else { return nil }
        var all: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65_536)
        while all.count < 4 << 20 {
            let count = read(file.number, &part, part.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            all += part.prefix(count)
        }
        return String(decoding: all, as: UTF8.self)
    }

    /// The first line of a file without the space around it.
    static func line(_ path: String) -> String? {
        text(path)?.split(separator: "\n").first.map { line in
            let end = line.lastIndex { $0 != " " }
            return String(line[...(end ?? line.startIndex)].drop { $0 == " " })
        }
    }

    /// The number that a file consists of.
    static func number(_ path: String) -> UInt64? { line(path).flatMap { UInt64($0) } }

    /// Names in a directory, sorted; empty when it cannot be read.
    static func names(_ directory: String) -> [String] {
        guard let stream = vmb_directory_open(directory) else { return [] }
        defer { vmb_directory_close(stream) }
        var names: [String] = []
        // The entry's name is good until the next call, and copied at once.
        while let entry = vmb_directory_next(stream) { names.append(String(cString: entry)) }
        return names.filter { !$0.hasPrefix(".") }.sorted()
    }

    /// The last part of where a symbolic link leads; nil when it is none.
    static func linkName(_ path: String) -> String? {
        var bytes = [CChar](repeating: 0, count: 4096)
        let length = vmb_read_link(path, &bytes, bytes.count)
        guard length > 0 else { return nil }
        let target = String(
            decoding: bytes.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return target.split(separator: "/").last.map(String.init)
    }

    /// A device node; nil when there is no character device of that name.
    static func node(_ path: String) -> DeviceNode? {
        var facts = stat()
        guard stat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFCHR else { return nil }
        var node = DeviceNode(path: path)
        node.owner = user(facts.st_uid)
        node.group = group(facts.st_gid)
        node.mode = facts.st_mode & 0o7777
        node.isUsable = access(path, R_OK | W_OK) == 0
        node.number = UInt64(facts.st_rdev)
        return node
    }

    /// A user's name, or the number of one without.
    static func user(_ number: uid_t) -> String {
        getpwuid(number).map { String(cString: $0.pointee.pw_name) } ?? "\(number)"
    }

    private static func group(_ number: gid_t) -> String {
        getgrgid(number).map { String(cString: $0.pointee.gr_name) } ?? "\(number)"
    }

    /// A variable of the environment; nil when it is not set or empty.
    static func variable(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        let text = String(cString: value)
        return text.isEmpty ? nil : text
    }
}
