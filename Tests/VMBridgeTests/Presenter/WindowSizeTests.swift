import Testing

@testable import VMBridge
@testable import VMBridgeCore

private enum SizeTable {
    enum Step {
        case configure(UInt32, UInt32, states: [UInt32] = [])
        case frame(UInt32, UInt32, at: Size? = nil)
        /// What is shown: nil for the picture's own size.
        case shows(Size?)
        /// The same of a window of fixed size.
        case fixedShows(Size?)
    }

    private static func size(_ width: UInt32, _ height: UInt32) -> Size {
        Size(width: width, height: height)
    }

    static let rows: [(String, [Step])] = [
        (
            "a first configure scales nothing: there is no old picture",
            [.configure(800, 600), .shows(nil), .frame(640, 480), .shows(nil)]
        ),
        (
            "the old picture is scaled until one of another size comes",
            [
                .frame(640, 480), .configure(800, 600), .shows(size(800, 600)), .frame(640, 480),
                .shows(size(800, 600)), .frame(800, 600), .shows(nil), .frame(640, 480),
                .shows(nil),
            ]
        ),
        (
            "also when that other size is not the one asked for",
            [.frame(640, 480), .configure(800, 600), .frame(720, 576), .shows(nil)]
        ),
        (
            "a floating resize and any state do",
            [
                .frame(640, 480), .configure(700, 500, states: [3, 4]), .shows(size(700, 500)),
                .configure(710, 510, states: [3, 4]), .shows(size(710, 510)),
                .configure(720, 520, states: [5, 6, 7, 8]), .shows(size(720, 520)),
                .frame(600, 400), .shows(nil),
            ]
        ),
        (
            "a producer that never follows stays scaled",
            [
                .frame(640, 480), .configure(800, 600), .frame(640, 480), .frame(640, 480),
                .configure(800, 600, states: [4]), .frame(640, 480), .shows(size(800, 600)),
            ]
        ),
        (
            "zero in either direction undoes it",
            [
                .frame(640, 480), .configure(800, 600), .configure(0, 0), .shows(nil),
                .configure(800, 600), .shows(size(800, 600)), .configure(800, 0), .shows(nil),
            ]
        ),
        (
            "a configure that repeats the size does not scale the guest's answer",
            [
                .frame(640, 480), .configure(800, 600), .frame(780, 580),
                .configure(800, 600, states: [4]), .shows(nil),
                .configure(801, 600, states: [4]), .shows(size(801, 600)),
            ]
        ),
        (
            "the size that it has needs no scaling",
            [.frame(640, 480), .configure(640, 480), .shows(nil)]
        ),
        (
            "maximized and fullscreen windows have no other size than theirs",
            [
                .frame(640, 480), .configure(1920, 1080, states: [1]), .shows(size(1920, 1080)),
                .fixedShows(size(1920, 1080)), .frame(1000, 800), .shows(size(1920, 1080)),
                .configure(1920, 1080, states: [2]), .shows(size(1920, 1080)),
                .configure(1000, 800), .shows(nil),
            ]
        ),
        (
            "and back: the person's size again, until the guest follows",
            [
                .frame(640, 480), .configure(1920, 1080, states: [1]), .frame(1920, 1080),
                .configure(640, 480), .shows(size(640, 480)), .frame(640, 480), .shows(nil),
            ]
        ),
        (
            "a maximized window without a size chooses its own",
            [.frame(640, 480), .configure(0, 0, states: [1]), .shows(nil)]
        ),
        (
            "what the producer asks for is its picture's size",
            [
                .frame(320, 240, at: size(320, 240)), .shows(size(320, 240)), .configure(400, 300),
                .shows(size(400, 300)), .frame(320, 240, at: size(320, 240)),
                .shows(size(400, 300)),
                .frame(330, 250, at: size(330, 250)), .shows(size(330, 250)),
            ]
        ),
        (
            "a window of fixed size is only forced",
            [.frame(640, 480), .configure(800, 600), .fixedShows(nil)]
        ),
    ]
}

@Suite("[pure] the size that a window is shown at")
struct WindowSizeTests {
    @Test("by the table", arguments: SizeTable.rows.indices)
    func table(_ index: Int) {
        let (name, steps) = SizeTable.rows[index]
        var window = WindowSize()
        for (place, step) in steps.enumerated() {
            switch step {
            case .configure(let width, let height, let states):
                window.configured(
                    Size(width: width, height: height),
                    states: states.reduce(0) { $0 | 1 << $1 })
            case .frame(let width, let height, let wanted):
                window.committed(natural: Size(width: width, height: height), wanted: wanted)
            case .shows(let size):
                #expect(window.destination(isFixed: false) == size, "\(name): step \(place)")
            case .fixedShows(let size):
                #expect(window.destination(isFixed: true) == size, "\(name): step \(place)")
            }
        }
    }
}

