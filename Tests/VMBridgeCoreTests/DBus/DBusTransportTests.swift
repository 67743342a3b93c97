import Testing

@testable import VMBridgeCore

/// What carries messages of D-Bus: greetings, addresses, and bytes cut into messages.
@Suite("[pure] the transport of D-Bus") struct DBusTransportTests {
    private static func message(serial: UInt32, body count: Int) -> [UInt8] {
        var header = DBusHeader()
        header.kind = .call
        header.serial = serial
        header.path = "/a"
        header.member = "B"
        var body = DBusBodyWriter()
        body.append(bytes: [UInt8](repeating: UInt8(truncatingIfNeeded: serial), count: count))
        header.signature = body.signature
        return header.bytes(bodyCount: body.bytes.count) + body.bytes
    }

    // MARK: Greetings

    @Test func twoEndsAgree() throws {
        var client = DBusAuthentication(.client)
        var server = DBusAuthentication(.server)
        #expect(client.greeting == "\0AUTH EXTERNAL\r\n" && server.greeting.isEmpty)
        var toServer = client.greeting
        for round in 1...4 {
            let answer = try server.take(String(toServer.dropLast()))
            guard case .words(let words) = answer else {
                #expect(round == 4 && answer == .done(""))
                return
            }
            switch try client.take(String(words.dropLast())) {
            case .words(let words): toServer = words
            case .done(let words): toServer = words
            }
        }
        #expect(toServer == "BEGIN\r\n")
    }

    @Test func whoIsTurnedAwayIsTold() {
        var rejected = DBusAuthentication(.client)
        #expect(
            reason { () throws(Refusal) in try rejected.take("REJECTED EXTERNAL") } == .unsupported)
        var odd = DBusAuthentication(.client)
        #expect(reason { () throws(Refusal) in try odd.take("AGREE_UNIX_FD") } == .malformed)
        var plain = DBusAuthentication(.client)
        #expect(
            reason { () throws(Refusal) in _ = try plain.take("OK 0123") } == nil
                && reason { () throws(Refusal) in try plain.take("ERROR no") } == .unsupported)
    }

    @Test(arguments: [
        ("unix:path=/run/user/1000/bus", [DBusAddress.path("/run/user/1000/bus")]),
        ("unix:guid=12,path=/a%20b,x=y", [.path("/a b")]),
        (
            "tcp:host=h,port=1;unix:abstract=/tmp/d;unix:path=/c",
            [.abstract("/tmp/d"), .path("/c")]
        ),
        ("unix:dir=/tmp", []), ("", []), ("unix:path=%zz", []), ("unix:path=/a%0", []),
        ("unix:path=/a%00", []), ("unix", []), ("unix:path=", []),
    ])
    func addresses(_ text: String, _ wanted: [DBusAddress]) {
        #expect(DBusAddress.parse(text) == wanted)
    }

    // MARK: Input

    @Test(arguments: [1, 3, 16, 17, 1000, 100_000])
    func messagesAreCutWhereverTheyAreSplit(piece: Int) throws {
        let sent = (1...9).map {
            Self.message(serial: UInt32($0), body: $0 == 5 ? 200_000 : $0 * 7)
        }
        let greeting = Array("OK 12\r\nAGREE_UNIX_FD\r\n".utf8)
        let stream = greeting + sent.joined()
        var input = DBusInput()
        var lines: [String] = []
        var messages: [[UInt8]] = []
        var place = 0
        while place < stream.count {
            let count = min(piece, input.room, stream.count - place)
            input.bytes += stream[place..<place + count]
            place += count
            while lines.count < 2, let line = try input.nextLine() { lines.append(line) }
            guard lines.count == 2 else { continue }
            while let message = try input.next() { messages.append(message) }
        }
        #expect(lines == ["OK 12", "AGREE_UNIX_FD"])
        #expect(messages == sent && input.isEmpty)
    }

    @Test func memoryIsTakenForWhatHasCome() throws {
        var input = DBusInput()
        var header = Self.message(serial: 1, body: 0)
        // It says that it has 64 MiB.
        header.replaceSubrange(4..<8, with: [0, 0, 0, 4])
        input.bytes += header
        #expect(try input.next() == nil)
        #expect(input.room <= 1 << 20)
        // No byte of the next message comes with a large one.
        let large = Self.message(serial: 2, body: 100_000)
        input = DBusInput()
        input.bytes += large[..<20]
        #expect(input.room == large.count - 20)
    }

    @Test func whatNeverEndsIsRefused() {
        var input = DBusInput()
        input.bytes = [UInt8](repeating: 65, count: DBusAuthentication.lineLimit + 1)
        #expect(reason { () throws(Refusal) in try input.nextLine() } == .tooManyBytes)
        input.bytes = Array("\u{0}AUTH".utf8) + [0xff, 0x0a]
        #expect(reason { () throws(Refusal) in try input.nextLine() } == .malformed)
        input.bytes = [UInt8](repeating: 65, count: 16)
        #expect(reason { () throws(Refusal) in try input.next() } == .malformed)
    }

    // MARK: Output

    @Test func descriptorsGoWithTheirMessagesFirstByte() {
        var random = Random(seed: 5)
        var output = DBusOutput()
        var expected: [UInt8] = []
        var sent: [UInt8] = []
        /// Where descriptors are due, and how many.
        var due: [Int: Int] = [:]
        for round in 0..<2000 {
            if round < 1500 || output.count > 0 {
                let message = [UInt8](
                    repeating: UInt8(truncatingIfNeeded: round), count: 1 + random.below(300))
                let descriptors = random.oneIn(3) ? 1 + random.below(3) : 0
                if descriptors > 0 { due[expected.count] = descriptors }
                if round < 1500 {
                    output.append(message, descriptors: descriptors)
                    expected += message
                } else {
                    due[expected.count] = nil
                }
            }
            let (range, descriptors) = output.next
            guard !range.isEmpty else { continue }
            #expect(descriptors == due[sent.count] ?? 0)
            let inside = due.keys.contains { $0 > sent.count && $0 < sent.count + range.count }
            #expect(!inside, "a message's descriptors are not due within another's bytes")
            let count = 1 + random.below(range.count)
            sent += output.bytes[range.prefix(count)]
            due[sent.count - count] = nil
            #expect(output.sent(count) == descriptors)
        }
        while output.count > 0 {
            let range = output.next.range
            sent += output.bytes[range]
            _ = output.sent(range.count)
        }
        #expect(sent == expected)
    }
}
