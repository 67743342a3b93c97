import VMBridgeCore

extension Doctor {
    /// Descriptors of the bridge itself, and of a VM beside its buffers: its socket, connection,
    /// compositor and fences on their way.
    private static let ownDescriptors: UInt64 = 32
    private static let descriptorsPerVM: UInt64 = 16
    /// The longest path of a socket, in bytes.
    private static let longestSocketPath = 107

    /// What this session may take, and where its sockets go.
    static func limits(_ facts: DoctorFacts) -> [DoctorFinding] {
        [descriptors(facts.session), runtimeDirectory(facts)]
    }

    private static func descriptors(_ session: SessionSide) -> DoctorFinding {
        let name = "open descriptors"
        guard let limit = session.descriptors else {
            return DoctorFinding(
                .limits, "descriptors", name, .note, "the limit cannot be asked (RLIMIT_NOFILE)"
            ).advising("Allow getrlimit to this process.")
        }
        let buffers = UInt64(VMLimits().buffers)
        let room = limit.hard > ownDescriptors ? limit.hard - ownDescriptors : 0
        let machines = room / (buffers + descriptorsPerVM)
        func finding(_ state: DoctorFinding.State, _ text: String) -> DoctorFinding {
            DoctorFinding(.limits, "descriptors", name, state, text)
                .value("soft", .number(limit.soft)).value("hard", .number(limit.hard))
                .value("machines", .number(machines)).value("buffers_each", .number(buffers))
        }
        let advice =
            "Raise the hard limit: LimitNOFILE= of the service, or nofile in /etc/security/limits.conf."
        let numbers =
            limit.soft < limit.hard
            ? "up to \(limit.hard) (\(limit.soft) before start)" : "up to \(limit.hard)"
        if room < descriptorsPerVM {
            return finding(.broken, "\(numbers): not enough for one VM").advising(advice).fatal()
        }
        if machines == 0 {
            return finding(.note, "\(numbers): one VM, with fewer than its \(buffers) buffers")
                .advising(advice)
        }
        let word = machines == 1 ? "VM" : "VMs"
        return finding(
            machines < 4 ? .note : .ok,
            "\(numbers): \(machines) \(word) with \(buffers) buffers each"
        ).advising(machines < 4 ? advice : "")
    }

    private static func runtimeDirectory(_ facts: DoctorFacts) -> DoctorFinding {
        let name = "XDG_RUNTIME_DIR"
        guard let directory = facts.session.runtimeDirectory else {
            return DoctorFinding(
                .limits, "runtime-directory", name, .missing,
                "not set: displays are not found by name, sockets lack a private place"
            ).advising("Set it to a directory of your own with mode 0700.")
                .value("set", .flag(false))
        }
        func finding(_ state: DoctorFinding.State, _ text: String) -> DoctorFinding {
            DoctorFinding(.limits, "runtime-directory", name, state, text)
                .value("set", .flag(true)).value("path", .text(directory.path))
                .value("mode", .text(octal(directory.mode)))
        }
        let path = directory.path
        guard path.hasPrefix("/") else {
            return finding(.broken, "\(path) is no absolute path")
                .advising("Set it to an absolute path of a directory of mode 0700.")
        }
        guard directory.exists else {
            return finding(.broken, "\(path) is not there")
                .advising("Make it for this user alone: mkdir -m 0700 \(path).")
        }
        guard directory.isOwn else {
            return finding(.broken, "\(path) belongs to somebody else than \(facts.devices.user)")
                .advising("Log in as its owner, or set it to a directory of your own.")
        }
        guard directory.mode & 0o077 == 0 else {
            return finding(
                .broken, "\(path) is open to others (mode \(octal(directory.mode)))"
            ).advising("Close it: chmod 0700 \(path).")
        }
        let room = longestSocketPath - path.utf8.count - 1
        let text = "\(path), yours alone"
        guard room >= 24 else {
            return finding(
                .note, "\(path): names of sockets in it have \(max(room, 0)) bytes at most"
            ).advising("Name sockets by a shorter path.").value(
                "room", .number(UInt64(max(room, 0))))
        }
        return finding(.ok, "\(text); names of sockets have up to \(room) bytes")
            .value("room", .number(UInt64(room)))
    }
}
