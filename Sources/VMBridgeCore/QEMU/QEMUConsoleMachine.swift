/// What is to be done for one console, in order.
public enum QEMUConsoleAction: Sendable {
    /// The console has a picture: make its surface.
    case createSurface
    /// It has none any more.
    case destroySurface
    /// Make room for a picture that comes as bytes; what was there is forgotten.
    case makeCanvas(QEMUPicture)
    /// Make more room and keep what it shows.
    case growCanvas(QEMUPicture)
    /// There is none any more.
    case dropCanvas
    /// Copy the call's bytes into the canvas.
    case write(QEMUCopy)
    /// Make a buffer of ours as large as the canvas.
    case createCanvasBuffer(BufferKey, BufferLayout)
    /// Copy a part of the canvas into such a buffer.
    case fill(BufferKey, Damage)
    /// Make a buffer of the call's descriptors.
    case createBuffer(BufferKey, BufferLayout)
    /// The buffer is not needed any more.
    case destroyBuffer(BufferKey)
    /// Show a buffer.
    case frame(BufferKey, FrameSequence, Damage, crop: Rectangle?, waitsForMemory: Bool)
    /// Answer a call that was put off.
    case answer(QEMUCallID)
}

/// A call whose answer is put off.
public struct QEMUCallID: Hashable, Sendable {
    /// Its number.
    public var value: UInt64
    /// A number of the caller's choice.
    public init(_ value: UInt64) { self.value = value }
}

/// How a console's picture comes.
public enum QEMUPath: String, Sendable {
    /// Not at all.
    case none = "none"
    /// As bytes in messages: one copy by QEMU, two by us.
    case bytes = "bytes"
    /// In memory that QEMU shares.
    case map = "shared memory"
    /// In dma-bufs.
    case dmaBuf = "dma-buf"
}

/// One console of QEMU: from the listener's calls to buffers and frames, and from feedback to answers. Pure: the caller
/// brings the clock, and performs what it is told.
///
/// Pictures that come as bytes or in shared memory are shown at the compositor's pace: QEMU waits for nobody there.
/// Where it waits (UpdateDMABUF), each call is a frame, and its answer holds the guest to that pace.
public struct QEMUConsoleMachine: Sendable {
    /// The latest answer to UpdateDMABUF, and the longest wait for the compositor: a hidden window is never ready.
    public static let answerLimit: UInt64 = 40_000_000
    /// How long after Disable another picture may come; without one there is none.
    public static let disableDelay: UInt64 = 250_000_000
    /// How long a new picture in dma-bufs is kept for the update that follows it.
    public static let updateDelay: UInt64 = 40_000_000
    /// How long a Scanout's size may differ from the one announced. The two come by two connections: a Scanout that is
    /// older than the announcement may be read behind it, and nothing else will come that tells the size.
    public static let agreementDelay: UInt64 = 300_000_000

    private enum Content: Sendable {
        case none
        /// What there is room for, and what of its upper left corner is shown.
        case bytes(QEMUPicture, shown: Size)
        case map(BufferKey, Size)
        case dmaBuf(BufferKey, Size, crop: Rectangle?)
    }

    private var content = Content.none
    private var hasSurface = false
    private var dirty = Damage.none
    private var cache = QEMUBufferCache()
    private var slots = QEMUCanvasSlots()
    private var nextKey: UInt64
    private var sequence: UInt64 = 0
    /// The buffer of the last frame.
    private var shown: BufferKey?
    /// The last frame, while the compositor is not ready for another; and until when it is waited for.
    private var inFlight: (sequence: FrameSequence, deadline: UInt64)?
    /// The call that the guest waits for, the frame that answers it, and when it is answered at the latest.
    private var waiting: (call: QEMUCallID, sequence: FrameSequence, deadline: UInt64)?
    private var disableAt: UInt64?
    /// The next Disable is about the picture before this one: QEMU tells of the new one first, then that the old goes.
    private var awaitsDisable = false
    /// This picture in dma-bufs was taken back, and the one in its place did not come: with its Disable, QEMU 10.0
    /// throws away whatever it has not sent yet, a ScanoutDMABUF of a moment ago as well, and tells updates of it.
    private var isReplacementLost = false
    /// It did come, and was refused: that is not QEMU's loss.
    private var isReplacementRefused = false
    /// How many updates were about a picture that did not come.
    public private(set) var lostPictures: UInt64 = 0
    private var showAt: UInt64?
    /// What QEMU said last of the picture's size, and when that counts if the picture that came has another.
    private var announced: Size?
    private var agreeAt: UInt64?

