extension Doctor {
    /// Device nodes: where dma-bufs come from and who draws them.
    static func devices(_ facts: DoctorFacts) -> [DoctorFinding] {
        let devices = facts.devices
        return [udmabuf(devices)] + udmabufLimits(devices) + heaps(devices) + gpus(devices)
    }

    /// "root:kvm, mode 0660".
    static func rights(_ node: DeviceNode) -> String {
        "\(node.owner):\(node.group), mode \(octal(node.mode))"
    }

    static func octal(_ mode: UInt32) -> String {
        let digits = String(mode & 0o7777, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }

    /// How somebody without rights gets them.
    static func gainRights(_ node: DeviceNode, user: String, rule: String) -> String {
        if node.group != "root", node.mode & 0o060 == 0o060 {
            return "Join its group and log in anew: usermod -aG \(node.group) \(user)."
        }
        return "Add a udev rule: \(rule)."
    }

    // MARK: udmabuf

    private static func udmabuf(_ devices: DeviceSide) -> DoctorFinding {
        let name = "udmabuf"
        guard let node = devices.udmabuf else {
            let advice =
                switch devices.udmabufModule {
                case .loadable:
                    "Load the module, now and at each start: modprobe udmabuf; echo udmabuf >/etc/modules-load.d/udmabuf.conf."
                case .builtIn: "Let the container or sandbox have /dev/udmabuf: the kernel has it."
                case .absent, .unknown: "Use a kernel with CONFIG_UDMABUF (Debian's 6.12 is one)."
                }
            return DoctorFinding(
                .devices, "udmabuf", name, .missing,
                "/dev/udmabuf is not there: no dma-bufs of guests' memory here"
            ).advising(advice).losing("udmabuf").value("present", .flag(false))
        }
        func finding(_ state: DoctorFinding.State, _ text: String) -> DoctorFinding {
            DoctorFinding(.devices, "udmabuf", name, state, text)
                .value("present", .flag(true)).value("owner", .text(node.owner))
                .value("group", .text(node.group)).value("mode", .text(octal(node.mode)))
                .value("create", word(devices.udmabufCreation))
        }
        guard node.isUsable else {
            return finding(
                .broken,
                "\(devices.user) may not use \(node.path) (\(rights(node))): no dma-bufs of guests' memory here"
            ).advising(
                gainRights(
                    node, user: devices.user,
                    rule: "KERNEL==\"udmabuf\", GROUP=\"kvm\", MODE=\"0660\"")
            ).losing("udmabuf")
        }
        if case .fails(let error) = devices.udmabufCreation {
            return finding(
                .broken,
                "there (\(rights(node))), but makes no dma-buf of a sealed page: \(reason(error))"
            ).advising("Look into the kernel's log: dmesg.").losing("udmabuf")
        }
        return finding(
            .ok, "makes dma-bufs of guests' memory (tried on one page); \(rights(node))")
    }

    private static func udmabufLimits(_ devices: DeviceSide) -> [DoctorFinding] {
        var findings: [DoctorFinding] = []
        if let limit = devices.udmabufSizeLimit {
            // Four bytes a pixel, which most formats have.
            let pixels = min(limit, 1 << 40) << 18
            let text =
                "one buffer holds \(limit) MiB: \(largest(pixels, " at 4 bytes a pixel"))"
            findings.append(
                udmabufLimit(
                    "size", "size_limit_mb", limit, pixels, text, enough: 7680 * 4320, better: 256))
        }
        if let limit = devices.udmabufListLimit {
            // In the worst case each piece is one page of 4 KiB: 1024 pixels of 4 bytes.
            let pixels = min(limit, 1 << 40) << 10
            let text = "\(limit) a buffer; if each is a single page: \(largest(pixels, ""))"
            findings.append(
                udmabufLimit(
                    "pieces", "list_limit", limit, pixels, text, enough: 3840 * 2160, better: 8192))
        }
        return findings
    }

    private static func udmabufLimit(
        _ key: String, _ parameter: String, _ limit: UInt64, _ pixels: UInt64, _ text: String,
        enough: UInt64, better: UInt64
    ) -> DoctorFinding {
        let isEnough = pixels >= enough
        return DoctorFinding(
            .devices, "udmabuf-\(key)", "udmabuf \(key)", isEnough ? .ok : .note, text
        ).advising(
            isEnough
                ? ""
                : "Raise it if larger frames fail: echo \(better) >/sys/module/udmabuf/parameters/\(parameter) (at boot: udmabuf.\(parameter)=\(better))."
        ).value(parameter, .number(limit)).value("pixels", .number(pixels))
    }

    /// The largest usual frame that so many pixels hold, and the next one.
    private static func largest(_ pixels: UInt64, _ depth: String) -> String {
        let usual: [(name: String, pixels: UInt64)] = [
            ("7680x4320", 7680 * 4320), ("3840x2160", 3840 * 2160), ("2560x1440", 2560 * 1440),
            ("1920x1080", 1920 * 1080), ("1280x720", 1280 * 720), ("1024x768", 1024 * 768),
        ]
        guard let index = usual.firstIndex(where: { $0.pixels <= pixels }) else {
            return "not even 1024x768\(depth)"
        }
        let name = usual[index].name + depth
        return index == 0 ? name : "\(name), not \(usual[index - 1].name)"
    }

    // MARK: Heaps

    private static func heaps(_ devices: DeviceSide) -> [DoctorFinding] {
        guard !devices.heaps.isEmpty else {
            return [
                DoctorFinding(
                    .devices, "dma-heap", "dma-heap", .note,
                    "none in /dev/dma_heap: producers cannot allocate from it"
                ).advising(
                    "Use a kernel with CONFIG_DMABUF_HEAPS_SYSTEM if you need one."
                )
                .value("heaps", .number(0))
            ]
        }
        return devices.heaps.map { heap in
            let name = heap.node.path.split(separator: "/").last.map(String.init) ?? ""
            func finding(_ state: DoctorFinding.State, _ text: String) -> DoctorFinding {
                DoctorFinding(.devices, "dma-heap.\(name)", "heap \(name)", state, text)
                    .value("owner", .text(heap.node.owner)).value("group", .text(heap.node.group))
                    .value("mode", .text(octal(heap.node.mode)))
                    .value("allocate", word(heap.allocation))
            }
            guard heap.node.isUsable else {
                return finding(
                    .note, "\(devices.user) may not use it (\(rights(heap.node)))"
                ).advising(
                    gainRights(
                        heap.node, user: devices.user,
                        rule:
                            "SUBSYSTEM==\"dma_heap\", KERNEL==\"\(name)\", GROUP=\"video\", MODE=\"0660\""
                    ))
            }
            if case .fails(let error) = heap.allocation {
                return finding(
                    .broken, "there (\(rights(heap.node))), but gives no page: \(reason(error))"
                ).advising("Look into the kernel's log: dmesg.")
            }
            return finding(.ok, "gives dma-bufs (tried with one page); \(rights(heap.node))")
        }
    }

    // MARK: GPUs

    private static func gpus(_ devices: DeviceSide) -> [DoctorFinding] {
        let real = devices.gpus.filter { !$0.isForTests }
        var findings = real.map { gpu(devices, $0) }
        if real.isEmpty {
            findings.append(
                DoctorFinding(
                    .devices, "gpu", "GPU", .note,
                    "none in /dev/dri: compositors draw in software"
                ).advising("Load the GPU's driver if this machine has one.")
                    .value("nodes", .number(0)))
        }
        for gpu in devices.gpus where gpu.isForTests {
            findings.append(
                nodes(
                    gpu,
                    DoctorFinding(
                        .devices, "test-device.\(gpu.driver)", gpu.driver, .note,
                        "loaded (\(names(gpu))): for tests; it draws nothing, yet Mesa may take it for a GPU"
                    ).advising("Unload it outside of tests: rmmod \(gpu.driver).")))
        }
        return findings
    }

    private static func names(_ gpu: DeviceSide.GPU) -> String {
        list(gpu.nodes.map { $0.path.split(separator: "/").last.map(String.init) ?? $0.path })
    }

    private static func nodes(_ gpu: DeviceSide.GPU, _ finding: DoctorFinding) -> DoctorFinding {
        var finding = finding.value("driver", .text(gpu.driver))
        for node in gpu.nodes {
            let name = node.path.split(separator: "/").last.map(String.init) ?? node.path
            finding = finding.value(name, .text(rights(node)))
        }
        if let has = gpu.hasSyncobj { finding = finding.value("syncobj", .flag(has)) }
        if let has = gpu.hasTimeline { finding = finding.value("syncobj_timeline", .flag(has)) }
        return finding
    }

    private static func gpu(_ devices: DeviceSide, _ gpu: DeviceSide.GPU) -> DoctorFinding {
        let node =
            gpu.nodes.map { $0.path.split(separator: "/").last.map(String.init) ?? "" }
            .first ?? gpu.driver
        func finding(_ state: DoctorFinding.State, _ text: String) -> DoctorFinding {
            nodes(gpu, DoctorFinding(.devices, "gpu.\(node)", "GPU \(gpu.driver)", state, text))
        }
        let locked = gpu.nodes.filter { $0.path.contains("renderD") && !$0.isUsable }
        if let first = locked.first {
            return finding(
                .broken, "\(devices.user) may not use \(first.path) (\(rights(first)))"
            ).advising(
                gainRights(
                    first, user: devices.user,
                    rule:
                        "SUBSYSTEM==\"drm\", KERNEL==\"renderD*\", GROUP=\"render\", MODE=\"0660\""
                ))
        }
        let sync =
            switch (gpu.hasSyncobj, gpu.hasTimeline) {
            case (true?, true?): "explicit fences with timelines"
            case (true?, _): "explicit fences, no timelines"
            case (false?, _): "no explicit fences (syncobj)"
            case (nil, _): "its fences could not be asked for"
            }
        return finding(.ok, "\(names(gpu)): \(sync)")
    }
}
