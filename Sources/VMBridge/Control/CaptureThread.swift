import Descriptors
import Glibc
import Synchronization
import VMBridgeCore

/// What a capture's thread has finished.
enum CaptureStep: Sendable {
    /// One for each surface.
    case read([ReadOutcome])
    /// Why nothing was written, or nil, and the pictures' sizes; nil where there was none.
    case wrote(ControlFault?, [CaptureSize?])
}

/// A picture's size in pixels.
struct CaptureSize: Sendable {
    var width: Int
    var height: Int
}

/// What came of reading a buffer's pixels.
enum ReadOutcome: Sendable {
    /// A picture as a window shows it.
    case picture(Picture)
    /// The processor cannot read it, a graphics driver may.
    case needsDrawing(String)
    /// Nobody can.
    case unreadable(String)
}

/// A descriptor on its way to another thread.
final class SendableDescriptor: Sendable {
    private let descriptor: Mutex<Int32>

    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = Mutex(descriptor.release()) }

    deinit { _ = take() }

    /// Hands it over; not valid the second time.
    func take() -> OwnedDescriptor {
        descriptor.withLock { number in
            defer { number = -1 }
            return OwnedDescriptor(owning: number)
        }
    }
}

/// Reads one buffer's pixels.
///
/// Sendable though the memory is not: its layout and its descriptors are never changed once it is made, and
/// they are mapped here for reading only.
struct ReadingJob: @unchecked Sendable {
    let memory: BufferMemory
    let frame: Frame

    /// How long somebody may still be writing into it, by its implicit fences, milliseconds.
    private static var patience: Int { 500 }
    /// Longest side of a picture on a sheet.
    private static var sheetSide: Int { 1024 }

    /// The picture of the frame as its window shows it.
    ///
    /// - Parameter fitting: make it small enough for a sheet of many.
    func picture(fitting: Bool) -> ReadOutcome {
        // Mapped memory of another arrangement would give a picture, and a wrong one.
        guard memory.layout.modifier == .linear else {
            return .needsDrawing("its modifier is \(memory.layout.modifier)")
        }
        for attempt in 0... {
            do {
                let picture = try memory.picture(of: frame)
                guard fitting else { return .picture(picture) }
                let size = picture.fittingSize(
                    maximumWidth: Self.sheetSide, maximumHeight: Self.sheetSide)
                return .picture(picture.scaledByArea(width: size.width, height: size.height))
            } catch let error as KernelError where memory.layout.memory == .dmaBuf {
                return .needsDrawing("\(error)")
            } catch let refusal as Refusal {
                guard attempt < Self.patience / 5 else { return .unreadable(refusal.sentence) }
                usleep(5000)
            } catch {
                return .unreadable("\(error)")
            }
        }
        return .unreadable("it is being written")
    }
}

/// What stands beside a picture on a sheet.
struct SheetLabel: Sendable {
    var vm: String
    var title: String
    var sequence: FrameSequence
}

/// Writes what was read.
enum CaptureWriter {
    /// - Returns: why nothing was written; nil when it was.
    static func write(
        _ pictures: [Picture?], _ labels: [SheetLabel], _ colours: [String: RGB],
        asSheet: Bool, to descriptor: consuming OwnedDescriptor
    ) -> ControlFault? {
        var names: [String] = []
        var windows: [ContactSheet.Window] = []
        for (picture, label) in zip(pictures, labels) {
            if !names.contains(label.vm) { names.append(label.vm) }
            guard let picture else { continue }
            let accent =
                colours[label.vm].map { Colour($0.red, $0.green, $0.blue) }
                ?? Colour.accent(seed: UInt32(clamping: names.count))
            windows.append(
                ContactSheet.Window(
                    title: label.title, subtitle: "frame \(label.sequence)", picture: picture,
                    accent: accent))
        }
        guard let first = windows.first else {
            return ControlFault(.noPicture, "its pixels cannot be read")
        }
        do throws(PictureError) {
            let picture = asSheet ? ContactSheet(windows).draw() : first.picture
            try PNGFile.write(picture, to: descriptor, fast: asSheet)
            return nil
        } catch {
            return ControlFault(.cannotWrite, "\(error)")
        }
    }
}
