import Testing

@testable import VMBridge

@Suite("[pure] domains of libvirt") struct LibvirtDomainTests {
    @Test("a helper's file is called after its domain")
    func names() {
        let run = "/run/user/1000/libvirt/qemu/run/"
        for (file, name) in [
            ("1-desk-video0", "desk"), ("12-my-desk-2-video10", "my-desk-2"),
            ("1-a b-video0", "a_b"), ("1-video0-video1", "video0"), ("3-7-video0", "7"),
            // None that a VM can have, or none at all.
            ("1--x-video0", nil), ("1-.x-video0", nil), ("1--video0", nil), ("1-video0", nil),
            ("-desk-video0", nil), ("x-desk-video0", nil), ("desk-video0", nil),
            ("1-desk-ua-mine", nil), ("1-desk-video", nil), ("1-desk-videox", nil), ("1", nil),
            ("", nil),
        ] as [(String, String?)] {
            #expect(
                LibvirtDomain.name(inPath: run + file + "-vhost-user-gpu.pid") == name, "\(file)")
        }
        for path in [
            "1-desk-video0-vhost-user-gpu.pid", run + "1-desk-video0-vhost-user-gpu.sock",
            "socket:[1-desk-video0-vhost-user-gpu.pid", "",
        ] {
            #expect(LibvirtDomain.name(inPath: path) == nil, "\(path)")
        }
    }

    @Test("this process was not started by it")
    func inherited() { #expect(LibvirtDomain.inherited() == nil) }
}
