import Glibc

@testable import VMBridge

/// Hosts to put before the doctor.
enum DoctorHosts {
    /// Everything is there and works.
    static let perfect: DoctorFacts = {
        var facts = DoctorFacts(target: .compositor(display: nil))
        facts.kernel.release = "6.12.9-amd64"
        facts.kernel.probe = .works
        facts.kernel.sealing = .works
        facts.kernel.noExecute = .works
        facts.kernel.noExecutePolicy = 0
        facts.kernel.bufferOrigin = "udmabuf"
        facts.kernel.exportFence = .works
        facts.kernel.importFence = .works
        facts.kernel.fenceInfo = .works
        var udmabuf = DeviceNode(path: "/dev/udmabuf")
        udmabuf.group = "kvm"
        udmabuf.mode = 0o660
        facts.devices.udmabuf = udmabuf
        facts.devices.udmabufCreation = .works
        facts.devices.udmabufModule = .builtIn
        facts.devices.udmabufListLimit = 8192
        facts.devices.udmabufSizeLimit = 256
        facts.devices.heaps = [
            .init(node: DeviceNode(path: "/dev/dma_heap/system"), allocation: .works)
        ]
        var card = DeviceNode(path: "/dev/dri/card0")
        card.number = 0xe200
        var render = DeviceNode(path: "/dev/dri/renderD128")
        render.number = 0xe280
        facts.devices.gpus = [
            .init(driver: "amdgpu", nodes: [card, render], hasSyncobj: true, hasTimeline: true)
        ]
        facts.devices.user = "alice"
        facts.session.descriptors = DescriptorLimit(soft: 1024, hard: 524_288)
        facts.session.runtimeDirectory = .init(path: "/run/user/1000")
        facts.session.hasBusAddress = true
        facts.compositor = .offers(offer)
        return facts
    }()

    /// A compositor with all that is looked for.
    static let offer: CompositorOffer = {
        var offer = CompositorOffer()
        offer.versions = [
            "wl_compositor": 6, "wl_shm": 2, "xdg_wm_base": 6, "zwp_linux_dmabuf_v1": 5,
            "wp_viewporter": 1, "wp_presentation": 1, "zxdg_decoration_manager_v1": 1,
            "wp_linux_drm_syncobj_manager_v1": 1, "zwp_linux_explicit_synchronization_v1": 2,
            "wp_fractional_scale_manager_v1": 1, "wp_security_context_manager_v1": 1,
        ]
        offer.takesDMABufs = true
        offer.pairs = 30
        offer.formats = 10
        offer.modifiers = 3
        offer.memoryFormats = 12
        offer.mainDevice = 0xe280
        offer.clock = 1
        return offer
    }()

    /// A perfect host but for some things.
    static func host(_ change: (inout DoctorFacts) -> Void) -> DoctorFacts {
        var facts = perfect
        change(&facts)
        return facts
    }

    /// A perfect host but for some of its compositor's things.
    static func compositor(_ change: (inout CompositorOffer) -> Void) -> DoctorFacts {
        var offer = offer
        change(&offer)
        return host { $0.compositor = .offers(offer) }
    }

    static func failing(_ call: String, _ code: Int32) -> DoctorTrial {
        .fails(KernelError(call, code))
    }

    /// One change of a perfect host and the finding that it must lead to.
    struct Case: Sendable, CustomStringConvertible {
        let facts: DoctorFacts
        let id: String
        let state: DoctorFinding.State
        /// Of the finding's text.
        let text: String
        /// Of its advice.
        let advice: String
        var works = true
        var loss = ""

        var description: String { "\(id) \(state): \(text)" }

        /// Of what is in order.
        init(
            _ id: String, _ state: DoctorFinding.State, _ text: String, _ facts: DoctorFacts
        ) {
            self.init(id, state, text, "", facts)
        }

        init(
            _ id: String, _ state: DoctorFinding.State, _ text: String, _ advice: String,
            works: Bool = true, loss: String = "", _ facts: DoctorFacts
        ) {
            self.facts = facts
            self.id = id
            self.state = state
            self.text = text
            self.advice = advice
            self.works = works
            self.loss = loss
        }
    }

    static let cases = kernelCases + deviceCases + limitCases + compositorCases + sourceCases

