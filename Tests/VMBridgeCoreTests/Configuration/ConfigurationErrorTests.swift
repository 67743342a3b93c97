import Testing
import VMBridgeCore

/// What is said of files that are not as they should be, to the letter.
@Suite("[pure] configuration: errors")
struct ConfigurationErrorTests {
    /// A file and what is said of it, without the file's name.
    struct Case: CustomTestStringConvertible {
        var text: String
        var expected: [String]
        init(_ text: String, _ expected: String...) {
            self.text = text
            self.expected = expected
        }
        var testDescription: String { text }
    }

    private func check(_ example: Case, isUsable: Bool) {
        let (configuration, diagnostics) = ConfigurationReader.read(example.text, file: "f")
        let said = diagnostics.map(\.description)
        #expect(said == example.expected.map { "f:\($0)" })
        #expect((configuration != nil) == isUsable)
    }

    @Test(arguments: [
        Case("vm work {", "1:1: error: the block that begins here is not closed"),
        Case(
            "rule {\n  show {\n}\n", "1:1: error: the block that begins here is not closed"),
        Case("}", "1:1: error: there is no block to close here"),
        Case(
            "vm work {\n} consumer {\n}\n", "2:3: error: nothing can follow “}” on its line"),
        Case(
            "vm work { label Work }",
            "1:9: error: “{” opens a block and ends its line; braces that are text go in quotes"),
        Case(
            "rule {\n  show title {title}\n}",
            "2:14: error: “{” opens a block and ends its line; braces that are text go in quotes"),
        Case(
            "rule {\n  show title a{title}\n}",
            "2:15: error: a blank must stand before “{”; braces that are text go in quotes"),
        Case(
            "vm work{\n  label Work\n}",
            "1:8: error: a blank must stand before “{”; braces that are text go in quotes"),
        Case(
            "vm work\n{\n}", "2:1: error: a block needs a name in front of “{”"),
        Case(
            "vm wo}rk", "1:6: error: “}” has a line of its own; braces that are text go in quotes"),
        Case(
            "vm \"work", "1:4: error: the quote that begins here is not closed on its line"),
        Case("vm 'it''s'", "1:8: error: a blank must follow a closing quote"),
        Case(
            "vm it's",
            "1:6: error: a quote begins a word; as text it needs a backslash before it"),
        Case(
            "vm work\\", "1:9: error: a backslash cannot end a line: a directive has one line"),
        Case("vm a\u{7}", "1:5: error: the control character U+0007 cannot stand in a file"),
        Case("vm a\rb", "1:5: error: the control character U+000D cannot stand in a file"),
        Case(
            "a {\nb {\nc {\nd {\ne {\nf {\ng {\nh {\ni {\n}\n",
            "1:1: error: “a” is unknown in a file's top level",
            "9:1: error: blocks are at most 8 deep"),
    ])
    func syntax(_ example: Case) { check(example, isUsable: false) }

