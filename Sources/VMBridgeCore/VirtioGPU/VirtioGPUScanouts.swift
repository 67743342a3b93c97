/// Scanouts, frames, pointer images, and the answers that wait for frames.
extension VirtioGPUDevice {
    // MARK: Scanouts

    mutating func setScanout(
        _ number: UInt32, _ id: UInt32, _ area: Rectangle, _ blob: VirtioGPUCommand.BlobLayout?,
        _ actions: inout [Action]
    ) throws(Failure) {
        let scanout = try scanoutNumber(number)
        guard id != 0 else { return turnOff(scanout, &actions) }
        let layout = try layout(of: id, try find(id), blob)
        guard area.width > 0, area.height > 0, area.fits(in: layout.size) else {
            throw Failure(
                .invalidParameter, .badValue,
                "A scanout of \(area.width)x\(area.height) at \(area.x),\(area.y) is no part of \(layout.size)."
            )
        }
        let wasOpen = scanouts[scanout].isOpen
        if scanouts[scanout].resource != id || scanouts[scanout].area != area
            || scanouts[scanout].layout != layout
        {
            scanouts[scanout].isChanged = true
        }
        scanouts[scanout].resource = id
        scanouts[scanout].area = area
        scanouts[scanout].layout = layout
        if !wasOpen {
            actions.append(.createWindow(Self.window(scanout), scanout: scanout))
            if scanouts[scanout].pointer.resource != 0 { showPointer(scanout, &actions) }
        }
    }

    private func layout(
        of id: UInt32, _ resource: Resource, _ blob: VirtioGPUCommand.BlobLayout?
    ) throws(Failure) -> BufferLayout {
        switch (resource.kind, blob) {
        case (.picture(let size, let format), nil):
            return Self.layout(size, VirtioGPU.opaque(format), stride: size.width * 4, offset: 0)
        case (.blob(let bytes), let blob?):
            return try Self.layout(blob, bytes: bytes)
        case (.picture, .some):
            throw Failure(.invalidResource, .badValue, "Resource \(id) is not a blob.")
        case (.blob, nil):
            throw Failure(
                .invalidResource, .badValue, "Resource \(id) is a blob, which has no format.")
        }
    }

    private static func layout(
        _ blob: VirtioGPUCommand.BlobLayout, bytes: UInt64
    ) throws(Failure) -> BufferLayout {
        guard let format = VirtioGPU.fourCC(blob.format) else {
            throw Failure(
                .invalidParameter, .badFormat, "Format \(blob.format) is not known here.")
        }
        let limit = VMLimits.maximumDimension
        let (width, height) = (blob.size.width, blob.size.height)
        guard (1...limit).contains(width), (1...limit).contains(height), !blob.hasMorePlanes,
            UInt64(blob.stride) >= UInt64(width) * 4, blob.stride <= UInt32(Int32.max),
            UInt64(blob.offset) + UInt64(blob.stride) * UInt64(height) <= bytes
        else {
            throw Failure(
                .invalidParameter, .badLayout,
                "\(blob.size) with rows of \(blob.stride) bytes from byte \(blob.offset) is no part of \(bytes) bytes."
            )
        }
        return layout(
            blob.size, VirtioGPU.opaque(format), stride: blob.stride, offset: blob.offset)
    }

    private static func layout(
        _ size: Size, _ format: FourCC, stride: UInt32, offset: UInt32
    ) -> BufferLayout {
        BufferLayout(
            size: size, format: format, modifier: .linear, memory: .dmaBuf,
            planes: [PlaneLayout(descriptor: 0, offset: offset, stride: stride)])
    }

    /// Takes a scanout's window away.
    mutating func turnOff(_ number: Int, _ actions: inout [Action]) {
        guard scanouts[number].isOpen else { return }
        if scanouts[number].pointer.isOpen {
            actions.append(.destroySurface(Self.cursor(number)))
        }
        actions.append(.destroySurface(Self.window(number)))
        var pointer = scanouts[number].pointer
        pointer.isOpen = false
        pointer.hasImage = false
        scanouts[number] = Scanout()
        scanouts[number].pointer = pointer
        // Frames on it will not be shown any more.
        for index in deferred.indices {
            for target in deferred[index].targets.indices
            where deferred[index].targets[target].scanout == number {
                deferred[index].targets[target].isOver = true
            }
        }
        answerWhatIsDone(&actions)
    }

    mutating func turnOff(showing id: UInt32, _ actions: inout [Action]) {
        for number in scanouts.indices where scanouts[number].resource == id {
            turnOff(number, &actions)
        }
    }

    // MARK: Frames

