import Testing

@testable import VMBridgeCore

/// Messages of D-Bus as bytes, in both directions.
@Suite("[pure] messages of D-Bus") struct DBusMessageTests {
    /// What dbus-send 1.14.10 writes to ask a bus who owns its own name, as strace shows it.
    private static let question = hex(
        """
        6c 01 00 01 19 00 00 00 02 00 00 00 7f 00 00 00
        01 01 6f 00 15 00 00 00 2f 6f 72 67 2f 66 72 65
        65 64 65 73 6b 74 6f 70 2f 44 42 75 73 00 00 00
        02 01 73 00 14 00 00 00 6f 72 67 2e 66 72 65 65
        64 65 73 6b 74 6f 70 2e 44 42 75 73 00 00 00 00
        03 01 73 00 0c 00 00 00 47 65 74 4e 61 6d 65 4f
        77 6e 65 72 00 00 00 00 06 01 73 00 14 00 00 00
        6f 72 67 2e 66 72 65 65 64 65 73 6b 74 6f 70 2e
        44 42 75 73 00 00 00 00 08 01 67 00 01 73 00 00
        14 00 00 00 6f 72 67 2e 66 72 65 65 64 65 73 6b
        74 6f 70 2e 44 42 75 73 00
        """)

    private static var questionHeader: DBusHeader {
        var header = DBusHeader()
        header.kind = .call
        header.serial = 2
        header.path = "/org/freedesktop/DBus"
        header.interface = "org.freedesktop.DBus"
        header.member = "GetNameOwner"
        header.destination = "org.freedesktop.DBus"
        return header
    }

    /// A message with a body of every kind of value.
    private static func rich(
        _ change: (inout DBusHeader) -> Void = { _ in }
    ) -> [UInt8] {
        var body = DBusBodyWriter()
        body.append("y", 7 as UInt8)
        body.append("q", 0x1234 as UInt16)
        body.append("Ä text")
        body.append("t", 0x0102_0304_0506_0708 as UInt64)
        body.append(bytes: [9, 8, 7])
        body.begin("a", Array("{sv}".utf8))
        for (name, value) in [("one", 1), ("two", 2)] as [(String, UInt32)] {
            body.begin("e", Array("sv".utf8))
            body.append(name)
            body.begin("v", Array("u".utf8))
            body.append("u", value)
            body.end()
            body.end()
        }
        body.end()
        body.append("d", 1.5.bitPattern)
        var header = questionHeader
        header.descriptors = 3
        header.signature = body.signature
        change(&header)
        return header.bytes(bodyCount: body.bytes.count) + body.bytes
    }

    @Test func aCallAsItIsOnTheWire() throws {
        var header = try DBusHeader(Self.question)
        var cursor = DBusCursor(Self.question, header)
        #expect(cursor.text() == "org.freedesktop.DBus" && cursor.isAtEnd)
        #expect(header.body.count == 25 && !header.wantsNoAnswer && header.descriptors == 0)
        var body = DBusBodyWriter()
        body.append("org.freedesktop.DBus")
        #expect(header.signature == body.signature)
        header = Self.questionHeader
        header.signature = body.signature
        #expect(header.bytes(bodyCount: body.bytes.count) + body.bytes == Self.question)
    }

    @Test func everyKindOfValueComesBack() throws {
        let bytes = Self.rich()
        let header = try DBusHeader(bytes)
        #expect(header.signature.elementsEqual("yqstaya{sv}d".utf8) && header.descriptors == 3)
        var cursor = DBusCursor(bytes, header)
        #expect(cursor.number("y", UInt8.self) == 7)
        #expect(cursor.number("u", UInt32.self) == nil, "another type")
        #expect(cursor.number("q", UInt16.self) == 0x1234)
        #expect(cursor.text() == "Ä text")
        #expect(cursor.number("t", UInt64.self) == 0x0102_0304_0506_0708)
        #expect(cursor.bytes().map { Array(bytes[$0]) } == [9, 8, 7])
        #expect(!cursor.enter("a", Array("s".utf8)) && !cursor.enter("v", Array("u".utf8)))
        #expect(cursor.enter("a", Array("{sv}".utf8)) == true)
        for value in [1, 2] as [UInt32] {
            #expect(cursor.enter("e", Array("sv".utf8)) && !cursor.isAtEnd)
            #expect(cursor.text() == (value == 1 ? "one" : "two"))
            #expect(cursor.exit() == false, "its value was not read")
            #expect(cursor.enter("v", Array("s".utf8)) == false, "another type")
            #expect(cursor.enter("v", Array("u".utf8)) == true)
            #expect(cursor.number("u", UInt32.self) == value)
            #expect(cursor.exit() && cursor.exit())
        }
        #expect(cursor.isAtEnd && cursor.exit())
        #expect(cursor.number("d", UInt64.self) == 1.5.bitPattern && cursor.isAtEnd)
        #expect(cursor.number("d", UInt64.self) == nil && !cursor.exit())
    }

    @Test func whatIsPassedOverIsPassedOverWhole() throws {
        let bytes = Self.rich()
        var cursor = DBusCursor(bytes, try DBusHeader(bytes))
        #expect(cursor.skip(Array("yqstaya{ss}".utf8)) == false)
        cursor = DBusCursor(bytes, try DBusHeader(bytes))
        #expect(cursor.skip(Array("yqstaya{sv}".utf8)) == true)
        #expect(cursor.number("d", UInt64.self) == 1.5.bitPattern)
    }