    private static let kernelCases = [
        Case("kernel.release", .ok, "Linux 6.12.9-amd64", perfect),
        Case(
            "kernel.release", .note, "before 6.0", "Linux 6.0",
            host { $0.kernel.release = "5.10.0-30-amd64" }),
        Case("kernel.release", .note, "does not say", "/proc", host { $0.kernel.release = "" }),
        Case(
            "kernel.release", .note, "does not say", "/proc", host { $0.kernel.release = "six.x" }),
        Case(
            "kernel.descriptors", .broken, "statx: Operation not permitted", "statx",
            works: false, host { $0.kernel.probe = failing("statx", EPERM) }),
        Case(
            "kernel.memfd-sealing", .broken, "Function not implemented", "CONFIG_MEMFD_CREATE",
            loss: "memfds of this host",
            host { $0.kernel.sealing = failing("memfd_create", ENOSYS) }),
        Case(
            "kernel.memfd-sealing", .broken, "vm.memfd_noexec=2", "sysctl vm.memfd_noexec=1",
            loss: "memfds of this host",
            host {
                $0.kernel.sealing = failing("memfd_create", EACCES)
                $0.kernel.noExecutePolicy = 2
            }),
        Case(
            "kernel.memfd-noexec", .note, "Linux 6.3", "without MFD_NOEXEC_SEAL",
            host {
                $0.kernel.noExecute = failing("memfd_create", EINVAL)
                $0.kernel.noExecutePolicy = nil
            }),
        Case(
            "kernel.memfd-noexec", .ok, "vm.memfd_noexec=1 adds it",
            host { $0.kernel.noExecutePolicy = 1 }),
        Case("kernel.dma-buf-fences", .ok, "tried on a buffer of udmabuf", perfect),
        Case(
            "kernel.dma-buf-fences", .ok, "not tried", host { untried(&$0) }),
        Case(
            "kernel.dma-buf-fences", .missing, "older than 6.0", "Linux 6.0",
            host {
                untried(&$0)
                $0.kernel.release = "5.19.1"
            }),
        Case(
            "kernel.dma-buf-fences", .note, "could not be tried", "/dev/udmabuf",
            host {
                untried(&$0)
                $0.kernel.release = ""
            }),
        Case(
            "kernel.dma-buf-fences", .missing, "not there", "Linux 6.0",
            host { $0.kernel.exportFence = failing("EXPORT", ENOTTY) }),
        Case(
            "kernel.dma-buf-fences", .broken, "IMPORT: Invalid argument", "driver",
            host { $0.kernel.importFence = failing("IMPORT", EINVAL) }),
        Case("kernel.fence-info", .ok, "tried", perfect),
        Case("kernel.fence-info", .ok, "not tried", host { untried(&$0) }),
        Case(
            "kernel.fence-info", .broken, "sync_file are refused", "CONFIG_SYNC_FILE",
            loss: "sync_file fences", host { $0.kernel.fenceInfo = failing("INFO", ENOTTY) }),
    ]

    private static func untried(_ facts: inout DoctorFacts) {
        facts.kernel.bufferOrigin = nil
        facts.kernel.exportFence = .untried
        facts.kernel.importFence = .untried
        facts.kernel.fenceInfo = .untried
    }

    private static func withoutUdmabuf(_ module: DeviceSide.Module) -> DoctorFacts {
        host {
            $0.devices.udmabuf = nil
            $0.devices.udmabufCreation = .untried
            $0.devices.udmabufModule = module
            $0.devices.udmabufListLimit = nil
            $0.devices.udmabufSizeLimit = nil
        }
    }

