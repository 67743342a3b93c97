import CLinux
import Descriptors
import Glibc
import VMBridgeCore

/// A guest's RAM, mapped from the files of one memory table. It stays mapped as long as this object lives.
///
/// **SIGBUS** is ruled out by taking only memfds that cannot shrink and are as long as the table says. The guest, and whoever shares the
/// memory, write at the same time: every access copies.
package final class GuestRAM: GuestMemory {
    /// One file: a class, since mappings cannot be copied.
    private final class File {
        let descriptor: OwnedDescriptor
        var memory: MappedMemory

        init(_ descriptor: consuming OwnedDescriptor, _ memory: consuming MappedMemory) {
            self.descriptor = descriptor
            self.memory = memory
        }
    }

    /// The regions.
    package let map: MemoryMap
    private let files: [File]

    /// Takes the files of a memory table over and maps them.
    ///
    /// - Parameters:
    ///   - map: file `n` is descriptor `n`.
    ///   - bundle: the message's descriptors; those that are used are taken out of it.
    /// - Throws: `badDescriptor`, `badSeals`, `badLayout` or `badAccess` with a sentence that says what to do.
    package init(
        _ map: MemoryMap, _ bundle: inout DescriptorBundle, probe: DescriptorProbe
    ) throws(Refusal) {
        var files: [File] = []
        for (index, region) in map.regions.enumerated() {
            let (size, page) = try Self.check(index, region, bundle, probe)
            guard let descriptor = bundle.take(index) else {
                throw Refusal(.badDescriptor, "The file of memory region \(index) did not come.")
            }
            // From the file's start on, in its own pages: offsets in it are then offsets in the mapping.
            let end = (region.offset + region.size + page - 1) / page * page
            guard end <= size, let count = Int(exactly: end) else {
                throw Refusal(
                    .badLayout,
                    "Memory region \(index) ends at byte \(end), its file at byte \(size).")
            }
            do throws(KernelError) {
                let memory = try MappedMemory(
                    descriptor.number, count: count, access: .readWrite)
                files.append(File(descriptor, memory))
            } catch {
                throw Refusal(.badAccess, "Memory region \(index) cannot be mapped: \(error)")
            }
        }
        self.map = map
        self.files = files
    }

    /// What the kernel says of a region's file: its size, and the size of its pages.
    private static func check(
        _ index: Int, _ region: MemoryRegion, _ bundle: borrowing DescriptorBundle,
        _ probe: DescriptorProbe
    ) throws(Refusal) -> (size: UInt64, page: UInt64) {
        let advice =
            "start the VMM with its memory in a sealed memfd: for QEMU, -object memory-backend-memfd,id=m,size=SIZE,share=on,seal=on -machine memory-backend=m"
        guard let number = bundle.number(at: index), let facts = try? probe.facts(of: number)
        else { throw Refusal(.badDescriptor, "The file of memory region \(index) did not come.") }
        guard case .memfd(let page) = facts.kind else {
            throw Refusal(
                .badDescriptor, "Guest memory of region \(index) is no memfd: \(advice).")
        }
        guard facts.seals.contains(.shrink) else {
            throw Refusal(
                .badSeals,
                "Guest memory of region \(index) could shrink under us, which would kill this process: \(advice)."
            )
        }
        guard facts.seals.isDisjoint(with: [.write, .futureWrite]), facts.accessMode == .readWrite
        else {
            throw Refusal(
                .badAccess, "Guest memory of region \(index) cannot be written to: \(advice).")
        }
        guard page > 0, page <= 1 << 31 else {
            throw Refusal(.badLayout, "Guest memory of region \(index) has pages of \(page) bytes.")
        }
        return (facts.size, page)
    }

    /// Descriptors that are open for it.
    package var descriptors: Int { files.count }

    /// The memfd of a piece, lent.
    package func memfd(of piece: MemoryPiece) -> Int32 { files[piece.file].descriptor.number }

    // MARK: GuestMemory

    package func read(_ address: UInt64, count: Int, into bytes: inout [UInt8]) -> Bool {
        let length = bytes.count
        var (address, left) = (address, count)
        while left > 0 {
            guard let piece = map.piece(at: address, length: UInt64(left)) else {
                bytes.removeLast(bytes.count - length)
                return false
            }
            let start = Int(piece.offset)
            files[piece.file].memory.append(start..<start + Int(piece.length), to: &bytes)
            (address, _) = address.addingReportingOverflow(piece.length)
            left -= Int(piece.length)
        }
        return true
    }

    package func write(_ bytes: ArraySlice<UInt8>, at address: UInt64) -> Bool {
        // First whether all of it is RAM.
        var (place, left) = (address, bytes.count)
        while left > 0 {
            guard let piece = map.piece(at: place, length: UInt64(left)) else { return false }
            (place, _) = place.addingReportingOverflow(piece.length)
            left -= Int(piece.length)
        }
        var (target, done) = (address, bytes.startIndex)
        while done < bytes.endIndex {
            guard
                let piece = map.piece(at: target, length: UInt64(bytes.endIndex - done))
            else { return false }
            let part = bytes[done..<done + Int(piece.length)]
            // UNSAFE: the piece lies inside its file's mapping, as the table was checked against the file's size.
            part.withUnsafeBytes { source in
                files[piece.file].memory.withUnsafeMutableBytes {
                    UnsafeMutableRawBufferPointer(
                        rebasing: $0[Int(piece.offset)..<Int(piece.offset) + source.count]
                    ).copyMemory(from: source)
                }
            }
            (target, _) = target.addingReportingOverflow(piece.length)
            done += Int(piece.length)
        }
        return true
    }

    package func load16(_ address: UInt64) -> UInt16? {
        guard address % 2 == 0, let piece = map.piece(at: address, length: 2), piece.length == 2
        else { return nil }
        // UNSAFE: two bytes inside the mapping, at an even address since regions begin at whole pages.
        return files[piece.file].memory.withUnsafeBytes {
            $0.baseAddress.map { vmb_load_acquire_16($0 + Int(piece.offset)) }
        }
    }

    package func store16(_ value: UInt16, at address: UInt64) -> Bool {
        guard address % 2 == 0, let piece = map.piece(at: address, length: 2), piece.length == 2
        else { return false }
        // UNSAFE: as above.
        return files[piece.file].memory.withUnsafeMutableBytes {
            guard let base = $0.baseAddress else { return false }
            vmb_store_release_16(base + Int(piece.offset), value)
            return true
        }
    }

    package func fence() { vmb_memory_fence() }

    // MARK: Pixels

    /// Copies bytes of a piece to a place in other memory, as far as both reach.
    package func copy(
        _ piece: MemoryPiece, from start: UInt64, count: Int, to memory: inout MappedMemory,
        at offset: Int
    ) {
        // UNSAFE: both ranges are cut to their mappings before the copy.
        files[piece.file].memory.withUnsafeBytes { source in
            memory.withUnsafeMutableBytes { target in
                let from = Int(piece.offset + start)
                let count = min(count, source.count - from, target.count - offset)
                guard count > 0 else { return }
                UnsafeMutableRawBufferPointer(rebasing: target[offset..<offset + count])
                    .copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: source[from..<from + count]))
            }
        }
    }
}