    @Test func aTextHasAnEnd() throws {
        for (count, isRead) in [(DBusLimits.text, true), (DBusLimits.text + 1, false)] {
            var body = DBusBodyWriter()
            body.append(String(repeating: "\u{1b}", count: Int(count)))
            var header = Self.questionHeader
            header.signature = body.signature
            let bytes = header.bytes(bodyCount: body.bytes.count) + body.bytes
            var cursor = DBusCursor(bytes, try DBusHeader(bytes))
            #expect((cursor.text() != nil) == isRead)
        }
    }

    @Test func numbersOfTheOtherEnd() throws {
        var bytes: [UInt8] = [UInt8(ascii: "B"), 2, 1, 1]
        bytes += [0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 15]
        bytes += [5, 1, UInt8(ascii: "u"), 0, 0, 0, 1, 2]
        bytes += [8, 1, UInt8(ascii: "g"), 0, 1, UInt8(ascii: "u"), 0, 0, 1, 2, 3, 4]
        let header = try DBusHeader(bytes)
        #expect(header.kind == .reply && header.serial == 9 && header.replySerial == 0x102)
        var cursor = DBusCursor(bytes, header)
        #expect(cursor.number("u", UInt32.self) == 0x0102_0304)
    }

    @Test(arguments: [
        ("", true), ("y", true), ("a{sv}", true), ("aaay", true), ("(ii)(s(vu))", true),
        ("a{s(ii)}", true), ("a", false), ("{sv}", false), ("()", false), ("(i", false),
        ("i)", false), ("a{vs}", false), ("a{s}", false), ("a{sss}", false), ("z", false),
        (String(repeating: "a", count: 63) + "y", true),
        (String(repeating: "a", count: 64) + "y", false),
        (String(repeating: "(", count: 70) + "y" + String(repeating: ")", count: 70), false),
    ])
    func signatures(_ text: String, _ isValid: Bool) {
        #expect(DBusType.isValid(Array(text.utf8)) == isValid)
    }

    @Test func whatIsNoMessage() throws {
        let sound = Self.rich()
        _ = try DBusHeader(sound)
        func damaged(_ index: Int, _ value: UInt8) -> RefusalReason? {
            var bytes = sound
            bytes[index] = value
            return reason { () throws(Refusal) in try DBusHeader(bytes) }
        }
        #expect(damaged(0, 0x42) == .tooManyBytes, "its numbers are the other way round")
        #expect(damaged(0, 0) == .malformed && damaged(1, 0) == .malformed)
        #expect(damaged(3, 2) == .malformed && damaged(4, sound[4] + 1) == .malformed)
        #expect(damaged(7, 0x7f) == .tooManyBytes && damaged(14, 1) == .tooManyBytes)
        #expect(damaged(8, 0) == .malformed, "no serial")
        #expect(damaged(18, UInt8(ascii: "s")) == .malformed, "a path is no string")
        for kind in [2, 3, 4] as [UInt8] {
            #expect((damaged(1, kind) == nil) == (kind == 4), "what its kind must have")
        }
        // A body without types, and types without a body.
        #expect(
            reason { () throws(Refusal) in try DBusHeader(Self.rich { $0.signature = [] }) }
                == .malformed)
        var bare = Self.questionHeader
        bare.signature = [UInt8(ascii: "u")]
        #expect(
            reason { () throws(Refusal) in try DBusHeader(bare.bytes(bodyCount: 0)) } == .malformed)
        for count in 0..<sound.count {
            #expect(
                reason { () throws(Refusal) in try DBusHeader(Array(sound[..<count])) } != nil)
        }
    }

    /// Reads whatever is there by the message's own types.
    private static func readAll(_ bytes: [UInt8], _ header: DBusHeader) -> Int {
        var cursor = DBusCursor(bytes, header)
        var values = 0
        for _ in 0..<64 where !cursor.isAtEnd {
            let before = values
            if cursor.number("y", UInt8.self) != nil { values += 1 }
            if cursor.number("q", UInt16.self) != nil { values += 1 }
            if cursor.number("u", UInt32.self) != nil { values += 1 }
            if cursor.number("t", UInt64.self) != nil { values += 1 }
            if cursor.text() != nil { values += 1 }
            if let range = cursor.bytes() { values += bytes[range].isEmpty ? 1 : 2 }
            if cursor.enter("a", Array("{sv}".utf8)) {
                while cursor.enter("e", Array("sv".utf8)), cursor.text() != nil,
                    cursor.skip(Array("v".utf8)), cursor.exit()
                { values += 1 }
                _ = cursor.exit()
            }
            if cursor.skip(Array("d".utf8)) { values += 1 }
            if values == before { break }
        }
        return values
    }

    @Test func damagedMessagesStayWithinTheirBytes() throws {
        let sound = Self.rich()
        #expect(Self.readAll(sound, try DBusHeader(sound)) == 9)
        var random = Random(seed: 11)
        var refused = 0
        var read = 0
        for _ in 0..<40_000 {
            var bytes = sound
            for _ in 0...random.below(3) {
                let place = random.below(bytes.count)
                bytes[place] =
                    random.oneIn(2)
                    ? bytes[place] ^ 1 << UInt8(random.below(8))
                    : [0, 1, 0x7f, 0x80, 0xff][random.below(5)]
            }
            do throws(Refusal) {
                let header = try DBusHeader(bytes)
                read += Self.readAll(bytes, header)
            } catch {
                refused += 1
            }
        }
        #expect(refused > 4000 && read > 40_000, "\(refused), \(read)")
    }
}
