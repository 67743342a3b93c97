import Testing
import VMBridgeCore

@testable import VMBridge

@Suite("[pure] sources on the command line and in configurations")
struct SourceSpecificationTests {
    /// What is wrong with a text; nil when nothing is.
    private func complaint(_ text: String) -> String? {
        do throws(SpecificationError) {
            _ = try SourceSpecification(text)
            return nil
        } catch { return error.description }
    }

    @Test("every kind with its place")
    func kinds() throws {
        let expected: [(String, SourceKind, word: String, place: String)] = [
            ("a=socket:/s", .socket(path: "/s"), "socket", "/s"),
            ("a=socket:rel/s", .socket(path: "rel/s"), "socket", "rel/s"),
            (
                "a=vhost-user-gpu:/g", .vhostUserGPU(socket: "/g", qmp: nil), "vhost-user-gpu", "/g"
            ),
            (
                "a=vhost-user-gpu:/g,qmp=/q", .vhostUserGPU(socket: "/g", qmp: "/q"),
                "vhost-user-gpu", "/g"
            ),
            ("a=qemu:/q", .qemu(qmp: "/q"), "qemu", "/q"),
            ("a=qemu-bus", .qemuBus(name: "org.qemu"), "qemu-bus", "org.qemu"),
            ("a=qemu-bus:org.x.y-1", .qemuBus(name: "org.x.y-1"), "qemu-bus", "org.x.y-1"),
            ("a=qemu-bus::1.42", .qemuBus(name: ":1.42"), "qemu-bus", ":1.42"),
            ("a=qemu-bus:/b", .qemuBus(name: "org.qemu", bus: "/b"), "qemu-bus", "/b"),
            (
                "a=qemu-bus:d/*-a.sock", .qemuBus(name: "org.qemu", bus: "d/*-a.sock"), "qemu-bus",
                "d/*-a.sock"
            ),
        ]
        for (text, kind, word, place) in expected {
            let source = try SourceSpecification(text)
            #expect(source.vm == "a" && source.kind == kind, "\(text)")
            #expect(source.kindWord == word && source.place == place, "\(text)")
            #expect(VMConfiguration.sourceKinds.contains(word))
        }
        #expect(
            SourceSpecification(vm: "a", socketPath: "/s")
                == SourceSpecification(vm: "a", .socket(path: "/s")))
    }

    @Test("what is wrong is said, and what is right")
    func errors() {
        for (text, part) in [
            ("socket:/s", "names no VM"), ("=socket:/s", "names no VM"),
            ("a b=socket:/s", "is no VM name"), ("a=", "names no kind of source"),
            ("a=:/s", "names no kind of source"),
            ("a=xen:/s", "this version knows “socket”, “vhost-user-gpu”, “qemu”, “qemu-bus”"),
            ("a=qemu", "-qmp unix:PATH"), ("a=qemu:", "needs the path of QEMU's QMP socket"),
            ("a=socket:/s,qmp=/q", "only vhost-user-gpu takes"),
            ("a=qemu:/q,qmp=/q", "only vhost-user-gpu takes"),
            ("a=vhost-user-gpu:/g,qmp=", "names no QMP socket"),
            ("a=qemu-bus:org", "no name on a bus"), ("a=qemu-bus:org..x", "no name on a bus"),
            ("a=qemu-bus:/*/b", "a star too many"), ("a=qemu-bus:/*-*", "a star too many"),
            ("a=qemu-bus:org.1x", "no name on a bus"), ("a=qemu-bus:org.x y", "no name on a bus"),
        ] {
            #expect(complaint(text)?.contains(part) == true, "\(text): \(complaint(text) ?? "")")
        }
    }

    @Test("hyper_dmabuf: a VM's domain, or all of them")
    func hyperDmabuf() throws {
        let usual = "/dev/hyper_dmabuf"
        #expect(
            try SourceSpecification("a=hyper-dmabuf:3").kind
                == .hyperDmabuf(domain: 3, node: usual))
        #expect(
            try SourceSpecification("a=hyper-dmabuf:3@/dev/xen/hyper_dmabuf").kind
                == .hyperDmabuf(domain: 3, node: "/dev/xen/hyper_dmabuf"))
        #expect(try SourceOption("hyper-dmabuf") == .hyperDmabuf(node: usual))
        #expect(try SourceOption("hyper-dmabuf:") == .hyperDmabuf(node: usual))
        #expect(try SourceOption("hyper-dmabuf:/dev/x/y") == .hyperDmabuf(node: "/dev/x/y"))
        #expect(try SourceOption("hyper-dmabuf").vm == nil)
        #expect(try SourceOption("b=socket:/s") == .vm(SourceSpecification("b=socket:/s")))
        #expect(try SourceOption("b=socket:/s").vm == "b")
        for text in [
            "a=hyper-dmabuf", "a=hyper-dmabuf:0", "a=hyper-dmabuf:32752", "a=hyper-dmabuf:x",
        ] {
            #expect(complaint(text)?.contains("number of the VM's domain") == true, "\(text)")
        }
        #expect(complaint("a=hyper-dmabuf:3@/tmp/x")?.contains("no device node") == true)
        for text in ["hyper-dmabuf:/tmp/x", "hyper-dmabuf:3", "socket", "hyper-dmabuf,qmp=/q"] {
            #expect(throws: SpecificationError.self, "\(text)") { try SourceOption(text) }
        }
    }

    @Test("names on a bus, to the specification's letter")
    func busNames() {
        for name in ["a.b", "_a.b_", "org.qemu-kvm.x1", ":1.2", ":a.1"] {
            #expect(SourceSpecification.isBusName(name), "\(name)")
        }
        let long = "a." + String(repeating: "b", count: 253)
        #expect(SourceSpecification.isBusName(long) && !SourceSpecification.isBusName(long + "b"))
        for name in [
            "", ":", ".", "a", "a.", ".a", "a..b", "1a.b", "a.1b", "a.b/c", "a.é", "::1.2",
        ] {
            #expect(!SourceSpecification.isBusName(name), "\(name)")
        }
    }

    @Test("a configuration's sources, absolute ones as they are")
    func configured() throws {
        func kind(_ source: String?) throws -> SourceKind? {
            var vm = VMConfiguration(name: "a")
            vm.source = source
            return try SourceSpecification(vm)?.kind
        }
        #expect(try kind(nil) == nil)
        #expect(try kind("socket:/s") == .socket(path: "/s"))
        #expect(
            try kind("vhost-user-gpu:/g,qmp=/q") == .vhostUserGPU(socket: "/g", qmp: "/q"))
        #expect(try kind("qemu:/q") == .qemu(qmp: "/q"))
        #expect(try kind("qemu-bus:") == .qemuBus(name: "org.qemu"))
        #expect(try kind("qemu-bus:/b") == .qemuBus(name: "org.qemu", bus: "/b"))
        guard let directory = RuntimeDirectory.path else {
            // Then a relative path has nowhere to lie, and that is said.
            #expect(throws: SpecificationError.self) { try kind("socket:s") }
            #expect(complaint("a=socket")?.contains("XDG_RUNTIME_DIR is not set") == true)
            return
        }
        #expect(try kind("socket:") == .socket(path: "\(directory)/a.sock"))
        #expect(try kind("socket:s") == .socket(path: "\(directory)/s"))
        #expect(
            try kind("qemu-bus:../b") == .qemuBus(name: "org.qemu", bus: "\(directory)/../b"))
        #expect(try kind("qemu:q") == .qemu(qmp: "\(directory)/q"))
        #expect(
            try kind("vhost-user-gpu:,qmp=q")
                == .vhostUserGPU(socket: "\(directory)/a.gpu", qmp: "\(directory)/q"))
        // On the command line a path is where the shell is.
        #expect(try SourceSpecification("a=qemu:q").kind == .qemu(qmp: "q"))
    }
}
