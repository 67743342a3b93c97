import Testing
import VMBridgeCore

/// SplitMix64: the same numbers on every machine for one seed.
struct Random: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// A number from 0 to `bound` - 1; slightly uneven, which does not matter here, and fast.
    mutating func below(_ bound: Int) -> Int { Int(next() >> 33) % bound }

    /// True once in `n` times.
    mutating func oneIn(_ n: Int) -> Bool { below(n) == 0 }
}

/// Bytes from hexadecimal digits; what stands behind a "|" on a line is a remark.
func hex(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    for line in text.split(separator: "\n") {
        for word in line.prefix(while: { $0 != "|" }).split(separator: " ") {
            guard word.count == 2, let byte = UInt8(word, radix: 16) else {
                Issue.record("not a byte: \(word)")
                return []
            }
            bytes.append(byte)
        }
    }
    return bytes
}

/// All records of a producer's datagram, or the first refusal.
func decodeProducer(_ bytes: [UInt8], descriptors: Int = 0) throws(Refusal) -> [ProducerRecord] {
    var walker = RecordWalker()
    var records: [ProducerRecord] = []
    let span = bytes.span
    while let frame = try walker.next(in: span, descriptorCount: descriptors) {
        records.append(try ProducerDecoder.decode(frame, in: span))
    }
    return records
}

/// All records of a bridge's datagram, nil for those of unknown type, or the first refusal.
func decodeBridge(
    _ bytes: [UInt8], descriptors: Int = 0
) throws(Refusal) -> [BridgeRecord?] {
    var walker = RecordWalker()
    var records: [BridgeRecord?] = []
    let span = bytes.span
    while let frame = try walker.next(in: span, descriptorCount: descriptors) {
        records.append(try BridgeDecoder.decode(frame, in: span))
    }
    return records
}

func encode(_ record: ProducerRecord, descriptors: Int = 0) -> [UInt8] {
    var writer = RecordWriter()
    writer.append(record, descriptors: descriptors)
    return writer.bytes
}

func encode(_ record: BridgeRecord) -> [UInt8] {
    var writer = RecordWriter()
    writer.append(record)
    return writer.bytes
}

/// The reason with which the body is refused; nil when it is not.
func reason<T>(_ body: () throws(Refusal) -> T) -> RefusalReason? {
    do {
        _ = try body()
        return nil
    } catch {
        return error.reason
    }
}

/// A damage's rectangles; one marker rectangle of 0 × 0 at the far corner stands for "all of it".
func rectangles(_ damage: Damage) -> [Rectangle] {
    if damage.isWhole { return [Rectangle(x: .max, y: .max, width: 0, height: 0)] }
    return (0..<damage.count).map { damage[$0] }
}

let wholeMark = [Rectangle(x: .max, y: .max, width: 0, height: 0)]

func damage(_ list: [Rectangle]) -> Damage {
    var damage = Damage.none
    for rectangle in list { damage.add(rectangle) }
    return damage
}

/// Appends little-endian numbers; written apart from the code under test.
extension [UInt8] {
    mutating func little(_ value: UInt64, bytes: Int) {
        for index in 0..<bytes { append(UInt8(value >> UInt64(index * 8) & 0xff)) }
    }
}

/// A record by hand: header, body, with its length filled in.
func rawRecord(
    _ type: UInt16, object: UInt64, descriptors: UInt16 = 0, body: [UInt8] = [],
    fields: [[UInt8]] = []
) -> [UInt8] {
    let all = body + fields.flatMap { $0 }
    var bytes: [UInt8] = []
    bytes.little(UInt64(type), bytes: 2)
    bytes.little(UInt64(descriptors), bytes: 2)
    bytes.little(UInt64(16 + all.count), bytes: 4)
    bytes.little(object, bytes: 8)
    return bytes + all
}

/// A field by hand: header, payload, padding.
func rawField(_ tag: UInt16, flags: UInt16 = 0, _ payload: [UInt8], length: Int? = nil) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.little(UInt64(tag), bytes: 2)
    bytes.little(UInt64(flags), bytes: 2)
    bytes.little(UInt64(length ?? payload.count), bytes: 4)
    bytes += payload
    while bytes.count % 8 != 0 { bytes.append(0) }
    return bytes
}

func words(_ values: UInt32...) -> [UInt8] {
    var bytes: [UInt8] = []
    for value in values { bytes.little(UInt64(value), bytes: 4) }
    return bytes
}