    /// A console without a picture.
    ///
    /// - Parameter firstKey: the first of 2³² keys for its buffers.
    public init(firstKey: UInt64) { nextKey = firstKey }

    /// Size of the picture that the guest shows; zero without one.
    public var size: Size {
        switch content {
        case .none: .zero
        case .bytes(_, let shown): shown
        case .map(_, let size), .dmaBuf(_, let size, _): size
        }
    }

    /// How the picture comes.
    public var path: QEMUPath {
        switch content {
        case .none: .none
        case .bytes: .bytes
        case .map: .map
        case .dmaBuf: .dmaBuf
        }
    }

    /// When `timeCame` has something to do; nil for never.
    public var deadline: UInt64? {
        let flight = isDirty ? inFlight?.deadline : nil
        return [flight, waiting?.deadline, disableAt, showAt, agreeAt].compactMap { $0 }.min()
    }

    private var isDirty: Bool { !dirty.isEmpty }

    private mutating func makeKey() -> BufferKey {
        defer { nextKey += 1 }
        return BufferKey(nextKey)
    }

    // MARK: Calls

    /// Takes a call.
    ///
    /// - Parameters:
    ///   - memory: which files its descriptors are of, in order.
    ///   - id: names it, for an answer later.
    ///   - layout: what the kernel knows better about the layout of the call's descriptors; refuses those that no
    ///     buffer can be made of. Asked before anything changes: a picture that cannot be shown does not take away the
    ///     one that is.
    /// - Returns: what is to be done, and whether it is answered at once.
    /// - Throws: what is wrong with it; nothing is to be done then, and it is answered with an error.
    public mutating func take(
        _ call: QEMUListenerCall, memory: [QEMUMemoryName] = [], id: QEMUCallID, now: UInt64,
        layout: (BufferLayout) throws(Refusal) -> BufferLayout
    ) throws(Refusal) -> (actions: [QEMUConsoleAction], isAnswered: Bool) {
        switch call {
        case .scanout(let width, let height, let stride, let pixman, let bytes):
            let picture = try QEMUPicture(
                width: width, height: height, stride: stride, pixman: pixman)
            try picture.require(bytes)
            return (scanout(picture, now), true)
        case .update(let area, let stride, let pixman, let bytes):
            return (try update(area, stride, pixman, bytes), true)
        case .scanoutMap(let offset, let width, let height, let stride, let pixman):
            let picture = try QEMUPicture(
                width: width, height: height, stride: stride, pixman: pixman)
            return (try map(picture, offset, memory, layout), true)
        case .updateMap(let area):
            guard case .map(_, let size) = content else { throw Self.noPicture("UpdateMap") }
            try add(area, size)
            return ([], true)
        case .scanoutDMABUF(let picture):
            isReplacementRefused = true
            return (try scanout(picture, memory, now, layout), true)
        case .updateDMABUF(let area): return try update(area, id, now)
        case .disable:
            if hasSurface { disableAt = now + Self.disableDelay }
            if path == .dmaBuf, !awaitsDisable { isReplacementLost = true }
            awaitsDisable = false
            return ([], true)
        case .mouseSet, .cursorDefine: return ([], true)
        }
    }

    private static func noPicture(_ call: String) -> Refusal {
        Refusal(.unknownObject, "\(call) is about a picture that did not come that way.")
    }

    private mutating func add(_ area: QEMUArea, _ size: Size) throws(Refusal) {
        let rectangle = try QEMURectangle(
            x: area.x, y: area.y, width: area.width, height: area.height, in: size)
        if let rectangle { dirty.add(rectangle.inside) }
    }

    /// There is a picture: whatever was off is on.
    private mutating func begin() -> [QEMUConsoleAction] {
        disableAt = nil
        guard !hasSurface else { return [] }
        hasSurface = true
        return [.createSurface]
    }

    // MARK: Bytes

    private mutating func scanout(_ picture: QEMUPicture, _ now: UInt64) -> [QEMUConsoleAction] {
        var actions = begin()
        var own = picture
        own.stride = picture.size.width * picture.pixelBytes
        // Rows of a shared pool begin at multiples of four bytes.
        own.stride += own.stride % 4
        var isSame = false
        if case .bytes(own, own.size) = content { isSame = true }
        if !isSame {
            actions += leaveContent(for: .bytes)
            content = .bytes(own, shown: own.size)
            actions.append(.makeCanvas(own))
        }
        dirty = .whole
        let isOther = announced.map { $0 != own.size } ?? false
        agreeAt = isOther ? now + Self.agreementDelay : nil
        let copy = QEMUCopy(
            target: Rectangle(picture.size), start: 0, stride: Int(picture.stride),
            rowBytes: Int(picture.size.width * picture.pixelBytes))
        actions.append(.write(copy))
        return actions
    }

