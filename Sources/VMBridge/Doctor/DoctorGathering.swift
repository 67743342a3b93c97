import CLinux
import Descriptors
import Glibc

extension DoctorFacts {
    /// Asks this host. Waits up to some seconds for a compositor that does not answer, so it is for
    /// start-up tools and never for the loop. What it makes to try things on is gone when it returns.
    package static func gather(_ target: DoctorTarget) -> DoctorFacts {
        var facts = DoctorFacts(target: target)
        facts.devices = gatherDevices()
        facts.kernel = gatherKernel(facts.devices)
        facts.session = gatherSession()
        if case .compositor(let display) = target {
            facts.compositor = CompositorProbe.ask(display: display)
        }
        return facts
    }

    private static func attempt(_ body: () throws(KernelError) -> Void) -> DoctorTrial {
        do throws(KernelError) {
            try body()
            return .works
        } catch {
            return .fails(error)
        }
    }

    private static var page: UInt64 { UInt64(MemoryFile.pageSize) }

    // MARK: Kernel

    private static func gatherKernel(_ devices: DeviceSide) -> KernelSide {
        var kernel = KernelSide()
        kernel.release = SystemFiles.line("/proc/sys/kernel/osrelease") ?? ""
        kernel.probe = attempt { () throws(KernelError) in _ = try DescriptorProbe() }
        kernel.sealing = attempt { () throws(KernelError) in
            _ = try MemoryFile.create(size: page, seals: [.shrink])
        }
        kernel.noExecute = attempt { () throws(KernelError) in
            let flags = VMB_MFD_CLOEXEC | VMB_MFD_ALLOW_SEALING | VMB_MFD_NOEXEC_SEAL
            let made = vmb_memfd_create("vm-bridge", flags)
            _ = OwnedDescriptor(owning: try check(made, "memfd_create"))
        }
        kernel.noExecutePolicy = SystemFiles.number("/proc/sys/vm/memfd_noexec")
        tryFences(&kernel, devices)
        return kernel
    }

    /// On a buffer from wherever there is one.
    private static func tryFences(_ kernel: inout KernelSide, _ devices: DeviceSide) {
        let buffers = LinuxKernelBuffers()
        if let memory = try? MemoryFile.create(size: page, seals: [.shrink]),
            let made = try? buffers.udmabuf(memfd: memory.number, offset: 0, size: page)
        {
            return tryFences(&kernel, made, "udmabuf")
        }
        for heap in devices.heaps where heap.allocation == .works {
            let name = heapName(heap.node)
            guard let made = try? buffers.allocate(heap: name, size: page) else { continue }
            return tryFences(&kernel, made, "the heap \(name)")
        }
    }

    private static func tryFences(
        _ kernel: inout KernelSide, _ buffer: borrowing OwnedDescriptor, _ origin: String
    ) {
        let buffers = LinuxKernelBuffers()
        kernel.bufferOrigin = origin
        let number = buffer.number
        var fence = OwnedDescriptor.none
        do throws(KernelError) {
            fence = try buffers.exportFence(dmaBuf: number, for: .write)
            kernel.exportFence = .works
        } catch {
            kernel.exportFence = .fails(error)
            return
        }
        let exported = fence.number
        kernel.fenceInfo = attempt { () throws(KernelError) in
            _ = try buffers.fenceInfo(exported)
        }
        kernel.importFence = attempt { () throws(KernelError) in
            try buffers.importFence(exported, dmaBuf: number, as: .write)
        }
        // Its number was lent to both until here.
        _ = consume fence
    }

    // MARK: Devices

    private static func gatherDevices() -> DeviceSide {
        var devices = DeviceSide()
        devices.user = SystemFiles.user(geteuid())
        devices.udmabuf = SystemFiles.node(LinuxKernelBuffers.udmabufDevice)
        devices.udmabufModule = moduleState("udmabuf")
        if devices.udmabuf != nil {
            devices.udmabufCreation = attempt { () throws(KernelError) in
                let memory = try MemoryFile.create(size: page, seals: [.shrink])
                _ = try LinuxKernelBuffers().udmabuf(memfd: memory.number, offset: 0, size: page)
            }
        }
        let parameters = "/sys/module/udmabuf/parameters/"
        devices.udmabufListLimit = SystemFiles.number(parameters + "list_limit")
        devices.udmabufSizeLimit = SystemFiles.number(parameters + "size_limit_mb")
        let heaps = LinuxKernelBuffers.heapDirectory
        devices.heaps = SystemFiles.names(heaps).compactMap { name in
            guard let node = SystemFiles.node("\(heaps)/\(name)") else { return nil }
            return DeviceSide.Heap(
                node: node,
                allocation: attempt { () throws(KernelError) in
                    _ = try LinuxKernelBuffers().allocate(heap: name, size: page)
                })
        }
        devices.gpus = gatherGPUs()
        devices.hyper = gatherHyper()
        return devices
    }

