import Testing

@testable import VMBridgeCore

@Suite("[pure] configuration: reading")
struct ConfigurationReadingTests {
    static let complete = #"""
        # Everything that the language has.
        vm work {
            source socket /run/user/1000/work.sock
            colour "#336699"
            label "Work \"A\""
            budget {
                surfaces 8
                buffers 64
                bytes 512M
                rate 1000
                surface-rate 300
                fence-limit 500
            }
            fences hold
            fullscreen DP-1
        }
        	vm	'home'   {
            source socket
            fullscreen
        }
        vm third
        consumer recorder {
            socket recorder.sock
            budget {
                surfaces 1
            }
        }
        consumer plain

        rule {
            match {
                vm w*
                source socket
                role toplevel
                content graphics
                tag "a b"
                title 'Private*'
                app-id org.\*
                size 800..1920x*
                transform flipped-90
            }
            refuse "Not on this desk."
        }
        rule {
            match vm home tag kiosk
            show {
                title "{title} – {{{vm}}}"
                app-id kiosk
                maximized
                size fixed
                frame off
            }
        }
        rule {
            match vm home size 640x480
            show fullscreen "size" frame off title "{label}: {tag}{app-id}"
        }
        rule {
            match vm third
            hand-to vm home
        }
        rule {
            match content data
            hand-to consumer recorder
        }
        rule {
            match title secret
            hide
        }
        rule {
            refuse
        }
        """#

    @Test func completeFile() throws {
        let (configuration, said) = ConfigurationReader.read(Self.complete, file: "f")
        #expect(!said.contains { $0.severity != .note }, "\(said.map(\.description))")
        let read = try #require(configuration)

        var work = VMConfiguration(name: "work")
        work.source = "socket:/run/user/1000/work.sock"
        work.colour = RGB(red: 0x33, green: 0x66, blue: 0x99)
        work.label = "Work \"A\""
        work.limits.surfaces = 8
        work.limits.buffers = 64
        work.limits.bytes = 512 << 20
        work.limits.baseRate = 1000
        work.limits.ratePerSurface = 300
        work.limits.fenceLimit = 500_000_000
        work.fences = .hold
        work.fullscreen = .output("DP-1")
        var home = VMConfiguration(name: "home")
        home.source = "socket:"
        home.fullscreen = .anywhere
        #expect(read.vms == [work, home, VMConfiguration(name: "third")])
        #expect(work.socketPath(in: "/run/x") == "/run/user/1000/work.sock")
        #expect(home.socketPath(in: "/run/x") == "/run/x/home.sock")
        #expect(VMConfiguration(name: "third").socketPath(in: "/run/x") == nil)

        var recorder = ConsumerConfiguration(name: "recorder")
        recorder.socket = "recorder.sock"
        recorder.limits.surfaces = 1
        #expect(read.consumers == [recorder, ConsumerConfiguration(name: "plain")])
        #expect(recorder.socketPath(in: "/run/x") == "/run/x/recorder.sock")
        #expect(read.consumers[1].socketPath(in: "/run/x") == "/run/x/plain.consumer")

        var first = RuleMatch()
        first.vm = Glob("w*")
        first.source = "socket"
        first.role = .toplevel
        first.isGraphics = true
        first.tag = Glob("a b")
        first.title = Glob("Private*")
        first.appID = Glob("org.*")
        first.size = SizeCondition(width: 800...1920, height: 1...16_384)
        first.transform = Transform(rawValue: 5)
        var kiosk = RuleMatch()
        kiosk.vm = Glob("home")
        kiosk.tag = Glob("kiosk")
        var kioskShow = ShowProperties()
        kioskShow.title = TextTemplate(pieces: [
            .place(.title), .text(" – {"), .place(.vm), .text("}"),
        ])
        kioskShow.appID = TextTemplate(pieces: [.text("kiosk")])
        kioskShow.mode = .maximized
        kioskShow.isFixedSize = true
        kioskShow.hasFrame = false
        var sized = RuleMatch()
        sized.vm = Glob("home")
        sized.size = SizeCondition(width: 640...640, height: 480...480)
        var sizedShow = ShowProperties()
        sizedShow.mode = .fullscreen(.output("size"))
        sizedShow.hasFrame = false
        sizedShow.title = TextTemplate(pieces: [
            .place(.label), .text(": "), .place(.tag), .place(.appID),
        ])
        var third = RuleMatch()
        third.vm = Glob("third")
        var data = RuleMatch()
        data.isGraphics = false
        var secret = RuleMatch()
        secret.title = Glob("secret")
        #expect(
            read.rules == [
                Rule(match: first, action: .refuse("Not on this desk.")),
                Rule(match: kiosk, action: .show(kioskShow)),
                Rule(match: sized, action: .show(sizedShow)),
                Rule(match: third, action: .handTo(.vm("home"))),
                Rule(match: data, action: .handTo(.consumer("recorder"))),
                Rule(match: secret, action: .hide),
                Rule(action: .refuse(nil)),
            ])
    }

    @Test func nothingIsAGoodConfiguration() {
        for text in ["", "\n", "# only this", "\u{feff}# a mark\r\n\r\n", "   \t  "] {
            let (configuration, said) = ConfigurationReader.read(text, file: "f")
            #expect(configuration == Configuration() && said.isEmpty)
        }
        #expect(ConfigurationReader.read([]).configuration == Configuration())
    }

    /// Lines end in LF or CR LF, with or without one after the last.
    @Test func lineEnds() {
        let lines = ["vm a {", "label A", "}", "vm b"]
        let expected = ConfigurationReader.read(lines.joined(separator: "\n"), file: "f")
        #expect(expected.configuration?.vms.map(\.name) == ["a", "b"])
        for separator in ["\n", "\r\n", "\n\n", " \n\t"] {
            for end in ["", separator, "\r"] {
                let read = ConfigurationReader.read(
                    lines.joined(separator: separator) + end, file: "f")
                #expect(read.configuration == expected.configuration)
            }
        }
    }

    @Test func sizes() {
        for (text, width, height): (String, ClosedRange<UInt32>, ClosedRange<UInt32>) in [
            ("1x16384", 1...1, 16_384...16_384), ("*x*", 1...16_384, 1...16_384),
            ("5..x..6", 5...16_384, 1...6), ("5..*x*..6", 5...16_384, 1...6),
            ("5..5x6..7", 5...5, 6...7), ("007x1", 7...7, 1...1),
        ] {
            let read = ConfigurationReader.read(
                "rule {\n match size \(text)\n hide\n}", file: "f")
            #expect(
                read.configuration?.rules.first?.match.size
                    == SizeCondition(width: width, height: height), "\(text)")
        }
        for text in [
            "x", "1x", "x1", "1", "1x1x1", "16385x1", "1x0", "9..8x1", "..x1", "1...2x1", "1.2x1",
            "-1x1", "+1x1", "1X1", "1..2..3x1", "**x1", "99999999999999999999x1",
        ] {
            let read = ConfigurationReader.read(
                "rule {\n match size \(text)\n hide\n}", file: "f")
            #expect(read.configuration == nil, "\(text)")
        }
    }

    @Test func bytes() {
        for (text, expected): (String, UInt64?) in [
            ("4096", 4096), ("4K", 4096), ("4k", 4096), ("1G", 1 << 30), ("16384G", 1 << 44),
            ("4095", nil), ("16385G", nil), ("17592186044417", nil), ("K", nil), ("1T", nil),
            ("1GG", nil), ("-1G", nil), ("1.5G", nil), ("18446744073709551617", nil),
            ("17179869185G", nil),
        ] {
            let read = ConfigurationReader.read(
                "vm a {\n budget {\n bytes \(text)\n }\n}", file: "f")
            #expect(read.configuration?.vms.first?.limits.bytes == expected, "\(text)")
        }
    }

    /// A file above another: its VMs and consumers replace those below, its rules come first.
    @Test func layers() throws {
        let above = ConfigurationText(
            file: "above",
            bytes: Array(
                "vm a {\n label Mine\n}\nrule {\n match vm a\n hand-to consumer c\n}\n".utf8))
        let below = ConfigurationText(
            file: "below",
            bytes: Array(
                "vm a {\n source socket\n}\nvm b\nconsumer c\nrule {\n hide\n}\n".utf8))
        let (configuration, said) = ConfigurationReader.read([above, below])
        #expect(said.isEmpty)
        let read = try #require(configuration)
        #expect(read.vms.map(\.name) == ["a", "b"])
        #expect(read.vm("a").label == "Mine" && read.vm("a").source == nil)
        #expect(read.consumers.map(\.name) == ["c"])
        #expect(read.rules.map(\.action) == [.handTo(.consumer("c")), .hide])

        let twin = ConfigurationText(file: "twin", bytes: Array("# first\nvm a_b\nvm x.y".utf8))
        let other = ConfigurationText(file: "other", bytes: Array("vm a.b\nvm a_b".utf8))
        #expect(
            ConfigurationReader.read([twin, other]).diagnostics.map(\.description) == [
                "other:1:4: error: “a.b” and “a_b” (line 2 of twin) would have the same app id, “vm-bridge.a_b”"
            ])
    }

    @Test func actionsFromWords() throws {
        #expect(try RuleAction.parse(["hide"]) == .hide)
        #expect(try RuleAction.parse(["refuse"]) == .refuse(nil))
        #expect(try RuleAction.parse(["refuse", "Not now."]) == .refuse("Not now."))
        #expect(try RuleAction.parse(["hand-to", "vm", "b"]) == .handTo(.vm("b")))
        #expect(try RuleAction.parse(["hand-to", "consumer", "c"]) == .handTo(.consumer("c")))
        #expect(try RuleAction.parse(["show"]) == .show(ShowProperties()))
        var properties = ShowProperties()
        properties.mode = .fullscreen(.output("DP-1"))
        properties.hasFrame = false
        #expect(
            try RuleAction.parse(["show", "fullscreen", "DP-1", "frame", "off"])
                == .show(properties))
        properties.mode = .fullscreen(.anywhere)
        #expect(
            try RuleAction.parse(["show", "fullscreen", "frame", "off"]) == .show(properties))
        for (words, expected) in [
            ([], "an action is missing: show, hide, refuse, hand-to"),
            (
                ["hid"],
                "“hid” is no action: show, hide, refuse, hand-to (did you mean “hide”?)"
            ),
            (["hide", "now"], "“hide” has too many values: hide"),
            (["show", "big"], "“big” is unknown in show"),
            (
                ["hand-to", "VM", "a"],
                "“VM” is no kind of receiver: consumer, vm (did you mean “vm”?)"
            ),
            (["show", String(repeating: "a", count: 2000)], "this is too long for an action"),
        ] {
            do {
                let action = try RuleAction.parse(words)
                Issue.record("\(words) is \(action)")
            } catch {
                #expect(error.description == expected)
            }
        }
    }

    @Test func suggestions() {
        for (word, known, expected): (String, [String], String?) in [
            ("titel", ["tag", "title"], "title"), ("TITLE", ["title"], "title"),
            ("fullscren", ["fullscreen", "frame"], "fullscreen"), ("x", ["vm", "tag"], nil),
            ("", ["vm"], nil), ("surfacerate", ["surfaces", "surface-rate"], "surface-rate"),
            (String(repeating: "a", count: 41), [String(repeating: "a", count: 40)], nil),
            ("elephant", ["pattern", "buffers"], nil),
        ] {
            #expect(Spelling.nearest(to: word, of: known) == expected, "\(word)")
        }
        for (one, other, expected) in [
            ("", "", 0), ("", "abc", 3), ("abc", "acb", 1), ("kitten", "sitting", 3),
            ("rule", "rule", 0), ("ca", "abc", 3),
        ] {
            #expect(
                Spelling.distance(Array(one.unicodeScalars), Array(other.unicodeScalars))
                    == expected, "\(one) \(other)")
        }
    }
}
