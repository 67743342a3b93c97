import CLinux
import Descriptors
import Glibc
import Testing

@testable import VMBridge

@Suite("[kernel] descriptor probe") struct ProbeTests {
    private let probe: DescriptorProbe

    init() throws { probe = try DescriptorProbe() }

    private func kind(_ descriptor: consuming OwnedDescriptor) throws -> DescriptorFacts.Kind {
        try #require(descriptor.number >= 0)
        let kind = try probe.facts(of: descriptor.number).kind
        // Asked for a fence alone it says the same.
        #expect(try (probe.fence(descriptor.number) != nil) == (kind == .syncFile))
        return kind
    }

    private func opened(_ path: String, _ flags: Int32) -> OwnedDescriptor {
        OwnedDescriptor(owning: open(path, flags | O_CLOEXEC))
    }

    @Test(arguments: 0..<32) func aMemfdWithEverySetOfSeals(bits: UInt32) throws {
        let seals = Seals(rawValue: bits)
        let memory = try MemoryFile.create(size: 12_345, seals: seals)
        let facts = try probe.facts(of: memory.number)
        #expect(facts.kind == .memfd(pageSize: UInt64(MemoryFile.pageSize)))
        #expect(facts.size == 12_345)
        #expect(facts.seals == seals)
        #expect(facts.accessMode == .readWrite)
        #expect(try MemoryFile.seals(of: memory.number) == seals)
    }

    @Test func aMemfdWithoutSealing() throws {
        let memory = OwnedDescriptor(owning: vmb_memfd_create("plain", VMB_MFD_CLOEXEC))
        let facts = try probe.facts(of: memory.number)
        #expect(facts.kind == .memfd(pageSize: UInt64(MemoryFile.pageSize)))
        #expect(facts.seals == .seal)
        #expect(facts.size == 0)
    }

    @Test func aHugePageMemfdTellsItsPageSize() throws {
        let flags = VMB_MFD_CLOEXEC | VMB_MFD_ALLOW_SEALING | VMB_MFD_HUGETLB
        let memory = OwnedDescriptor(owning: vmb_memfd_create("huge", flags))
        // Kernels without hugetlbfs refuse the flag, and then no peer can have one either.
        guard memory.number >= 0 else {
            #expect(vmb_memfd_create("huge", flags) < 0)
            return
        }
        guard case .memfd(let page) = try probe.facts(of: memory.number).kind else {
            Issue.record("a hugetlb memfd is a memfd")
            return
        }
        #expect(page > UInt64(MemoryFile.pageSize) && page.nonzeroBitCount == 1)
    }

    @Test func reopenedForReadingItIsTheSameFile() throws {
        let memory = try MemoryFile.create(size: 4096)
        let reader = opened("/proc/self/fd/\(memory.number)", O_RDONLY)
        let one = try probe.facts(of: memory.number)
        let two = try probe.facts(of: reader.number)
        #expect(two.accessMode == .readOnly)
        #expect(two.identity == one.identity)
        let other = try MemoryFile.create(size: 4096)
        #expect(try probe.facts(of: other.number).identity != one.identity)
        let path = opened("/proc/self/fd/\(memory.number)", VMB_O_PATH)
        #expect(try probe.facts(of: path.number).kind == .other(.path))
    }

    @Test func pipesAndSockets() throws {
        let pipe = try Pipe()
        #expect(try probe.facts(of: pipe.reading.number).kind == .other(.fifo))
        #expect(try probe.facts(of: pipe.writing.number).kind == .other(.fifo))
        #expect(try probe.facts(of: pipe.writing.number).accessMode == .writeOnly)
        try makePair { near, _ throws in
            #expect(try probe.facts(of: near.number).kind == .other(.socket))
        }
    }

    @Test func kernelObjects() throws {
        #expect(try kind(OwnedDescriptor(owning: vmb_eventfd(0))) == .other(.anonymous))
        #expect(try kind(OwnedDescriptor(owning: vmb_timerfd())) == .other(.anonymous))
        #expect(try kind(OwnedDescriptor(owning: vmb_signalfd(0))) == .other(.anonymous))
        #expect(try kind(OwnedDescriptor(owning: vmb_epoll_create())) == .other(.anonymous))
    }

