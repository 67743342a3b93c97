/// The back end's side of vhost-user: negotiation, the memory table and the rings. Events in, actions out.
///
/// Every message comes from a front end that is not trusted. A refusal ends the connection: the protocol has no other way on
/// once the two sides disagree.
package struct VhostUserMachine: Sendable {
    /// What is to be done, in order. A descriptor is named by its place among those of the message.
    package enum Action: Sendable, Equatable {
        /// Send these bytes.
        case reply([UInt8])
        /// Take a new memory table; file `n` is the message's descriptor `n`. A failure is told by `memoryFailed`.
        case setMemory(MemoryMap)
        /// The ring's kick is this descriptor; nil for none.
        case setKick(ring: Int, descriptor: Int?)
        /// The ring's call is this descriptor; nil for none.
        case setCall(ring: Int, descriptor: Int?)
        /// The ring's error is this descriptor; nil for none.
        case setError(ring: Int, descriptor: Int?)
        /// Begin to serve the ring at that base, or, when it is being served, go on where it is by another layout.
        case start(ring: Int, VirtqueueLayout, base: UInt16, VirtioFeatures)
        /// Serve the ring no more; what was taken from it is answered first.
        case stop(ring: Int)
        /// Answer GET_VRING_BASE for the ring, which is stopped, by `baseReply`.
        case replyBase(ring: Int)
        /// The connection to the front end's own display.
        case takeDisplaySocket(descriptor: Int)
        /// Forget all that the guest made.
        case reset
        /// Success is to be told, once all the actions before were done.
        case acknowledge(VhostUserRequest)
    }

    private struct Ring: Sendable {
        var size: UInt32 = 0
        var base: UInt16 = 0
        var addresses: (descriptors: UInt64, used: UInt64, available: UInt64)?
        var hasKick = false
        var isEnabled = false
        var isStarted = false
    }

    private let offered: VirtioFeatures
    private let configuration: [UInt8]
    private var rings: [Ring]
    private var memory: MemoryMap?
    /// As acknowledged by the guest's driver.
    package private(set) var features: VirtioFeatures = []
    private var protocolFeatures: VhostUserProtocolFeatures = []

    /// What is offered of the protocol.
    package static let protocolOffer: VhostUserProtocolFeatures = [
        .multipleQueues, .replyAcknowledge, .configuration, .resetDevice,
    ]
    /// Transport features that nothing here could serve.
    private static let impossible: VirtioFeatures = [.accessPlatform, .packedRing, .inOrder]
    /// The device type's own bits.
    private static let deviceBits: UInt64 = (1 << 24) - 1 | 0xff << 50

    /// A connection that has said nothing.
    ///
    /// - Parameters:
    ///   - deviceFeatures: the device type's own feature bits to offer.
    ///   - rings: queues of the device.
    ///   - configuration: the device's configuration space, at most 256 bytes.
    package init(deviceFeatures: UInt64, rings: Int, configuration: [UInt8]) {
        offered = [
            .version1, .protocolFeatures, .indirectDescriptors, .eventIndex,
            VirtioFeatures(rawValue: deviceFeatures & Self.deviceBits),
        ]
        self.configuration = configuration
        self.rings = Array(repeating: Ring(), count: rings)
    }

    /// Whether a ring is being served.
    package func isStarted(_ ring: Int) -> Bool { rings[ring].isStarted }

    /// Takes a message.
    ///
    /// - Parameters:
    ///   - payload: exactly as long as the head says.
    ///   - descriptors: how many came with it.
    ///   - actions: what is to be done is appended.
    /// - Throws: the reason to end the connection; no action was appended then.
    package mutating func receive(
        _ header: VhostUserHeader, _ payload: [UInt8], descriptors: Int,
        _ actions: inout [Action]
    ) throws(Refusal) {
        guard let request = VhostUserRequest(rawValue: header.request) else {
            throw Refusal(.unsupported, "Request \(header.request) is not known here.")
        }
        guard payload.count == header.size else {
            throw Refusal(.malformed, "\(VhostUserRequest.name(header.request)) came cut short.")
        }
        let message = Message(request: request, payload: payload, descriptors: descriptors)
        let count = actions.count
        var hasReplied = false
        do throws(Refusal) {
            hasReplied = try perform(message, &actions)
        } catch {
            actions.removeLast(actions.count - count)
            throw error
        }
        if header.needsReply, !hasReplied, protocolFeatures.contains(.replyAcknowledge) {
            actions.append(.acknowledge(request))
        }
    }

    /// The answer to GET_VRING_BASE: how many requests were taken from the ring.
    package mutating func baseReply(ring: Int, base: UInt16?) -> [UInt8] {
        if let base { rings[ring].base = base }
        var payload: [UInt8] = []
        payload.put32(UInt32(ring))
        payload.put32(UInt32(rings[ring].base))
        return VhostUserHeader.reply(.getRingBase, payload)
    }

    /// A ring was stopped after so many requests; it goes on there unless it is told another base.
    package mutating func ringStopped(_ ring: Int, base: UInt16) { rings[ring].base = base }

    /// A ring turned out to make no sense: it is served no more until it is set up anew.
    package mutating func ringBroke(_ ring: Int) {
        rings[ring].isStarted = false
        rings[ring].addresses = nil
    }

    // MARK: Requests

    /// Whether the request has an answer of its own, which was appended.
    private mutating func perform(
        _ message: Message, _ actions: inout [Action]
    ) throws(Refusal) -> Bool {
        switch message.request {
        case .getFeatures:
            try message.check(bytes: 0)
            actions.append(.reply(VhostUserHeader.reply(.getFeatures, offered.rawValue)))
            return true
        case .getProtocolFeatures:
            try message.check(bytes: 0)
            actions.append(
                .reply(
                    VhostUserHeader.reply(.getProtocolFeatures, Self.protocolOffer.rawValue)))
            return true
        case .getQueueNumber:
            try message.check(bytes: 0)
            actions.append(.reply(VhostUserHeader.reply(.getQueueNumber, UInt64(rings.count))))
            return true
        case .getConfig:
            actions.append(.reply(try configurationReply(message)))
            return true
        case .getRingBase:
            let (ring, _) = try ringState(message)
            stop(ring, &actions)
            rings[ring].hasKick = false
            actions.append(.replyBase(ring: ring))
            return true
        case .setFeatures: try setFeatures(message)
        case .setProtocolFeatures: try setProtocolFeatures(message)
        case .setOwner: try message.check(bytes: 0)
        case .resetOwner, .resetDevice:
            try message.check(bytes: 0)
            reset(&actions)
        case .setMemoryTable: try setMemory(message, &actions)
        case .setRingSize, .setRingBase, .setRingEnable, .setRingAddress:
            try setRing(message, &actions)
        case .setRingKick, .setRingCall, .setRingError:
            try setDescriptor(message, &actions)
        case .setConfig:
            // The one field that a driver writes, events_clear, has no effect without events.
            try message.check(atLeast: 12)
        case .setGPUSocket:
            try message.check(descriptors: 1)
            actions.append(.takeDisplaySocket(descriptor: 0))
        default:
            throw Refusal(
                .unsupported,
                "\(VhostUserRequest.name(message.request.rawValue)) belongs to a feature that is not offered."
            )
        }
        return false
    }

    private mutating func setFeatures(_ message: Message) throws(Refusal) {
        try message.check(bytes: 8)
        let wanted = VirtioFeatures(rawValue: message.payload.span.u64(0))
        let device = wanted.rawValue & Self.deviceBits
        // QEMU acknowledges some of its own transport features too, as RING_RESET.
        guard device & ~offered.rawValue == 0 else {
            throw Refusal(
                .unsupported,
                "The guest acknowledges device features 0x\(String(device, radix: 16)) that were not offered."
            )
        }
        guard wanted.isDisjoint(with: Self.impossible) else {
            throw Refusal(
                .unsupported,
                "An IOMMU, packed rings and requests in order are not served: switch them off on the device."
            )
        }
        features = wanted
    }

    private mutating func setProtocolFeatures(_ message: Message) throws(Refusal) {
        try message.check(bytes: 8)
        let wanted = VhostUserProtocolFeatures(rawValue: message.payload.span.u64(0))
        guard wanted.isSubset(of: Self.protocolOffer) else {
            throw Refusal(
                .unsupported,
                "Protocol features 0x\(String(wanted.rawValue, radix: 16)) were not all offered.")
        }
        protocolFeatures = wanted
    }

    private func configurationReply(_ message: Message) throws(Refusal) -> [UInt8] {
        try message.check(atLeast: 12)
        let offset = message.payload.span.u32(0)
        let size = message.payload.span.u32(4)
        guard size <= 256, offset <= 256, offset + size <= 256,
            message.payload.count == 12 + Int(size)
        else {
            throw Refusal(
                .malformed, "GET_CONFIG asks for \(size) bytes at \(offset): there are 256.")
        }
        var payload = Array(message.payload.prefix(12))
        for index in Int(offset)..<Int(offset + size) {
            payload.append(index < configuration.count ? configuration[index] : 0)
        }
        return VhostUserHeader.reply(.getConfig, payload)
    }

    private mutating func reset(_ actions: inout [Action]) {
        for ring in rings.indices {
            stop(ring, &actions)
            rings[ring] = Ring()
        }
        features = []
        actions.append(.reset)
    }

    private mutating func setMemory(
        _ message: Message, _ actions: inout [Action]
    ) throws(Refusal) {
        try message.check(atLeast: 8, descriptors: message.descriptors)
        let bytes = message.payload.span
        let count = bytes.u32(0)
        guard count <= UInt32(MemoryMap.maximumRegions),
            message.payload.count == 8 + 32 * Int(count), message.descriptors == Int(count)
        else {
            throw Refusal(
                .malformed,
                "SET_MEM_TABLE has \(count) regions in \(message.payload.count) bytes with \(message.descriptors) descriptors."
            )
        }
        var regions: [MemoryRegion] = []
        for index in 0..<Int(count) {
            let at = 8 + 32 * index
            regions.append(
                MemoryRegion(
                    guest: bytes.u64(at), size: bytes.u64(at + 8), user: bytes.u64(at + 16),
                    offset: bytes.u64(at + 24)))
        }
        let map = try MemoryMap(regions)
        memory = map
        actions.append(.setMemory(map))
        // Rings that run while memory is plugged in go on where they lie now.
        for ring in rings.indices where rings[ring].isStarted {
            rings[ring].isStarted = false
            try startIfReady(ring, &actions)
        }
    }

    // MARK: Rings

    private func ring(_ number: UInt32) throws(Refusal) -> Int {
        guard number < UInt32(rings.count) else {
            throw Refusal(.badValue, "There is no ring \(number) among \(rings.count).")
        }
        return Int(number)
    }

    private func ringState(_ message: Message) throws(Refusal) -> (ring: Int, value: UInt32) {
        try message.check(bytes: 8)
        return (try ring(message.payload.span.u32(0)), message.payload.span.u32(4))
    }

    private mutating func setRing(
        _ message: Message, _ actions: inout [Action]
    ) throws(Refusal) {
        if message.request == .setRingAddress { return try setAddresses(message, &actions) }
        let (ring, value) = try ringState(message)
        switch message.request {
        case .setRingSize:
            guard !rings[ring].isStarted else {
                throw Refusal(.badValue, "Ring \(ring) is resized while it is served.")
            }
            guard value > 0, value <= VirtqueueLayout.maximumSize, value & (value - 1) == 0 else {
                throw Refusal(
                    .badValue,
                    "Ring \(ring) has \(value) entries: powers of two up to \(VirtqueueLayout.maximumSize) are taken."
                )
            }
            rings[ring].size = value
        case .setRingBase:
            guard !rings[ring].isStarted else {
                throw Refusal(.badValue, "Ring \(ring) is moved on while it is served.")
            }
            guard value <= UInt32(UInt16.max) else {
                throw Refusal(.badValue, "Ring \(ring) begins at request \(value).")
            }
            rings[ring].base = UInt16(value)
        default:
            rings[ring].isEnabled = value != 0
            if value == 0 { stop(ring, &actions) }
        }
        try startIfReady(ring, &actions)
    }

    private mutating func setAddresses(
        _ message: Message, _ actions: inout [Action]
    ) throws(Refusal) {
        try message.check(bytes: 40)
        let bytes = message.payload.span
        let ring = try ring(bytes.u32(0))
        // The flag asks for a log of what is written, for a migration, which was not offered.
        guard bytes.u32(4) == 0 else {
            throw Refusal(.unsupported, "Ring \(ring) is to be logged, which was not offered.")
        }
        rings[ring].addresses = (
            descriptors: bytes.u64(8), used: bytes.u64(16), available: bytes.u64(24)
        )
        // One that is being served goes on at the new place.
        rings[ring].isStarted = false
        try startIfReady(ring, &actions)
    }

    private mutating func setDescriptor(
        _ message: Message, _ actions: inout [Action]
    ) throws(Refusal) {
        try message.check(bytes: 8, descriptors: message.descriptors)
        let value = message.payload.span.u64(0)
        guard value >> 9 == 0 else {
            throw Refusal(.badValue, "Ring \(value) is named with its descriptor.")
        }
        let ring = try ring(UInt32(value & 0xff))
        let isNone = value & 0x100 != 0
        guard message.descriptors == (isNone ? 0 : 1) else {
            throw Refusal(
                .descriptorCount,
                "\(VhostUserRequest.name(message.request.rawValue)) came with \(message.descriptors) descriptors."
            )
        }
        let descriptor = isNone ? nil : 0
        switch message.request {
        case .setRingKick:
            actions.append(.setKick(ring: ring, descriptor: descriptor))
            rings[ring].hasKick = !isNone
            if isNone { stop(ring, &actions) }
            try startIfReady(ring, &actions)
        case .setRingCall: actions.append(.setCall(ring: ring, descriptor: descriptor))
        default: actions.append(.setError(ring: ring, descriptor: descriptor))
        }
    }

    private mutating func stop(_ ring: Int, _ actions: inout [Action]) {
        guard rings[ring].isStarted else { return }
        rings[ring].isStarted = false
        actions.append(.stop(ring: ring))
    }

    /// A ring is served once it has all that it needs, in whatever order that came.
    private mutating func startIfReady(
        _ number: Int, _ actions: inout [Action]
    ) throws(Refusal) {
        let ring = rings[number]
        guard !ring.isStarted, ring.hasKick, ring.size > 0, let user = ring.addresses,
            let memory, ring.isEnabled || !features.contains(.protocolFeatures)
        else { return }
        let bytes = VirtqueueLayout.bytes(size: UInt16(ring.size))
        guard
            let descriptors = memory.guestAddress(
                ofUser: user.descriptors, count: bytes.descriptors),
            let available = memory.guestAddress(ofUser: user.available, count: bytes.available),
            let used = memory.guestAddress(ofUser: user.used, count: bytes.used)
        else {
            throw Refusal(.badLayout, "Ring \(number) does not lie in the guest's memory.")
        }
        guard
            let layout = VirtqueueLayout(
                size: ring.size, descriptors: descriptors, available: available, used: used)
        else { throw Refusal(.badLayout, "Ring \(number) is not aligned.") }
        rings[number].isStarted = true
        actions.append(.start(ring: number, layout, base: ring.base, features))
    }
}

/// A message whose parts are checked as they are needed.
private struct Message {
    let request: VhostUserRequest
    let payload: [UInt8]
    let descriptors: Int

    func check(bytes: Int, descriptors: Int = 0) throws(Refusal) {
        guard payload.count == bytes else {
            throw Refusal(
                .malformed,
                "\(VhostUserRequest.name(request.rawValue)) has \(payload.count) bytes, not \(bytes)."
            )
        }
        try check(descriptors: descriptors)
    }

    func check(atLeast bytes: Int, descriptors: Int = 0) throws(Refusal) {
        guard payload.count >= bytes else {
            throw Refusal(
                .malformed,
                "\(VhostUserRequest.name(request.rawValue)) has \(payload.count) bytes, not \(bytes) or more."
            )
        }
        try check(descriptors: descriptors)
    }

    func check(descriptors: Int) throws(Refusal) {
        guard self.descriptors == descriptors else {
            throw Refusal(
                .descriptorCount,
                "\(VhostUserRequest.name(request.rawValue)) came with \(self.descriptors) descriptors, not \(descriptors)."
            )
        }
    }
}
