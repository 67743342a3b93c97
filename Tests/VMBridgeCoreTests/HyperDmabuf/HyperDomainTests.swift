import Testing
import VMBridgeCore

@Suite("[pure] hyper_dmabuf: a domain's surfaces and buffers")
struct HyperDomainTests {
    /// A domain, what it wanted so far in short words, and a guest's hand on it.
    private final class World {
        var domain: HyperDomain
        var words: [String] = []

        init(surfaces: Int = 8, buffers: Int = 16) {
            var limits = VMLimits()
            limits.surfaces = surfaces
            limits.buffers = buffers
            domain = HyperDomain(limits: limits)
        }

        static func id(_ number: UInt32) -> HyperBufferID {
            HyperBufferID(number: 3 << 24 | number, key: .init(number, 0, 0))
        }

        func note(_ actions: [HyperAction]) {
            for action in actions {
                switch action {
                case .createSurface(let key, let metadata):
                    words.append("+s\(key) \(metadata.title ?? "")")
                case .updateSurface(let key, let metadata):
                    words.append("=s\(key) \(metadata.title ?? "")")
                case .destroySurface(let key): words.append("-s\(key)")
                case .open(let id): words.append("open \(id.number & 0xff)")
                case .createBuffer(let id, let key, _):
                    words.append("+b\(key) of \(id.number & 0xff)")
                case .destroyBuffer(let key): words.append("-b\(key)")
                case .frame(let frame):
                    words.append("s\(frame.surface)#\(frame.sequence) b\(frame.buffer)")
                }
            }
        }

        func take() -> [String] {
            defer { words = [] }
            return words
        }

        @discardableResult
        func announce(
            _ number: UInt32, surface: UInt64 = 1, counter: UInt32? = nil, of count: Int = 1,
            width: UInt32 = 64, title: String? = nil, isEnd: Bool = false
        ) -> RefusalReason? {
            var announcement = HyperAnnouncement(
                surface: HyperSurfaceName(output: 0, surface: surface),
                layout: BufferLayout(
                    size: Size(width: width, height: 64), format: .xrgb8888, modifier: .linear,
                    memory: .dmaBuf,
                    planes: [PlaneLayout(descriptor: 0, offset: 0, stride: 4 * width)]))
            announcement.metadata.title = title
            announcement.isEnd = isEnd
            if let counter {
                announcement.share = HyperFrameShare(counter: counter, buffers: count)
            }
            var actions: [HyperAction] = []
            let reason = HyperSamples.reason { () throws(Refusal) in
                try domain.announced(Self.id(number), announcement, &actions)
            }
            note(actions)
            return reason
        }

        @discardableResult
        func opened(_ number: UInt32) -> Bool {
            var actions: [HyperAction] = []
            let isWanted = domain.opened(Self.id(number), &actions)
            note(actions)
            return isWanted
        }

        func tookBack(_ number: UInt32) {
            var actions: [HyperAction] = []
            domain.tookBack(Self.id(number), &actions)
            note(actions)
        }

        func end() {
            var actions: [HyperAction] = []
            domain.end(&actions)
            note(actions)
        }
    }

    @Test func openedOnceAndShownWithEachAnnouncement() {
        let world = World()
        world.announce(1, title: "One")
        #expect(world.take() == ["+s1 One", "open 1"])
        #expect(world.opened(1))
        #expect(world.take() == ["+b2 of 1", "s1#1 b2"])
        world.announce(1, title: "One")
        world.announce(1, title: "Other")
        #expect(world.take() == ["s1#2 b2", "=s1 Other", "s1#3 b2"])
        #expect(world.domain.counted.opened == 1)
    }

    @Test func whatWaitedIsShownUnlessOvertaken() {
        let world = World()
        world.announce(1)
        world.announce(2)
        world.announce(1)
        #expect(world.take() == ["+s1 ", "open 1", "open 2"])
        world.opened(1)
        world.opened(2)
        // 1 was announced again after 2: what 2 had is old by now, and only made known.
        #expect(world.take() == ["+b2 of 1", "s1#3 b2", "+b3 of 2"])
        #expect(world.domain.counted.overtaken == 2)
        #expect(!world.opened(2))
        #expect(!world.opened(9))
        #expect(world.take().isEmpty)
    }

    @Test func asksAgainAfterAFailure() {
        let world = World()
        world.announce(1)
        world.domain.couldNotOpen(World.id(1))
        #expect(!world.opened(1))
        world.announce(1)
        #expect(world.take() == ["+s1 ", "open 1", "open 1"])
        world.opened(1)
        #expect(world.take() == ["+b2 of 1", "s1#2 b2"])
        #expect(world.domain.counted.failed == 1)
    }

    @Test func whatTheSessionRefusesIsNotOpenedAgainAndAgain() {
        let world = World()
        world.announce(1)
        world.opened(1)
        _ = world.take()
        world.domain.wasRefused(BufferKey(2))
        world.announce(1)
        world.domain.couldNotOpen(World.id(1))
        #expect(!world.opened(1))
        #expect(world.take().isEmpty)
        // Another layout may be another matter, and so is another buffer of that id.
        world.announce(1, width: 32)
        #expect(world.take() == ["open 1"])
        world.opened(1)
        world.domain.wasRefused(BufferKey(3))
        world.tookBack(1)
        _ = world.take()
        world.announce(1, width: 32)
        #expect(world.take() == ["open 1"])
        #expect(world.domain.counted.failed == 2)
    }

    @Test func anotherLayoutIsAnotherBuffer() {
        let world = World()
        world.announce(1)
        world.opened(1)
        _ = world.take()
        world.announce(1, width: 32)
        #expect(world.take() == ["-b2", "open 1"])
        // Still being opened: nobody is asked twice, and the latest layout counts.
        world.announce(1, width: 16)
        #expect(world.take().isEmpty)
        world.opened(1)
        #expect(world.take() == ["+b3 of 1", "s1#3 b3"])
    }

