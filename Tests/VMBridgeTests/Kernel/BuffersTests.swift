import CLinux
import Descriptors
import Glibc
import Testing

@testable import VMBridge

@Suite("[kernel] memory and limits") struct MemoryTests {
    @Test func twoMappingsShareTheBytes() throws {
        let memory = try MemoryFile.create(size: 8192)
        var writer = try MappedMemory(memory.number, offset: 4096, count: 4096, access: .readWrite)
        let reader = try MappedMemory(memory.number, count: 8192)
        writer.withUnsafeMutableBytes { $0[5] = 42 }
        let (seen, first) = reader.withBytes {
            (
                $0.unsafeLoad(fromByteOffset: 4101, as: UInt8.self),
                $0.unsafeLoad(fromByteOffset: 0, as: UInt8.self)
            )
        }
        #expect(seen == 42 && first == 0)
    }

    @Test func aReadingMappingLendsNothingToWrite() throws {
        let memory = try MemoryFile.create(size: 4096)
        var reader = try MappedMemory(memory.number, count: 4096)
        let room = reader.withUnsafeMutableBytes { $0.count }
        #expect(room == 0)
    }

    @Test func sealsHold() throws {
        let memory = try MemoryFile.create(size: 4096, seals: [.shrink, .grow, .write])
        #expect(ftruncate(memory.number, 0) == -1)
        #expect(ftruncate(memory.number, 8192) == -1)
        #expect(
            code { () throws(KernelError) in
                _ = try MappedMemory(memory.number, count: 4096, access: .readWrite)
            } == EPERM)
        #expect(
            code { () throws(KernelError) in
                let sealed = try MemoryFile.create(size: 1, seals: .seal)
                try MemoryFile.add(.shrink, to: sealed.number)
            } == EPERM)
    }

    @Test func impossibleMappings() throws {
        let memory = try MemoryFile.create(size: 4096)
        #expect(
            code { () throws(KernelError) in _ = try MappedMemory(memory.number, count: 0) }
                == EINVAL)
        #expect(
            code { () throws(KernelError) in
                _ = try MappedMemory(memory.number, offset: 1, count: 1)
            } == EINVAL)
        #expect(
            code { () throws(KernelError) in
                _ = try MappedMemory(memory.number, offset: .max, count: 1)
            } == EINVAL)
        #expect(code { () throws(KernelError) in _ = try MappedMemory(-1, count: 1) } == EBADF)
        #expect(code { () throws(KernelError) in _ = try MemoryFile.create(size: .max) } == EFBIG)
    }

    @Test func wholePages() {
        let page = UInt64(MemoryFile.pageSize)
        #expect(MemoryFile.pages(covering: 0) == 0)
        #expect(MemoryFile.pages(covering: 1) == page)
        #expect(MemoryFile.pages(covering: page) == page)
        #expect(MemoryFile.pages(covering: .max) == nil)
    }

    @Test func aMappingEndsWithItsOwner() async {
        await #expect(processExitsWith: .success) {
            try withoutLeaks {
                let memory = try MemoryFile.create(name: "vmb-map-test", size: 4096)
                do {
                    let mapped = try MappedMemory(memory.number, count: 4096)
                    #expect(mapped.count == 4096)
                    #expect(maps().contains("vmb-map-test"))
                }
                #expect(!maps().contains("vmb-map-test"))
            }
        }
    }

    @Test func raisesTheLimitOnce() async {
        await #expect(processExitsWith: .success) {
            try DescriptorLimit.set(soft: 100)
            let first = try DescriptorLimit.raise()
            #expect(first.before.soft == 100)
            #expect(first.after.soft == first.after.hard)
            #expect(first.after.hard == first.before.hard)
            let second = try DescriptorLimit.raise()
            #expect(second.before == second.after)
        }
    }

    @Test func theBundleClosesWhatWasNotTaken() throws {
        var first = try Pipe()
        var second = try Pipe()
        var third = try Pipe()
        do {
            var bundle = DescriptorBundle()
            let one = bundle.append(OwnedDescriptor(owning: dup(first.writing.number)))
            let two = bundle.append(OwnedDescriptor(owning: dup(second.writing.number)))
            #expect(one && two)
            first.closeWriting()
            second.closeWriting()
            let kept = bundle.take(0) ?? .none
            #expect(!isHungUp(first.reading.number) && !isHungUp(second.reading.number))
            bundle.reset()
            #expect(!isHungUp(first.reading.number) && isHungUp(second.reading.number))
            let number = kept.number
            #expect(number >= 0)
            let added = bundle.append(OwnedDescriptor(owning: dup(third.writing.number)))
            #expect(added)
            third.closeWriting()
        }
        #expect(isHungUp(first.reading.number) && isHungUp(third.reading.number))
    }

    @Test func theBundleIsFullAtSixteen() throws {
        let pipe = try Pipe()
        var bundle = DescriptorBundle()
        for _ in 0..<16 {
            let added = bundle.append(OwnedDescriptor(owning: dup(pipe.writing.number)))
            #expect(added)
        }
        let last = bundle.append(OwnedDescriptor(owning: dup(pipe.writing.number)))
        let none = bundle.append(.none)
        #expect(!last && !none)
    }

    @Test func theCensusSeesWhatIsOpen() async {
        await #expect(processExitsWith: .success) {
            let before = try settledCensus()
            let memory = try MemoryFile.create(size: 1)
            let after = try settledCensus()
            #expect(after.total == before.total + 1)
            #expect(after.counts["memfd"] == (before.counts["memfd"] ?? 0) + 1)
            #expect(after.description.contains("\(after.counts["memfd"] ?? 0) memfd"))
            #expect(memory.number >= 0)
        }
    }
}