    @Test(arguments: [
        Case("vn work", "1:1: error: “vn” is unknown in a file's top level (did you mean “vm”?)"),
        Case(
            "vm work {\n\tsorce socket\n}",
            "2:2: error: “sorce” is unknown in a vm block (did you mean “source”?)"),
        Case(
            "vm work {\n  color \"#ff0000\"\n}",
            "2:3: error: “color” is unknown in a vm block (did you mean “colour”?)"),
        Case("elephant", "1:1: error: “elephant” is unknown in a file's top level"),
        Case(
            "vm work {\n  hide\n}",
            "2:3: error: “hide” does not belong in a vm block, but in a rule block"),
        Case(
            "rule {\n  hide\n  title x\n}",
            "3:3: error: “title” does not belong in a rule block, but in match or show"),
        Case(
            "vm work {\n  label A\n  label B\n}",
            "3:3: error: “label” is given twice; first on line 2"),
        Case("vm", "1:1: error: “vm” has too few values: vm NAME { … }"),
        Case("vm a b {\n}", "1:6: error: “vm” has too many values: vm NAME { … }"),
        Case("vm a # the first", "1:6: error: a comment has a line of its own"),
        Case(
            "vm \"my vm\"",
            "1:4: error: “my vm” is no name: use up to 64 letters, digits, dots, dashes, underscores"
        ),
        Case(
            "vm -a",
            "1:4: error: “-a” is no name: it begins with a letter, a digit or an underscore"),
        Case("vm a\nvm a", "2:4: error: “a” is configured already, on line 1"),
        Case("consumer a\nconsumer a", "2:10: error: “a” is configured already, on line 1"),
        Case(
            "vm a.b\nvm a_b",
            "2:4: error: “a_b” and “a.b” (line 1) would have the same app id, “vm-bridge.a_b”"),
        Case(
            "vm a {\n  source socket /run/s\n}\nvm b {\n  source \"socket:/run/s\"\n}",
            "5:3: error: “/run/s” is the socket of “a” too, on line 2"),
        Case(
            "vm a {\n  source socket\n}\nconsumer b {\n  socket a.sock\n}",
            "5:10: error: “a.sock” is the socket of “a” too, on line 2"),
        Case(
            "vm a {\n  source soket\n}",
            "2:10: error: “soket” is no kind of source: socket, vhost-user-gpu, qemu, qemu-bus, hyper-dmabuf (did you mean “socket”?)"
        ),
        Case("vm a {\n  source \"socket:\"\n}", "2:10: error: “” is no path of a socket"),
        Case(
            "vm a {\n  source socket ~/s\n}",
            "2:17: error: nothing is filled in here; a path is absolute, or below $XDG_RUNTIME_DIR/vm-bridge"
        ),
        Case(
            "vm a {\n  colour red\n}",
            "2:10: error: “red” is no colour: write # and six hexadecimal digits"),
        Case(
            "vm a {\n  colour #+12345\n}",
            "2:10: error: “#+12345” is no colour: write # and six hexadecimal digits"),
        Case("vm a {\n  label \"\"\n}", "2:9: error: this text is empty"),
        Case(
            "vm a {\n  label \"a\u{202e}b\"\n}",
            "2:9: error: this text has characters that cannot be seen or change how it is read"),
        Case(
            "vm a {\n  fences hld\n}",
            "2:10: error: “hld” is no policy for fences: auto, pass, hold (did you mean “hold”?)"),
        Case("vm a {\n  budget 5\n}", "2:10: error: “budget” has too many values: budget { … }"),
        Case("vm a {\n  budget\n}", "2:3: error: “budget” needs a block: budget { … }"),
        Case(
            "vm a {\n  label A {\n  }\n}", "2:3: error: “label” takes no block: label TEXT"),
        Case(
            "vm a {\n  budget {\n    surfaces 0\n    bytes 17179869185G\n    fence-limit 2s\n  }\n}",
            "3:14: error: “0” is no number from 1 to 1024",
            "4:11: error: “17179869185G” is no size from 4K to 16384G: digits, and K, M or G for KiB, MiB or GiB",
            "5:17: error: “2s” is no number from 1 to 600000"),
        Case(
            "vm a {\n  output DP-1\n}",
            "2:3: error: Wayland lets a window name an output only for fullscreen: write fullscreen OUTPUT, or leave it to a rule of the compositor on the window's app id"
        ),
    ])
    func names(_ example: Case) { check(example, isUsable: false) }

    @Test(arguments: [
        Case("rule", "1:1: error: “rule” needs a block: rule { … }"),
        Case("rule x {\n  hide\n}", "1:6: error: “rule” has too many values: rule { … }"),
        Case(
            "rule {\n}",
            "1:1: error: this rule does nothing: it needs show, hide, refuse or hand-to"),
        Case(
            "rule {\n  hide\n  show\n}",
            "3:3: error: a rule does one thing, and “hide” stands on line 2"),
        Case(
            "rule {\n  match\n  hide\n}",
            "2:3: error: “match” has no condition; a rule without “match” is about every surface"),
        Case("rule {\n  match vm\n  hide\n}", "2:9: error: “vm” has too few values: vm PATTERN"),
        Case(
            "rule {\n  match vm a title x tile y\n  hide\n}",
            "2:22: error: “tile” is unknown in match (did you mean “title”?)"),
        Case(
            "rule {\n  match vm a # mine\n  hide\n}",
            "2:14: error: a comment has a line of its own"),
        Case(
            "rule {\n  match vm a {\n    tag x\n  }\n  hide\n}",
            "2:9: error: “match” takes conditions on its line or a block, not both"),
        Case(
            "rule {\n  match content grafics\n  hide\n}",
            "2:17: error: “grafics” is no kind of content: graphics, data (did you mean “graphics”?)"
        ),
        Case(
            "rule {\n  match role popup\n  hide\n}",
            "2:14: error: the role “popup” is reserved: every surface is a toplevel yet"),
        Case(
            "rule {\n  match size 0x5\n  hide\n}",
            "2:14: error: “0x5” is no size: write WIDTHxHEIGHT, each a number from 1 to 16384, a range such as 800..1920, or *"
        ),
        Case(
            "rule {\n  match transform flip\n  hide\n}",
            "2:19: error: “flip” is no transform: normal, 90, 180, 270, flipped, flipped-90, flipped-180, flipped-270"
        ),
        Case("rule {\n  hide 5\n}", "2:8: error: “hide” has too many values: hide"),
        Case(
            "rule {\n  refuse a b\n}",
            "2:12: error: “refuse” has too many values: refuse [SENTENCE]"),
        Case(
            "rule {\n  hand-to work\n}",
            "2:3: error: “hand-to” has too few values: hand-to consumer|vm NAME"),
        Case(
            "rule {\n  hand-to consumr c\n}",
            "2:11: error: “consumr” is no kind of receiver: consumer, vm (did you mean “consumer”?)"
        ),
        Case(
            "consumer recorder\nrule {\n  hand-to consumer recoder\n}",
            "3:20: error: no consumer “recoder” is configured (did you mean “recorder”?)"),
        Case("rule {\n  hand-to vm b\n}", "2:14: error: no VM “b” is configured"),
        Case(
            "rule {\n  show {\n    maximized\n    fullscreen\n  }\n}",
            "4:5: error: a window is maximized or fullscreen, not both; see line 3"),
        Case(
            "rule {\n  show maximised\n}",
            "2:8: error: “maximised” is unknown in show (did you mean “maximized”?)"),
        Case(
            "rule {\n  show title\n}", "2:8: error: “title” has too few values: title TEMPLATE"),
        Case(
            "rule {\n  show frame offf\n}",
            "2:14: error: “offf” is no frame: on, off (did you mean “off”?)"),
        Case(
            "rule {\n  show workspace 3\n}",
            "2:8: error: Wayland does not let a window choose its “workspace”; a rule of the compositor on the window's app id can",
            "2:18: error: “3” is unknown in show"),
        Case(
            "rule {\n  show title \"{vm} {titel}\"\n}",
            "2:14: error: “{titel}” is no place in a template: {vm}, {label}, {title}, {app-id}, {tag} (did you mean “{title}”?)"
        ),
        Case(
            "rule {\n  show title \"{vm} {\"\n}",
            "2:14: error: “{” is not closed; as text it is written {{"),
        Case(
            "rule {\n  show title \"{vm} }\"\n}",
            "2:14: error: “}” closes nothing; as text it is written }}"),
    ])
    func rules(_ example: Case) { check(example, isUsable: false) }

