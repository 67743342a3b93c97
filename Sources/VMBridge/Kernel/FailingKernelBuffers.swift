import Descriptors

/// A kernel that refuses chosen calls, for tests of what happens then. What is not refused goes to `base`.
public final class FailingKernelBuffers: KernelBuffers {
    /// The calls of ``KernelBuffers``.
    public enum Call: Hashable, Sendable, CaseIterable {
        case udmabuf, udmabufPieces, allocate, synchronize, exportFence, importFence, setName
        case fenceInfo, merge
    }

    private struct Refusal {
        var code: Int32
        var after: Int
        var times: Int
    }

    private let base: any KernelBuffers
    private var refusals: [Call: Refusal] = [:]
    /// How often each call was made, refused ones included.
    public private(set) var calls: [Call: Int] = [:]

    /// Refuses nothing yet.
    public init(base: any KernelBuffers = LinuxKernelBuffers()) { self.base = base }

    /// From now on answers `call` with the errno `code`: `times` times, after letting `after` calls through.
    public func refuse(_ call: Call, _ code: Int32, after: Int = 0, times: Int = .max) {
        refusals[call] = Refusal(code: code, after: after, times: times)
    }

    /// Lets `call` through again.
    public func allow(_ call: Call) { refusals[call] = nil }

    private func enter(_ call: Call) throws(KernelError) {
        calls[call, default: 0] += 1
        guard var refusal = refusals[call] else { return }
        defer { refusals[call] = refusal }
        if refusal.after > 0 {
            refusal.after -= 1
            return
        }
        guard refusal.times > 0 else { return }
        refusal.times -= 1
        throw KernelError("\(call)", refusal.code, advice: "refused on purpose")
    }

    /// Refused as chosen, else the base's answer.
    public func udmabuf(
        memfd: Int32, offset: UInt64, size: UInt64
    ) throws(KernelError) -> OwnedDescriptor {
        try enter(.udmabuf)
        return try base.udmabuf(memfd: memfd, offset: offset, size: size)
    }

    /// Refused as chosen, else the base's answer.
    public func udmabuf(pieces: [UdmabufPiece]) throws(KernelError) -> OwnedDescriptor {
        try enter(.udmabufPieces)
        return try base.udmabuf(pieces: pieces)
    }

    /// Refused as chosen, else the base's answer.
    public func allocate(heap: String, size: UInt64) throws(KernelError) -> OwnedDescriptor {
        try enter(.allocate)
        return try base.allocate(heap: heap, size: size)
    }

    /// Refused as chosen, else the base's answer.
    public func synchronize(dmaBuf: Int32, _ access: DMABufAccess) throws(KernelError) {
        try enter(.synchronize)
        try base.synchronize(dmaBuf: dmaBuf, access)
    }

    /// Refused as chosen, else the base's answer.
    public func exportFence(
        dmaBuf: Int32, for access: DMABufDirection
    ) throws(KernelError) -> OwnedDescriptor {
        try enter(.exportFence)
        return try base.exportFence(dmaBuf: dmaBuf, for: access)
    }

    /// Refused as chosen, else the base's answer.
    public func importFence(
        _ fence: Int32, dmaBuf: Int32, as access: DMABufDirection
    ) throws(KernelError) {
        try enter(.importFence)
        try base.importFence(fence, dmaBuf: dmaBuf, as: access)
    }

    /// Refused as chosen, else the base's answer.
    public func setName(_ name: String, dmaBuf: Int32) throws(KernelError) {
        try enter(.setName)
        try base.setName(name, dmaBuf: dmaBuf)
    }

    /// Refused as chosen, else the base's answer.
    public func fenceInfo(_ fence: Int32) throws(KernelError) -> SyncFileInfo {
        try enter(.fenceInfo)
        return try base.fenceInfo(fence)
    }

    /// Refused as chosen, else the base's answer.
    public func merge(_ first: Int32, _ second: Int32) throws(KernelError) -> OwnedDescriptor {
        try enter(.merge)
        return try base.merge(first, second)
    }
}
