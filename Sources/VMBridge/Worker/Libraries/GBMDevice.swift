import CLinux
import Descriptors
import VMBridgeCore

/// The functions of libgbm.so.1 that are used here (gbm.h).
struct GBMLibrary {
    // UNSAFE: opaque objects of the library, as its header declares them; used by GBMDevice alone.
    typealias Object = UnsafeMutableRawPointer

    let createDevice: @convention(c) (Int32) -> Object?
    let destroyDevice: @convention(c) (Object) -> Void
    let create: @convention(c) (Object, UInt32, UInt32, UInt32, UInt32) -> Object?
    let createWithModifiers:
        @convention(c) (
            Object, UInt32, UInt32, UInt32, UnsafePointer<UInt64>, UInt32
        ) -> Object?
    let destroy: @convention(c) (Object) -> Void
    let planeCount: @convention(c) (Object) -> Int32
    /// `union gbm_bo_handle`, of which drivers use the low 32 bits.
    let handle: @convention(c) (Object, Int32) -> UInt64
    let stride: @convention(c) (Object, Int32) -> UInt32
    let offset: @convention(c) (Object, Int32) -> UInt32
    let modifier: @convention(c) (Object) -> UInt64

    /// GBM_BO_USE_RENDERING, GBM_BO_USE_LINEAR
    static let rendering: UInt32 = 1 << 2
    static let linear: UInt32 = 1 << 4

    /// Opens the library; nil when it is not there or too old.
    static func load() -> GBMLibrary? {
        guard let library = LoadedLibrary("libgbm.so.1"),
            let createDevice = library.function(
                "gbm_create_device", (@convention(c) (Int32) -> Object?).self),
            let destroyDevice = library.function(
                "gbm_device_destroy", (@convention(c) (Object) -> Void).self),
            let create = library.function(
                "gbm_bo_create",
                (@convention(c) (Object, UInt32, UInt32, UInt32, UInt32) -> Object?).self),
            let createWithModifiers = library.function(
                "gbm_bo_create_with_modifiers",
                (@convention(c) (
                    Object, UInt32, UInt32, UInt32, UnsafePointer<UInt64>, UInt32
                ) -> Object?).self),
            let destroy = library.function(
                "gbm_bo_destroy", (@convention(c) (Object) -> Void).self),
            let planeCount = library.function(
                "gbm_bo_get_plane_count", (@convention(c) (Object) -> Int32).self),
            let handle = library.function(
                "gbm_bo_get_handle_for_plane", (@convention(c) (Object, Int32) -> UInt64).self),
            let stride = library.function(
                "gbm_bo_get_stride_for_plane", (@convention(c) (Object, Int32) -> UInt32).self),
            let offset = library.function(
                "gbm_bo_get_offset", (@convention(c) (Object, Int32) -> UInt32).self),
            let modifier = library.function(
                "gbm_bo_get_modifier", (@convention(c) (Object) -> UInt64).self)
        else { return nil }
        return GBMLibrary(
            createDevice: createDevice, destroyDevice: destroyDevice, create: create,
            createWithModifiers: createWithModifiers, destroy: destroy, planeCount: planeCount,
            handle: handle,
            stride: stride, offset: offset, modifier: modifier)
    }
}

/// A device node opened for libgbm.
final class GBMDevice {
    /// The node's path.
    let path: String
    // UNSAFE: the library's device, destroyed with this object, which also keeps its descriptor open.
    let device: GBMLibrary.Object
    private let library: GBMLibrary
    private let node: OwnedDescriptor

    /// Opens a node; nil when that is not allowed or the library has no driver for it.
    init?(_ path: String, _ library: GBMLibrary) {
        guard let node = try? DRMNode.open(path) else { return nil }
        guard let device = library.createDevice(node.number) else { return nil }
        self.path = path
        self.library = library
        self.device = device
        self.node = node
    }

    deinit { library.destroyDevice(device) }

    /// Memory that the driver lays out.
    ///
    /// - Parameter bundle: empty; takes the descriptors, each of the driver's objects once.
    /// - Returns: the layout; nil when the driver makes no such buffer.
    func allocate(
        _ wanted: AllocationRequest, into bundle: inout DescriptorBundle
    ) -> BufferLayout? {
        let size = wanted.size
        let modifiers = wanted.modifiers.filter { $0 != .invalid }.map(\.rawValue)
        var made = modifiers.withUnsafeBufferPointer { list in
            list.baseAddress.flatMap {
                library.createWithModifiers(
                    device, size.width, size.height, wanted.format.rawValue, $0, UInt32(list.count))
            }
        }
        var modifier = made.map { Modifier(library.modifier($0)) } ?? .invalid
        if modifier == .invalid {
            // A driver without modifiers (software, for one) refuses the list or does not look at it.
            if let made { library.destroy(made) }
            made = nil
            if modifiers.contains(Modifier.linear.rawValue) {
                made = library.create(
                    device, size.width, size.height, wanted.format.rawValue,
                    GBMLibrary.rendering | GBMLibrary.linear)
            }
            modifier = made.map { Modifier(library.modifier($0)) } ?? .invalid
            // It was asked for rows, and cannot say that it made them.
            if modifier == .invalid { modifier = .linear }
        }
        guard let made else { return nil }
        defer { library.destroy(made) }
        let count = library.planeCount(made)
        guard modifiers.contains(modifier.rawValue), (1...4).contains(count) else { return nil }
        var planes: [PlaneLayout] = []
        var handles: [UInt32] = []
        for index in 0..<count {
            let handle = UInt32(truncatingIfNeeded: library.handle(made, index))
            let known = handles.firstIndex(of: handle)
            if known == nil {
                // The library's own export may be for reading alone (kms_swrast).
                var request = vmb_drm_prime(
                    handle: handle, flags: VMB_DRM_CLOEXEC | VMB_DRM_RDWR, descriptor: -1)
                guard vmb_ioctl(node.number, VMB_DRM_PRIME_HANDLE_TO_FD, &request) == 0,
                    bundle.append(OwnedDescriptor(owning: request.descriptor))
                else { return nil }
                handles.append(handle)
            }
            planes.append(
                PlaneLayout(
                    descriptor: UInt32(known ?? handles.count - 1),
                    offset: library.offset(made, index), stride: library.stride(made, index)))
        }
        return BufferLayout(
            size: size, format: wanted.format, modifier: modifier, memory: .dmaBuf, planes: planes)
    }
}
