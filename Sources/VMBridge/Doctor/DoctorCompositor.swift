extension Doctor {
    /// The compositor: what its globals give, and what their absence costs.
    static func compositor(_ facts: DoctorFacts) -> [DoctorFinding] {
        switch facts.compositor {
        case .notAsked: []
        case .unnamed:
            [
                connection(.missing, "no compositor is named: WAYLAND_DISPLAY is not set")
                    .advising("Start it in a Wayland session, or name a compositor with --display.")
                    .fatal()
            ]
        case .unreachable(let why):
            [
                connection(.missing, why)
                    .advising(
                        "Start the compositor (the bridge waits for it), or name another one with --display."
                    ).fatal()
            ]
        case .silent(let why):
            [connection(.broken, why).advising("Look into the compositor's log.").fatal()]
        case .offers(let offer): offered(facts, offer)
        }
    }

    private static func connection(
        _ state: DoctorFinding.State, _ text: String
    ) -> DoctorFinding {
        DoctorFinding(.compositor, "connection", "connection", state, text)
    }

    private static func offered(_ facts: DoctorFacts, _ offer: CompositorOffer) -> [DoctorFinding] {
        let answer = connection(
            .ok, "it answers, and offers \(count(offer.versions.count, "global"))")
        return [answer, windows(offer)] + required.map { need(offer, $0) }
            + [dmabuf(facts, offer)] + useful.map { use($0, offer) } + [clock(offer)]
            + later.map { wait(offer, $0) }
    }

    /// The presenter's own judgement; the rows after it say why.
    private static func windows(_ offer: CompositorOffer) -> DoctorFinding {
        guard let missing = offer.missing else {
            return DoctorFinding(.compositor, "windows", "windows", "can be shown")
        }
        return DoctorFinding(.compositor, "windows", "windows", .broken, missing)
            .advising("Use another compositor, or run with --headless.").fatal()
    }

    // MARK: What windows need

    private struct Requirement {
        let interface: String
        let version: UInt32
        let gives: String
    }

    private static let required = [
        Requirement(
            interface: "wl_compositor", version: 4, gives: "surfaces with damage in buffer pixels"),
        Requirement(interface: "wl_shm", version: 1, gives: "memfds of guests without a copy"),
        Requirement(interface: "xdg_wm_base", version: 1, gives: "windows for guest surfaces"),
    ]

    private static func need(
        _ offer: CompositorOffer, _ requirement: Requirement
    ) -> DoctorFinding {
        let interface = requirement.interface
        func finding(_ state: DoctorFinding.State, _ text: String) -> DoctorFinding {
            DoctorFinding(.compositor, interface, interface, state, text)
                .value("version", .number(UInt64(offer.versions[interface] ?? 0)))
        }
        let advice = "Use a compositor for desktops: weston, sway, mutter, kwin or the like."
        guard let version = offer.versions[interface] else {
            return finding(.missing, "not offered: no \(requirement.gives)").advising(advice)
        }
        guard version >= requirement.version else {
            return finding(
                .broken,
                "version \(version), \(requirement.version) is needed: no \(requirement.gives)"
            ).advising("Use a newer compositor.")
        }
        var text = "version \(version): \(requirement.gives)"
        if interface == "wl_shm" { text += " (\(count(offer.memoryFormats, "format")))" }
        return finding(.ok, text)
    }

    // MARK: dma-bufs

    private static func dmabuf(_ facts: DoctorFacts, _ offer: CompositorOffer) -> DoctorFinding {
        let interface = "zwp_linux_dmabuf_v1"
        func finding(_ state: DoctorFinding.State, _ text: String) -> DoctorFinding {
            var finding = DoctorFinding(.compositor, interface, "linux-dmabuf", state, text)
                .value("version", .number(UInt64(offer.versions[interface] ?? 0)))
                .value("pairs", .number(UInt64(offer.pairs)))
                .value("formats", .number(UInt64(offer.formats)))
                .value("modifiers", .number(UInt64(offer.modifiers)))
            if let device = offer.mainDevice {
                finding = finding.value("main_device", .text(deviceName(device, facts)))
            }
            return finding
        }
        guard let version = offer.versions[interface] else {
            return finding(
                .missing, "not offered: dma-bufs are copied by damage, memfds are not"
            ).advising(
                "Start the compositor with a GL or Vulkan renderer, or let guests send memfds."
            ).losing("zero copy of dma-bufs")
        }
        guard offer.takesDMABufs else {
            return finding(
                .missing,
                "version \(version) tells no modifiers, 3 is needed: dma-bufs are copied by damage, memfds are not"
            ).advising("Use a newer compositor, or let guests send memfds.").losing(
                "zero copy of dma-bufs")
        }
        guard offer.pairs > 0 else {
            return finding(
                .broken,
                "version \(version), but no format that the bridge knows: dma-bufs are copied by damage, memfds are not"
            ).advising("Check the compositor's renderer, or let guests send memfds.")
                .losing("zero copy of dma-bufs")
        }
        let reach = "\(count(offer.formats, "format")), \(count(offer.modifiers, "modifier"))"
        let device =
            offer.mainDevice.map { "drawn by \(deviceName($0, facts))" }
            ?? "it does not say which device draws"
        return finding(.ok, "version \(version): dma-bufs without a copy; \(reach); \(device)")
    }

    /// The node of a device number, or the number as "226:128".
    static func deviceName(_ number: UInt64, _ facts: DoctorFacts) -> String {
        for gpu in facts.devices.gpus {
            for node in gpu.nodes where node.number == number { return node.path }
        }
        let (major, minor) = HostDevice.parts(of: number)
        return "device \(major):\(minor)"
    }

    // MARK: What makes it better

    private struct Use {
        let interface: String
        let name: String
        let gives: String
        let costs: String
        let loss: String
    }

    private static let useful = [
        Use(
            interface: "wp_viewporter", name: "viewporter", gives: "frames cropped and scaled",
            costs: "frames are shown whole and unscaled", loss: "cropping and scaling"),
        Use(
            interface: "zxdg_decoration_manager_v1", name: "xdg-decoration",
            gives: "the compositor draws title bars where it wants to",
            costs: "windows may have no title bar, the bridge draws none", loss: ""),
        Use(
            interface: "wp_presentation", name: "presentation-time",
            gives: "guests learn when frames were seen",
            costs: "guests learn when frames were committed, not when they were seen",
            loss: "presentation times"),
        Use(
            interface: "wp_linux_drm_syncobj_manager_v1", name: "drm-syncobj",
            gives: "fences as points of timelines", costs: "the next best way is taken, see fences",
            loss: ""),
        Use(
            interface: "zwp_linux_explicit_synchronization_v1", name: "explicit-sync",
            gives: "fences with commits and releases",
            costs: "the next best way is taken, see fences", loss: ""),
        Use(
            interface: "wp_security_context_manager_v1", name: "security-context",
            gives: "each VM's connection bears its name, for the compositor's rules",
            costs: "titles and app ids name the VM, its connection does not", loss: ""),
    ]

    private static func use(_ use: Use, _ offer: CompositorOffer) -> DoctorFinding {
        let version = offer.versions[use.interface]
        let finding = DoctorFinding(
            .compositor, use.interface, use.name, version == nil ? .note : .ok,
            version.map { "version \($0): \(use.gives)" } ?? "not offered: \(use.costs)"
        ).value("version", .number(UInt64(version ?? 0)))
        guard version == nil else { return finding }
        return finding.advising("Use a compositor that offers \(use.name) if you miss it.")
            .losing(use.loss)
    }

    private static func clock(_ offer: CompositorOffer) -> DoctorFinding {
        guard offer.versions["wp_presentation"] != nil else {
            return DoctorFinding(
                .compositor, "clock", "clock", .note, "none, without presentation-time"
            ).advising("Use a compositor that offers presentation-time if you miss it.")
        }
        guard let clock = offer.clock else {
            return DoctorFinding(
                .compositor, "clock", "clock", .broken,
                "presentation-time is offered, but not the clock of its times"
            ).advising("Report it to the compositor's makers.").losing("presentation times")
        }
        let name = clockName(clock)
        guard offer.isClockReadable else {
            return DoctorFinding(
                .compositor, "clock", "clock", .broken,
                "presentation times are of \(name), which cannot be read here"
            ).advising("Let the compositor use CLOCK_MONOTONIC.").losing("presentation times")
                .value("clock", .text(name))
        }
        return DoctorFinding(
            .compositor, "clock", "clock",
            clock == 1
                ? "\(name), as guests get it"
                : "\(name), converted to CLOCK_MONOTONIC for guests"
        ).value("clock", .text(name))
    }

    private static func clockName(_ number: UInt32) -> String {
        switch number {
        case 0: "CLOCK_REALTIME"
        case 1: "CLOCK_MONOTONIC"
        case 4: "CLOCK_MONOTONIC_RAW"
        case 5: "CLOCK_REALTIME_COARSE"
        case 6: "CLOCK_MONOTONIC_COARSE"
        case 7: "CLOCK_BOOTTIME"
        case 11: "CLOCK_TAI"
        default: "clock \(number)"
        }
    }

    // MARK: What this version does not use

    private struct Later {
        let interface: String
        let name: String
        let purpose: String
        let today: String
    }

    private static let later = [
        Later(
            interface: "wp_fractional_scale_manager_v1", name: "fractional-scale",
            purpose: "sharp pictures at 1.25 and the like", today: "pictures may be blurred")
    ]

    private static func wait(_ offer: CompositorOffer, _ later: Later) -> DoctorFinding {
        let version = offer.versions[later.interface]
        let finding = DoctorFinding(
            .compositor, later.interface, later.name, version == nil ? .note : .ok,
            version.map {
                "version \($0): \(later.purpose); not used by vm-bridge yet"
            }
                ?? "not offered, and not used by vm-bridge yet: \(later.today)"
        ).value("version", .number(UInt64(version ?? 0))).value("used", .flag(false))
        guard version == nil else { return finding }
        return finding.advising("Change nothing: vm-bridge would gain nothing from it today.")
    }
}
