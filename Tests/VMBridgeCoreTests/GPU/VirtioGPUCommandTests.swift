import Testing
import VMBridgeCore

@Suite("[pure] virtio-gpu: commands, budgets and refusals")
struct VirtioGPUCommandTests {
    private let ok: UInt32 = 0x1100
    private let unspecified: UInt32 = 0x1200
    private let outOfMemory: UInt32 = 0x1201
    private let noScanout: UInt32 = 0x1202
    private let noResource: UInt32 = 0x1203
    private let badParameter: UInt32 = 0x1205

    @Test func whatAGuestDoesFromItsStart() throws {
        let world = try GPUWorld()
        let info = world.send(Command.header(0x100))
        #expect(world.type(info) == 0x1101)
        #expect(world.answers[info]?.count == 24 + 16 * 24)
        #expect(world.ask(Command.edid(0)) == 0x1104)
        #expect(world.ask(Command.create(7)) == ok)
        #expect(world.ask(Command.attach(7, [(0x1000, 4096), (0x2000, 4096)])) == ok)
        #expect(world.buffers.isEmpty, "nothing is shown yet")
        #expect(world.ask(Command.transfer(7)) == ok)
        #expect(world.ask(Command.scanout(0, 7)) == ok)
        #expect(world.windows == [SurfaceKey(1)])
        #expect(world.ask(Command.flush(7)) == ok)
        let buffer = try #require(world.created.first)
        #expect(buffer.ranges == [GuestRange(address: 0x1000, length: 8192)], "merged")
        #expect(buffer.layout.format == .xrgb8888)
        #expect(buffer.layout.planes == [PlaneLayout(descriptor: 0, offset: 0, stride: 256)])
        let first = try #require(world.shown.first?.frame)
        #expect(first.damage == nil, "everything is new")
        #expect(first.crop == nil)
        #expect(world.ask(Command.transfer(7, 8, 4, 16, 2, offset: 4 * 256 + 32)) == ok)
        #expect(world.ask(Command.flush(7, 8, 4, 16, 2)) == ok)
        #expect(world.shown.last?.frame.damage == Rectangle(x: 8, y: 4, width: 16, height: 2))
        #expect(world.created.count == 1)
        #expect(world.ask(Command.scanout(0, 0)) == ok)
        #expect(world.windows.isEmpty)
        #expect(world.buffers.count == 1)
        #expect(world.ask(Command.unref(7)) == ok)
        #expect(world.buffers.isEmpty)
        #expect(world.device.holdings == (0, 0, 0, 0))
        #expect(world.refusals.isEmpty)
        #expect(world.problems.isEmpty)
    }

    @Test func displaysAreTheWindowsSizes() throws {
        let world = try GPUWorld()
        world.device.configured(SurfaceKey(1), Size(width: 1024, height: 768))
        world.device.configured(SurfaceKey(2), Size(width: 0, height: 5))
        world.device.configured(SurfaceKey(3), Size(width: 1, height: .max))
        world.device.configured(SurfaceKey(0x101), Size(width: 3, height: 3))
        world.reset()
        let asked = world.send(Command.header(0x100))
        let answer = try #require(world.answers[asked])
        func mode(_ scanout: Int) -> [UInt32] {
            (0..<6).map { word in
                (0..<4).reduce(0) {
                    $0 | UInt32(answer[24 + 24 * scanout + 4 * word + $1]) << (8 * UInt32($1))
                }
            }
        }
        #expect(mode(0) == [0, 0, 1024, 768, 1, 0])
        #expect(mode(1) == [1024, 0, 1280, 800, 1, 0])
        #expect(mode(2) == [2304, 0, 64, 8192, 1, 0])
        #expect(mode(15)[4] == 1)
        let askedEDID = world.send(Command.edid(0))
        let edid = try #require(world.answers[askedEDID])
        #expect(edid.count == 24 + 8 + 1024)
        #expect(Array(edid[24..<32]) == little(128, 8))
        #expect(Array(edid[32..<160]) == EDID.block(Size(width: 1024, height: 768)))
    }

