/// What was found out about this host, without a judgement: ``Doctor`` makes findings of it, and
/// ``DoctorFacts/gather(_:)`` is the one place that asks the system.
package struct DoctorFacts: Sendable, Equatable {
    /// What `vm-bridge run` is to show on.
    package var target: DoctorTarget
    /// The kernel and what it says of itself.
    package var kernel = KernelSide()
    /// Device nodes that producers and compositors use.
    package var devices = DeviceSide()
    /// What this process may take, and where sockets go.
    package var session = SessionSide()
    /// What the compositor answered.
    package var compositor = CompositorAnswer.notAsked

    /// Facts of which only the target is known.
    package init(target: DoctorTarget) { self.target = target }
}

/// What `vm-bridge run` would be told to show on.
package enum DoctorTarget: Sendable, Equatable {
    /// The compositor of that name, or the environment's.
    case compositor(display: String?)
    /// `--headless`.
    case headless
}

/// Something that was tried for real.
package enum DoctorTrial: Sendable, Equatable {
    /// It works.
    case works
    /// The kernel refused.
    case fails(KernelError)
    /// There was nothing to try it on.
    case untried
}

/// The kernel's part of the facts.
package struct KernelSide: Sendable, Equatable {
    /// As /proc/sys/kernel/osrelease has it, "6.12.9-amd64"; empty when unknown.
    package var release = ""
    /// Telling the kinds of received descriptors apart, without which the bridge does not start.
    package var probe = DoctorTrial.untried
    /// Making a memfd and sealing it against shrinking.
    package var sealing = DoctorTrial.untried
    /// Making a memfd with MFD_NOEXEC_SEAL (Linux 6.3).
    package var noExecute = DoctorTrial.untried
    /// The sysctl vm.memfd_noexec: 2 refuses memfds without that flag; nil before Linux 6.3.
    package var noExecutePolicy: UInt64?
    /// Where the buffer came from that fences were tried on; nil when none could be made.
    package var bufferOrigin: String?
    /// DMA_BUF_IOCTL_EXPORT_SYNC_FILE (Linux 6.0).
    package var exportFence = DoctorTrial.untried
    /// DMA_BUF_IOCTL_IMPORT_SYNC_FILE (Linux 6.0).
    package var importFence = DoctorTrial.untried
    /// SYNC_IOC_FILE_INFO on what was exported.
    package var fenceInfo = DoctorTrial.untried

    /// Major and minor number of the release; nil when it cannot be read.
    var version: (major: Int, minor: Int)? {
        let numbers = release.split(separator: ".", maxSplits: 2).map { part in
            Int(part.prefix { $0.isASCII && $0.isNumber })
        }
        guard numbers.count >= 2, let major = numbers[0], let minor = numbers[1] else { return nil }
        return (major, minor)
    }
}

/// A device node.
package struct DeviceNode: Sendable, Equatable {
    /// Where it is.
    package var path: String
    /// Owner and group by name, or by number when they have none.
    package var owner = "root"
    /// See ``owner``.
    package var group = "root"
    /// Permission bits.
    package var mode: UInt32 = 0o600
    /// Whether this process may read and write it.
    package var isUsable = true
    /// The device's number (`st_rdev`), as compositors name devices.
    package var number: UInt64 = 0

    /// A node there.
    package init(path: String) { self.path = path }
}

