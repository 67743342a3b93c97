import ArgumentParser
import VMBridge
import VMBridgeCore

/// Where to connect.
struct ProduceConnectionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The bridge's socket.", valueName: "path"), completion: .file())
    var socket: String?

    @Option(
        help: ArgumentHelp(
            "Go on trying to connect for so long.", valueName: "seconds"))
    var wait: Double = 0

    func validate() throws {
        guard (0...86_400).contains(wait) else {
            throw ValidationError("--wait takes 0 to 86400 seconds.")
        }
    }
}

/// What is shown.
struct ProduceFrameOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Windows.", valueName: "n"))
    var surfaces = 1

    @Option(
        help: ArgumentHelp(
            "Pixels of each (default: the picture's, or 640x480).", valueName: "WxH"))
    var size: SizeArgument?

    @Option(
        help: ArgumentHelp(
            "Pixel format by its fourcc: XR24, AR24, XB24, AB24, RG16, XR30, YUYV, NV12, P010, …",
            valueName: "fourcc"))
    var format = FormatArgument(format: .xrgb8888)

    @Option(help: ArgumentHelp("Frames a second of each window.", valueName: "hz"))
    var rate: Double = 60

    @Option(
        name: .customLong("frames"),
        help: ArgumentHelp(
            "Frames of each window, then leave (default: go on until stopped).", valueName: "n"))
    var count: UInt64?

    @Option(
        help: ArgumentHelp(
            "What is drawn: test (moving, with a frame number for people), rows (every row carries the frame number in full: mixed pictures show).",
            valueName: "kind"))
    var pattern = ProducerPattern.test

    @Option(
        help: ArgumentHelp(
            "Show this PNG, with the frame number at its left edge, instead of a pattern.",
            valueName: "file"), completion: .file(extensions: ["png"]))
    var picture: String?

    @Option(help: "Title of the window.")
    var title = "vm-bridge produce"

    @Option(name: .customLong("app-id"), help: "App id of the window.")
    var appID = "produce"

    @Option(
        help: ArgumentHelp(
            "Colour of the test pattern: \(Colour.accentNames.joined(separator: ", ")), or a number; each further window has the next number.",
            valueName: "name|seed"))
    var colour = "0"

    @Option(
        help: ArgumentHelp("Show this part of the buffer only.", valueName: "X,Y,WxH"))
    var crop: CropArgument?

    @Option(help: ArgumentHelp("Show it at this size.", valueName: "WxH"))
    var scale: SizeArgument?

    @Option(
        help: ArgumentHelp(
            "Turn it: 0 to 7, the numbers of wl_output.transform.", valueName: "n"))
    var transform: UInt32 = 0

    @Option(
        help: ArgumentHelp(
            "The pointer's image on each window: quarters (32x32, red and green above blue and white, the pointer at 8, 8), none (no pointer); else the host's own.",
            valueName: "kind"))
    var cursor: ProducerCursor?

    @Flag(
        help:
            "Ask for input and print a line for each event, as \"input 1 key 30 pressed\".")
    var input = false

    @Flag(help: "After the last frame stay until the windows are closed, or SIGTERM.")
    var hold = false

    @Option(help: ArgumentHelp("After the last frame stay for so long.", valueName: "seconds"))
    var linger: Double = 0

    func validate() throws {
        guard (1...1024).contains(surfaces) else {
            throw ValidationError("--surfaces takes 1 to 1024.")
        }
        guard rate > 0, rate <= 1000 else {
            throw ValidationError("--rate takes more than 0 and at most 1000 frames a second.")
        }
        guard count != 0 else { throw ValidationError("--frames takes 1 or more.") }
        guard Transform(rawValue: transform) != nil else {
            throw ValidationError("--transform takes a number from 0 to 7.")
        }
        guard (0...86_400).contains(linger) else {
            throw ValidationError("--linger takes 0 to 86400 seconds.")
        }
        guard pattern == .test || picture == nil else {
            throw ValidationError("--pattern rows and --picture exclude each other.")
        }
        if pattern == .rows, let size, Int(size.size.width) < RowsPattern.minimumWidth {
            throw ValidationError(
                "--pattern rows needs a width of \(RowsPattern.minimumWidth) pixels at least.")
        }
    }

    func seed() throws -> UInt32 {
        guard let seed = Colour.seed(named: colour) else {
            throw ValidationError(
                "--colour takes \(Colour.accentNames.joined(separator: ", ")), or a number.")
        }
        return seed
    }

    func apply(to options: inout ProducerOptions) throws {
        options.surfaces = surfaces
        options.size = size?.size
        options.format = format.format
        options.pattern = pattern
        options.rate = rate
        options.frames = count
        options.title = title
        options.appID = appID
        options.seed = try seed()
        options.crop = crop?.rectangle
        options.destination = scale?.size
        options.transform = Transform(rawValue: transform) ?? .normal
        options.cursor = cursor
        options.wantsInput = input
        options.holds = hold
        options.linger = UInt64(linger * 1e9)
        if let picture {
            do throws(PictureError) {
                options.picture = try PNGFile.read(picture)
            } catch { throw ValidationError("--picture: \(error)") }
        }
    }
}