    @Test func everyRefusal() throws {
        let cases: [(String, [UInt8], UInt32, RefusalReason)] = [
            ("an unknown type", Command.header(0x10e), unspecified, .unsupported),
            ("3D", Command.header(0x200) + Command.words(0, 0, 0, 0), unspecified, .unsupported),
            ("type 0", Command.header(0), unspecified, .unsupported),
            ("a UUID", Command.header(0x10b) + Command.words(1, 0), unspecified, .unsupported),
            ("capsets", Command.header(0x108) + Command.words(0, 0), badParameter, .unsupported),
            ("cut", Array(Command.create(9).dropLast()), badParameter, .badValue),
            ("resource 0", Command.create(0), noResource, .badValue),
            ("resource twice", Command.create(1), noResource, .identifierInUse),
            ("format 0", Command.create(9, format: 0), badParameter, .badFormat),
            ("format 5", Command.create(9, format: 5), badParameter, .badFormat),
            ("no width", Command.create(9, 0, 4), badParameter, .badValue),
            ("too wide", Command.create(9, 16_385, 4), badParameter, .badValue),
            ("2^32-1 high", Command.create(9, 4, .max), badParameter, .badValue),
            ("unref of none", Command.unref(9), noResource, .unknownObject),
            ("attach to none", Command.attach(9, [(0x1000, 4096)]), noResource, .unknownObject),
            ("attach twice", Command.attach(1, [(0x1000, 4096)]), unspecified, .identifierInUse),
            ("an empty list", Command.attach(2, []), badParameter, .badValue),
            (
                "more entries than bytes", Command.attach(2, [(0x1000, 4096)], count: 2),
                badParameter, .badValue
            ),
            (
                "2^32-1 entries", Command.attach(2, [(0x1000, 4096)], count: .max), badParameter,
                .tooManyBuffers
            ),
            ("an empty entry", Command.attach(2, [(0x1000, 0)]), badParameter, .badValue),
            ("a wrapping entry", Command.attach(2, [(.max, 2)]), badParameter, .badValue),
            ("pages outside RAM", Command.attach(2, [(0, 4096)]), badParameter, .badLayout),
            ("pages behind RAM", Command.attach(2, [(0x100000, 8192)]), badParameter, .badLayout),
            ("detach from none", Command.detach(9), noResource, .unknownObject),
            ("detach without pages", Command.detach(2), unspecified, .unknownObject),
            ("transfer of none", Command.transfer(9), noResource, .unknownObject),
            ("transfer without pages", Command.transfer(2), unspecified, .unknownObject),
            ("transfer outside", Command.transfer(1, 1, 0), badParameter, .badValue),
            (
                "transfer that wraps", Command.transfer(1, .max, .max, .max, .max), badParameter,
                .badValue
            ),
            (
                "transfer from another place", Command.transfer(1, offset: 4), badParameter,
                .unsupported
            ),
            ("transfer of a blob", Command.transfer(3), noResource, .badValue),
            ("scanout 16", Command.scanout(16, 1), noScanout, .unknownObject),
            ("scanout 2^32-1", Command.scanout(.max, 0), noScanout, .unknownObject),
            ("scanout of none", Command.scanout(0, 9), noResource, .unknownObject),
            ("scanout of nothing", Command.scanout(0, 1, 0, 0, 0, 32), badParameter, .badValue),
            ("scanout outside", Command.scanout(0, 1, 1, 0), badParameter, .badValue),
            ("scanout of a blob", Command.scanout(0, 3), noResource, .badValue),
            ("flush of none", Command.flush(9), noResource, .unknownObject),
            ("flush outside", Command.flush(1, 0, 1), badParameter, .badValue),
            ("EDID of 16", Command.edid(16), noScanout, .unknownObject),
            ("a blob of the host", Command.blob(9, memory: 2), badParameter, .unsupported),
            ("a blob without size", Command.blob(9, size: 0), badParameter, .badLayout),
            ("a blob larger than its pages", Command.blob(9, size: 8193), badParameter, .badLayout),
            ("a blob without pages", Command.blob(9, []), badParameter, .badValue),
            ("a blob outside RAM", Command.blob(9, [(0, 8192)]), badParameter, .badLayout),
            ("a blob twice", Command.blob(3), noResource, .identifierInUse),
            ("a picture as a blob", Command.scanoutBlob(0, 1), noResource, .badValue),
            ("blob format 0", Command.scanoutBlob(0, 3, format: 0), badParameter, .badFormat),
            ("blob stride", Command.scanoutBlob(0, 3, stride: 255), badParameter, .badLayout),
            (
                "blob stride 2^32-1", Command.scanoutBlob(0, 3, stride: .max), badParameter,
                .badLayout
            ),
            ("blob offset", Command.scanoutBlob(0, 3, offset: 1), badParameter, .badLayout),
            ("blob planes", Command.scanoutBlob(0, 3, stride1: 8), badParameter, .badLayout),
            ("blob 2^32-1 wide", Command.scanoutBlob(0, 3, width: .max), badParameter, .badLayout),
            ("a cursor on the wrong queue", Command.cursor(0, 1), unspecified, .unsupported),
        ]
        for (name, command, response, why) in cases {
            let world = try GPUWorld()
            world.show(1)
            for good in [Command.create(2), Command.blob(3)] { #expect(world.ask(good) == ok) }
            let before = world.device.holdings
            #expect(world.ask(command) == response, "\(name)")
            #expect(world.refusals == [why], "\(name)")
            #expect(world.device.holdings == before, "\(name): nothing is kept of it")
            // The VM goes on.
            #expect(world.ask(Command.flush(1)) == ok, "\(name)")
            #expect(world.problems.isEmpty, "\(name)")
        }
        for (name, command, why): (String, [UInt8], RefusalReason) in [
            ("a control command", Command.create(9), .unsupported),
            ("scanout 16", Command.cursor(16, 1), .unknownObject),
            ("move on 16", Command.cursor(16, 1, type: 0x301), .unknownObject),
            ("none", Command.cursor(0, 9), .unknownObject),
            ("a blob", Command.cursor(0, 3), .badValue),
            ("too large", Command.cursor(0, 4), .badValue),
            ("without pages", Command.cursor(0, 2), .badLayout),
        ] {
            let world = try GPUWorld()
            world.show(1)
            for good in [Command.create(2), Command.blob(3), Command.create(4, 513, 1)] {
                #expect(world.ask(good) == ok)
            }
            world.send(command, cursor: true)
            #expect(world.refusals == [why], "cursor: \(name)")
            #expect(world.problems.isEmpty, "cursor: \(name)")
        }
        let world = try GPUWorld()
        let short = world.send([1, 2, 3])
        #expect(world.answers[short] == [])
        #expect(world.refusals == [.badValue])
    }

    @Test func budgets() throws {
        var limits = VirtioGPUDevice.Limits()
        limits.resources = 3
        limits.bytes = 3 * 8192
        limits.ranges = 4
        let world = try GPUWorld(limits: limits)
        for id: UInt32 in 1...3 { #expect(world.ask(Command.create(id)) == ok) }
        #expect(world.ask(Command.create(4)) == outOfMemory)
        #expect(world.ask(Command.blob(4)) == outOfMemory)
        #expect(world.ask(Command.attach(1, [(0x1000, 16384)])) == ok)
        #expect(world.ask(Command.attach(2, [(0x1000, 8193)])) == outOfMemory)
        #expect(
            world.ask(
                Command.attach(2, [(0x1000, 1), (0x3000, 1), (0x5000, 1), (0x7000, 1)]))
                == outOfMemory)
        #expect(world.ask(Command.attach(2, [(0x1000, 8192)])) == ok)
        #expect(world.device.holdings == (3, 2, 3 * 8192, 0))
        #expect(world.ask(Command.detach(1)) == ok)
        #expect(world.ask(Command.unref(2)) == ok)
        #expect(world.device.holdings == (2, 0, 0, 0))
        #expect(
            world.refusals == [.tooManyBuffers, .tooManyBuffers, .tooManyBytes, .tooManyBuffers])
    }

