import CWayland
import Foundation
import Testing
import Wayland

@testable import WaylandScanner

/// A small protocol with one of everything that matters.
private let sample = """
    <protocol name="sample">
      <interface name="s_thing" version="3">
        <description summary="a thing">Long
          text.</description>
        <request name="destroy" type="destructor"/>
        <request name="make" since="2">
          <arg name="id" type="new_id" interface="s_thing"/>
          <arg name="parent" type="object" interface="s_thing" allow-null="true"/>
          <arg name="mode" type="uint" enum="mode"/>
        </request>
        <event name="told"><arg name="text" type="string"/><arg name="fd" type="fd"/></event>
        <event name="later" since="4"/>
        <enum name="mode"><entry name="none" value="0"/><entry name="90" value="0x10"/></enum>
      </interface>
    </protocol>
    """

private func read(_ text: String) throws -> ProtocolDescription {
    try ProtocolReader.read(Data(text.utf8), named: "sample.xml")
}

@Suite("[pure] protocol files")
struct ProtocolReaderTests {
    @Test func readsEverything() throws {
        let interface = try #require(try read(sample).interfaces.first)
        #expect(interface.name == "s_thing")
        #expect(interface.version == 3)
        #expect(interface.documentation.summary == "a thing")
        #expect(interface.documentation.text.contains("Long"))
        #expect(interface.requests.map(\.name) == ["destroy", "make"])
        #expect(interface.requests[0].isDestructor)
        #expect(interface.requests[1].since == 2)
        #expect(interface.requests[1].arguments.map(\.kind) == [.newID, .object, .uint])
        #expect(interface.requests[1].arguments[1].allowsNull)
        #expect(interface.events.map(\.name) == ["told", "later"])
        #expect(interface.enumerations[0].entries.map(\.value) == [0, 16])
    }

    @Test(arguments: [
        (
            sample.replacingOccurrences(of: "type=\"fd\"", with: "type=\"file\""),
            "unknown type file"
        ),
        (sample.replacingOccurrences(of: "version=\"3\"", with: "version=\"x\""), "x is not an"),
        (sample.replacingOccurrences(of: "</protocol>", with: ""), "ends in <protocol>"),
        (sample.replacingOccurrences(of: " name=\"told\"", with: ""), "<event> lacks name"),
        ("<other/>", "no protocol"),
        ("<protocol name='p'><arg name='a' type='int'/></protocol>", "argument outside"),
        ("<protocol name='p'><entry name='a' value='1'/></protocol>", "entry outside"),
    ])
    func refusesWhatIsWrong(text: String, reason: String) {
        let error = #expect(throws: ScannerError.self) { try read(text) }
        #expect(error?.description.contains(reason) == true)
    }

    @Test func refusesUnknownReferences() throws {
        let object = try read(
            sample.replacingOccurrences(
                of: "new_id\" interface=\"s_thing", with: "new_id\" interface=\"s_none"))
        #expect(throws: ScannerError.self) { try Catalog([object]) }
        let enumeration = try read(
            sample.replacingOccurrences(of: "enum=\"mode\"", with: "enum=\"mood\""))
        #expect(throws: ScannerError.self) { try Catalog([enumeration]) }
        #expect(throws: ScannerError.self) { try Catalog([try read(sample), try read(sample)]) }
    }

    @Test func writesSwift() throws {
        let description = try read(sample)
        let catalog = try Catalog([description])
        let text = FileWriters.bindings(of: description, source: "sample.xml", catalog: catalog)
        for part in [
            "public struct SThing: WaylandHandle {",
            "public func make(parent: SThing?, mode: SThing.Mode) -> SThing {",
            "case told(text: String, fd: OwnedDescriptor)",
            "public static var _90: Self { Self(rawValue: 16) }",
            "Marshal.destroy(proxy, opcode: 0, bytes: 8, descriptors: 0, arguments: nil)",
            "/// Since version 2.",
        ] {
            #expect(text.contains(part), "\(part)")
        }
        let shared = FileWriters.shared(catalog)
        #expect(shared.contains("builder.request(\"make\", \"2n?ou\", 0, 0, -1)"))
        #expect(shared.contains("builder.event(\"told\", \"sh\", -1, -1)"))
    }
}

@Suite("[pure] comparison of protocol files")
struct ComparisonTests {
    private func differences(_ change: (String) -> String) throws -> [String] {
        Comparison.differences(ours: try read(sample), newer: try read(change(sample)))
    }

    @Test func equalFilesAgree() throws {
        #expect(try differences { $0 } == [])
    }

    @Test func laterAdditionsAreNoDifference() throws {
        let found = try differences {
            $0.replacingOccurrences(of: "version=\"3\"", with: "version=\"5\"")
                .replacingOccurrences(of: "<enum", with: "<event name=\"new\" since=\"5\"/><enum")
        }
        #expect(found == [])
    }

    @Test(arguments: [
        ("name=\"parent\"", "name=\"other\"", 2),
        ("value=\"0x10\"", "value=\"17\"", 2),
        ("version=\"3\"", "version=\"2\"", 1),
        (" allow-null=\"true\"", "", 2),
        ("type=\"fd\"", "type=\"int\"", 2),
        ("name=\"sample\"", "name=\"samples\"", 1),
        ("<event name=\"told\">", "<event name=\"first\"/><event name=\"told\">", 3),
        (" type=\"destructor\"", "", 2),
        ("</protocol>", "<interface name=\"s_more\" version=\"1\"/></protocol>", 1),
        ("interface name=\"s_thing\"", "interface name=\"s_thong\"", 2),
    ])
    func tellsDifferences(from: String, to: String, count: Int) throws {
        let found = try differences { $0.replacingOccurrences(of: from, with: to) }
        #expect(found.count == count, "\(found)")
    }

    @Test func searchesDirectories() throws {
        let root = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        let deep = root.appending(path: "staging/sample")
        try FileManager.default.createDirectory(at: deep, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: root) }
        let ours = root.appending(path: "ours.txt")
        try Data(sample.utf8).write(to: ours)
        #expect(throws: ScannerError.self) {
            try Comparison.run(ours: ours.path, newer: root.path)
        }
        try Data(sample.utf8).write(to: deep.appending(path: "sample-v1.xml"))
        #expect(try Comparison.run(ours: ours.path, newer: root.path) == [])
        #expect(throws: ScannerError.self) {
            try Comparison.run(ours: ours.path, newer: root.path + "/absent")
        }
    }
}
