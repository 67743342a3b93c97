import Foundation
import Testing

@testable import VMBridgeCore

/// vm_bridge_source.h says what the document and the program say, in C11 and in C++17.
@Suite("[kernel] the C header against the program and the document")
struct CHeaderTests {
    // MARK: Constants

    @Test("every constant has the program's number", arguments: CProgram.Language.allCases)
    func constants(_ language: CProgram.Language) throws {
        let header = try String(contentsOf: CProgram.header, encoding: .utf8)
        let names = header.matches(of: /(VMB_[A-Z0-9_]+) =/).map { String($0.1) }
        #expect(Set(names).count == names.count)
        let lines = names.map { "printf(\"\($0) %lld\\n\", (long long)\($0));" }
        let text = "int main(void) {\n\(lines.joined(separator: "\n"))\nreturn 0;\n}\n"
        let (status, output) = try CProgram(text, as: language).run()
        #expect(status == 0)
        var printed: [String: UInt64] = [:]
        for line in String(decoding: output, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: " ")
            printed[String(parts[0])] = UInt64(parts[1])
        }
        #expect(try printed == Self.expectedConstants())
        #expect(printed.count == names.count)
    }

    /// All numbers that the header must have, from the program's own.
    private static func expectedConstants() throws -> [String: UInt64] {
        var all: [String: UInt64] = [
            "VMB_MAGIC": UInt64(SourceProtocol.magic),
            "VMB_VERSION": UInt64(SourceProtocol.version),
            "VMB_HEADER_BYTES": UInt64(SourceProtocol.headerBytes),
            "VMB_FIELD_HEADER_BYTES": UInt64(SourceProtocol.fieldHeaderBytes),
            "VMB_MAXIMUM_DATAGRAM": UInt64(SourceProtocol.maximumDatagram),
            "VMB_MAXIMUM_DESCRIPTORS": UInt64(SourceProtocol.maximumDescriptors),
            "VMB_MAXIMUM_FIELDS": 16,
            "VMB_MAXIMUM_TEXT": UInt64(SourceProtocol.maximumText),
            "VMB_MAXIMUM_DAMAGE": UInt64(SourceProtocol.maximumDamage),
            "VMB_MAXIMUM_FORMATS": UInt64(SourceProtocol.maximumFormats),
            "VMB_MAXIMUM_TARGETS": UInt64(SourceProtocol.maximumTargets),
            "VMB_CONNECTION_PRODUCER": UInt64(ConnectionRole.producer.rawValue),
            "VMB_CONNECTION_CONSUMER": UInt64(ConnectionRole.consumer.rawValue),
            "VMB_MAXIMUM_DIMENSION": UInt64(VMLimits.maximumDimension),
            "VMB_MAXIMUM_TARGET_TIME": SourceProtocol.maximumTargetTime,
            "VMB_MAXIMUM_KEYMAP": UInt64(SourceProtocol.maximumKeymap),
            "VMB_MAXIMUM_CURSOR": UInt64(SourceProtocol.maximumCursor),
            "VMB_AXIS_VERTICAL": UInt64(ScrollAxis.vertical.rawValue),
            "VMB_AXIS_HORIZONTAL": UInt64(ScrollAxis.horizontal.rawValue),
            "VMB_KEYMAP_NONE": 0, "VMB_KEYMAP_XKB_V1": 1,
            "VMB_BUFFER_BOTTOM_UP": 1, "VMB_CONTENT_GRAPHICS": 0, "VMB_CONTENT_OTHER": 1,
            "VMB_FENCE_DONE": 0, "VMB_FENCE_ERROR": 1, "VMB_CONFIGURE_WANTS_FRAME": 1,
            "VMB_MEMORY_DMA_BUF": UInt64(MemoryKind.dmaBuf.rawValue),
            "VMB_MEMORY_MEMFD": UInt64(MemoryKind.memfd.rawValue),
            "VMB_MEMORY_BIT_DMA_BUF": UInt64(ImportableFormat.bit(.dmaBuf)),
            "VMB_MEMORY_BIT_MEMFD": UInt64(ImportableFormat.bit(.memfd)),
            "VMB_FORMAT_SCANOUT": UInt64(ImportableFormat.scanout),
            "VMB_FOURCC_XRGB8888": UInt64(FourCC.xrgb8888.rawValue),
            "VMB_FOURCC_ARGB8888": UInt64(FourCC.argb8888.rawValue),
            "VMB_FOURCC_XBGR8888": UInt64(FourCC.xbgr8888.rawValue),
            "VMB_FOURCC_ABGR8888": UInt64(FourCC.abgr8888.rawValue),
            "VMB_FOURCC_NV12": UInt64(FourCC.nv12.rawValue),
        ]
        for (name, number) in try NamedNumbers.read("RecordType") {
            all["VMB_RECORD_\(name.uppercased())"] = UInt64(number)
        }
        for (name, number) in try NamedNumbers.read("FieldTag") {
            let name = name == "required_flag" ? "REQUIRED" : name.uppercased()
            all["VMB_FIELD_\(name)"] = UInt64(number)
        }
        for (event, _) in InputSamples.all {
            let word = InputSamples.word(of: event).uppercased()
            all["VMB_INPUT_\(word)"] = read(
                encode(.input(SurfaceKey(1), InputRecord(event))), 16, 4)
        }
        for reason in RefusalReason.allCases {
            all["VMB_REFUSAL_\(reason.word.uppercased())"] = UInt64(reason.rawValue)
        }
        for outcome in UseOutcome.allCases {
            all["VMB_OUTCOME_\("\(outcome)".uppercased())"] = UInt64(outcome.rawValue)
        }
        for number in UInt32(0)...4 {
            if let kind = AcquireKind(rawValue: number) {
                all["VMB_ACQUIRE_\(NamedNumbers.snake("\(kind)").uppercased())"] = UInt64(number)
            }
            if let role = SurfaceRole(rawValue: number) {
                all["VMB_ROLE_\("\(role)".uppercased())"] = UInt64(number)
            }
        }
        let states = [
            "MAXIMIZED", "FULLSCREEN", "RESIZING", "ACTIVATED", "TILED_LEFT", "TILED_RIGHT",
            "TILED_TOP", "TILED_BOTTOM", "SUSPENDED",
        ]
        for (index, state) in states.enumerated() {
            all["VMB_STATE_\(state)"] = 2 << UInt64(index)
        }
        return all
    }

    // MARK: Offsets

    @Test("every member stands where the document says", arguments: CProgram.Language.allCases)
    func offsets(_ language: CProgram.Language) throws {
        let layouts = try ProtocolDocument().layouts()
        var lines: [String] = []
        var expected: [String] = []
        for (name, members) in layouts.sorted(by: { $0.key < $1.key }) {
            let structure = "struct vmb_\(name.lowercased())"
            for member in members {
                let place = "offsetof(\(structure), \(member.name))"
                let size = "sizeof(((\(structure) *)0)->\(member.name))"
                lines.append(
                    "printf(\"\(name) \(member.name) %zu %zu\\n\", \(place), \(size));")
                expected.append("\(name) \(member.name) \(member.offset) \(member.width)")
            }
            let end = members.map { $0.offset + $0.width }.max() ?? 0
            lines.append("printf(\"\(name) %zu\\n\", sizeof(\(structure)));")
            expected.append("\(name) \(end)")
        }
        let text = "int main(void) {\n\(lines.joined(separator: "\n"))\nreturn 0;\n}\n"
        let (status, output) = try CProgram(text, as: language).run()
        #expect(status == 0)
        let printed = String(decoding: output, as: UTF8.self).split(separator: "\n").map(
            String.init)
        #expect(printed == expected)
        #expect(expected.count > 80)
        // Every structure of the wire that the header has is one of the document's.
        let header = try String(contentsOf: CProgram.header, encoding: .utf8)
        let structures = header.matches(of: /(?m)^VMB_STATIC_ASSERT\(sizeof\(struct vmb_(\w+)\)/)
            .map { String($0.1).uppercased() }
        #expect(Set(structures) == Set(layouts.keys))
    }

    // MARK: Helpers

    @Test("the helpers write the worked example's bytes", arguments: CProgram.Language.allCases)
    func writing(_ language: CProgram.Language) throws {
        let (status, output) = try CProgram(CPrograms.writeExample, as: language).run()
        #expect(status == 0)
        let document = try ProtocolDocument()
        let expected = try ["hello", "buffer", "surface", "frame"].flatMap {
            try #require(document.blocks[$0])
        }
        #expect(Array(output) == expected)
    }

    @Test("the helpers for other greetings", arguments: CProgram.Language.allCases)
    func greeting(_ language: CProgram.Language) throws {
        let text = """
            int main(void) {
                unsigned char room[256];
                struct vmb_writer out;
                vmb_writer_init(&out, room, sizeof room);
                if (vmb_put_consumer_hello(&out, "rec", 1) < 0) return 1;
                if (vmb_put_hello_with_input(&out, "vmm") < 0) return 3;
                return fwrite(out.bytes, 1, out.length, stdout) == out.length ? 0 : 2;
            }
            """
        let (status, output) = try CProgram(text, as: language).run()
        #expect(status == 0)
        #expect(Array(output) == Samples.helloConsumer.bytes + Samples.helloInput.bytes)
    }

    @Test("the helpers read what the bridge sends", arguments: CProgram.Language.allCases)
    func reading(_ language: CProgram.Language) throws {
        let document = try ProtocolDocument()
        let blocks = try ["welcome", "released", "refused", "input-motion"].map {
            try #require(document.blocks[$0])
        }
        let program = try CProgram(CPrograms.readExample, as: language)
        let file = program.directory.appendingPathComponent("datagram")
        try Data(blocks.joined()).write(to: file)
        let (status, output) = try program.run([file.path])
        #expect(status == 0)
        #expect(
            String(decoding: output, as: UTF8.self) == """
                welcome 1 generation 1 bytes 1073741824 vm demo formats 2 first 34325258 3
                released 1 surface 7 sequence 1 outcome 1
                refused 10 reason 23 Descriptor 0 is a memfd without F_SEAL_SHRINK.
                input surface 7 kind 7 at -384 5120 time 1000000000
                end

                """)
        // Every truncation ends in a clean answer of the walker.
        for length in 0..<blocks[0].count {
            try Data(blocks[0].prefix(length)).write(to: file)
            let (status, output) = try program.run([file.path])
            #expect(status == (length == 0 ? 0 : 3), "\(length) bytes")
            #expect(output.isEmpty == (length > 0))
        }
    }

    @Test("descriptors, limits and errors", arguments: CProgram.Language.allCases)
    func selfTest(_ language: CProgram.Language) throws {
        let (status, output) = try CProgram(CPrograms.selfTest, as: language).run()
        #expect(String(decoding: output, as: UTF8.self) == "all well\n")
        #expect(status == 0)
    }
}