    /// Shows what a resource holds wherever it is shown.
    ///
    /// - Returns: whether the answer is waiting.
    mutating func flush(
        _ id: UInt32, _ area: Rectangle, _ request: Request, _ actions: inout [Action]
    ) throws(Failure) -> Bool {
        let resource = try find(id)
        if case .picture(let size, _) = resource.kind, !area.fits(in: size) {
            throw Failure(
                .invalidParameter, .badValue, "The flush reaches outside a resource of \(size).")
        }
        var frames: [Shown] = []
        var layout: BufferLayout?
        for number in scanouts.indices where scanouts[number].resource == id {
            guard let own = scanouts[number].layout,
                let damage = Self.common(area, scanouts[number].area)
            else { continue }
            // One buffer has one layout; scanouts of one blob in several are shown one at a time.
            guard layout == nil || layout == own else { continue }
            layout = own
            lastSequence += 1
            let isWhole = scanouts[number].area == Rectangle(own.size)
            frames.append(
                Shown(
                    surface: Self.window(number), sequence: FrameSequence(lastSequence),
                    crop: isWhole ? nil : scanouts[number].area,
                    damage: scanouts[number].isChanged ? nil : damage))
        }
        guard let layout, !frames.isEmpty else { return false }
        let buffer = try buffer(id, layout, isCursor: false, &actions)
        var changed = resource.dirty
        changed.add(area.clipped(to: layout.size))
        resources[id]?.dirty = .none
        for frame in frames {
            guard let number = Self.scanout(of: frame.surface) else { continue }
            scanouts[number].isChanged = false
            scanouts[number].uses.append(
                Scanout.Use(buffer: buffer, sequence: frame.sequence))
        }
        actions.append(.show(buffer, changed: changed, frames))
        guard request.header.isFenced else { return false }
        sawFence()
        guard deferred.count < limits.deferred else { return false }
        deferred.append(
            Deferred(
                token: request.token, answer: request.header.answer(.okNoData),
                deadline: request.now.addingReportingOverflow(limits.patience).partialValue,
                targets: frames.compactMap { frame in
                    Self.scanout(of: frame.surface).map {
                        Deferred.Target(
                            scanout: $0, sequence: frame.sequence, buffer: buffer)
                    }
                }))
        return true
    }

    /// A window wants its picture again, since the last one was let go unseen: it is shown whole, without a word of the
    /// guest's. Of a cursor or a window that is gone nothing is wanted.
    package mutating func wantsFrame(_ surface: SurfaceKey, _ actions: inout [Action]) {
        guard let number = Self.scanout(of: surface), scanouts.indices.contains(number),
            let own = scanouts[number].layout,
            let buffer = try? buffer(scanouts[number].resource, own, isCursor: false, &actions)
        else { return }
        lastSequence += 1
        let isWhole = scanouts[number].area == Rectangle(own.size)
        let frame = Shown(
            surface: surface, sequence: FrameSequence(lastSequence),
            crop: isWhole ? nil : scanouts[number].area, damage: nil)
        scanouts[number].isChanged = false
        scanouts[number].uses.append(Scanout.Use(buffer: buffer, sequence: frame.sequence))
        actions.append(.show(buffer, changed: .whole, [frame]))
    }

    /// What two rectangles have in common; nil for nothing.
    static func common(_ a: Rectangle, _ b: Rectangle) -> Rectangle? {
        let left = max(a.x, b.x)
        let top = max(a.y, b.y)
        let right = min(UInt64(a.x) + UInt64(a.width), UInt64(b.x) + UInt64(b.width))
        let bottom = min(UInt64(a.y) + UInt64(a.height), UInt64(b.y) + UInt64(b.height))
        guard right > UInt64(left), bottom > UInt64(top) else { return nil }
        return Rectangle(
            x: left, y: top, width: UInt32(right - UInt64(left)),
            height: UInt32(bottom - UInt64(top)))
    }

    /// Where a window's picture lies on the guest's desktop, and how large that is; nil for a window that is gone. A guest puts its screens
    /// side by side, as it is told in the display info, unless its own settings say otherwise.
    package func place(of surface: SurfaceKey) -> (left: UInt32, desktop: Size)? {
        guard let wanted = Self.scanout(of: surface), scanouts[wanted].isOpen else { return nil }
        var desktop = Size.zero
        var left: UInt32 = 0
        for (number, scanout) in scanouts.enumerated() where scanout.isOpen {
            if number == wanted { left = desktop.width }
            desktop.width += scanout.area.width
            desktop.height = max(desktop.height, scanout.area.height)
        }
        return (left, desktop)
    }

    // MARK: Pointer images

    mutating func updateCursor(
        _ number: UInt32, _ id: UInt32, _ hotX: UInt32, _ hotY: UInt32, _ actions: inout [Action]
    ) throws(Failure) {
        let scanout = try scanoutNumber(number)
        guard id != 0 else { return hidePointer(scanout, &actions) }
        guard case .picture(let size, _) = try find(id).kind else {
            throw Failure(.invalidResource, .badValue, "Resource \(id) is a blob.")
        }
        guard size.width <= 512, size.height <= 512 else {
            throw Failure(
                .invalidParameter, .badValue, "A pointer image of \(size): 512x512 is the most.")
        }
        scanouts[scanout].pointer.resource = id
        scanouts[scanout].pointer.hotX = min(hotX, size.width - 1)
        scanouts[scanout].pointer.hotY = min(hotY, size.height - 1)
        guard scanouts[scanout].isOpen else { return }
        try present(pointer: scanout, &actions)
    }