    /// Both answer EINVAL to an ioctl that they do not know, as a dma-buf answers SYNC without flags.
    @Test func lookAlikesOfADMABuf() throws {
        // userfaultfd: close-on-exec, non-blocking, user mode only.
        #if arch(x86_64)
            let userfaultfd = 323
        #else
            let userfaultfd = 282
        #endif
        let fault = OwnedDescriptor(
            owning: Int32(syscall2(userfaultfd, Int(O_CLOEXEC | O_NONBLOCK) | 1, 0)))
        if fault.number >= 0 {
            var sync = vmb_dma_buf_sync(flags: 0)
            #expect(vmb_ioctl(fault.number, VMB_DMA_BUF_SYNC, &sync) == -EINVAL)
            #expect(try probe.facts(of: fault.number).kind == .other(.anonymous))
        }
        let process = OwnedDescriptor(owning: Int32(syscall2(434, Int(getpid()), 0)))
        #expect(process.number >= 0)
        #expect(try kind(process) == .other(.anonymous))
    }

    @Test func filesDevicesDirectories() throws {
        try withDirectory { directory throws in
            let file = "\(directory)/file"
            #expect(
                try kind(OwnedDescriptor(owning: open(file, O_CREAT | O_RDWR, 0o600)))
                    == .other(.regularFile))
            #expect(try kind(opened(directory, O_RDONLY)) == .other(.directory))
            let link = "\(directory)/link"
            #expect(symlink(file, link) == 0)
            #expect(try kind(opened(link, VMB_O_PATH | O_NOFOLLOW)) == .other(.symbolicLink))
            let fifo = "\(directory)/fifo"
            #expect(mkfifo(fifo, 0o600) == 0)
            #expect(try kind(opened(fifo, O_RDWR)) == .other(.fifo))
        }
        #expect(try kind(opened("/dev/null", O_RDWR)) == .other(.characterDevice))
        #expect(try kind(opened("/proc/self/status", O_RDONLY)) == .other(.regularFile))
        #expect(try kind(opened("/proc/self/ns/net", O_RDONLY)) == .other(.regularFile))
    }

    /// tmpfs answers F_GET_SEALS for every file of its own.
    @Test func aNamedTmpfsFileIsNoMemfd() throws {
        let path = "/dev/shm/vmb-probe-\(getpid())"
        let file = OwnedDescriptor(owning: open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o600))
        defer { unlink(path) }
        try #require(file.number >= 0)
        #expect(vmb_fcntl(file.number, VMB_F_GET_SEALS, 0) >= 0)
        #expect(try probe.facts(of: file.number).kind == .other(.regularFile))
    }

    @Test func aClosedDescriptorIsAnError() throws {
        #expect(code { () throws(KernelError) in _ = try probe.facts(of: -1) } == EBADF)
    }

    @Test func leavesTheFilePositionAlone() throws {
        let memory = try MemoryFile.create(size: 4096)
        lseek(memory.number, 77, SEEK_SET)
        _ = try probe.facts(of: memory.number)
        #expect(lseek(memory.number, 0, SEEK_CUR) == 77)
    }

    @Test func namesForLogs() throws {
        let event = OwnedDescriptor(owning: vmb_eventfd(0))
        #expect(DescriptorProbe.name(of: event.number) == "anon_inode:[eventfd]")
        #expect(DescriptorProbe.name(of: -1) == nil)
        #expect(DescriptorCensus.kind("/dmabuf:x") == "dma-buf")
        #expect(DescriptorCensus.kind("/memfd:vm-bridge (deleted)") == "memfd")
        #expect(DescriptorCensus.kind("socket:[12]") == "socket")
    }

    @Test func aSuccessfulProbeAllocatesNothingAndLeaksNothing() async {
        await #expect(processExitsWith: .success) {
            let probe = try DescriptorProbe()
            let memory = try MemoryFile.create(size: 4096)
            _ = try probe.facts(of: memory.number)
            let starved = try withoutMemory {
                for _ in 0..<100 { _ = try probe.facts(of: memory.number) }
            }
            #expect(starved)
            try withoutLeaks {
                let probe = try DescriptorProbe()
                _ = try probe.facts(of: memory.number)
            }
        }
    }
}

/// A system call that the C library has no function for, by number.
private func syscall2(_ number: Int, _ first: Int, _ second: Int) -> Int {
    typealias Call = @convention(c) (Int, Int, Int) -> Int
    guard let symbol = dlsym(nil, "syscall") else { return -1 }
    return unsafeBitCast(symbol, to: Call.self)(number, first, second)
}