    private mutating func update(
        _ area: QEMUArea, _ stride: UInt32, _ pixman: UInt32, _ bytes: Int
    ) throws(Refusal) -> [QEMUConsoleAction] {
        guard case .bytes(var picture, let shown) = content else {
            throw Self.noPicture("Update")
        }
        guard area.width > 0, area.height > 0 else {
            throw Refusal(.badValue, "Update is \(area.width) wide and \(area.height) high.")
        }
        let part = try QEMUPicture(
            width: UInt32(area.width), height: UInt32(area.height), stride: stride, pixman: pixman)
        guard part.format == picture.format else {
            throw Refusal(
                .badFormat, "Update has the format \(part.format), its picture \(picture.format).")
        }
        try part.require(bytes)
        var actions: [QEMUConsoleAction] = []
        if let larger = try Self.grown(picture, to: area) {
            picture = larger
            content = .bytes(larger, shown: shown)
            actions.append(.growCanvas(larger))
        }
        guard
            let rectangle = try QEMURectangle(
                x: area.x, y: area.y, width: area.width, height: area.height, in: picture.size)
        else { return actions }
        dirty.add(rectangle.inside.clipped(to: shown))
        disableAt = nil
        let skipped = rectangle.skipped
        let copy = QEMUCopy(
            target: rectangle.inside,
            start: Int(skipped.rows) * Int(stride) + Int(skipped.columns) * Int(part.pixelBytes),
            stride: Int(stride), rowBytes: Int(rectangle.inside.width) * Int(part.pixelBytes))
        return actions + [.write(copy)]
    }

    /// Room for what lies right of a picture or below it: after a change of mode QEMU (7.2.22, 10.0) sends no Scanout
    /// before something draws all of the screen, and its word on the new size comes by another connection, sooner or
    /// later.
    ///
    /// - Returns: nil when it has room.
    private static func grown(
        _ picture: QEMUPicture, to area: QEMUArea
    ) throws(Refusal) -> QEMUPicture? {
        let right = Int64(area.x) + Int64(area.width)
        let bottom = Int64(area.y) + Int64(area.height)
        let width = max(Int64(picture.size.width), right)
        let height = max(Int64(picture.size.height), bottom)
        guard width > picture.size.width || height > picture.size.height else { return nil }
        return try sized(
            picture, try QEMUPicture.size(UInt32(clamping: width), UInt32(clamping: height)))
    }

    /// The same format with another size, within bounds.
    private static func sized(
        _ picture: QEMUPicture, _ size: Size
    ) throws(Refusal) -> QEMUPicture {
        var result = picture
        result.size = size
        result.stride = size.width * picture.pixelBytes
        result.stride += result.stride % 4
        guard UInt64(result.stride) * UInt64(size.height) <= canvasLimit else {
            throw Refusal(.tooManyBytes, "A picture of \(size) is too large to come as bytes.")
        }
        return result
    }

    /// Bytes of the largest picture that comes as bytes: D-Bus's own limit on an array.
    static let canvasLimit: UInt64 = 64 << 20

    /// QEMU says how large the guest's picture is (properties Width and Height of its console).
    public mutating func announce(_ size: Size) -> [QEMUConsoleAction] {
        // A size that no picture may have is QEMU's fault and changes nothing.
        guard (try? QEMUPicture.size(size.width, size.height)) != nil else { return [] }
        announced = size
        agreeAt = nil
        guard case .bytes(let picture, let shown) = content, shown != size else { return [] }
        var actions = slots.keys.map { QEMUConsoleAction.destroyBuffer($0) }
        var room = picture
        if !Rectangle(size).fits(in: picture.size) {
            let both = Size(
                width: max(size.width, picture.size.width),
                height: max(size.height, picture.size.height))
            guard let larger = try? Self.sized(picture, both) else { return [] }
            room = larger
            actions.append(.growCanvas(larger))
        }
        slots.removeAll()
        content = .bytes(room, shown: size)
        dirty = .whole
        return actions
    }

