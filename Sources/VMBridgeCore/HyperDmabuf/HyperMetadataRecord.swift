/// Private data in words of source-v1 (docs/hyper-dmabuf.md): for guests whose driver is free to say more
/// than vmdisplay's layouts can. Little endian, at most 192 bytes:
///
/// | at | what |
/// |---|---|
/// | 0 | u32 "VMB1" |
/// | 4 | u16 version, 1; u16 flags: bit 0 bottom-up, bit 1 the surface ends with this |
/// | 8 | u64 surface key, not 0 |
/// | 16 | u32 width, height, fourcc, number of planes (1 to 3) |
/// | 32 | u64 modifier |
/// | 40 | three times u32 offset, stride |
/// | 64 | fields of source-v1 §5.4: title, app_id, consumer_tag, crop, transform, damage (one rectangle) |
public enum HyperMetadataRecord {
    /// "VMB1".
    static let mark: UInt32 = 0x3142_4d56
    static let version: UInt16 = 1
    static let bodyBytes = 64

    static func decode(_ bytes: borrowing Span<UInt8>) throws(Refusal) -> HyperAnnouncement {
        guard bytes.count >= bodyBytes, bytes.count <= HyperEvent.maximumPrivateBytes else {
            throw Refusal(
                .badField, "A metadata record of \(bytes.count) bytes: it has 64 to 192.")
        }
        guard bytes.u16(4) == version else {
            throw Refusal(.badValue, "A metadata record of version \(bytes.u16(4)), not 1.")
        }
        let flags = bytes.u16(6)
        guard flags <= 3 else { throw Refusal(.badValue, "A metadata record has unknown flags.") }
        let key = bytes.u64(8)
        guard key != 0 else { throw Refusal(.badValue, "0 names no surface.") }
        let count = bytes.u32(28)
        guard (1...3).contains(count) else {
            throw Refusal(.badValue, "A buffer has 1 to 3 planes, not \(count).")
        }
        var planes: [PlaneLayout] = []
        for index in 0..<3 {
            let plane = PlaneLayout(
                descriptor: 0, offset: bytes.u32(40 + 8 * index), stride: bytes.u32(44 + 8 * index))
            if index < count {
                planes.append(plane)
            } else if plane.offset != 0 || plane.stride != 0 {
                throw Refusal(.badValue, "The places of planes that are not there must be 0.")
            }
        }
        let layout = BufferLayout(
            size: Size(width: bytes.u32(16), height: bytes.u32(20)), format: FourCC(bytes.u32(24)),
            modifier: Modifier(bytes.u64(32)), memory: .dmaBuf, isBottomUp: flags & 1 != 0,
            planes: planes)
        var announcement = HyperAnnouncement(
            surface: HyperSurfaceName(output: 0, surface: key), layout: layout)
        announcement.isEnd = flags & 2 != 0
        try readFields(bytes, &announcement)
        return announcement
    }

    private static func readFields(
        _ bytes: borrowing Span<UInt8>, _ announcement: inout HyperAnnouncement
    ) throws(Refusal) {
        var fields = FieldWalker(start: bodyBytes, end: bytes.count)
        while let field = try fields.next(in: bytes) {
            switch field.tag {
            case FieldTag.title:
                announcement.metadata.title = CleanText.clean(
                    bytes, from: field.start, count: field.length)
            case FieldTag.appID:
                announcement.metadata.appID = CleanText.clean(
                    bytes, from: field.start, count: field.length)
            case FieldTag.consumerTag:
                announcement.metadata.consumerTag = CleanText.clean(
                    bytes, from: field.start, count: field.length)
            case FieldTag.crop: announcement.crop = try rectangle(field, bytes)
            case FieldTag.damage: announcement.damage = try rectangle(field, bytes)
            case FieldTag.transform:
                guard field.length == 4, let transform = Transform(rawValue: bytes.u32(field.start))
                else { throw Refusal(.badValue, "A transform is a number from 0 to 7.") }
                announcement.transform = transform
            default:
                guard !field.isRequired else {
                    throw Refusal(
                        .unsupported,
                        "Field 0x\(String(field.tag, radix: 16)) is marked required and is not known here."
                    )
                }
            }
        }
    }

    private static func rectangle(
        _ field: Field, _ bytes: borrowing Span<UInt8>
    ) throws(Refusal) -> Rectangle {
        let limit = VMLimits.maximumDimension
        guard field.length == 16 else {
            throw Refusal(.badField, "A rectangle has 16 bytes, not \(field.length).")
        }
        let at = field.start
        let rectangle = Rectangle(
            x: bytes.u32(at), y: bytes.u32(at + 4), width: bytes.u32(at + 8),
            height: bytes.u32(at + 12))
        guard rectangle.x <= limit, rectangle.y <= limit, rectangle.width <= limit,
            rectangle.height <= limit
        else { throw Refusal(.badValue, "A rectangle reaches past \(limit) pixels.") }
        return rectangle
    }

    /// The bytes of a record, for guests of ours and tests; title and rectangles as fields, if given.
    ///
    /// - Returns: nil when it does not fit into the driver's 192 bytes.
    package static func bytes(of announcement: HyperAnnouncement) -> [UInt8]? {
        let layout = announcement.layout
        guard layout.planes.count <= 3 else { return nil }
        var bytes: [UInt8] = []
        bytes.put32(mark)
        bytes.put16(version)
        bytes.put16((layout.isBottomUp ? 1 : 0) | (announcement.isEnd ? 2 : 0))
        bytes.put64(announcement.surface.surface)
        bytes.put32(layout.size.width)
        bytes.put32(layout.size.height)
        bytes.put32(layout.format.rawValue)
        bytes.put32(UInt32(layout.planes.count))
        bytes.put64(layout.modifier.rawValue)
        for index in 0..<3 {
            bytes.put32(index < layout.planes.count ? layout.planes[index].offset : 0)
            bytes.put32(index < layout.planes.count ? layout.planes[index].stride : 0)
        }
        func put(_ tag: UInt16, _ payload: [UInt8]) {
            bytes.put16(tag)
            bytes.put16(0)
            bytes.put32(UInt32(payload.count))
            bytes += payload
            while bytes.count % 8 != 0 { bytes.append(0) }
        }
        func put(_ tag: UInt16, _ rectangle: Rectangle?) {
            guard let rectangle else { return }
            var payload: [UInt8] = []
            for number in [rectangle.x, rectangle.y, rectangle.width, rectangle.height] {
                payload.put32(number)
            }
            put(tag, payload)
        }
        if let title = announcement.metadata.title { put(FieldTag.title, Array(title.utf8)) }
        if let appID = announcement.metadata.appID { put(FieldTag.appID, Array(appID.utf8)) }
        put(FieldTag.crop, announcement.crop)
        put(FieldTag.damage, announcement.damage)
        if announcement.transform != .normal {
            put(FieldTag.transform, [UInt8(announcement.transform.rawValue), 0, 0, 0])
        }
        return bytes.count <= HyperEvent.maximumPrivateBytes ? bytes : nil
    }
}