    /// As far as it can be shown: its pages may be gone since.
    private mutating func showPointer(_ scanout: Int, _ actions: inout [Action]) {
        do throws(Failure) {
            try present(pointer: scanout, &actions)
        } catch {
            scanouts[scanout].pointer.resource = 0
        }
    }

    private mutating func present(
        pointer scanout: Int, _ actions: inout [Action]
    ) throws(Failure) {
        let pointer = scanouts[scanout].pointer
        guard case .picture(let size, let format) = try find(pointer.resource).kind else { return }
        let layout = Self.layout(size, format, stride: size.width * 4, offset: 0)
        let buffer = try buffer(pointer.resource, layout, isCursor: true, &actions)
        let surface = Self.cursor(scanout)
        if pointer.isOpen {
            actions.append(.moveHotSpot(surface, hotX: pointer.hotX, hotY: pointer.hotY))
        } else {
            actions.append(
                .createCursor(
                    surface, of: Self.window(scanout), hotX: pointer.hotX, hotY: pointer.hotY))
        }
        scanouts[scanout].pointer.isOpen = true
        scanouts[scanout].pointer.hasImage = true
        lastSequence += 1
        resources[pointer.resource]?.dirty = .none
        actions.append(
            .show(
                buffer, changed: .whole,
                [Shown(surface: surface, sequence: FrameSequence(lastSequence))]))
    }

    /// A pointer that was shown is hidden. Before the first image the host's own pointer stays: a console never sets one.
    private mutating func hidePointer(_ scanout: Int, _ actions: inout [Action]) {
        scanouts[scanout].pointer.resource = 0
        guard scanouts[scanout].pointer.hasImage else { return }
        scanouts[scanout].pointer.hasImage = false
        let surface = Self.cursor(scanout)
        actions.append(.destroySurface(surface))
        actions.append(.createCursor(surface, of: Self.window(scanout), hotX: 0, hotY: 0))
    }

    // MARK: Feedback

    /// The compositor is ready for the next frame after this one.
    package mutating func frameCallback(
        _ surface: SurfaceKey, _ sequence: FrameSequence, _ actions: inout [Action]
    ) {
        guard let scanout = Self.scanout(of: surface) else { return }
        scanouts[scanout].calledBack = max(scanouts[scanout].calledBack, sequence)
        answerWhatIsDone(&actions)
    }

    /// A use of a buffer ended; for a frame that was not shown that is its end too.
    package mutating func released(
        _ surface: SurfaceKey, _ sequence: FrameSequence, _ outcome: UseOutcome,
        _ actions: inout [Action]
    ) {
        guard let scanout = Self.scanout(of: surface) else { return }
        scanouts[scanout].uses.removeAll { $0.sequence == sequence }
        if outcome != .shown { markOver(scanout, sequence) }
        answerWhatIsDone(&actions)
    }

    /// A frame was committed and will never be seen.
    package mutating func discarded(
        _ surface: SurfaceKey, _ sequence: FrameSequence, _ actions: inout [Action]
    ) {
        guard let scanout = Self.scanout(of: surface) else { return }
        markOver(scanout, sequence)
        answerWhatIsDone(&actions)
    }

    /// When `tick` is due; nil when no answer waits.
    package var nextDeadline: UInt64? { deferred.lazy.map(\.deadline).min() }

    /// Answers what has waited long enough.
    package mutating func tick(now: UInt64, _ actions: inout [Action]) {
        answer(&actions) { $0.deadline <= now }
    }

    /// Answers everything that waits: the queue is being stopped.
    package mutating func answerAll(_ actions: inout [Action]) { answer(&actions) { _ in true } }

    private mutating func markOver(_ scanout: Int, _ sequence: FrameSequence) {
        for index in deferred.indices {
            for target in deferred[index].targets.indices
            where deferred[index].targets[target].scanout == scanout
                && deferred[index].targets[target].sequence == sequence
            {
                deferred[index].targets[target].isOver = true
            }
        }
    }

    private mutating func answerWhatIsDone(_ actions: inout [Action]) {
        guard !deferred.isEmpty else { return }
        let scanouts = scanouts
        answer(&actions) { waiting in
            waiting.targets.allSatisfy { target in
                let scanout = scanouts[target.scanout]
                return target.isOver
                    || scanout.calledBack >= target.sequence
                        && !scanout.uses.contains {
                            $0.sequence < target.sequence && $0.buffer != target.buffer
                        }
            }
        }
    }

    private mutating func answer(
        _ actions: inout [Action], _ isDone: (Deferred) -> Bool
    ) {
        guard deferred.contains(where: isDone) else { return }
        for waiting in deferred where isDone(waiting) {
            actions.append(.answer(waiting.token, waiting.answer))
        }
        deferred.removeAll(where: isDone)
    }
}