    @Test func wholeFramesSayWhichSurfacesThereAre() {
        let world = World()
        for counter in 1...2 as ClosedRange<UInt32> {
            world.announce(1, surface: 1, counter: counter, of: 2)
            world.announce(2, surface: 2, counter: counter, of: 2)
        }
        #expect(world.take().filter { $0.hasPrefix("-") } == [])
        // Incomplete: a record of surface 2 was lost.
        world.announce(1, surface: 1, counter: 3, of: 2)
        world.announce(1, surface: 1, counter: 9, of: 2)
        world.announce(2, surface: 2, counter: 9, of: 2)
        #expect(world.take().filter { $0.hasPrefix("-") } == [])
        world.announce(1, surface: 1, counter: 10, of: 1)
        #expect(world.take().filter { $0.hasPrefix("-") } == ["-s2"])
        #expect(world.domain.counted.complete == 4)
        #expect(world.domain.counted.incomplete == 1)
    }

    @Test func framesThatAreNeverWholeLoseSurfacesSlowly() {
        let world = World()
        world.announce(1, surface: 1, counter: 0, of: 3)
        world.announce(2, surface: 2, counter: 0, of: 3)
        for counter in 1...64 as ClosedRange<UInt32> {
            world.announce(1, surface: 1, counter: counter, of: 3)
        }
        #expect(world.take().filter { $0.hasPrefix("-") } == [])
        world.announce(1, surface: 1, counter: 65, of: 3)
        #expect(world.take().filter { $0.hasPrefix("-") } == ["-s2"])
    }

    @Test func theSameRecordTwiceCountsOnce() {
        let world = World()
        world.announce(1, surface: 1, counter: 1, of: 2)
        world.announce(1, surface: 1, counter: 1, of: 2)
        #expect(world.domain.counted.complete == 0)
        world.announce(2, surface: 2, counter: 1, of: 2)
        #expect(world.domain.counted.complete == 1)
    }

    @Test func takenBackAndAnnouncedAnew() {
        let world = World()
        world.announce(1)
        world.opened(1)
        _ = world.take()
        world.tookBack(1)
        world.tookBack(1)
        #expect(world.take() == ["-b2"])
        world.announce(1)
        #expect(world.take() == ["open 1"])
        world.tookBack(1)
        #expect(!world.opened(1))
        #expect(world.take().isEmpty)
    }

    @Test func budgets() {
        let world = World(surfaces: 2, buffers: 6)
        world.announce(1, surface: 1)
        world.announce(2, surface: 2)
        #expect(world.announce(3, surface: 3) == .tooManySurfaces)
        #expect(world.domain.bufferCount == 2)
        world.opened(1)
        world.opened(2)
        world.announce(3, surface: 2)
        world.opened(3)
        _ = world.take()
        // Three is the most: 2 goes, since 1 and 3 are what surfaces show.
        world.announce(4, surface: 2)
        #expect(world.take() == ["-b4", "open 4"])
        #expect(world.domain.bufferCount == 3)
    }

    @Test func ends() {
        let world = World()
        world.announce(1, surface: 1)
        world.announce(2, surface: 2)
        world.opened(1)
        world.announce(3, surface: 2, isEnd: true)
        world.announce(3, surface: 7, isEnd: true)
        _ = world.take()
        world.opened(2)
        #expect(world.take() == ["+b4 of 2"])
        world.end()
        #expect(world.take() == ["-s1", "-b3", "-b4"])
        world.end()
        #expect(world.take().isEmpty)
        world.announce(1, surface: 1)
        #expect(world.take() == ["+s5 ", "open 1"])
    }

    /// Any order of events keeps the books: what is used exists, sequences rise, nothing ends twice.
    @Test func anyOrder() {
        var random = Random(seed: 1)
        for _ in 0..<200 {
            let world = World(surfaces: 4, buffers: 8)
            var surfaces: Set<String> = []
            var buffers: Set<String> = []
            var sequences: [String: Int] = [:]
            for _ in 0..<200 {
                let number = UInt32(1 + random.below(6))
                switch random.below(10) {
                case 0: world.tookBack(number)
                case 1: world.domain.couldNotOpen(World.id(number))
                case 2, 3, 4: world.opened(number)
                case 5 where random.oneIn(20): world.end()
                default:
                    world.announce(
                        number, surface: UInt64(1 + random.below(5)),
                        counter: UInt32(random.below(4)), of: 1 + random.below(3),
                        width: random.oneIn(8) ? 32 : 64, isEnd: random.oneIn(10))
                }
                #expect(world.domain.bufferCount <= 4)
                for word in world.take() {
                    let name = String(
                        word.drop { "+-=".contains($0) }.prefix { $0 != " " && $0 != "#" })
                    switch word.first {
                    case "+" where name.hasPrefix("s"): #expect(surfaces.insert(name).inserted)
                    case "+": #expect(buffers.insert(name).inserted)
                    case "-" where name.hasPrefix("s"): #expect(surfaces.remove(name) != nil)
                    case "-": #expect(buffers.remove(name) != nil)
                    case "=": #expect(surfaces.contains(name))
                    case "s":
                        let parts = word.split(separator: " ")
                        #expect(surfaces.contains(name))
                        #expect(buffers.contains(String(parts[1])))
                        let sequence = Int(parts[0].split(separator: "#")[1]) ?? 0
                        #expect(sequence > sequences[name, default: 0])
                        sequences[name] = sequence
                    default: break
                    }
                }
            }
        }
    }
}
