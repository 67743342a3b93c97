import Descriptors
import Glibc
import VMBridgeCore

/// Where a bus other than the session's listens: a path, in whose last part a star stands for a number.
///
/// libvirt gives each domain a bus of its own, as `1-desk-dbus.sock`, and another number at each start.
struct BusSocket: Equatable {
    /// As it was written.
    let path: String

    /// What is to be tried, the highest number first; without a star the path itself.
    static func candidates(_ path: String, among names: (String) -> [String]) -> [String] {
        guard let star = path.lastIndex(of: "*") else { return [path] }
        let cut = path[..<star].lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex
        let (directory, before) = (path[..<cut], path[cut..<star])
        let after = path[path.index(after: star)...]
        let found = names(directory.isEmpty ? "." : String(directory)).compactMap {
            name -> (number: UInt64, name: String)? in
            guard name.hasPrefix(before), name.hasSuffix(after),
                name.utf8.count > before.utf8.count + after.utf8.count
            else { return nil }
            let digits = name.dropFirst(before.count).dropLast(after.count)
            guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            return UInt64(digits).map { ($0, name) }
        }
        return found.sorted { ($0.number, $0.name) > ($1.number, $1.name) }.map {
            directory + $0.name
        }
    }

    /// Connects to the first that takes a connection: the socket of a bus that was killed stays, and nobody listens there.
    func connect() throws(KernelError) -> OwnedDescriptor {
        var trouble = KernelError("connect", ENOENT, subject: path)
        // The directory is small, and looked at every few seconds at most.
        for candidate in Self.candidates(path, among: SystemFiles.names) {
            do throws(KernelError) {
                return try StreamSocket(connectingTo: candidate).intoDescriptor()
            } catch {
                trouble = error
            }
        }
        throw trouble
    }
}
