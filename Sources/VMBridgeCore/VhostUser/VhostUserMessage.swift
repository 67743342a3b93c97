/// Requests of a vhost-user front end (QEMU's docs/interop/vhost-user.rst, "Front-end message types").
package enum VhostUserRequest: UInt32, Sendable, CaseIterable {
    case getFeatures = 1
    case setFeatures = 2
    case setOwner = 3
    case resetOwner = 4
    case setMemoryTable = 5
    case setLogBase = 6
    case setLogDescriptor = 7
    case setRingSize = 8
    case setRingAddress = 9
    case setRingBase = 10
    case getRingBase = 11
    case setRingKick = 12
    case setRingCall = 13
    case setRingError = 14
    case getProtocolFeatures = 15
    case setProtocolFeatures = 16
    case getQueueNumber = 17
    case setRingEnable = 18
    case sendRARP = 19
    case setNetworkMTU = 20
    case setBackendChannel = 21
    case iotlbMessage = 22
    case setRingEndian = 23
    case getConfig = 24
    case setConfig = 25
    case createCryptoSession = 26
    case closeCryptoSession = 27
    case postcopyAdvise = 28
    case postcopyListen = 29
    case postcopyEnd = 30
    case getInflight = 31
    case setInflight = 32
    case setGPUSocket = 33
    case resetDevice = 34
    case ringKick = 35
    case getMaximumMemorySlots = 36
    case addMemoryRegion = 37
    case removeMemoryRegion = 38
    case setStatus = 39
    case getStatus = 40
    case getSharedObject = 41
    case setDeviceState = 42
    case checkDeviceState = 43

    /// The name in the specification, "SET_MEM_TABLE"; of one that is not known, its number.
    package static func name(_ number: UInt32) -> String {
        guard let request = VhostUserRequest(rawValue: number) else { return "request \(number)" }
        return names[Int(request.rawValue) - 1]
    }

    private static let names = [
        "GET_FEATURES", "SET_FEATURES", "SET_OWNER", "RESET_OWNER", "SET_MEM_TABLE",
        "SET_LOG_BASE", "SET_LOG_FD", "SET_VRING_NUM", "SET_VRING_ADDR", "SET_VRING_BASE",
        "GET_VRING_BASE", "SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR",
        "GET_PROTOCOL_FEATURES", "SET_PROTOCOL_FEATURES", "GET_QUEUE_NUM", "SET_VRING_ENABLE",
        "SEND_RARP", "NET_SET_MTU", "SET_BACKEND_REQ_FD", "IOTLB_MSG", "SET_VRING_ENDIAN",
        "GET_CONFIG", "SET_CONFIG", "CREATE_CRYPTO_SESSION", "CLOSE_CRYPTO_SESSION",
        "POSTCOPY_ADVISE", "POSTCOPY_LISTEN", "POSTCOPY_END", "GET_INFLIGHT_FD",
        "SET_INFLIGHT_FD", "GPU_SET_SOCKET", "RESET_DEVICE", "VRING_KICK", "GET_MAX_MEM_SLOTS",
        "ADD_MEM_REG", "REM_MEM_REG", "SET_STATUS", "GET_STATUS", "GET_SHARED_OBJECT",
        "SET_DEVICE_STATE_FD", "CHECK_DEVICE_STATE",
    ]
}

/// The head of a vhost-user message: three 32-bit numbers in host order, which is little-endian wherever this runs.
package struct VhostUserHeader: Hashable, Sendable {
    /// Bytes of a head.
    package static let bytes = 12
    /// The longest payload that is taken. The longest that a front end has for us is a memory table's 264, or a configuration
    /// space's 12 + 256.
    package static let maximumPayload = 512
    private static let version: UInt32 = 1
    private static let replyFlag: UInt32 = 4
    private static let needReplyFlag: UInt32 = 8

    /// What is asked; it need not be one that is known.
    package var request: UInt32
    /// Whether success or failure is to be answered, if REPLY_ACK was negotiated.
    package var needsReply: Bool
    /// Bytes of the payload that follows.
    package var size: Int

    /// Reads a head of 12 bytes.
    ///
    /// - Throws: `malformed`; nothing behind it can be understood then.
    package init(_ bytes: Span<UInt8>) throws(Refusal) {
        guard bytes.count >= Self.bytes else {
            throw Refusal(.malformed, "A message begins with 12 bytes.")
        }
        let request = bytes.u32(0)
        let flags = bytes.u32(4)
        let size = bytes.u32(8)
        guard flags & 3 == Self.version, flags & Self.replyFlag == 0 else {
            throw Refusal(
                .malformed,
                "\(VhostUserRequest.name(request)) has flags 0x\(String(flags, radix: 16)): a request of version 1 is expected."
            )
        }
        guard size <= UInt32(Self.maximumPayload) else {
            throw Refusal(
                .malformed,
                "\(VhostUserRequest.name(request)) claims \(size) bytes, \(Self.maximumPayload) are the most."
            )
        }
        self.request = request
        needsReply = flags & Self.needReplyFlag != 0
        self.size = Int(size)
    }

    /// The bytes of a reply.
    package static func reply(_ request: VhostUserRequest, _ payload: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.bytes + payload.count)
        bytes.put32(request.rawValue)
        bytes.put32(version | replyFlag)
        bytes.put32(UInt32(payload.count))
        bytes += payload
        return bytes
    }

    /// The bytes of a reply with one 64-bit number.
    package static func reply(_ request: VhostUserRequest, _ value: UInt64) -> [UInt8] {
        var payload: [UInt8] = []
        payload.put64(value)
        return reply(request, payload)
    }
}

/// Protocol features (vhost-user.rst, "Protocol features").
package struct VhostUserProtocolFeatures: OptionSet, Hashable, Sendable {
    /// The bits.
    package let rawValue: UInt64
    /// From the bits.
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    /// VHOST_USER_PROTOCOL_F_MQ
    package static let multipleQueues = VhostUserProtocolFeatures(rawValue: 1 << 0)
    /// VHOST_USER_PROTOCOL_F_REPLY_ACK
    package static let replyAcknowledge = VhostUserProtocolFeatures(rawValue: 1 << 3)
    /// VHOST_USER_PROTOCOL_F_CONFIG
    package static let configuration = VhostUserProtocolFeatures(rawValue: 1 << 9)
    /// VHOST_USER_PROTOCOL_F_RESET_DEVICE
    package static let resetDevice = VhostUserProtocolFeatures(rawValue: 1 << 13)
}
