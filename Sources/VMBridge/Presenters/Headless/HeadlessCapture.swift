import VMBridgeCore

/// One surface's last picture, for a contact sheet.
package struct CapturedWindow: Sendable {
    /// The VM's name.
    package var vm: String
    /// Title as shown.
    package var title: String
    /// Sequence of the frame.
    package var sequence: FrameSequence
    /// The picture.
    package var picture: Picture
}

/// Writes what a headless bridge shows: each surface's last frame as `VM-SLOT.png`, that of a pointer's image as
/// `VM-SLOT-cursor.png`, and a line of JSON for each commit in `commits.jsonl`; if asked to, also what each commit
/// showed in `frames.log`, a line `VM SLOT SEQUENCE WIDTHxHEIGHT CRC` of ``PixelChecksum`` (eight digits), or `-` and
/// why it cannot be read. Writing to files may wait for the disk; the headless mode takes
/// that, the Wayland one writes nothing.
package final class HeadlessCapture {
    private let directory: String
    private var log: FileWriter
    private var frames: FileWriter?
    private var buffered: [UInt8] = []
    /// The last picture of each surface that was kept, by file name.
    package private(set) var windows: [String: CapturedWindow] = [:]

    /// Makes the directory if it is not there and begins new logs in it.
    package init(directory: String, logsFrames: Bool = false) throws(KernelError) {
        self.directory = directory
        try FileWriter.makeDirectory(directory)
        log = try FileWriter(path: directory + "/commits.jsonl")
        if logsFrames { frames = try FileWriter(path: directory + "/frames.log") }
        buffered.reserveCapacity(8192)
    }

    func log(
        vm: String, _ properties: WindowProperties, _ frame: Frame, _ memory: BufferMemory,
        slot: SlotIndex, now: UInt64
    ) {
        var object = JSONObject()
        object.add("vm", vm)
        object.add("window", "\(slot.index).\(slot.generation)")
        if properties.cursor != nil { object.add("cursor", true) }
        object.add("title", properties.identity.title)
        object.add("app_id", properties.identity.appID)
        object.add("sequence", frame.sequence.value)
        object.add("time_ns", now)
        object.add("latency_ns", now - frame.receivedAt)
        object.add("width", UInt64(frame.size.width))
        object.add("height", UInt64(frame.size.height))
        object.add("shown", frame.shownSize.description)
        object.add("format", memory.layout.format.description)
        object.add("modifier", memory.layout.modifier.description)
        object.add("memory", memory.layout.memory == .dmaBuf ? "dma-buf" : "memfd")
        object.add("damage_rectangles", UInt64(frame.damage.count))
        object.add("damage_whole", frame.damage.isWhole)
        buffered.append(contentsOf: object.text.utf8)
        buffered.append(UInt8(ascii: "\n"))
        if buffered.count > 8000 { flush() }
    }

    /// Reads the pixels as they are now and writes their line at once; nothing when that was not asked for.
    func logFrame(vm: String, _ frame: Frame, _ memory: BufferMemory, slot: SlotIndex) {
        guard frames != nil else { return }
        var size = frame.size
        var found: String
        do {
            let checksum = try memory.checksum(of: frame)
            size = checksum.size
            let digits = String(checksum.crc32, radix: 16)
            found = String(repeating: "0", count: 8 - digits.count) + digits
        } catch {
            found = "- \(error)"
        }
        let name = CleanText.identifier(vm)
        let line = "\(name) \(slot.index) \(frame.sequence.value) \(size) \(found)\n"
        frames?.write(Array(line.utf8))
    }

    /// Writes out what the log holds back.
    package func flush() {
        log.write(buffered)
        buffered.removeAll(keepingCapacity: true)
    }

    func keep(
        vm: String, _ properties: WindowProperties, _ frame: Frame, _ memory: BufferMemory,
        slot: SlotIndex
    ) throws {
        let picture = try memory.picture(of: frame)
        let kind = properties.cursor == nil ? "" : "-cursor"
        let name = "\(CleanText.identifier(vm))-\(slot.index)\(kind).png"
        try PNGFile.write(picture, to: directory + "/" + name)
        // No window of the output.
        guard properties.cursor == nil else { return }
        windows[name] = CapturedWindow(
            vm: vm, title: properties.identity.title, sequence: frame.sequence, picture: picture)
    }
}