/// What the pixels lie in, and how their completion is told.
struct ProduceBufferOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Memory: memfd (works everywhere), udmabuf (/dev/udmabuf), heap (/dev/dma_heap/system), vgem (module vgem), vmbtest (the tests' own module), host (the bridge is asked for it), host-contiguous (in one piece).",
            valueName: "kind"))
    var buffer = ProducerMemory.memfd

    @Option(help: ArgumentHelp("Buffers of each window.", valueName: "n"))
    var buffers = 3

    @Flag(help: "As soon as a buffer is given back, write a poison number all over it.")
    var overwrite = false

    @Option(
        help: ArgumentHelp(
            """
            How a frame's completion is told: none (complete when sent), sync_file (a kernel fence), message (a \
            record that follows), implicit (a fence on the dma-buf itself), point (a point of a time line that \
            appears when it signals), point-fence (one with a pending fence); each after --fence-delay. And what \
            goes wrong or needs no waiting: signalled, stuck, failed, failing (sync_files: signalled already, \
            never, failed already, failing after the delay), never (that record does not follow), \
            implicit-stuck, implicit-failing, point-stuck. Fences are made by the tests' own module vmbtest, or \
            else by vgem, which knows sync_file, signalled and implicit.
            """,
            valueName: "kind"))
    var fence = ProducerFence.none

    @Option(
        name: .customLong("fence-pattern"),
        help: ArgumentHelp(
            "Kinds of --fence for a window's frames in turn, over and over: none,stuck,none.",
            valueName: "kind,…"))
    var fencePattern: FencePatternArgument?

    @Option(
        name: .customLong("fence-delay"),
        help: ArgumentHelp(
            "Milliseconds from a frame to its fence (0: one of the kernel has signalled when the frame is sent), or 'never' (vgem's end by themselves after 10 s).",
            valueName: "ms"))
    var fenceDelay = "0"

    @Option(
        help: ArgumentHelp(
            "The first so many windows send one good frame and then only frames whose fence, of --fence's kind, never signals. (A bridge takes 64 windows of a VM if not told otherwise.)",
            valueName: "n"))
    var stuck = 0

    @Option(
        help: ArgumentHelp(
            "How to get buffers back: record (when RELEASED comes), fence (when the fence signals that comes with it).",
            valueName: "kind"))
    var release = ProducerRelease.record

    func validate() throws {
        guard (1...256).contains(buffers) else {
            throw ValidationError("--buffers takes 1 to 256.")
        }
        guard (0...1024).contains(stuck) else {
            throw ValidationError("--stuck takes 0 to 1024.")
        }
        let kinds = [fence] + (fencePattern?.kinds ?? [])
        if buffer == .memfd, kinds.contains(where: { $0.kind == .implicit }) {
            throw ValidationError(
                "A memfd has no fences of its own: --fence implicit wants --buffer udmabuf, heap, vgem, vmbtest or host."
            )
        }
    }

    func fenceOptions() throws -> UInt64? {
        if fenceDelay == "never" { return nil }
        guard let milliseconds = UInt64(fenceDelay), milliseconds <= 3_600_000 else {
            throw ValidationError("--fence-delay takes milliseconds, at most an hour, or 'never'.")
        }
        return milliseconds * 1_000_000
    }

    func apply(to options: inout ProducerOptions) throws {
        options.memory = buffer
        options.buffers = buffers
        options.overwrites = overwrite
        options.fence = fence
        options.fencePattern = fencePattern?.kinds ?? []
        options.fenceDelay = try fenceOptions()
        options.stuckSurfaces = stuck
        options.release = release
    }
}

/// What is told.
struct ProduceOutputOptions: ParsableArguments {
    @Flag(help: "Print a line for every event.")
    var verbose = false

    @Flag(help: "Print the summary as one line of JSON.")
    var json = false
}

extension ProducerMemory: ExpressibleByArgument {}
extension ProducerFence: ExpressibleByArgument {}
extension ProducerPattern: ExpressibleByArgument {}
extension ProducerRelease: ExpressibleByArgument {}
extension ProducerCursor: ExpressibleByArgument {}

/// "none,stuck,none".
struct FencePatternArgument: ExpressibleByArgument {
    let kinds: [ProducerFence]

    init?(argument: String) {
        let words = argument.split(separator: ",", omittingEmptySubsequences: false)
        kinds = words.compactMap { ProducerFence(rawValue: String($0)) }
        guard kinds.count == words.count else { return nil }
    }
}

/// "640x480".
struct SizeArgument: ExpressibleByArgument {
    let size: Size

    init?(argument: String) {
        let parts = argument.split(separator: "x", omittingEmptySubsequences: false)
        let limit = 1...VMLimits.maximumDimension
        guard parts.count == 2, let width = UInt32(parts[0]), let height = UInt32(parts[1]),
            limit.contains(width), limit.contains(height)
        else { return nil }
        size = Size(width: width, height: height)
    }
}

/// "10,20,300x200".
struct CropArgument: ExpressibleByArgument {
    let rectangle: Rectangle

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count == 3, let x = UInt32(parts[0]), let y = UInt32(parts[1]),
            let size = SizeArgument(argument: String(parts[2]))?.size
        else { return nil }
        rectangle = Rectangle(x: x, y: y, width: size.width, height: size.height)
    }
}

/// "XR24": a fourcc that can be drawn.
struct FormatArgument: ExpressibleByArgument {
    let format: PixelFormat

    init(format: PixelFormat) { self.format = format }

    init?(argument: String) {
        guard let format = PixelFormat.allCases.first(where: { $0.description == argument }) else {
            return nil
        }
        self.format = format
    }

    var defaultValueDescription: String { format.description }
}
