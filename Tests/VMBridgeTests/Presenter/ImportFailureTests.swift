import Foundation
import Logging
import Testing
import WaylandTestSupport

@testable import VMBridge
@testable import VMBridgeCore

@Suite("[kernel] imports that fail name both ends", .serialized)
struct ImportFailureTests {
    /// A directory that looks like /sys/dev/char with a GPU in it.
    private func withDevices(_ body: (String) throws -> Void) throws {
        let root = FileManager.default.temporaryDirectory
            .appendingPathComponent("vmb-sys-\(UInt32.random(in: 0 ... .max))")
        defer { try? FileManager.default.removeItem(at: root) }
        let device = root.appendingPathComponent("226:128/device")
        try FileManager.default.createDirectory(at: device, withIntermediateDirectories: true)
        try "MAJOR=226\nMINOR=128\nDEVNAME=dri/renderD128\nDEVTYPE=drm_minor\n".write(
            to: root.appendingPathComponent("226:128/uevent"), atomically: false, encoding: .utf8)
        try FileManager.default.createSymbolicLink(
            atPath: device.appendingPathComponent("driver").path,
            withDestinationPath: "../../bus/virtio/drivers/virtio_gpu")
        try body(root.path)
    }

    @Test func aDeviceIsNamedByNodeNumberAndDriver() throws {
        try withDevices { directory in
            let known = HostDevice(number: 0xe280, directory: directory)
            #expect(known.node == "/dev/dri/renderD128" && known.driver == "virtio_gpu")
            #expect(known.description == "/dev/dri/renderD128 (226:128, driver virtio_gpu)")
            let unknown = HostDevice(number: 0xe281, directory: directory)
            #expect(unknown.node == nil && unknown.driver == nil)
            #expect(unknown.description == "226:129")
        }
        // Of every machine, and without a driver.
        #expect(HostDevice(number: 0x103).description == "/dev/null (1:3)")
    }

    @Test func numbersAreTakenApartAsTheCLibraryDoes() {
        for (major, minor) in [(226, 128), (1, 3), (0xabc, 0xfffff), (0x12345, 0x87654)]
            as [(UInt64, UInt64)]
        {
            let number =
                (major & 0xfff) << 8 | (major & 0xffff_f000) << 32 | minor & 0xff
                | (minor & 0xffff_ff00) << 12
            let parts = HostDevice.parts(of: number)
            #expect(parts.major == major && parts.minor == minor)
        }
    }

    @Test func onlyDmabufsHaveAnExporter() throws {
        let memory = try MemoryFile.create(size: 4096)
        #expect(DescriptorProbe.exporter(of: memory.number) == nil)
        #expect(DescriptorProbe.exporter(of: -1) == nil)
    }

    @Test func theWordsNameWhatIsKnown() throws {
        let layout = BufferLayout(
            size: Size(width: 4, height: 4), format: .xrgb8888, modifier: .linear, memory: .dmaBuf,
            planes: [PlaneLayout(descriptor: 0, offset: 0, stride: 16)])
        try withDevices { directory in
            let failure = ImportFailure(
                exporter: "udmabuf", device: HostDevice(number: 0xe280, directory: directory))
            let device = "the compositor's device /dev/dri/renderD128 (226:128, driver virtio_gpu)"
            #expect(
                failure.clause == "the dma-buf of exporter udmabuf was not imported by \(device)")
            #expect(
                failure.sentence(about: layout)
                    == "The dma-buf of exporter udmabuf, XR24 with modifier LINEAR, was not imported by \(device)."
            )
        }
        #expect(
            ImportFailure().clause
                == "the dma-buf of an unknown exporter was not imported by the compositor, which names no device of its own"
        )
    }

    @Test func theFallBackNamesTheDeviceInStatus() throws {
        let fake = try FakeSession(FakeSession.withFeedback(version: 4))
        try fake.tell(
            fake.defaultFeedback, rows: [(.xrgb8888, 0)], mainDevice: 0x103,
            [FakeTranche(indices: [0])])
        try fake.settle()
        let presenter = fake.live.presenter
        #expect(presenter.device == "/dev/null (1:3)")
        let buffer = try fake.addDmabuf(0)
        _ = try fake.talk()
        #expect(presenter.importPath(of: buffer) == "linux-dmabuf (zero copy)")
        fake.answerImport(false)
        _ = try fake.talk()
        #expect(
            presenter.importPath(of: buffer)
                == "copied by damage into wl_shm: the dma-buf of an unknown exporter was not imported by the compositor's device /dev/null (1:3)"
        )
        // Another device, told later; and none when the compositor is gone.
        try fake.tell(fake.defaultFeedback, mainDevice: 0x105, [FakeTranche(indices: [0])])
        _ = try fake.talk()
        #expect(presenter.device == "/dev/zero (1:5)")
        fake.isThere = false
        fake.compositor.hangUp()
        let end = MonotonicClock.now() + 5_000_000_000
        while presenter.isReady, MonotonicClock.now() < end { _ = try fake.talk() }
        #expect(!presenter.isReady && presenter.device == nil)
        fake.live.session.shutDown()
    }

    @Test func statusSaysWhichDeviceDraws() {
        var status = VMStatus(
            name: "a", isConnected: true, generation: 1, isPresenting: true, trouble: nil,
            device: "/dev/dri/card0 (226:0, driver i915)", buffers: 0, bytes: 0, uses: 0,
            refusals: [:], surfaces: [])
        #expect(
            StatusReport.lines([status]) == [
                "a: connected, 0 buffers, 0.0 MiB, drawn by /dev/dri/card0 (226:0, driver i915)"
            ])
        #expect(
            StatusReport.json([status]).contains(
                #""device":"/dev/dri/card0 (226:0, driver i915)""#))
        status.device = nil
        #expect(!StatusReport.json([status]).contains("device"))
    }
}