@Suite("[pure] parts of input")
struct InputPartTests {
    @Test("times are those of CLOCK_MONOTONIC nearest to now, over the wrap of 32 bits")
    func times() {
        let day: UInt64 = 86_400_000_000_000
        // 49.7 days after the start the milliseconds begin anew.
        let wrap: UInt64 = (1 << 32) * 1_000_000
        for now in [day, wrap - 1_000_000, wrap, wrap + 5_000_000, 3 * wrap + day] {
            for distance in [-59_000, -1, 0, 1, 59_000] as [Int64] {
                let wanted = Int64(now / 1_000_000) + distance
                let told = CompositorTime.nanoseconds(UInt32(truncatingIfNeeded: wanted), now: now)
                #expect(told == UInt64(wanted) * 1_000_000)
            }
            for distance in [-61_000, 61_000, 1 << 31] as [Int64] {
                let far = UInt32(truncatingIfNeeded: Int64(now / 1_000_000) + distance)
                #expect(CompositorTime.nanoseconds(far, now: now) == 0)
            }
        }
        #expect(CompositorTime.nanoseconds(0, now: 5_000_000) == 0)
        #expect(CompositorTime.nanoseconds(UInt32.max, now: 5_000_000) == 0)
    }

    @Test("axes are told at the end of a frame, once, with their notches")
    func scrolling() {
        var frame = ScrollFrame()
        var told: [InputEvent] = []
        frame.end { told.append($0) }
        #expect(told.isEmpty)
        frame.turned(.horizontal, 120)
        frame.moved(.vertical, 100)
        frame.moved(.horizontal, 15 * 256)
        frame.moved(.vertical, .max)
        frame.stopped(.vertical)
        frame.end { told.append($0) }
        #expect(
            told == [
                .axis(.vertical, distance: .max, value120: 0), .axisStop(.vertical),
                .axis(.horizontal, distance: 15 * 256, value120: 120),
            ])
        told = []
        frame.end { told.append($0) }
        #expect(told.isEmpty)
    }

    private final class Thing {}

    @Test("fingers have the lowest free number, whichever screen they are on")
    func fingers() throws {
        var fingers = TouchPlaces<Thing>()
        let (screen, other, a, b) = (Thing(), Thing(), Thing(), Thing())
        let (one, two) = (ObjectIdentifier(screen), ObjectIdentifier(other))
        #expect(fingers.add(one, 7, a) == 0)
        #expect(fingers.add(one, 7, a) == nil)
        #expect(fingers.add(two, 7, b) == 1)
        #expect(fingers.add(one, -1, a) == 2)
        #expect(fingers.find(two, 7)?.number == 1 && fingers.find(two, 7)?.place === b)
        #expect(fingers.find(two, -1) == nil)
        fingers.remove(0)
        #expect(fingers.add(two, 9, a) == 0)
        var ended: [ObjectIdentifier] = []
        fingers.removeAll(of: two) { ended.append(ObjectIdentifier($0)) }
        #expect(Set(ended) == [ObjectIdentifier(a), ObjectIdentifier(b)] && ended.count == 2)
        #expect(fingers.find(one, -1)?.number == 2)
        fingers.removeAll { $0 === a }
        #expect(fingers.find(one, -1) == nil)
        for id in 0..<Int32(TouchPlaces<Thing>.most) { #expect(fingers.add(one, id, a) != nil) }
        #expect(fingers.add(one, 99, a) == nil)
    }

    @Test("the arrow of ours has its tip at the upper left and is premultiplied")
    func arrow() {
        let pixels = PointerArrow.pixels
        #expect(pixels.count == Int(PointerArrow.size.width * PointerArrow.size.height * 4))
        #expect(Array(pixels[0..<4]) == [0, 0, 0, 255])
        #expect(Array(pixels[4..<8]) == [0, 0, 0, 0])
        for place in stride(from: 0, to: pixels.count, by: 4) {
            #expect(pixels[place..<place + 3].allSatisfy { $0 <= pixels[place + 3] })
        }
    }
}
