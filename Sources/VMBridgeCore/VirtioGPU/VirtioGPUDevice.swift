/// A virtio-gpu with 2D and guest-memory blob resources (virtio 1.2 §5.7): commands and feedback in, answers and actions out. Pure: the
/// caller brings the bytes, the clock and the map of the guest's memory.
///
/// A resource's pages become a buffer when a scanout or a cursor first shows it; transfers then are only notes of what changed. A fenced
/// flush is answered when its frame had its callback and what was shown before is released, at the latest after `Limits.patience`.
package struct VirtioGPUDevice: Sendable {
    /// What it may have.
    package var limits: Limits
    var resources: [UInt32: Resource] = [:]
    var scanouts: [Scanout]
    var deferred: [Deferred] = []
    private var windowSizes: [Size?]
    private var bytes: UInt64 = 0
    private var ranges = 0
    private var lastBuffer: UInt64 = 0
    var lastSequence: UInt64 = 0
    /// A flush with a fence came since the last reset: the guest is paced by our answers.
    package private(set) var isPaced = false

    /// What a guest is told before its window has a size.
    package static let defaultSize = Size(width: 1280, height: 800)
    private static let longestSide: UInt32 = 8192

    /// A device without resources.
    package init(limits: Limits = Limits()) {
        self.limits = limits
        scanouts = Array(repeating: Scanout(), count: VirtioGPU.maximumScanouts)
        windowSizes = Array(repeating: nil, count: VirtioGPU.maximumScanouts)
    }

    /// The surface of a scanout's window.
    package static func window(_ scanout: Int) -> SurfaceKey { SurfaceKey(UInt64(scanout) + 1) }
    /// The surface of its pointer image.
    package static func cursor(_ scanout: Int) -> SurfaceKey {
        SurfaceKey(UInt64(scanout) + 0x101)
    }
    /// The scanout of a window; nil for any other surface.
    package static func scanout(of surface: SurfaceKey) -> Int? {
        (1...UInt64(VirtioGPU.maximumScanouts)).contains(surface.value)
            ? Int(surface.value) - 1 : nil
    }

    /// Resources, runs of pages and waiting answers at the moment.
    package var holdings: (resources: Int, ranges: Int, bytes: UInt64, deferred: Int) {
        (resources.count, ranges, bytes, deferred.count)
    }

    // MARK: Commands

    /// Takes a command.
    ///
    /// - Parameters:
    ///   - command: what the guest gave to read.
    ///   - isCursorQueue: of which queue it is; each has commands of its own.
    ///   - token: by which it is answered, at once or later.
    ///   - memory: the guest's RAM.
    ///   - now: nanoseconds of the caller's clock.
    ///   - actions: what is to be done is appended.
    package mutating func receive(
        _ command: [UInt8], isCursorQueue: Bool, token: Token, memory: MemoryMap, now: UInt64,
        _ actions: inout [Action]
    ) {
        guard let header = VirtioGPUHeader(command.span) else {
            actions.append(
                .refused(
                    "command", object: 0,
                    Refusal(.badValue, "A command of \(command.count) bytes has no header.")))
            actions.append(.answer(token, []))
            return
        }
        var object: UInt64 = 0
        do throws(Failure) {
            let parsed: VirtioGPUCommand
            do throws(Refusal) {
                parsed = try VirtioGPUCommand(header.type, command.span)
            } catch {
                throw Failure(
                    error.reason == .unsupported ? .unspecified : .invalidParameter, error)
            }
            object = parsed.object
            guard parsed.isOfCursorQueue == isCursorQueue else {
                throw Failure(
                    .unspecified, .unsupported, "It came on the other queue than its own.")
            }
            let request = Request(header: header, token: token, now: now)
            try perform(parsed, request, memory, &actions)
        } catch {
            actions.append(
                .refused(
                    VirtioGPUCommandType.name(header.type), object: object, error.refusal))
            actions.append(.answer(token, header.answer(error.response)))
        }
    }

    /// A command's head and what its answer needs.
    struct Request {
        var header: VirtioGPUHeader
        var token: Token
        var now: UInt64
    }

    private mutating func perform(
        _ command: VirtioGPUCommand, _ request: Request, _ memory: MemoryMap,
        _ actions: inout [Action]
    ) throws(Failure) {
        var answer = VirtioGPUResponse.okNoData
        var payload: [UInt8] = []
        switch command {
        case .getDisplayInfo:
            (answer, payload) = (.okDisplayInfo, displayInfo())
        case .getEDID(let scanout):
            (answer, payload) = (.okEDID, try edid(scanout))
        case .createResource(let id, let format, let size):
            try create(id, format, size)
        case .createBlob(let id, let kind, let size, let list):
            try createBlob(id, kind, size, list, memory)
        case .unref(let id):
            _ = try find(id)
            turnOff(showing: id, &actions)
            letGo(id, &actions)
            resources[id] = nil
        case .attach(let id, let list): try attach(id, list, memory)
        case .detach(let id):
            guard try find(id).backing != nil else {
                throw Failure(.unspecified, .unknownObject, "Resource \(id) has no pages.")
            }
            letGo(id, &actions)
        case .transfer(let id, let area, let offset): try transfer(id, area, offset)
        case .setScanout(let number, let id, let area):
            try setScanout(number, id, area, nil, &actions)
        case .setScanoutBlob(let number, let id, let area, let layout):
            try setScanout(number, id, area, layout, &actions)
        case .flush(let id, let area):
            if try flush(id, area, request, &actions) { return }
        case .capsets:
            throw Failure(.invalidParameter, .unsupported, "There are no capability sets.")
        case .updateCursor(let number, let id, let hotX, let hotY):
            try updateCursor(number, id, hotX, hotY, &actions)
        case .moveCursor(let number): _ = try scanoutNumber(number)
        }
        actions.append(.answer(request.token, request.header.answer(answer) + payload))
    }

    func scanoutNumber(_ number: UInt32) throws(Failure) -> Int {
        guard number < UInt32(scanouts.count) else {
            throw Failure(
                .invalidScanout, .unknownObject,
                "There is no scanout \(number) among \(scanouts.count).")
        }
        return Int(number)
    }

    func find(_ id: UInt32) throws(Failure) -> Resource {
        guard let resource = resources[id] else {
            throw Failure(.invalidResource, .unknownObject, "There is no resource \(id).")
        }
        return resource
    }

    // MARK: Displays

    private func size(of scanout: Int) -> Size {
        let size = windowSizes[scanout] ?? Self.defaultSize
        return Size(
            width: min(max(size.width, 64), Self.longestSide),
            height: min(max(size.height, 64), Self.longestSide))
    }

    /// All are there, side by side: how many of them the guest has is the VMM's choice.
    private func displayInfo() -> [UInt8] {
        var bytes: [UInt8] = []
        var left: UInt32 = 0
        for scanout in scanouts.indices {
            let size = size(of: scanout)
            for value in [left, 0, size.width, size.height, 1, 0] { bytes.put32(value) }
            left += size.width
        }
        return bytes
    }

    private func edid(_ number: UInt32) throws(Failure) -> [UInt8] {
        let size = size(of: try scanoutNumber(number))
        var bytes: [UInt8] = []
        bytes.put32(UInt32(EDID.bytes))
        bytes.put32(0)
        bytes += EDID.block(size)
        bytes += [UInt8](repeating: 0, count: 1024 - EDID.bytes)
        return bytes
    }

    /// The window of a surface has this size now: what the guest is told when it asks next.
    package mutating func configured(_ surface: SurfaceKey, _ size: Size) {
        guard let scanout = Self.scanout(of: surface), size.width > 0, size.height > 0 else {
            return
        }
        windowSizes[scanout] = size
    }

    // MARK: Resources

    private func mayCreate(_ id: UInt32) throws(Failure) {
        guard id != 0 else {
            throw Failure(.invalidResource, .badValue, "Resource 0 stands for none.")
        }
        guard resources[id] == nil else {
            throw Failure(.invalidResource, .identifierInUse, "Resource \(id) exists.")
        }
        guard resources.count < limits.resources else {
            throw Failure(
                .outOfMemory, .tooManyBuffers,
                "There are \(limits.resources) resources, the most allowed.")
        }
    }

    private mutating func create(
        _ id: UInt32, _ format: UInt32, _ size: Size
    ) throws(Failure) {
        try mayCreate(id)
        guard let fourCC = VirtioGPU.fourCC(format) else {
            throw Failure(.invalidParameter, .badFormat, "Format \(format) is not known here.")
        }
        let limit = VMLimits.maximumDimension
        guard (1...limit).contains(size.width), (1...limit).contains(size.height) else {
            throw Failure(
                .invalidParameter, .badValue, "A resource of \(size): sides go from 1 to \(limit).")
        }
        resources[id] = Resource(kind: .picture(size, fourCC))
    }

    private mutating func createBlob(
        _ id: UInt32, _ kind: UInt32, _ size: UInt64, _ list: [GuestRange], _ memory: MemoryMap
    ) throws(Failure) {
        try mayCreate(id)
        guard kind == VirtioGPU.guestBlob else {
            throw Failure(
                .invalidParameter, .unsupported, "Only blobs of guest memory are served.")
        }
        var resource = Resource(kind: .blob(size))
        try book(list, memory, &resource)
        guard size > 0, size <= resource.backingBytes else {
            unbook(resource)
            throw Failure(
                .invalidParameter, .badLayout,
                "A blob of \(size) bytes has pages for \(resource.backingBytes).")
        }
        resources[id] = resource
    }

    private mutating func attach(
        _ id: UInt32, _ list: [GuestRange], _ memory: MemoryMap
    ) throws(Failure) {
        var resource = try find(id)
        guard resource.backing == nil else {
            throw Failure(.unspecified, .identifierInUse, "Resource \(id) has pages already.")
        }
        try book(list, memory, &resource)
        resources[id] = resource
    }

    /// Checks a page list and counts it against the budgets.
    private mutating func book(
        _ list: [GuestRange], _ memory: MemoryMap, _ resource: inout Resource
    ) throws(Failure) {
        guard !list.isEmpty else {
            throw Failure(.invalidParameter, .badValue, "A page list has no entry.")
        }
        var sum: UInt64 = 0
        for range in list {
            let (next, overflow) = sum.addingReportingOverflow(range.length)
            guard !overflow, next <= limits.bytes - bytes else {
                throw Failure(
                    .outOfMemory, .tooManyBytes,
                    "Resources have \(bytes) bytes, and at most \(limits.bytes).")
            }
            sum = next
        }
        guard ranges + list.count <= limits.ranges else {
            throw Failure(
                .outOfMemory, .tooManyBuffers,
                "Page lists have \(ranges) runs of pages, and at most \(limits.ranges).")
        }
        do throws(Refusal) {
            _ = try memory.pieces(of: list)
        } catch {
            throw Failure(.invalidParameter, error)
        }
        bytes += sum
        ranges += list.count
        resource.backing = list
        resource.backingBytes = sum
    }

    private mutating func unbook(_ resource: Resource) {
        bytes -= resource.backingBytes
        ranges -= resource.backing?.count ?? 0
    }

    /// Forgets a resource's pages and the buffers over them.
    private mutating func letGo(_ id: UInt32, _ actions: inout [Action]) {
        guard var resource = resources[id] else { return }
        unbook(resource)
        for buffer in [resource.window, resource.cursor] {
            if let buffer { actions.append(.destroyBuffer(buffer.key)) }
        }
        resource.backing = nil
        resource.backingBytes = 0
        resource.window = nil
        resource.cursor = nil
        resources[id] = resource
        for number in scanouts.indices where scanouts[number].resource == id {
            scanouts[number].isChanged = true
        }
        for number in scanouts.indices where scanouts[number].pointer.resource == id {
            // Its image stays until there is another.
            scanouts[number].pointer.resource = 0
        }
    }

    private mutating func transfer(
        _ id: UInt32, _ area: Rectangle, _ offset: UInt64
    ) throws(Failure) {
        let resource = try find(id)
        guard case .picture(let size, _) = resource.kind else {
            throw Failure(.invalidResource, .badValue, "Resource \(id) is a blob.")
        }
        guard resource.backing != nil else {
            throw Failure(.unspecified, .unknownObject, "Resource \(id) has no pages.")
        }
        guard area.fits(in: size) else {
            throw Failure(
                .invalidParameter, .badValue, "The transfer reaches outside a resource of \(size).")
        }
        // The pages are shown where they are: they cannot be moved about.
        let place = (UInt64(area.y) * UInt64(size.width) + UInt64(area.x)) * 4
        guard offset == place else {
            throw Failure(
                .invalidParameter, .unsupported,
                "The transfer takes its pixels from byte \(offset), their place is \(place).")
        }
        resources[id]?.dirty.add(area)
    }

    /// The buffer of a resource in that layout, made if it is not there.
    mutating func buffer(
        _ id: UInt32, _ layout: BufferLayout, isCursor: Bool, _ actions: inout [Action]
    ) throws(Failure) -> BufferKey {
        let resource = try find(id)
        if let known = isCursor ? resource.cursor : resource.window {
            if known.layout == layout { return known.key }
            actions.append(.destroyBuffer(known.key))
        }
        guard let backing = resource.backing, let plane = layout.planes.first,
            UInt64(plane.offset) + UInt64(plane.stride) * UInt64(layout.size.height)
                <= resource.backingBytes
        else {
            if isCursor { resources[id]?.cursor = nil } else { resources[id]?.window = nil }
            throw Failure(
                .unspecified, .badLayout,
                "Resource \(id) of \(layout.size) has pages for \(resource.backingBytes) bytes.")
        }
        lastBuffer += 1
        let buffer = Buffer(key: BufferKey(lastBuffer), layout: layout)
        if isCursor { resources[id]?.cursor = buffer } else { resources[id]?.window = buffer }
        actions.append(.createBuffer(buffer.key, layout, backing))
        return buffer.key
    }

    // MARK: Reset

    /// The guest's driver begins anew, or is gone: everything that it made goes, with its windows. What windows were sized to stays known,
    /// and no key or sequence comes again.
    package mutating func reset(_ actions: inout [Action]) {
        deferred.removeAll()
        for number in scanouts.indices { turnOff(number, &actions) }
        for id in resources.keys.sorted() { letGo(id, &actions) }
        resources.removeAll()
        isPaced = false
    }

    mutating func sawFence() { isPaced = true }
}

extension VirtioGPUCommand {
    /// The resource or scanout that a refusal names.
    var object: UInt64 {
        switch self {
        case .getDisplayInfo, .capsets: 0
        case .createResource(let id, _, _), .unref(let id), .flush(let id, _),
            .transfer(let id, _, _), .attach(let id, _), .detach(let id),
            .createBlob(let id, _, _, _):
            UInt64(id)
        case .setScanout(let number, _, _), .getEDID(let number),
            .setScanoutBlob(let number, _, _, _), .updateCursor(let number, _, _, _),
            .moveCursor(let number):
            UInt64(number)
        }
    }

    /// Whether it belongs on the cursor queue.
    var isOfCursorQueue: Bool {
        switch self {
        case .updateCursor, .moveCursor: true
        default: false
        }
    }
}