    private static func gatherHyper() -> HyperSide {
        var hyper = HyperSide()
        hyper.node = HyperDmabufNode.names.lazy.compactMap { SystemFiles.node("/dev/\($0)") }.first
        hyper.isDriver =
            hyper.node.map { HyperDmabufNode.isOurs(HostDevice(number: $0.number)) } ?? true
        let program = ReaderProgram.usual ?? "/proc/self/exe"
        hyper.reader = ReaderProgram.usual ?? "this program"
        hyper.mayRead = ReaderRights.areGiven(to: program)
        hyper.gainsNothing = ReaderRights.areBarred
        return hyper
    }

    private static func heapName(_ node: DeviceNode) -> String {
        node.path.split(separator: "/").last.map(String.init) ?? ""
    }

    /// By the lists that come with the kernel's package.
    private static func moduleState(_ name: String) -> DeviceSide.Module {
        let directory = "/lib/modules/\(SystemFiles.line("/proc/sys/kernel/osrelease") ?? "")/"
        guard let loadable = SystemFiles.text(directory + "modules.dep"),
            let builtIn = SystemFiles.text(directory + "modules.builtin")
        else { return .unknown }
        if builtIn.split(separator: "\n").contains(where: { $0.hasSuffix("/\(name).ko") }) {
            return .builtIn
        }
        let isThere = loadable.split(separator: "\n").contains { line in
            line.prefix { $0 != ":" }.split(separator: "/").last?.hasPrefix("\(name).ko") == true
        }
        return isThere ? .loadable : .absent
    }

    /// The nodes of /dev/dri by the device behind them, in sysfs.
    private static func gatherGPUs() -> [DeviceSide.GPU] {
        var gpus: [(device: String, gpu: DeviceSide.GPU)] = []
        for name in SystemFiles.names("/dev/dri") {
            guard name.hasPrefix("card") || name.hasPrefix("renderD"),
                let node = SystemFiles.node("/dev/dri/\(name)")
            else { continue }
            let link = "/sys/class/drm/\(name)/device"
            let device = SystemFiles.linkName(link) ?? name
            if let index = gpus.firstIndex(where: { $0.device == device }) {
                gpus[index].gpu.nodes.append(node)
                continue
            }
            // A device of no bus (vgem) has no driver of its own: it is named as its driver.
            let driver = SystemFiles.linkName(link + "/driver")
            let isBusless = driver == nil || driver == "faux_driver"
            gpus.append((device, .init(driver: isBusless ? device : driver ?? "", nodes: [node])))
        }
        return gpus.map { _, gpu in
            var gpu = gpu
            askCapabilities(&gpu)
            return gpu
        }
    }

    /// DRM_IOCTL_GET_CAP, of a render node where there is one: whoever opens a card node first is its
    /// master, and a compositor that starts at that moment would not be.
    private static func askCapabilities(_ gpu: inout DeviceSide.GPU) {
        let render = gpu.nodes.first { $0.path.contains("renderD") && $0.isUsable }
        guard let node = render ?? gpu.nodes.first(where: \.isUsable) else { return }
        let device = OwnedDescriptor(owning: vmb_open(node.path, VMB_OPEN_READ_WRITE))
        guard device.isValid else { return }
        gpu.hasSyncobj = capability(0x13, device.number)
        gpu.hasTimeline = capability(0x14, device.number)
    }

    /// `struct drm_get_cap` (drm.h): two words, the capability and its value.
    private static func capability(_ number: UInt64, _ device: Int32) -> Bool? {
        let getCapability: UInt = 0xc010_640c
        var words: (capability: UInt64, value: UInt64) = (number, 0)
        guard vmb_ioctl(device, getCapability, &words) >= 0 else { return nil }
        return words.value != 0
    }

    // MARK: Session

    private static func gatherSession() -> SessionSide {
        var session = SessionSide()
        session.descriptors = try? DescriptorLimit.current()
        session.hasBusAddress = SystemFiles.variable("DBUS_SESSION_BUS_ADDRESS") != nil
        guard let path = SystemFiles.variable("XDG_RUNTIME_DIR") else { return session }
        if access("\(path)/bus", R_OK | W_OK) == 0 { session.hasBusAddress = true }
        var directory = SessionSide.Directory(path: path)
        var facts = stat()
        directory.exists = stat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFDIR
        directory.isOwn = facts.st_uid == geteuid()
        directory.mode = facts.st_mode & 0o7777
        session.runtimeDirectory = directory
        return session
    }
}
