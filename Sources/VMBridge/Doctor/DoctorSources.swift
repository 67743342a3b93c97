import VMBridgeCore

extension Doctor {
    /// What each kind of source would get: how its buffers reach the screen and its fences are kept.
    static func sources(_ facts: DoctorFacts) -> [DoctorFinding] {
        [dmaBufPath(facts), memfdPath(facts), fencePath(facts)] + qemuSources(facts)
            + [hyperSource(facts.devices.hyper)]
    }

    private static func finding(
        _ key: String, _ name: String, _ state: DoctorFinding.State, _ text: String
    ) -> DoctorFinding {
        DoctorFinding(.sources, "socket.\(key)", "socket: \(name)", state, text)
    }

    private static func dmaBufPath(_ facts: DoctorFacts) -> DoctorFinding {
        switch facts.compositor {
        case .notAsked:
            return finding("dma-buf", "dma-buf", .ok, "taken, and mapped for captures only")
                .value("path", .text("mapped"))
        case .offers(let offer) where offer.missing == nil:
            if offer.takesDMABufs, offer.pairs > 0 {
                return finding("dma-buf", "dma-buf", .ok, "linux-dmabuf (zero copy)")
                    .value("path", .text("linux-dmabuf"))
            }
            guard offer.memoryFormats > 0 else {
                return finding(
                    "dma-buf", "dma-buf", .missing,
                    "refused with import_failed: neither imported nor copied"
                ).advising("See linux-dmabuf and wl_shm above.")
                    .losing("dma-bufs").value("path", .text("refused"))
            }
            return finding(
                "dma-buf", "dma-buf", .note, "copied by damage into wl_shm: costs time a frame"
            ).advising("Let producers send sealed memfds, or see linux-dmabuf above.")
                .losing("zero copy of dma-bufs").value("path", .text("copied"))
        default: return unknown("dma-buf", "dma-buf")
        }
    }

    private static func memfdPath(_ facts: DoctorFacts) -> DoctorFinding {
        switch facts.compositor {
        case .notAsked:
            return finding("memfd", "memfd", .ok, "taken, and mapped for captures only")
                .value("path", .text("mapped"))
        case .offers(let offer) where offer.missing == nil:
            guard offer.memoryFormats > 0 else {
                return finding(
                    "memfd", "memfd", .broken,
                    "refused: the compositor tells no wl_shm format that the bridge knows"
                ).advising("Report it to the compositor's makers.").losing("memfds")
                    .value("path", .text("refused"))
            }
            return finding(
                "memfd", "memfd", .ok, "wl_shm pool over the guest's memfd (no copy of ours)"
            ).value("path", .text("wl_shm"))
        default: return unknown("memfd", "memfd")
        }
    }

    private static func unknown(_ key: String, _ name: String) -> DoctorFinding {
        finding(key, name, .missing, "not shown: there is no compositor that can")
            .advising("See the compositor above, or run with --headless.")
            .value("path", .text("none"))
    }

    /// What `--fences auto` makes of this host.
    private static func fencePath(_ facts: DoctorFacts) -> DoctorFinding {
        let limit = VMLimits().fenceLimit
        let held = "held until they signal, at most \(limit / 1_000_000) ms (--fence-limit)"
        func row(_ state: DoctorFinding.State, _ text: String, _ way: FenceWay) -> DoctorFinding {
            finding("fence", "fences", state, text).value("path", .text(way.rawValue))
                .value("limit_ns", .number(limit))
        }
        guard case .offers(let offer) = facts.compositor, offer.missing == nil else {
            return row(.ok, held, .hold)
        }
        let hasTimelines = offer.versions["wp_linux_drm_syncobj_manager_v1"] != nil
        let choice = FenceChoice(
            policy: .auto, hasTimelines: hasTimelines,
            hasDevice: facts.devices.gpus.contains { gpu in
                gpu.hasTimeline == true && gpu.nodes.contains(where: \.isUsable)
            },
            hasExplicit: offer.versions["zwp_linux_explicit_synchronization_v1"] != nil,
            isPatient: offer.isPatient)
        let passed =
            "passed on to the compositor and watched, at most \(limit / 1_000_000) ms (--fence-limit)"
        let text =
            "\(choice.passesPending ? passed : held); releases by \(choice.way.releaseWords)"
        guard hasTimelines, choice.way != .timelines else { return row(.ok, text, choice.way) }
        return row(.note, text + "; no DRM device here knows timelines", choice.way)
            .advising("Give the user the right to use a node of /dev/dri (often the group render).")
    }
}