    // MARK: Shared memory

    private mutating func map(
        _ picture: QEMUPicture, _ offset: UInt32, _ memory: [QEMUMemoryName],
        _ known: (BufferLayout) throws(Refusal) -> BufferLayout
    ) throws(Refusal) -> [QEMUConsoleAction] {
        guard memory.count == 1 else {
            throw Refusal(.badDescriptor, "ScanoutMap came with \(memory.count) descriptors.")
        }
        let layout = BufferLayout(
            size: picture.size, format: picture.format, modifier: .linear, memory: .memfd,
            planes: [PlaneLayout(descriptor: 0, offset: offset, stride: picture.stride)])
        let name = QEMUBufferCache.Name(memory: memory, layout: layout)
        let own = cache.contains(name) ? layout : try known(layout)
        var actions = begin()
        if path != .map { actions += leaveContent(for: .map) }
        let (key, made) = buffer(name, own)
        actions += made
        content = .map(key, picture.size)
        dirty = .whole
        return actions
    }

    private mutating func buffer(
        _ name: QEMUBufferCache.Name, _ layout: BufferLayout
    ) -> (BufferKey, [QEMUConsoleAction]) {
        if let key = cache.find(name) { return (key, []) }
        let key = makeKey()
        let surplus = cache.insert(name, key)
        return (key, surplus.map { .destroyBuffer($0) } + [.createBuffer(key, layout)])
    }

    // MARK: dma-bufs

    private mutating func scanout(
        _ picture: QEMUDMABUF, _ memory: [QEMUMemoryName], _ now: UInt64,
        _ known: (BufferLayout) throws(Refusal) -> BufferLayout
    ) throws(Refusal) -> [QEMUConsoleAction] {
        guard memory.count == picture.descriptors, !memory.isEmpty else {
            throw Refusal(.badDescriptor, "A picture in dma-bufs came without its descriptors.")
        }
        let (layout, crop) = try picture.layout()
        let name = QEMUBufferCache.Name(memory: memory, layout: layout)
        let own = cache.contains(name) ? layout : try known(layout)
        var actions = begin()
        if path != .dmaBuf { actions += leaveContent(for: .dmaBuf) }
        let (key, made) = buffer(name, own)
        actions += made
        content = .dmaBuf(
            key, Size(width: picture.width, height: picture.height), crop: crop)
        dirty = .whole
        showAt = now + Self.updateDelay
        awaitsDisable = true
        isReplacementLost = false
        isReplacementRefused = false
        return actions
    }

    private mutating func update(
        _ area: QEMUArea, _ id: QEMUCallID, _ now: UInt64
    ) throws(Refusal) -> (actions: [QEMUConsoleAction], isAnswered: Bool) {
        guard case .dmaBuf(_, let size, _) = content else {
            throw Self.noPicture("UpdateDMABUF")
        }
        disableAt = nil
        awaitsDisable = false
        guard !isReplacementLost else {
            // The guest may draw into the buffer that we have: it was right when it was shown, and is not any more.
            if !isReplacementRefused { lostPictures += 1 }
            return (answerWaiting(), true)
        }
        try add(area, size)
        var actions = answerWaiting()
        guard let frame = show(now) else { return (actions, true) }
        actions.append(frame)
        waiting = (id, FrameSequence(sequence), now + Self.answerLimit)
        return (actions, false)
    }

    // MARK: Frames

    /// The next frame of memory that QEMU shares; nil when nothing changed.
    private mutating func show(_ now: UInt64) -> QEMUConsoleAction? {
        guard isDirty else { return nil }
        let key: BufferKey
        var part: Rectangle?
        var waits = false
        switch content {
        case .dmaBuf(let buffer, _, let crop):
            key = buffer
            part = crop
            waits = true
        case .map(let buffer, _): key = buffer
        case .none, .bytes: return nil
        }
        // Damage is counted in the buffer's pixels; another buffer may differ anywhere.
        let damage = shown == key && part == nil ? dirty : .whole
        return frame(key, damage, part, waits, now)
    }

    private mutating func frame(
        _ key: BufferKey, _ damage: Damage, _ crop: Rectangle?, _ waits: Bool, _ now: UInt64
    ) -> QEMUConsoleAction {
        sequence += 1
        shown = key
        dirty = .none
        showAt = nil
        let number = FrameSequence(sequence)
        inFlight = (number, now + Self.answerLimit)
        return .frame(key, number, damage, crop: crop, waitsForMemory: waits)
    }

