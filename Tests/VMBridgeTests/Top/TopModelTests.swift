import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[pure] what top makes of two reports")
struct TopModelTests {
    @Test("rates and percentiles are of the time between the reports")
    func rates() throws {
        let model = try TopSamples.model()
        #expect(model.seconds == 2)
        let first = model.vms[0].surfaces[0]
        #expect(first.framesPerSecond == 60)
        #expect(first.supersededPerSecond == 0)
        #expect(first.durations[.total]?.count == 120)
        // The middle of a bucket from 2 to 4 ms.
        #expect(first.durations[.total]?.percentile(0.5) == 3_000_000)
        #expect(model.vms[0].surfaces[1].supersededPerSecond == 3.5)
        #expect(model.framesPerSecond == 90)
    }

    @Test("with one report there is no rate, and none for what was not in the earlier one")
    func first() throws {
        let surface = TopSamples.surface(1, title: "a", shown: 100)
        let now = try TopSamples.snapshot(5, [TopSamples.vm("a", [surface])])
        let alone = TopModel(nil, now)
        #expect(alone.vms[0].surfaces[0].framesPerSecond == nil)
        #expect(alone.vms[0].surfaces[0].durations.isEmpty)
        #expect(alone.framesPerSecond == nil && alone.seconds == 0)
        let empty = try TopSamples.snapshot(4, [TopSamples.vm("a", [])])
        #expect(TopModel(empty, now).vms[0].surfaces[0].framesPerSecond == nil)
        // The same moment twice.
        #expect(TopModel(now, now).vms[0].surfaces[0].framesPerSecond == nil)
    }

    @Test("another connection's surface and one that began anew are not compared")
    func anew() throws {
        let before = try TopSamples.snapshot(
            4, [TopSamples.vm("a", [TopSamples.surface(1, title: "a", shown: 100)])])
        let again = try TopSamples.snapshot(
            5, [TopSamples.vm("a", generation: 2, [TopSamples.surface(1, title: "a", shown: 200)])])
        #expect(TopModel(before, again).vms[0].surfaces[0].framesPerSecond == nil)
        let less = try TopSamples.snapshot(
            5, [TopSamples.vm("a", [TopSamples.surface(1, title: "a", shown: 20)])])
        #expect(TopModel(before, less).vms[0].surfaces[0].framesPerSecond == nil)
    }

    @Test("surfaces that are gone are not shown, also not in place of one with their number")
    func gone() throws {
        let now = try TopSamples.snapshot(
            4,
            [
                TopSamples.vm(
                    "a",
                    [
                        TopSamples.surface(1, title: "old", shown: 100, gone: true),
                        TopSamples.surface(1, title: "new", shown: 5),
                    ])
            ])
        #expect(now.vms[0].surfaces.map(\.title) == ["new"])
    }

    @Test("orders: heaviest first, equal ones as they were told")
    func order() throws {
        func titles(_ sort: TopSort, _ stage: TopStage = .total) throws -> [String] {
            try TopSamples.model(sort: sort, stage: stage).vms[0].surfaces.map(\.now.title)
        }
        let usual = ["[work] Sensors", "[work] 温度計"]
        #expect(try titles(.name) == usual)
        #expect(try titles(.frames) == usual)
        #expect(try titles(.latency) == usual.reversed())
        #expect(try titles(.latency, .validate) == usual)
        #expect(try titles(.superseded) == usual.reversed())
        #expect(try TopSamples.model(sort: .frames).vms.map(\.now.name) == ["work", "play"])
        #expect(TopSort.name.next.next.next.next == .name)
        #expect(TopStage.present.next == .total)
    }

    @Test("a report that lacks members, or has others, is read as far as it goes")
    func foreign() throws {
        let status = try JSONValue(
            parsing:
                #"{"vms":[{"name":7,"surfaces":[{"stages":{"total":{"buckets":[[1],[5,2,9],7]}}},3]},null]}"#
        )
        let snapshot = TopSnapshot(status, time: 0)
        #expect(snapshot.vms.count == 2)
        #expect(snapshot.vms[0].surfaces.count == 2)
        #expect(snapshot.vms[0].surfaces[0].durations[.total]?.buckets.isEmpty == true)
        #expect(TopSnapshot(.null, time: 0).vms.isEmpty)
    }

    @Test("the line of JSON has the interval's figures")
    func json() throws {
        let value = try JSONValue(parsing: try TopSamples.model().json)
        #expect(value["seconds"]?.real == 2)
        let vm = try #require(value["vms"]?.elements.first)
        #expect(vm["descriptors"]?.count == 7 && vm["refused"]?.count == 3)
        let surface = try #require(vm["surfaces"]?.elements.first)
        #expect(surface["frames_per_second"]?.real == 60)
        #expect(surface["stages"]?["fence"]?["p50_ns"]?.count == 1_500_000)
    }

    @Test("keys, also in pieces and unknown ones")
    func keys() {
        var decoder = TopKeyDecoder()
        func keys(_ text: String) -> [TopKey] { text.utf8.compactMap { decoder.take($0) } }
        #expect(keys("q\u{1b}[A\u{1b}OB") == [.character(113), .up, .down])
        #expect(keys("\u{1b}[") == [])
        #expect(keys("5~\u{1b}[6~\u{1b}[H\u{1b}[4~") == [.pageUp, .pageDown, .home, .end])
        #expect(keys("\u{1b}[1;5Cx") == [.other, .character(120)])
        #expect(keys("\u{1b}\u{1b}[A") == [.other, .up])
        var state = TopState()
        #expect(state.press(.character(UInt8(ascii: "q"))) == .quit)
        #expect(state.press(.character(UInt8(ascii: "x"))) == .none)
        #expect(state.press(.character(UInt8(ascii: "t"))) == .draw)
        #expect(state.stage == .validate)
        #expect(state.press(.character(UInt8(ascii: "s"))) == .draw)
        #expect(state.sort == .frames)
        #expect(state.press(.other) == .none)
        _ = state.press(.character(UInt8(ascii: "h")))
        #expect(state.isHelpShown)
        #expect(state.press(.other) == .draw)
        #expect(!state.isHelpShown)
    }
}
