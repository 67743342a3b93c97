import VMBridgeCore

extension Doctor {
    /// What the two sources for QEMU would find here.
    static func qemuSources(_ facts: DoctorFacts) -> [DoctorFinding] {
        [guestMemory(facts.devices), bus(facts.session)]
    }

    /// Whether a guest's memory becomes dma-bufs for vhost-user-gpu.
    private static func guestMemory(_ devices: DeviceSide) -> DoctorFinding {
        func finding(_ state: DoctorFinding.State, _ text: String, _ path: String) -> DoctorFinding
        {
            DoctorFinding(
                .sources, "vhost-user-gpu.memory", "vhost-user-gpu: memory", state, text
            ).value("path", .text(path))
        }
        guard devices.udmabuf?.isUsable == true, devices.udmabufCreation == .works else {
            return finding(
                .note, "what a guest draws is copied by damage, for want of a usable udmabuf",
                "copied"
            ).advising("See udmabuf above.")
        }
        var words = "guest memory becomes dma-bufs by udmabuf (zero copy)"
        let pieces = devices.udmabufListLimit ?? 1024
        let size = devices.udmabufSizeLimit ?? 64
        words += ", up to \(size) MiB in \(pieces) pieces; larger ones are copied"
        return finding(.ok, words, "udmabuf").value("pieces", .number(pieces))
            .value("size_mib", .number(size))
    }

    private static func bus(_ session: SessionSide) -> DoctorFinding {
        func finding(_ state: DoctorFinding.State, _ text: String) -> DoctorFinding {
            DoctorFinding(.sources, "qemu.bus", "qemu: D-Bus", state, text)
        }
        guard session.hasBusAddress else {
            return finding(.note, "peer to peer by QMP; there is no session bus for qemu-bus")
                .advising("Start it inside a session with a bus, or under dbus-run-session.")
                .value("session_bus", .flag(false))
        }
        return finding(.ok, "peer to peer by QMP, and on the session bus")
            .value("session_bus", .flag(true))
    }
}
