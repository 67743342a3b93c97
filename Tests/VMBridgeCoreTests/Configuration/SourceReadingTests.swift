import Testing

@testable import VMBridgeCore

@Suite("[pure] configuration: kinds of sources")
struct SourceReadingTests {
    private func read(_ directive: String) -> (source: String?, said: [String]) {
        let (rules, diagnostics) = ConfigurationReader.read(
            "vm a {\n  source \(directive)\n}", file: "f")
        return (rules?.vm("a").source, diagnostics.map { "\($0)" })
    }

    @Test("a source in words, taken apart and put together")
    func words() {
        for (text, kind, place, qmp) in [
            ("socket", "socket", "", nil), ("socket:/a", "socket", "/a", nil),
            ("vhost-user-gpu", "vhost-user-gpu", "", nil),
            ("vhost-user-gpu:/a,qmp=/b", "vhost-user-gpu", "/a", "/b"),
            ("vhost-user-gpu,qmp=/b:c", "vhost-user-gpu", "", "/b:c"),
            ("vhost-user-gpu:/a,qmp=/b,qmp=/c", "vhost-user-gpu", "/a,qmp=/b", "/c"),
            ("qemu-bus::1.2", "qemu-bus", ":1.2", nil), ("", "", "", nil), (":x", "", "x", nil),
            ("socket:/a,qmp=", "socket", "/a", ""),
        ] as [(String, String, String, String?)] {
            let words = SourceWords(text)
            #expect(words.kind == kind && words.place == place && words.qmp == qmp, "\(text)")
            #expect(SourceWords(words.text) == words, "\(text)")
        }
    }

    @Test("every kind, in words and as one word")
    func kinds() {
        for (directive, expected) in [
            ("socket", "socket:"), ("socket /a", "socket:/a"), ("socket:/a", "socket:/a"),
            ("socket a.sock", "socket:a.sock"), ("vhost-user-gpu", "vhost-user-gpu:"),
            ("vhost-user-gpu /g", "vhost-user-gpu:/g"),
            ("vhost-user-gpu /g qmp /q", "vhost-user-gpu:/g,qmp=/q"),
            ("vhost-user-gpu qmp q.qmp", "vhost-user-gpu:,qmp=q.qmp"),
            ("vhost-user-gpu:/g,qmp=/q", "vhost-user-gpu:/g,qmp=/q"),
            ("vhost-user-gpu,qmp=/q", "vhost-user-gpu:,qmp=/q"), ("qemu /q", "qemu:/q"),
            ("qemu:q.qmp", "qemu:q.qmp"), ("qemu-bus", "qemu-bus:"),
            ("qemu-bus org.qemu.work", "qemu-bus:org.qemu.work"),
            ("qemu-bus::1.77", "qemu-bus::1.77"), ("qemu-bus ../*-a.sock", "qemu-bus:../*-a.sock"),
            ("hyper-dmabuf 3", "hyper-dmabuf:3"),
            ("hyper-dmabuf:3", "hyper-dmabuf:3"),
            ("hyper-dmabuf 3@/dev/xen/hyper_dmabuf", "hyper-dmabuf:3@/dev/xen/hyper_dmabuf"),
        ] {
            let (source, said) = read(directive)
            #expect(source == expected && said.isEmpty, "\(directive): \(said)")
        }
    }

    @Test("what is no source says what is")
    func errors() {
        for (directive, expected) in [
            ("qemu", "f:2:10: error: source qemu needs the path of QEMU's QMP socket"),
            (
                "socket /a qmp /q",
                "f:2:20: error: “qmp” is not expected: write source socket [PATH]"
            ),
            ("qemu /a qmp /q", "f:2:18: error: “qmp” is not expected: write source qemu PATH"),
            (
                "qemu-bus a.b c",
                "f:2:23: error: “c” is not expected: write source qemu-bus [NAME|PATH]"
            ),
            (
                "vhost-user-gpu /a qmp",
                "f:2:28: error: “qmp” is not expected: write source vhost-user-gpu [PATH] [qmp PATH]"
            ),
            ("vhost-user-gpu /a qmp \"\"", "f:2:32: error: “” is no path of a socket"),
            ("vhost-user-gpu:/a,qmp=", "f:2:10: error: “” is no path of a socket"),
            ("qemu /", "f:2:15: error: “/” is no path of a socket"),
            ("qemu-bus a/", "f:2:19: error: “a/” is no path of a socket"),
            ("\"qemu:\"", "f:2:10: error: “” is no path of a socket"),
            (
                "hyper-dmabuf",
                "f:2:10: error: source hyper-dmabuf needs the number of the VM's domain, as in 3"
            ),
            (
                "hyper-dmabuf three",
                "f:2:23: error: source hyper-dmabuf needs the number of the VM's domain, as in 3"
            ),
            (
                "hyper-dmabuf 3 4",
                "f:2:25: error: “4” is not expected: write source hyper-dmabuf DOMAIN[@NODE]"
            ),
        ] {
            let (source, said) = read(directive)
            #expect(source == nil && said == [expected], "\(directive)")
        }
    }

    @Test("where the sockets lie, and that no two VMs have one place")
    func places() {
        func path(_ source: String?) -> String? {
            var vm = VMConfiguration(name: "a")
            vm.source = source
            return vm.socketPath(in: "/run/x")
        }
        #expect(path(nil) == nil && path("qemu-bus:org.qemu") == nil)
        #expect(path("qemu-bus:/b") == "/b" && path("qemu-bus:d/b") == "/run/x/d/b")
        #expect(path("hyper-dmabuf:3") == nil)
        #expect(path("socket:") == "/run/x/a.sock" && path("vhost-user-gpu:") == "/run/x/a.gpu")
        #expect(path("vhost-user-gpu:g,qmp=/q") == "/run/x/g" && path("qemu:/q") == "/q")
        let (rules, diagnostics) = ConfigurationReader.read(
            "vm a {\n source vhost-user-gpu /s\n}\nvm b {\n source socket /s\n}", file: "f")
        #expect(rules == nil)
        #expect(
            diagnostics.map { "\($0)" } == [
                "f:5:2: error: “/s” is the socket of “a” too, on line 2"
            ])
    }
}
