import Descriptors
import VMBridgeCore

/// Fences of a session: what a frame's acquire kind names is turned into a sync_file and then held in
/// the gate or passed on with the frame; what a consumer names for a release is told or watched.
extension VMSession {
    /// The acquire kinds that work here, as bits of WELCOME.
    var acquireKinds: UInt32 {
        // None, by sync_file, by message: always. A dma-buf's own fences need Linux 6.0, which is what
        // everything else here needs too.
        0b10111 | (syncDevice == nil ? 0 : 0b01000)
    }

    /// Looks at what the frame must wait for.
    ///
    /// - Returns: whether it waits in the gate, or goes on with its fence.
    func startFence(
        _ frame: FrameRecord, _ use: UseID, _ buffer: BufferID, _ header: RecordFrame,
        _ bundle: inout DescriptorBundle, _ surface: SurfaceSession, now: UInt64
    ) throws(Refusal) -> FenceStart {
        let deadline = now + limits.fenceLimit
        switch frame.acquire {
        case .none: return .open
        case .message:
            gate.waitForMessage(use, deadline: deadline)
            surface.counters.fences += 1
            surface.counters.fencesHeld += 1
            return .held
        case .syncFile:
            // Looked at before it is taken: what is no fence stays in the bundle and goes with it.
            let status = try probe.requireSyncFile(bundle, header.firstDescriptor)
            guard let fence = bundle.take(header.firstDescriptor) else {
                throw Refusal(.badDescriptor, "The acquire fence did not come with its record.")
            }
            return try start(fence, status, use, deadline, surface)
        case .implicit: return try start(try implicit(buffer), nil, use, deadline, surface)
        case .timelinePoint:
            let timeline = try timeline(bundle, header)
            if let fence = try? timeline.fence(at: frame.acquirePoint) {
                return try start(fence, nil, use, deadline, surface)
            }
            surface.counters.fences += 1
            guard
                try gate.wait(use, for: timeline, point: frame.acquirePoint, deadline: deadline)
            else { return .open }
            surface.counters.fencesHeld += 1
            return .held
        }
    }

    private func start(
        _ fence: consuming OwnedDescriptor, _ status: FenceStatus?, _ use: UseID,
        _ deadline: UInt64,
        _ surface: SurfaceSession
    ) throws(Refusal) -> FenceStart {
        surface.counters.fences += 1
        let destination = surface.destination
        guard destination?.passesFence(of: use) ?? presenter.passesFence(of: use) else {
            guard try gate.wait(use, fence: fence, status, deadline: deadline) else { return .open }
            surface.counters.fencesHeld += 1
            return .held
        }
        // The compositor gets a copy, and the gate tells how it ends.
        let copy = fence.duplicate()
        guard try gate.wait(use, fence: fence, status, deadline: deadline) else { return .open }
        guard copy.isValid else {
            surface.counters.fencesHeld += 1
            return .held
        }
        if let destination {
            destination.pass(copy, with: use)
        } else {
            presenter.pass(copy, with: use)
        }
        surface.counters.fencesPassed += 1
        return .passed
    }

    /// What a reader of the buffer has to wait for now.
    private func implicit(_ buffer: BufferID) throws(Refusal) -> OwnedDescriptor {
        guard let memory = presenter.memory(of: buffer), memory.layout.memory == .dmaBuf else {
            throw Refusal(.unsupported, "Only a dma-buf has fences of its own (acquire kind 1).")
        }
        do throws(KernelError) {
            return try BufferFences.gather(for: .read, memory.descriptorCount) {
                memory.descriptor(at: $0)
            }
        } catch {
            throw Refusal(.unsupported, "The dma-buf's fences cannot be asked for: \(error)")
        }
    }

    private func timeline(
        _ bundle: borrowing DescriptorBundle, _ header: RecordFrame
    ) throws(Refusal) -> SyncTimeline {
        guard let syncDevice else {
            throw Refusal(
                .unsupported, "This host has no device that knows timelines (acquire kind 3).")
        }
        guard let number = bundle.number(at: header.firstDescriptor) else {
            throw Refusal(.badDescriptor, "The timeline did not come with its record.")
        }
        do throws(KernelError) {
            return try syncDevice.openTimeline(number)
        } catch {
            throw Refusal(.badDescriptor, "The descriptor is no timeline syncobj: \(error)")
        }
    }

    // MARK: Releases

    /// The consumer is done with a use but for a fence.
    ///
    /// - Parameter deadline: when that is waited for no longer; nil for as long as it takes.
    func released(
        _ use: UseID, with fence: consuming OwnedDescriptor, deadline: UInt64? = nil
    ) {
        guard ledger[use] != nil else { return }
        let surface = self.surface(of: use)
        surface?.counters.releaseFences += 1
        // From here on the fence answers for the use, not the surface, and the compositor has not
        // waited for an acquire fence that is still pending.
        surface?.machine.released(use)
        gate.cancel(use)
        if producerTakesFences, fence.isValid, let ended = ledger.end(use, outcome(of: use)) {
            tap?.ended(ended.surface, ended.sequence, ended.outcome)
            if ended.outcome != .shown { surface?.counters.count(ended.outcome) }
            feedbackDescriptors.append(fence)
            feedback.append(
                .releasedWithFence(ended.buffer, ended.surface, ended.sequence, ended.outcome))
            if let freed = ended.freed { forget(freed) }
        } else if !gate.waitForRelease(use, fence, deadline: deadline) {
            finish(use, outcome(of: use), surface)
        }
    }

    /// How a committed use ended: as refused when its fence turned out bad on the way.
    func outcome(of use: UseID) -> UseOutcome {
        badFences.isEmpty || badFences.remove(use) == nil ? .shown : .refused
    }
}

/// What became of a frame's acquire fence on arrival.
enum FenceStart {
    /// There is none, or it has signalled.
    case open
    /// The frame waits for it in the gate.
    case held
    /// It goes to the compositor with the frame.
    case passed
}
