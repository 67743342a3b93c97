/// Checks a frame against the buffer that it names and the surface that it is for.
public enum FrameValidator {
    /// Checks a frame; returns it with its damage clipped to the buffer.
    ///
    /// - Parameters:
    ///   - frame: decoded record.
    ///   - bufferSize: size of the buffer it names.
    ///   - last: sequence of the surface's last accepted frame; nil before the first.
    ///   - role: the surface's; a cursor has a limit of its own (source-v1 §5.3).
    public static func validate(
        _ frame: FrameRecord, bufferSize: Size, last: FrameSequence?,
        role: SurfaceRole = .toplevel
    ) throws(Refusal) -> FrameRecord {
        guard frame.sequence.value > 0 else {
            throw Refusal(.badSequence, "Sequences begin with 1.")
        }
        if let last, frame.sequence <= last {
            throw Refusal(
                .badSequence, "Sequence \(frame.sequence) is not above the last one, \(last).")
        }
        var frame = frame
        if let crop = frame.crop {
            guard crop.width > 0, crop.height > 0, crop.fits(in: bufferSize) else {
                throw Refusal(
                    .badValue,
                    "The crop \(crop.width)x\(crop.height)+\(crop.x)+\(crop.y) is not inside the buffer of \(bufferSize)."
                )
            }
            if crop == Rectangle(bufferSize) { frame.crop = nil }
        }
        if role == .cursor {
            let size = frame.shownSize(ofBuffer: bufferSize)
            guard max(size.width, size.height) <= SourceProtocol.maximumCursor else {
                throw Refusal(
                    .badValue,
                    "A cursor is shown at 256x256 pixels at most, and this one at \(size).")
            }
        }
        frame.damage = frame.damage.clipped(to: bufferSize)
        return frame
    }
}