    private static let deviceCases = [
        Case("devices.udmabuf", .ok, "root:kvm, mode 0660", perfect),
        Case(
            "devices.udmabuf", .missing, "not there", "modprobe udmabuf", loss: "udmabuf",
            withoutUdmabuf(.loadable)),
        Case(
            "devices.udmabuf", .missing, "not there", "sandbox", loss: "udmabuf",
            withoutUdmabuf(.builtIn)),
        Case(
            "devices.udmabuf", .missing, "not there", "CONFIG_UDMABUF", loss: "udmabuf",
            withoutUdmabuf(.absent)),
        Case(
            "devices.udmabuf", .missing, "not there", "CONFIG_UDMABUF", loss: "udmabuf",
            withoutUdmabuf(.unknown)),
        Case(
            "devices.udmabuf", .broken, "alice may not use", "usermod -aG kvm alice",
            loss: "udmabuf",
            host {
                $0.devices.udmabuf?.isUsable = false
                $0.devices.udmabufCreation = failing("open", EACCES)
            }),
        Case(
            "devices.udmabuf", .broken, "root:root, mode 0600", "udev rule", loss: "udmabuf",
            host {
                $0.devices.udmabuf = DeviceNode(path: "/dev/udmabuf")
                $0.devices.udmabuf?.isUsable = false
            }),
        Case(
            "devices.udmabuf", .broken, "UDMABUF_CREATE: Invalid argument", "dmesg",
            loss: "udmabuf", host { $0.devices.udmabufCreation = failing("UDMABUF_CREATE", EINVAL) }
        ),
        Case("devices.udmabuf-size", .ok, "256 MiB: 7680x4320", perfect),
        Case(
            "devices.udmabuf-size", .note,
            "64 MiB: 3840x2160 at 4 bytes a pixel, not 7680x4320",
            "size_limit_mb=256", host { $0.devices.udmabufSizeLimit = 64 }),
        Case(
            "devices.udmabuf-size", .note, "not even 1024x768", "size_limit_mb",
            host { $0.devices.udmabufSizeLimit = 1 }),
        Case("devices.udmabuf-pieces", .ok, "8192 a buffer", perfect),
        Case(
            "devices.udmabuf-pieces", .note, "single page: 1280x720, not 1920x1080",
            "list_limit=8192", host { $0.devices.udmabufListLimit = 1024 }),
        Case("devices.dma-heap.system", .ok, "root:root, mode 0600", perfect),
        Case(
            "devices.dma-heap", .note, "none", "CONFIG_DMABUF_HEAPS",
            host { $0.devices.heaps = [] }),
        Case(
            "devices.dma-heap.system", .note, "alice may not use", "udev rule",
            host { $0.devices.heaps[0].node.isUsable = false }),
        Case(
            "devices.dma-heap.system", .broken, "Cannot allocate memory", "dmesg",
            host { $0.devices.heaps[0].allocation = failing("DMA_HEAP_ALLOC", ENOMEM) }),
        Case("devices.gpu.card0", .ok, "card0 and renderD128: explicit fences with", perfect),
        Case(
            "devices.gpu.card0", .ok, "no explicit fences",
            host { $0.devices.gpus[0].hasSyncobj = false }),
        Case(
            "devices.gpu.card0", .ok, "no timelines",
            host { $0.devices.gpus[0].hasTimeline = false }),
        Case(
            "devices.gpu.card0", .broken, "renderD128", "usermod -aG render alice",
            host {
                $0.devices.gpus[0].nodes[1].isUsable = false
                $0.devices.gpus[0].nodes[1].group = "render"
                $0.devices.gpus[0].nodes[1].mode = 0o660
            }),
        Case("devices.gpu", .note, "draw in software", "driver", host { $0.devices.gpus = [] }),
        Case(
            "devices.test-device.vgem", .note, "for tests", "rmmod vgem",
            host {
                $0.devices.gpus.append(
                    .init(driver: "vgem", nodes: [DeviceNode(path: "/dev/dri/card1")]))
            }),
    ]

    private static let limitCases = [
        Case("limits.descriptors", .ok, "up to 524288 (1024 before start): 1927 VMs", perfect),
        Case(
            "limits.descriptors", .ok, "up to 4096: 14 VMs with 256 buffers each",
            host { $0.session.descriptors = DescriptorLimit(soft: 4096, hard: 4096) }),
        Case(
            "limits.descriptors", .note, "1 VM with", "hard limit",
            host { $0.session.descriptors = DescriptorLimit(soft: 512, hard: 512) }),
        Case(
            "limits.descriptors", .note, "fewer than its 256", "hard limit",
            host { $0.session.descriptors = DescriptorLimit(soft: 256, hard: 256) }),
        Case(
            "limits.descriptors", .broken, "not enough", "hard limit", works: false,
            host { $0.session.descriptors = DescriptorLimit(soft: 40, hard: 40) }),
        Case(
            "limits.descriptors", .note, "cannot be asked", "getrlimit",
            host { $0.session.descriptors = nil }),
        Case("limits.runtime-directory", .ok, "up to 92 bytes", perfect),
        Case(
            "limits.runtime-directory", .missing, "not set", "0700",
            host { $0.session.runtimeDirectory = nil }),
        Case(
            "limits.runtime-directory", .broken, "no absolute path", "absolute",
            host { $0.session.runtimeDirectory?.path = "run" }),
        Case(
            "limits.runtime-directory", .broken, "is not there", "mkdir -m 0700 /run/user/1000",
            host { $0.session.runtimeDirectory?.exists = false }),
        Case(
            "limits.runtime-directory", .broken, "somebody else than alice", "owner",
            host { $0.session.runtimeDirectory?.isOwn = false }),
        Case(
            "limits.runtime-directory", .broken, "mode 0755", "chmod 0700",
            host { $0.session.runtimeDirectory?.mode = 0o755 }),
        Case(
            "limits.runtime-directory", .note, "have 6 bytes", "shorter",
            host {
                $0.session.runtimeDirectory?.path = "/" + String(repeating: "r", count: 99)
            }),
    ]