    /// Called after each batch: shows what changed, as far as the compositor is ready.
    public mutating func settle(now: UInt64) -> [QEMUConsoleAction] {
        guard isDirty, hasSurface, inFlight == nil else { return [] }
        switch content {
        case .none, .dmaBuf: return []
        case .map: return show(now).map { [$0] } ?? []
        case .bytes(let picture, let shown):
            let damage = dirty
            guard slots.hasRoom else { return [] }
            var key = BufferKey(nextKey)
            guard let slot = slots.take(damage, { key }) else { return [] }
            var actions: [QEMUConsoleAction] = []
            if slot.isNew {
                key = makeKey()
                actions.append(.createCanvasBuffer(key, Self.layout(picture, shown)))
            }
            actions.append(.fill(slot.key, slot.stale))
            actions.append(frame(slot.key, damage, nil, false, now))
            return actions
        }
    }

    private static func layout(_ picture: QEMUPicture, _ size: Size) -> BufferLayout {
        var stride = size.width * picture.pixelBytes
        stride += stride % 4
        return BufferLayout(
            size: size, format: picture.format, modifier: .linear, memory: .memfd,
            planes: [PlaneLayout(descriptor: 0, offset: 0, stride: stride)])
    }

    // MARK: Feedback and time

    /// The compositor is ready for what follows a frame.
    public mutating func frameCallback(_ number: FrameSequence) -> [QEMUConsoleAction] {
        if let flight = inFlight, flight.sequence <= number { inFlight = nil }
        guard let waiting, waiting.sequence <= number else { return [] }
        return answerWaiting()
    }

    /// A use of a buffer ended.
    public mutating func released(
        _ key: BufferKey, _ number: FrameSequence, _ outcome: UseOutcome
    ) -> [QEMUConsoleAction] {
        slots.free(key)
        // Shown ones tell by their callback; all others never will.
        return outcome == .shown ? [] : frameCallback(number)
    }

    /// A frame never reached the screen: nobody is to wait for it.
    public mutating func discarded(_ number: FrameSequence) -> [QEMUConsoleAction] {
        frameCallback(number)
    }

    /// A buffer was refused: it does not exist.
    public mutating func bufferRefused(_ key: BufferKey) {
        cache.remove(key)
        slots.remove(key)
        switch content {
        case .map(key, _), .dmaBuf(key, _, _):
            content = .none
            dirty = .none
            showAt = nil
        default: break
        }
    }

    /// The compositor wants a frame, since it holds none.
    public mutating func wantsFrame(now: UInt64) -> [QEMUConsoleAction] {
        guard path != .none else { return [] }
        dirty = .whole
        inFlight = nil
        if case .dmaBuf = content { return show(now).map { [$0] } ?? [] }
        return settle(now: now)
    }

    /// Time has passed.
    public mutating func timeCame(now: UInt64) -> [QEMUConsoleAction] {
        var actions: [QEMUConsoleAction] = []
        if let waiting, waiting.deadline <= now { actions += answerWaiting() }
        if let flight = inFlight, flight.deadline <= now { inFlight = nil }
        if let time = disableAt, time <= now { actions += switchOff() }
        if let time = showAt, time <= now {
            showAt = nil
            if let frame = show(now) { actions.append(frame) }
        }
        if let time = agreeAt, time <= now, let announced { actions += announce(announced) }
        return actions + settle(now: now)
    }

    private mutating func answerWaiting() -> [QEMUConsoleAction] {
        guard let call = waiting?.call else { return [] }
        waiting = nil
        return [.answer(call)]
    }

    /// Lets go of everything that the former way to show pictures had.
    private mutating func leaveContent(for path: QEMUPath) -> [QEMUConsoleAction] {
        var actions = answerWaiting()
        if case .bytes = content {
            if path != .bytes { actions.append(.dropCanvas) }
        }
        actions += (slots.keys + cache.keys).map { .destroyBuffer($0) }
        slots.removeAll()
        cache.removeAll()
        content = .none
        shown = nil
        dirty = .none
        showAt = nil
        agreeAt = nil
        awaitsDisable = false
        isReplacementLost = false
        return actions
    }

    /// There is no picture, or no QEMU.
    public mutating func switchOff() -> [QEMUConsoleAction] {
        disableAt = nil
        inFlight = nil
        var actions = leaveContent(for: .none)
        if hasSurface { actions.append(.destroySurface) }
        hasSurface = false
        return actions
    }
}
