/// Pixels of a recording on their way into memory, a piece at a time: a frame may have many megabytes.
extension RecordingReader {
    /// Bytes that are copied at a time.
    private static var piece: UInt64 { 1 << 20 }

    /// Puts a frame's pixels into a buffer's memory.
    ///
    /// - Returns: whether all of them are there now.
    func copy(_ frame: RecordedFrame, into buffer: ReplayBuffer) -> Bool {
        buffer.content = []
        for region in frame.regions {
            guard let descriptor = buffer.memory(region.descriptor) else { return false }
            var done: UInt64 = 0
            while done < region.length {
                let count = Int(min(region.length - done, Self.piece))
                let bytes = source.bytes(at: region.position + done, count: count)
                guard bytes.count == count,
                    (try? MemoryFile.write(bytes, to: descriptor, at: region.offset + done)) != nil
                else { return false }
                done += UInt64(count)
            }
        }
        buffer.content = frame.regions
        return true
    }

    /// Whether two frames of a buffer have the same pixels in the same places.
    func areSame(_ old: [RecordedRegion], _ new: [RecordedRegion]) -> Bool {
        guard old.count == new.count, !new.isEmpty else { return false }
        for (old, new) in zip(old, new) {
            guard old.descriptor == new.descriptor, old.offset == new.offset,
                old.length == new.length
            else { return false }
            guard old.position != new.position else { continue }
            var done: UInt64 = 0
            while done < new.length {
                let count = Int(min(new.length - done, Self.piece))
                guard
                    source.bytes(at: old.position + done, count: count)
                        == source.bytes(at: new.position + done, count: count)
                else { return false }
                done += UInt64(count)
            }
        }
        return true
    }
}