    private static let compositorCases = [
        Case("compositor.connection", .ok, "11 globals", perfect),
        Case(
            "compositor.connection", .missing, "WAYLAND_DISPLAY", "--display", works: false,
            host { $0.compositor = .unnamed }),
        Case(
            "compositor.connection", .missing, "nobody", "Start the compositor", works: false,
            host { $0.compositor = .unreachable("nobody there") }),
        Case(
            "compositor.connection", .broken, "hung up", "log", works: false,
            host { $0.compositor = .silent("it hung up") }),
        Case(
            "compositor.windows", .broken, "does not offer xdg_wm_base", "--headless",
            works: false,
            compositor {
                $0.versions["xdg_wm_base"] = nil
                $0.missing = "the compositor does not offer xdg_wm_base"
            }),
        Case(
            "compositor.xdg_wm_base", .missing, "not offered", "compositor", works: false,
            compositor {
                $0.versions["xdg_wm_base"] = nil
                $0.missing = "the compositor does not offer xdg_wm_base"
            }),
        Case(
            "compositor.wl_compositor", .broken, "version 3, 4 is needed", "newer", works: false,
            compositor {
                $0.versions["wl_compositor"] = 3
                $0.missing = "the compositor does not offer wl_compositor of version 4"
            }),
        Case("compositor.wl_shm", .ok, "12 formats", perfect),
        Case(
            "compositor.zwp_linux_dmabuf_v1", .ok,
            "10 formats, 3 modifiers; drawn by /dev/dri/renderD128", perfect),
        Case(
            "compositor.zwp_linux_dmabuf_v1", .ok, "drawn by device 226:129",
            compositor { $0.mainDevice = 0xe281 }),
        Case(
            "compositor.zwp_linux_dmabuf_v1", .ok, "does not say which device",
            compositor { $0.mainDevice = nil }),
        Case(
            "compositor.zwp_linux_dmabuf_v1", .missing, "copied by damage", "GL or Vulkan",
            loss: "zero copy of dma-bufs", compositor { withoutDMABufs(&$0, nil) }),
        Case(
            "compositor.zwp_linux_dmabuf_v1", .missing, "version 2 tells no modifiers", "newer",
            loss: "zero copy of dma-bufs", compositor { withoutDMABufs(&$0, 2) }),
        Case(
            "compositor.zwp_linux_dmabuf_v1", .broken, "no format", "renderer",
            loss: "zero copy of dma-bufs", compositor { $0.pairs = 0 }),
        Case(
            "compositor.wp_viewporter", .note, "whole and unscaled", "viewporter",
            loss: "cropping and scaling", compositor { $0.versions["wp_viewporter"] = nil }),
        Case(
            "compositor.zxdg_decoration_manager_v1", .note, "no title bar", "xdg-decoration",
            compositor { $0.versions["zxdg_decoration_manager_v1"] = nil }),
        Case(
            "compositor.wp_presentation", .note, "committed", "presentation-time",
            loss: "presentation times", compositor { $0.versions["wp_presentation"] = nil }),
        Case(
            "compositor.clock", .note, "none", "presentation-time", loss: "presentation times",
            compositor { $0.versions["wp_presentation"] = nil }),
        Case("compositor.clock", .ok, "CLOCK_MONOTONIC, as guests", perfect),
        Case(
            "compositor.clock", .ok, "CLOCK_MONOTONIC_RAW, converted", compositor { $0.clock = 4 }),
        Case(
            "compositor.clock", .broken, "clock 99", "CLOCK_MONOTONIC", loss: "presentation times",
            compositor {
                $0.clock = 99
                $0.isClockReadable = false
            }),
        Case(
            "compositor.clock", .broken, "not the clock", "Report", loss: "presentation times",
            compositor { $0.clock = nil }),
        Case(
            "compositor.wp_linux_drm_syncobj_manager_v1", .ok, "fences", perfect),
        Case(
            "compositor.wp_linux_drm_syncobj_manager_v1", .note, "next best", "if you miss it",
            compositor { $0.versions["wp_linux_drm_syncobj_manager_v1"] = nil }),
        Case(
            "compositor.wp_security_context_manager_v1", .note, "titles", "if you miss it",
            compositor { $0.versions["wp_security_context_manager_v1"] = nil }),
    ]

