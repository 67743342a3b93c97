import VMBridgeCore

/// A recording in words.
package enum RecordingListing {
    /// Nanoseconds as seconds with six digits behind the point, "12.345678 s".
    package static func seconds(_ nanoseconds: UInt64) -> String {
        let digits = String(nanoseconds / 1000 % 1_000_000)
        let zeros = String(repeating: "0", count: 6 - digits.count)
        return "\(nanoseconds / 1_000_000_000).\(zeros)\(digits) s"
    }

    /// One chunk on a line.
    package static func line(_ chunk: RecordingChunk) -> String {
        seconds(chunk.time) + "  " + words(chunk.body)
    }

    private static func words(_ body: RecordingChunk.Body) -> String {
        switch body {
        case .about(let vm): return "about \(vm)"
        case .received(let bytes, let descriptors, let broken):
            guard broken == .none else {
                return "received a datagram that was not whole (\(broken))"
            }
            let kinds = descriptors.map { $0.kind.map { "\($0)" } ?? "unknown" }
            return "received \(records(bytes, descriptors.count))"
                + (kinds.isEmpty ? "" : " with " + kinds.joined(separator: ", "))
        case .sent(let bytes, let descriptors): return "sent \(records(bytes, descriptors))"
        case .buffer(let buffer):
            return
                "buffer \(buffer.layout.size) \(buffer.layout.format) modifier \(buffer.layout.modifier), \(buffer.bytes) bytes"
        case .frame(let frame):
            return
                "handed on surface \(frame.surface) frame \(frame.sequence), pixels: \(frame.state.word)"
        case .fence(let surface, let sequence):
            return "fence of surface \(surface) frame \(sequence) is over"
        case .dropped(let datagrams, let pixels):
            return "missing: \(datagrams) datagrams, pixels of \(pixels) frames"
        case .end(let reason): return "end: \(reason.word)"
        case .index: return "index"
        case .unknown(let kind): return "unknown chunk, kind \(kind)"
        }
    }

    /// The records of a datagram, with how many there are of each kind in a row.
    private static func records(_ bytes: [UInt8], _ descriptors: Int) -> String {
        var names: [(name: String, count: Int)] = []
        var walker = RecordWalker()
        while let record = try? walker.next(in: bytes.span, descriptorCount: descriptors) {
            let name = RecordType.name(record.type)
            if names.last?.name == name {
                names[names.count - 1].count += 1
            } else {
                names.append((name, 1))
            }
        }
        guard !names.isEmpty else { return "\(bytes.count) bytes that are no record" }
        return names.map { $0.count == 1 ? $0.name : "\($0.count) × \($0.name)" }
            .joined(separator: ", ")
    }

    /// Lists what a recording holds: its frames, between two totals.
    ///
    /// - Parameters:
    ///   - range: nanoseconds from its start.
    ///   - isJSON: an object on each line.
    ///   - isComplete: all chunks, not frames alone.
    ///   - body: takes the lines as they come; memory does not grow with the recording.
    package static func list<Bytes: RecordingBytes>(
        _ reader: RecordingReader<Bytes>, range: ClosedRange<UInt64>, isJSON: Bool,
        isComplete: Bool = false, _ body: (String) -> Void
    ) {
        let index = reader.index()
        body(isJSON ? head(reader, index).text : headLine(reader, index))
        var totals = Totals()
        var offset =
            range.lowerBound == 0 ? reader.first : reader.place(of: range.lowerBound, index)
        while offset < index.end, let chunk = reader.chunk(at: offset),
            chunk.time <= range.upperBound
        {
            offset = chunk.next
            totals.add(chunk)
            guard chunk.time >= range.lowerBound else { continue }
            if case .frame(let frame) = chunk.body {
                body(isJSON ? object(frame, chunk).text : line(chunk))
            } else if isComplete {
                body(isJSON ? object(chunk).text : line(chunk))
            }
        }
        body(isJSON ? totals.object.text : totals.line)
    }

    private static func head<Bytes>(
        _ reader: RecordingReader<Bytes>, _ index: RecordingIndex
    ) -> JSONObject {
        var object = JSONObject()
        object.add("kind", "recording")
        object.add("version", UInt64(RecordingFormat.version))
        object.add("vm", reader.about.vm)
        object.add("generation", reader.about.generation)
        object.add("content", reader.about.content.rawValue)
        object.add("start_ns", reader.about.start)
        object.add("date_ns", reader.about.date)
        object.add("bytes", reader.source.size)
        object.add("chunks", index.chunks)
        object.add("index_entries", UInt64(index.entries.count))
        object.add("index_rebuilt", index.isRebuilt)
        return object
    }

    private static func headLine<Bytes>(
        _ reader: RecordingReader<Bytes>, _ index: RecordingIndex
    ) -> String {
        let about = reader.about
        return
            "recording of \(about.vm), connection \(about.generation), pixels: \(about.content.rawValue); \(reader.source.size) bytes, \(index.chunks) chunks, "
            + (index.isRebuilt
                ? "index rebuilt: the file was cut off" : "index of \(index.entries.count) entries")
    }

    private static func object(_ frame: RecordedFrame, _ chunk: RecordingChunk) -> JSONObject {
        var object = JSONObject()
        object.add("kind", "frame")
        object.add("time_ns", chunk.time)
        object.add("offset", chunk.offset)
        object.add("surface", frame.surface.value)
        object.add("sequence", frame.sequence.value)
        object.add("buffer", frame.buffer)
        object.add("pixels", frame.state.word)
        object.add("pixel_bytes", frame.regions.reduce(0) { $0 &+ $1.length })
        return object
    }

    private static func object(_ chunk: RecordingChunk) -> JSONObject {
        var object = JSONObject()
        object.add("kind", "chunk")
        object.add("time_ns", chunk.time)
        object.add("offset", chunk.offset)
        object.add("what", words(chunk.body))
        return object
    }

    /// What there was of everything.
    private struct Totals {
        private var received = 0
        private var sent = 0
        private var frames = 0
        private var withPixels = 0
        private var late = 0
        private var missing: (datagrams: UInt64, pixels: UInt64) = (0, 0)
        private var end: String?
        private var last: UInt64 = 0
        /// When the pixels were read of frames that were not released yet.
        private var read: [[UInt64]: UInt64] = [:]

        mutating func add(_ chunk: RecordingChunk) {
            last = max(last, chunk.time)
            switch chunk.body {
            case .received: received += 1
            case .sent(let bytes, let descriptors):
                sent += 1
                released(bytes, descriptors, chunk.time)
            case .frame(let frame):
                frames += 1
                guard frame.state == .there else { break }
                withPixels += 1
                // Never more in a recording of this program: so many uses there can be.
                if read.count < 4096 {
                    read[[frame.surface.value, frame.sequence.value]] = frame.readEnded
                }
            case .dropped(let datagrams, let pixels):
                missing.datagrams &+= datagrams
                missing.pixels &+= pixels
            case .end(let reason): end = reason.word
            default: break
            }
        }

        /// Pixels that were read after their release may be those of a later frame.
        private mutating func released(_ bytes: [UInt8], _ descriptors: Int, _ time: UInt64) {
            var walker = RecordWalker()
            while let header = try? walker.next(in: bytes.span, descriptorCount: descriptors) {
                guard let record = try? BridgeDecoder.decode(header, in: bytes.span) else {
                    continue
                }
                switch record {
                case .released(_, let surface, let sequence, _),
                    .releasedWithFence(_, let surface, let sequence, _):
                    let read = read.removeValue(forKey: [surface.value, sequence.value])
                    if let read, read > time { late += 1 }
                default: break
                }
            }
        }

        var object: JSONObject {
            var object = JSONObject()
            object.add("kind", "totals")
            object.add("duration_ns", last)
            object.add("received", UInt64(received))
            object.add("sent", UInt64(sent))
            object.add("frames", UInt64(frames))
            object.add("frames_with_pixels", UInt64(withPixels))
            object.add("frames_read_late", UInt64(late))
            object.add("missing_datagrams", missing.datagrams)
            object.add("missing_pixels", missing.pixels)
            object.add("end", end ?? "cut off")
            return object
        }

        var line: String {
            var line =
                "\(RecordingListing.seconds(last)): \(received) datagrams received, \(sent) sent, \(frames) frames handed on, \(withPixels) with pixels"
            if late > 0 {
                line += " (\(late) read after their release: they may be of a later frame)"
            }
            if missing != (0, 0) {
                line +=
                    "; missing \(missing.datagrams) datagrams, pixels of \(missing.pixels) frames"
            }
            return line + "; ended: \(end ?? "cut off")"
        }
    }
}