    @Test func pagesThatAreTooFewAreToldWhenShown() throws {
        let world = try GPUWorld()
        #expect(world.ask(Command.create(1)) == ok)
        #expect(world.ask(Command.attach(1, [(0x1000, 8191)])) == ok)
        #expect(world.ask(Command.scanout(0, 1)) == ok)
        #expect(world.ask(Command.flush(1)) == unspecified)
        #expect(world.ask(Command.detach(1)) == ok)
        #expect(world.ask(Command.flush(1)) == unspecified)
        #expect(world.ask(Command.attach(1, [(0x1000, 8192)])) == ok)
        #expect(world.ask(Command.flush(1)) == ok)
        #expect(world.problems.isEmpty)
    }

    @Test func blobsAreShownInTheirScanoutsLayout() throws {
        let world = try GPUWorld()
        #expect(world.ask(Command.blob(5, size: 16384, [(0x1000, 16384)])) == ok)
        #expect(world.ask(Command.scanoutBlob(0, 5, stride: 300, offset: 8)) == ok)
        #expect(world.ask(Command.flush(5, 0, 0, 1000, 1000)) == ok)
        #expect(
            world.created.last?.layout.planes
                == [PlaneLayout(descriptor: 0, offset: 8, stride: 300)])
        #expect(world.shown.count == 1)
        // Another layout is another buffer of the same pages.
        #expect(world.ask(Command.scanoutBlob(0, 5, format: 67)) == ok)
        #expect(world.ask(Command.flush(5)) == ok)
        #expect(world.created.last?.layout.format == .xbgr8888)
        #expect(world.buffers.count == 1)
        #expect(world.problems.isEmpty)
    }

    @Test func answersBringBackTheirFence() throws {
        let world = try GPUWorld()
        func head(_ command: [UInt8]) throws -> [UInt8] {
            let token = world.send(command)
            return Array(try #require(world.answers[token]).prefix(24))
        }
        #expect(
            try head(Command.header(0x100, fence: 0x1122))
                == hex(
                    "01 11 00 00 01 00 00 00 22 11 00 00 00 00 00 00 00 00 00 00 00 00 00 00"))
        #expect(
            try head(Command.header(0x100, fence: 1, ring: 3))
                == hex(
                    "01 11 00 00 03 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 03 00 00 00"))
        #expect(
            try head(Command.header(0x10e, fence: 1))
                == hex(
                    "00 12 00 00 01 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"))
        #expect(
            try head(Command.header(0x100))
                == hex(
                    "01 11 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"))
    }

    @Test func formats() {
        let wanted: [UInt32: String] = [
            1: "AR24", 2: "XR24", 3: "BA24", 4: "BX24", 67: "AB24", 68: "RX24", 121: "RA24",
            134: "XB24",
        ]
        for format: UInt32 in 0...200 {
            #expect(VirtioGPU.fourCC(format)?.description == wanted[format])
        }
    }
}