    private static func withoutDMABufs(_ offer: inout CompositorOffer, _ version: UInt32?) {
        offer.versions["zwp_linux_dmabuf_v1"] = version
        offer.takesDMABufs = false
        offer.pairs = 0
        offer.formats = 0
        offer.modifiers = 0
        offer.mainDevice = nil
    }

    private static func hyper(_ change: (inout HyperSide) -> Void) -> DoctorFacts {
        host {
            $0.devices.hyper.node = DeviceNode(path: "/dev/hyper_dmabuf")
            change(&$0.devices.hyper)
        }
    }

    private static func headless(_ facts: inout DoctorFacts) {
        facts.target = .headless
        facts.compositor = .notAsked
    }

    private static let sourceCases = [
        Case("sources.vhost-user-gpu.memory", .ok, "256 MiB in 8192 pieces", perfect),
        Case(
            "sources.vhost-user-gpu.memory", .note, "copied by damage", "udmabuf above",
            loss: "udmabuf", host { $0.devices.udmabuf = nil }),
        Case("sources.qemu.bus", .ok, "on the session bus", perfect),
        Case(
            "sources.qemu.bus", .note, "no session bus", "dbus-run-session",
            host { $0.session.hasBusAddress = false }),
        Case("sources.hyper-dmabuf.node", .ok, "does not have the driver", perfect),
        Case(
            "sources.hyper-dmabuf.node", .ok, "read by /r",
            hyper {
                $0.reader = "/r"
                $0.mayRead = true
            }),
        Case(
            "sources.hyper-dmabuf.node", .missing, "this program lacks cap_dac_override",
            "/usr/local/libexec/vm-bridge-reader", loss: "hyper_dmabuf",
            hyper { $0.reader = "this program" }),
        Case(
            "sources.hyper-dmabuf.node", .broken, "NoNewPrivileges is set", "drop-in",
            loss: "hyper_dmabuf",
            hyper {
                $0.mayRead = true
                $0.gainsNothing = true
            }),
        Case(
            "sources.hyper-dmabuf.node", .broken, "is another device", "hyper-dmabuf:NODE",
            loss: "hyper_dmabuf", hyper { $0.isDriver = false }),
        Case("sources.socket.dma-buf", .ok, "linux-dmabuf (zero copy)", perfect),
        Case("sources.socket.memfd", .ok, "wl_shm pool", perfect),
        Case("sources.socket.fence", .ok, "releases by drm-syncobj point", perfect),
        Case("sources.socket.fence", .ok, "held until they signal", perfect),
        Case(
            "sources.socket.fence", .ok, "passed on to the compositor",
            compositor { $0.isPatient = true }),
        Case(
            "sources.socket.fence", .note, "explicit-synchronization", "render",
            host { $0.devices.gpus[0].hasTimeline = false }),
        Case(
            "sources.socket.fence", .ok, "own fences",
            compositor {
                $0.versions["wp_linux_drm_syncobj_manager_v1"] = nil
                $0.versions["zwp_linux_explicit_synchronization_v1"] = nil
            }),
        Case("sources.socket.dma-buf", .ok, "captures", host { headless(&$0) }),
        Case("sources.socket.memfd", .ok, "captures", host { headless(&$0) }),
        Case(
            "sources.socket.dma-buf", .note, "copied by damage", "memfds",
            loss: "zero copy of dma-bufs", compositor { withoutDMABufs(&$0, nil) }),
        Case(
            "sources.socket.memfd", .broken, "no wl_shm format", "Report", loss: "memfds",
            compositor { $0.memoryFormats = 0 }),
        Case(
            "sources.socket.memfd", .missing, "no compositor", "--headless", works: false,
            host { $0.compositor = .unnamed }),
        Case(
            "sources.socket.dma-buf", .missing, "no compositor", "--headless", works: false,
            compositor { $0.missing = "the compositor does not offer wl_shm" }),
    ]
}
