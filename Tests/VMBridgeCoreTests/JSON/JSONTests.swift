import Testing

@testable import VMBridgeCore

@Suite("[pure] JSON")
struct JSONTests {
    /// A text and the line that its value is written as.
    @Test(
        "values are read, and written in one way",
        arguments: [
            ("null", "null"), (" true ", "true"), ("false\n", "false"), ("0", "0"), ("-0", "-0.0"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"), ("1.5", "1.5"), ("1e3", "1000.0"),
            ("25e-1", "2.5"), ("18446744073709551616", "1.8446744073709552e+19"), ("\"\"", "\"\""),
            (#""a\"\\\/\b\f\n\r\t""#, #""a\"\\/\u0008\u000c\u000a\u000d\u0009""#),
            (#""\u00e9\ud83d\ude00""#, "\"é😀\""), ("[]", "[]"), ("{}", "{}"),
            (" [ 1 , [ ] , { \"a\" : null } ] ", #"[1,[],{"a":null}]"#),
            (#"{"b":1,"a":{"c":[true]}}"#, #"{"b":1,"a":{"c":[true]}}"#),
        ])
    func values(_ text: String, _ line: String) throws {
        let value = try JSONValue(parsing: text)
        #expect(value.line == line)
        #expect(try JSONValue(parsing: line) == value)
    }

    @Test(
        "what is no JSON is refused with the place",
        arguments: [
            ("", 0), ("  ", 2), ("nul", 0), ("tru e", 0), ("True", 0), ("01", 0), ("-", 1),
            ("1.", 2), (".5", 0), ("1e", 2), ("1e+", 3), ("1e999", 0), ("+1", 0), ("0x10", 1),
            ("NaN", 0), ("Infinity", 0), ("1 2", 2), ("\"", 0), ("\"a", 0), ("\"\n\"", 1),
            (#""\x""#, 1), (#""\u12""#, 1), (#""\ud800""#, 1), (#""\ud800\n""#, 1),
            (#""\ud800\ud800""#, 1), (#""\udc00""#, 1), ("'a'", 0), ("[", 1), ("[1", 2),
            ("[1,]", 3), ("[1 2]", 3), ("]", 0), ("{", 1), (#"{"a"}"#, 4), (#"{"a":}"#, 5),
            (#"{"a":1,}"#, 7), ("{a:1}", 1), (#"{1:1}"#, 1), (#"{"a":1 "b":2}"#, 7),
            (#"{"a":1,"a":2}"#, 7), (#"{"a":1,"\u0061":2}"#, 7), ("/**/1", 0), ("\u{feff}1", 0),
        ])
    func refused(_ text: String, _ offset: Int) {
        #expect(throws: JSONError.self) { try JSONValue(parsing: text) }
        do throws(JSONError) {
            _ = try JSONValue(parsing: text)
        } catch {
            #expect(error.offset == offset, "\(text): \(error)")
            #expect(!error.sentence.isEmpty)
        }
    }

    @Test("bytes that are no UTF-8 are refused, in names too")
    func notText() {
        let wrong: [[UInt8]] = [
            [0x80], [0xc0, 0x80], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80],
            [0xff],
        ]
        for bytes in wrong {
            #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22] + bytes + [0x22]) }
            #expect(throws: JSONError.self) {
                try JSONValue(parsing: Array("{\"".utf8) + bytes + Array("\":1}".utf8))
            }
        }
    }

    @Test("depth has a bound, length none")
    func depth() throws {
        let limit = JSONValue.depthLimit
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        _ = try JSONValue(parsing: nested(limit))
        #expect(throws: JSONError.self) { try JSONValue(parsing: nested(limit + 1)) }
        #expect(throws: JSONError.self) {
            try JSONValue(parsing: String(repeating: "{\"a\":[", count: 200_000))
        }
        let many = "[" + String(repeating: "0,", count: 100_000) + "0]"
        #expect(try JSONValue(parsing: many).elements.count == 100_001)
        let names = (0..<20_000).map { "\"n\($0)\":0" }.joined(separator: ",")
        #expect(try JSONValue(parsing: "{\(names)}").members.count == 20_000)
    }

    @Test("members and kinds are found")
    func access() throws {
        let value = try JSONValue(parsing: #"{"a":"x","n":7,"m":-7,"r":1.5,"t":true,"l":[1]}"#)
        #expect(value["a"]?.text == "x")
        #expect(value["n"]?.count == 7)
        #expect(value["m"]?.count == nil)
        #expect(value["m"]?.real == -7)
        #expect(value["n"]?.real == 7)
        #expect(value["r"]?.real == 1.5)
        #expect(value["t"]?.truth == true)
        #expect(value["l"]?.elements == [.unsigned(1)])
        #expect(value["z"] == nil)
        #expect(JSONValue.null["a"] == nil)
        #expect(JSONValue.number(.infinity).line == "null")
    }

    @Test("an object that is built member by member is a line of JSON")
    func builder() throws {
        var inner = JSONObject()
        inner.add("third", 1.0 / 3)
        var object = JSONObject()
        object.add("name", "a\u{1}\"")
        object.add("count", UInt64.max)
        object.add("yes", true)
        object.add("inner", inner)
        object.add("list", [inner, JSONObject()])
        let line =
            #"{"name":"a\u0001\"","count":18446744073709551615,"yes":true,"inner":{"third":0.333},"list":[{"third":0.333},{}]}"#
        #expect(object.text == line)
        #expect(try JSONValue(parsing: line) == object.value)
    }

    @Test("any value survives being written and read")
    func roundTrip() throws {
        var random = Random(seed: 41)
        for _ in 0..<5000 {
            let value = Self.value(&random, depth: 4)
            let line = value.line
            #expect(!line.utf8.contains(10))
            let again = try JSONValue(parsing: line)
            #expect(again == value, "\(line)")
        }
    }

    @Test("random and mutated texts are read or refused, and what is read is written alike")
    func fuzz() throws {
        var random = Random(seed: 7)
        let alphabet = Array("{}[]\",:\\u0019eE+-. truefalsnd8c/\n".utf8) + [0x80, 0xff, 0xe2, 0]
        var accepted = 0
        for round in 0..<100_000 {
            var bytes: [UInt8]
            if round % 2 == 0 {
                bytes = (0..<Int.random(in: 0...24, using: &random)).map { _ in
                    alphabet.randomElement(using: &random) ?? 0
                }
            } else {
                bytes = Array(Self.value(&random, depth: 3).line.utf8)
                for _ in 0...Int.random(in: 0...2, using: &random) where !bytes.isEmpty {
                    let place = Int.random(in: 0..<bytes.count, using: &random)
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0: bytes[place] = alphabet.randomElement(using: &random) ?? 0
                    case 1: bytes.remove(at: place)
                    case 2: bytes.insert(alphabet.randomElement(using: &random) ?? 0, at: place)
                    default: bytes.removeSubrange(place...)
                    }
                }
            }
            do throws(JSONError) {
                let value = try JSONValue(parsing: bytes)
                accepted += 1
                #expect(try! JSONValue(parsing: value.line) == value)
            } catch {
                #expect((0...bytes.count).contains(error.offset))
            }
        }
        // Both ways are taken often, or this proves nothing.
        #expect((5_000..<95_000).contains(accepted), "\(accepted)")
    }

    private static func value(_ random: inout Random, depth: Int) -> JSONValue {
        switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &random) {
        case 0: return .null
        case 1: return .boolean(Bool.random(using: &random))
        case 2: return .unsigned(UInt64.random(in: 0...UInt64.max, using: &random))
        case 3: return .negative(Int64.random(in: Int64.min...(-1), using: &random))
        case 4: return .number(Double.random(in: -1e300...1e300, using: &random))
        case 5: return .string(text(&random))
        case 6:
            let count = Int.random(in: 0...4, using: &random)
            return .array((0..<count).map { _ in value(&random, depth: depth - 1) })
        default:
            let count = Int.random(in: 0...4, using: &random)
            return .object(
                (0..<count).map {
                    JSONMember("\($0)" + text(&random), value(&random, depth: depth - 1))
                })
        }
    }

    private static func text(_ random: inout Random) -> String {
        var text = ""
        for _ in 0..<Int.random(in: 0...6, using: &random) {
            let range: ClosedRange<UInt32> =
                [0...0x7f, 0x80...0x7ff, 0x800...0xd7ff, 0x1_0000...0x10_ffff]
                .randomElement(using: &random) ?? 0...0
            if let scalar = Unicode.Scalar(UInt32.random(in: range, using: &random)) {
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}