    @Test(arguments: [
        Case(
            "vm a {\n  label L\n}\nvm L",
            "4:4: warning: windows of “L” and “a” look alike: both are labelled “L”"),
        Case(
            "rule {\n  hide\n}\nrule {\n  match vm x\n  show\n}",
            "4:1: warning: this rule is never reached: the one on line 1 matches all that it does"),
        Case(
            "rule {\n  match title * size 1..100x*\n  hide\n}\nrule {\n  match size 5x5 tag a\n  show\n}",
            "5:1: warning: this rule is never reached: the one on line 1 matches all that it does"),
        Case(
            "vm work\nrule {\n  match vm wrok\n  hide\n}",
            "3:12: warning: no configured VM is called “wrok” (did you mean “work”?)"),
        Case(
            "vm a\nvm b\nrule {\n  match vm *\n  hand-to vm b\n}",
            "5:14: warning: surfaces of “b” itself match too and cannot be handed to it: say which VM this is about"
        ),
        Case(
            "rule {\n  show title \"{title}\"\n}",
            "2:14: warning: nothing in this title says which VM the window is of: {vm} and {label} do"
        ),
        Case(
            "vm a {\n  fullscreen DP-1\n}\nvm b {\n  fullscreen DP-2\n}",
            "2:14: note: Wayland lets a window name an output only for fullscreen, and the compositor may choose another; elsewhere windows go by the compositor's own rules on their app id, “vm-bridge.VM.…”"
        ),
        Case(
            "rule {\n  show app-id \"{tag}\"\n}",
            "2:15: note: the compositor's own rules see this behind “vm-bridge.VM.”"),
    ])
    func warnings(_ example: Case) { check(example, isUsable: true) }

    @Test func bytesThatAreNoText() {
        let bad = Array("# ä\nvm w".utf8) + [0xff, 0x6b]
        let (configuration, said) = ConfigurationReader.read([
            ConfigurationText(file: "f", bytes: bad)
        ])
        #expect(configuration == nil)
        #expect(said.map(\.description) == ["f:2:5: error: this is not UTF-8"])
    }

    @Test func aFileThatIsTooLong() {
        let text = String(repeating: "#\n", count: ConfigurationReader.limit / 2)
        #expect(ConfigurationReader.read(text, file: "f").configuration == Configuration())
        let said = ConfigurationReader.read(text + "#", file: "f").diagnostics
        #expect(
            said.map(\.description) == [
                "f:1:1: error: the file has 262145 bytes, 262144 are the most"
            ])
    }

    @Test func manyErrorsAreBounded() {
        let (configuration, said) = ConfigurationReader.read(
            String(repeating: "a'\n", count: 5000), file: "f")
        #expect(configuration == nil && said.count == 50)
        for (text, count) in [("vn\n", 100), ("vm\n", 100), ("rule {\nhide\n}\n", 100)] {
            let many = ConfigurationReader.read(String(repeating: text, count: 900), file: "f")
            #expect(many.diagnostics.count == count, "\(text)")
            #expect((many.configuration == nil) == (text.count == 3))
        }
        // Warnings never hide an error.
        let late = ConfigurationReader.read(
            String(repeating: "rule {\nhide\n}\n", count: 900) + "vn", file: "f")
        #expect(late.configuration == nil && late.diagnostics.last?.line == 2701)
    }
}