private func maps() -> String {
    let file = OwnedDescriptor(owning: open("/proc/self/maps", O_RDONLY))
    var text: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(file.number, &piece, piece.count)
        guard count > 0 else { return String(decoding: text, as: UTF8.self) }
        text += piece.prefix(count)
    }
}

@Suite("[kernel] buffers and fences: numbers, layouts, refusals") struct BuffersTests {
    /// The kernel's _IOC: direction (1 write, 2 read), size, type, number.
    private func ioc(_ direction: UInt, _ type: Character, _ number: UInt, _ size: Int) -> UInt {
        direction << 30 | UInt(size) << 16 | UInt(type.asciiValue ?? 0) << 8 | number
    }

    @Test func requestNumbers() {
        #expect(VMB_DMA_BUF_SYNC == ioc(1, "b", 0, MemoryLayout<vmb_dma_buf_sync>.size))
        #expect(VMB_DMA_BUF_SET_NAME == ioc(1, "b", 1, 8))
        #expect(
            VMB_DMA_BUF_EXPORT_SYNC_FILE == ioc(3, "b", 2, MemoryLayout<vmb_dma_buf_sync_file>.size)
        )
        #expect(
            VMB_DMA_BUF_IMPORT_SYNC_FILE == ioc(1, "b", 3, MemoryLayout<vmb_dma_buf_sync_file>.size)
        )
        // The two udmabuf requests are declared the wrong way round in the kernel (_IOW though an fd comes back).
        #expect(VMB_UDMABUF_CREATE == ioc(1, "u", 0x42, MemoryLayout<vmb_udmabuf_create>.size))
        #expect(VMB_UDMABUF_CREATE_LIST == ioc(1, "u", 0x43, MemoryLayout<vmb_udmabuf_list>.size))
        #expect(VMB_DMA_HEAP_ALLOC == ioc(3, "H", 0, MemoryLayout<vmb_dma_heap_alloc>.size))
        #expect(VMB_SYNC_MERGE == ioc(3, ">", 3, MemoryLayout<vmb_sync_merge>.size))
        #expect(VMB_SYNC_FILE_INFO == ioc(3, ">", 4, MemoryLayout<vmb_sync_file_info>.size))
        #expect(VMB_DRM_VERSION == ioc(3, "d", 0, MemoryLayout<vmb_drm_version>.size))
        #expect(VMB_DRM_GEM_CLOSE == ioc(1, "d", 9, 8))
        #expect(VMB_DRM_PRIME_HANDLE_TO_FD == ioc(3, "d", 0x2d, 12))
        #expect(VMB_DRM_PRIME_FD_TO_HANDLE == ioc(3, "d", 0x2e, 12))
        #expect(VMB_DRM_MODE_CREATE_DUMB == ioc(3, "d", 0xb2, 32))
        // Driver requests start at 0x40: FENCE_ATTACH is the driver's 1, FENCE_SIGNAL its 2.
        #expect(VMB_VGEM_FENCE_ATTACH == ioc(3, "d", 0x40 + 1, 16))
        #expect(VMB_VGEM_FENCE_SIGNAL == ioc(1, "d", 0x40 + 2, 8))
        #expect(VMB_DRM_DROP_MASTER == ioc(0, "d", 0x1f, 0))
        #expect(VMB_TEST_FENCE == ioc(3, "d", 0x40, MemoryLayout<vmb_test_fence>.size))
        #expect(VMB_TEST_SIGNAL == ioc(1, "d", 0x41, 8))
    }

    @Test func layouts() {
        #expect(MemoryLayout<vmb_udmabuf_create>.offset(of: \.size) == 16)
        #expect(MemoryLayout<vmb_udmabuf_item>.size == 24)
        #expect(MemoryLayout<vmb_sync_file_info>.offset(of: \.status) == 32)
        #expect(MemoryLayout<vmb_sync_file_info>.offset(of: \.fences) == 48)
        #expect(MemoryLayout<vmb_sync_merge>.offset(of: \.merged) == 36)
        #expect(MemoryLayout<vmb_drm_create_dumb>.offset(of: \.size) == 24)
        #expect(MemoryLayout<vmb_drm_prime>.offset(of: \.descriptor) == 8)
        #expect(MemoryLayout<vmb_vgem_fence_attach>.offset(of: \.fence) == 8)
    }

    @Test func accessFlags() {
        #expect(DMABufAccess.begin(.read).flags == 1)
        #expect(DMABufAccess.begin([.read, .write]).flags == 3)
        #expect(DMABufAccess.end(.write).flags == 6)
    }

    @Test func fenceStates() {
        #expect(FenceStatus(status: 1) == .signalled)
        #expect(FenceStatus(status: 0) == .pending)
        #expect(FenceStatus(status: -EIO) == .error(EIO))
    }

    @Test func whatIsNoDMABufIsRefusedByItsKernelName() throws {
        let kernel = LinuxKernelBuffers()
        let memory = try MemoryFile.create(size: 4096)
        let number = memory.number
        #expect(
            code { () throws(KernelError) in try kernel.synchronize(dmaBuf: number, .begin(.read)) }
                == ENOTTY)
        #expect(
            code { () throws(KernelError) in _ = try kernel.exportFence(dmaBuf: number, for: .read)
            } == ENOTTY)
        #expect(
            code { () throws(KernelError) in
                try kernel.importFence(number, dmaBuf: number, as: .read)
            } == ENOTTY)
        #expect(
            code { () throws(KernelError) in try kernel.setName("vm:w", dmaBuf: number) } == ENOTTY)
        #expect(code { () throws(KernelError) in _ = try kernel.fenceInfo(number) } == ENOTTY)
        #expect(code { () throws(KernelError) in _ = try kernel.merge(number, number) } == ENOTTY)
        #expect(code { () throws(KernelError) in _ = try FenceStatus.of(number) } == ENOTTY)
        #expect(
            code { () throws(KernelError) in _ = try kernel.allocate(heap: "../null", size: 1) }
                == EINVAL)
        #expect(
            code { () throws(KernelError) in _ = try kernel.allocate(heap: "no-such-heap", size: 1)
            } == ENOENT)
        #expect(code { () throws(KernelError) in _ = try VGEM(path: "/dev/null") } == ENOTTY)
        #expect(
            code { () throws(KernelError) in _ = try VGEM(path: "/dev/dri/no-such-card") } == ENOENT
        )
        do {
            _ = try kernel.exportFence(dmaBuf: number, for: .read)
        } catch {
            #expect(
                error.description == "DMA_BUF_IOCTL_EXPORT_SYNC_FILE: "
                    + "Inappropriate ioctl for device (ENOTTY): not a dma-buf, or a kernel before 6.0"
            )
        }
    }

    @Test func errorsReadWell() {
        let error = KernelError(
            "open", ENOENT, subject: "/dev/udmabuf", advice: "load the module udmabuf")
        #expect(
            "\(error)"
                == "open /dev/udmabuf: No such file or directory (ENOENT): load the module udmabuf")
        #expect("\(KernelError("x", 9999))" == "x: unknown error (errno 9999)")
    }

    @Test func refusesOnPurposeAndCounts() throws {
        let kernel = FailingKernelBuffers()
        kernel.refuse(.exportFence, EMFILE, after: 1, times: 2)
        let codes = (0..<4).map { _ in
            code { () throws(KernelError) in _ = try kernel.exportFence(dmaBuf: -1, for: .read) }
        }
        #expect(codes == [EBADF, EMFILE, EMFILE, EBADF])
        #expect(kernel.calls == [.exportFence: 4])
        kernel.refuse(.merge, ENOMEM)
        #expect(code { () throws(KernelError) in _ = try kernel.merge(-1, -1) } == ENOMEM)
        kernel.allow(.merge)
        #expect(code { () throws(KernelError) in _ = try kernel.merge(-1, -1) } == EBADF)
    }

    @Test func everyCallCanBeRefused() {
        let kernel = FailingKernelBuffers()
        for call in FailingKernelBuffers.Call.allCases { kernel.refuse(call, EDOM) }
        #expect(
            code { () throws(KernelError) in _ = try kernel.udmabuf(memfd: -1, offset: 0, size: 1) }
                == EDOM)
        #expect(code { () throws(KernelError) in _ = try kernel.udmabuf(pieces: []) } == EDOM)
        #expect(
            code { () throws(KernelError) in _ = try kernel.allocate(heap: "x", size: 1) } == EDOM)
        #expect(
            code { () throws(KernelError) in try kernel.synchronize(dmaBuf: -1, .end(.read)) }
                == EDOM)
        #expect(
            code { () throws(KernelError) in _ = try kernel.exportFence(dmaBuf: -1, for: .read) }
                == EDOM)
        #expect(
            code { () throws(KernelError) in try kernel.importFence(-1, dmaBuf: -1, as: .read) }
                == EDOM)
        #expect(code { () throws(KernelError) in try kernel.setName("", dmaBuf: -1) } == EDOM)
        #expect(code { () throws(KernelError) in _ = try kernel.fenceInfo(-1) } == EDOM)
        #expect(code { () throws(KernelError) in _ = try kernel.merge(-1, -1) } == EDOM)
        #expect(kernel.calls.count == FailingKernelBuffers.Call.allCases.count)
    }
}
