import Descriptors
import VMBridgeCore

/// Copies of a picture that lies in a guest's pages, each in a sealed memfd of ours: for hosts where the pages themselves cannot be shown.
package final class GuestPicture {
    /// One copy: a class, since mappings cannot be copied.
    private final class Copy {
        var memory: MappedMemory
        init(_ memory: consuming MappedMemory) { self.memory = memory }
    }

    private let ram: GuestRAM
    private let pieces: [MemoryPiece]
    // Where each piece begins among the picture's bytes.
    private let starts: [UInt64]
    private let layout: BufferLayout
    private var copies: [Copy?]
    private var ring = CopyRing()

    /// Nothing is copied yet.
    ///
    /// - Parameters:
    ///   - ram: kept, also when the guest's memory table changes.
    ///   - pieces: of it, in the order of the picture's bytes.
    ///   - layout: one plane of 4 bytes a pixel; validated against the pieces.
    package init(_ ram: GuestRAM, _ pieces: [MemoryPiece], _ layout: BufferLayout) {
        self.ram = ram
        self.pieces = pieces
        self.layout = layout
        var starts: [UInt64] = []
        var sum: UInt64 = 0
        for piece in pieces {
            starts.append(sum)
            sum += piece.length
        }
        self.starts = starts
        copies = Array(repeating: nil, count: CopyRing.capacity)
    }

    /// The copies' own layout: rows without anything between them.
    package var copyLayout: BufferLayout {
        BufferLayout(
            size: layout.size, format: layout.format, modifier: .linear, memory: .memfd,
            planes: [PlaneLayout(descriptor: 0, offset: 0, stride: layout.size.width * 4)])
    }

    /// The guest has changed a part.
    package func changed(_ damage: Damage) { ring.changed(damage) }

    /// A frame that showed a copy has ended.
    package func released(_ slot: Int) { ring.released(slot) }

    /// What `take` gave.
    package struct Taken: ~Copyable {
        /// Number of the copy.
        package let slot: Int
        /// Its memory, when it was made just now.
        package let memfd: OwnedDescriptor
        /// Bytes that were copied.
        package let bytes: UInt64
    }

    /// Fills a copy that nobody looks at; nil when there is none.
    ///
    /// - Parameter frames: how many show it, each to be told of by `released`.
    package func take(frames: Int) throws(KernelError) -> Taken? {
        guard let (slot, stale) = ring.take(frames: frames) else { return nil }
        var memfd = OwnedDescriptor.none
        let copy: Copy
        if let known = copies[slot] {
            copy = known
        } else {
            do throws(KernelError) {
                let stride = UInt64(layout.size.width) * 4
                let size = stride * UInt64(layout.size.height)
                guard let whole = MemoryFile.pages(covering: size), let count = Int(exactly: whole)
                else { throw KernelError("memfd_create", 27) }
                let file = try MemoryFile.create(name: "vm-bridge copy", size: whole)
                copy = Copy(try MappedMemory(file.number, count: count, access: .readWrite))
                memfd = file
            } catch {
                ring.failed(slot)
                throw error
            }
            copies[slot] = copy
        }
        var bytes: UInt64 = 0
        if stale.isWhole {
            bytes = fill(copy, Rectangle(layout.size))
        } else {
            for part in stale.parts { bytes += fill(copy, part) }
        }
        return Taken(slot: slot, memfd: memfd, bytes: bytes)
    }

    private func fill(_ copy: Copy, _ wanted: Rectangle) -> UInt64 {
        let area = wanted.clipped(to: layout.size)
        guard area.width > 0, area.height > 0, let plane = layout.planes.first else { return 0 }
        let own = UInt64(layout.size.width) * 4
        let count = UInt64(area.width) * 4
        if count == own, UInt64(plane.stride) == own {
            // Whole rows without anything between them are one run.
            let bytes = count * UInt64(area.height)
            copyBytes(
                copy, from: UInt64(plane.offset) + UInt64(area.y) * own, count: bytes,
                to: Int(UInt64(area.y) * own))
            return bytes
        }
        for row in UInt64(area.y)..<UInt64(area.y) + UInt64(area.height) {
            let source =
                UInt64(plane.offset) + row * UInt64(plane.stride) + UInt64(area.x) * 4
            copyBytes(copy, from: source, count: count, to: Int(row * own + UInt64(area.x) * 4))
        }
        return count * UInt64(area.height)
    }

    /// Copies a run of the picture's bytes, across as many pieces as it takes.
    private func copyBytes(_ copy: Copy, from source: UInt64, count: UInt64, to target: Int) {
        var (low, high) = (0, starts.count)
        while low < high {
            let middle = (low + high) / 2
            if starts[middle] <= source { low = middle + 1 } else { high = middle }
        }
        var (index, place, left, target) = (low - 1, source, count, target)
        while left > 0, index >= 0, index < pieces.count {
            let inside = place - starts[index]
            guard inside < pieces[index].length else { return }
            let length = min(left, pieces[index].length - inside)
            ram.copy(
                pieces[index], from: inside, count: Int(length), to: &copy.memory, at: target)
            (place, left, target) = (place + length, left - length, target + Int(length))
            index += 1
        }
    }
}