/// The device nodes.
package struct DeviceSide: Sendable, Equatable {
    /// What is known of a kernel module from /lib/modules.
    package enum Module: Sendable, Equatable {
        /// It can be loaded.
        case loadable
        /// It is part of the kernel.
        case builtIn
        /// The kernel's package does not have it.
        case absent
        /// The lists of modules cannot be read.
        case unknown
    }

    /// A heap of dma-bufs.
    package struct Heap: Sendable, Equatable {
        /// Its node; the last part of the path is its name.
        package var node: DeviceNode
        /// Making a buffer of one page.
        package var allocation: DoctorTrial

        /// A heap there.
        package init(node: DeviceNode, allocation: DoctorTrial) {
            self.node = node
            self.allocation = allocation
        }
    }

    /// A GPU or what looks like one: the nodes of one device in /dev/dri.
    package struct GPU: Sendable, Equatable {
        /// The kernel driver's name, or "unknown".
        package var driver: String
        /// cardN and renderDN.
        package var nodes: [DeviceNode]
        /// DRM_CAP_SYNCOBJ; nil when no node could be asked.
        package var hasSyncobj: Bool?
        /// DRM_CAP_SYNCOBJ_TIMELINE; nil when no node could be asked.
        package var hasTimeline: Bool?

        /// A device with its nodes.
        package init(
            driver: String, nodes: [DeviceNode], hasSyncobj: Bool? = nil, hasTimeline: Bool? = nil
        ) {
            self.driver = driver
            self.nodes = nodes
            self.hasSyncobj = hasSyncobj
            self.hasTimeline = hasTimeline
        }

        /// vgem has no display and draws nothing: it gives tests dma-bufs and fences.
        var isForTests: Bool { driver == "vgem" || driver == "vkms" }
    }

    /// /dev/udmabuf; nil when it is not there.
    package var udmabuf: DeviceNode?
    /// Making a dma-buf of a sealed memfd of one page.
    package var udmabufCreation = DoctorTrial.untried
    /// Where the driver would come from.
    package var udmabufModule = Module.unknown
    /// The module's list_limit: pieces that one dma-buf may be made of.
    package var udmabufListLimit: UInt64?
    /// The module's size_limit_mb: MiB of one dma-buf.
    package var udmabufSizeLimit: UInt64?
    /// Those of /dev/dma_heap.
    package var heaps: [Heap] = []
    /// Those of /dev/dri.
    package var gpus: [GPU] = []
    /// hyper_dmabuf's.
    package var hyper = HyperSide()
    /// The user that asks, by name.
    package var user = "root"

    /// Nothing there.
    package init() {}
}

/// Limits and places.
package struct SessionSide: Sendable, Equatable {
    /// A directory as the file system has it.
    package struct Directory: Sendable, Equatable {
        /// Its path.
        package var path: String
        /// Whether it is one.
        package var exists = true
        /// Whether it belongs to the user that asks.
        package var isOwn = true
        /// Permission bits.
        package var mode: UInt32 = 0o700

        /// A directory in order.
        package init(path: String) { self.path = path }
    }

    /// RLIMIT_NOFILE; nil when it could not be asked.
    package var descriptors: DescriptorLimit?
    /// Whether the environment names a session bus, or there is one at the usual place.
    package var hasBusAddress = false
    /// XDG_RUNTIME_DIR; nil when it is not set.
    package var runtimeDirectory: Directory?
}

/// What came of asking a compositor.
package enum CompositorAnswer: Sendable, Equatable {
    /// Headless: nobody was asked.
    case notAsked
    /// The environment names none.
    case unnamed
    /// There is no connection; why, in words.
    case unreachable(String)
    /// It was connected to and did not answer in time, or hung up; in words.
    case silent(String)
    /// What it offers.
    case offers(CompositorOffer)
}

/// What a compositor offers, seen through the presenter's own objects.
package struct CompositorOffer: Sendable, Equatable {
    /// Newest version of each global.
    package var versions: [String: UInt32] = [:]
    /// What is missing for windows, in words of ``WaylandGlobals``; nil when nothing is.
    package var missing: String?
    /// Whether the presenter uses its linux-dmabuf.
    package var takesDMABufs = false
    /// Pairs of format and modifier that the presenter can import, of dma-bufs.
    package var pairs = 0
    /// Different formats among them.
    package var formats = 0
    /// Different modifiers among them.
    package var modifiers = 0
    /// Formats of memfds that the presenter can show.
    package var memoryFormats = 0
    /// The feedback's main device (`dev_t`); nil when it was not told.
    package var mainDevice: UInt64?
    /// The clock of its presentation times, as `clockid_t`; nil without.
    package var clock: UInt32?
    /// Whether the bridge can bring times of that clock to its own.
    package var isClockReadable = true
    /// Whether pending fences are passed on to it, as to one of ``PatientCompositors``.
    package var isPatient = false

    /// No global.
    package init() {}
}
