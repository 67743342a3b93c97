import VMBridgeCore

/// Says what is out of range in a decoded record, in words; nil when everything is within the limits
/// of source-v1. Written apart from the decoder: it looks at the values only.
enum WireLimits {
    static func problem(_ record: ProducerRecord) -> String? {
        switch record {
        case .hello(let producer, _, _): return producer.flatMap(problem(text:))
        case .greetConsumer(let greeting): return greeting.name.flatMap(problem(text:))
        case .targetsQuery: return nil
        case .bufferCreate(let key, let layout):
            if key.value == 0 { return "buffer 0" }
            return problem(layout)
        case .bufferAllocate(let key, let wish):
            if key.value == 0 { return "buffer 0" }
            return (1...64).contains(wish.modifiers.count)
                ? nil : "\(wish.modifiers.count) modifiers"
        case .bufferDestroy(let key): return key.value == 0 ? "buffer 0" : nil
        case .surfaceCreate(let key, _, _, let metadata), .surfaceUpdate(let key, let metadata):
            if key.value == 0 { return "surface 0" }
            return problem(metadata)
        case .surfaceDestroy(let key): return key.value == 0 ? "surface 0" : nil
        case .frame(let frame): return problem(frame)
        case .fenceSignal(let key, _, _): return key.value == 0 ? "surface 0" : nil
        }
    }

    static func problem(_ record: BridgeRecord) -> String? {
        switch record {
        case .welcome(let welcome):
            if welcome.formats.count > 1024 { return "\(welcome.formats.count) formats" }
            return problem(text: welcome.vmName)
        case .formatsChanged(let formats), .surfaceFormats(_, let formats):
            return formats.count > 1024 ? "\(formats.count) formats" : nil
        case .targets(let targets):
            if targets.count > 64 { return "\(targets.count) targets" }
            for case .vm(let name) in targets where name.utf8.count > 64 { return "a long name" }
            return nil
        case .keymap(let keymap): return keymap.size > 1 << 20 ? "a keymap too long" : nil
        case .refused(let refused): return problem(text: refused.refusal.sentence)
        default: return nil
        }
    }

    /// Text that could harm a title bar or a terminal, by Unicode's own properties.
    static func problem(text: String) -> String? {
        if text.utf8.count > 256 { return "\(text.utf8.count) bytes of text" }
        for scalar in text.unicodeScalars {
            let properties = scalar.properties
            switch properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator: return "U+\(scalar.value) kept"
            default: break
            }
            if properties.isBidiControl { return "bidirectional control U+\(scalar.value) kept" }
        }
        return nil
    }

    private static func problem(_ layout: BufferLayout) -> String? {
        if !(1...4).contains(layout.planes.count) { return "\(layout.planes.count) planes" }
        if layout.planes.contains(where: { $0.descriptor > 3 }) { return "a fifth descriptor" }
        // Whatever passes the validator must lie inside the memory, counted the long way.
        let size: UInt64 = 4 << 20
        let kind: DescriptorFacts.Kind = layout.memory == .dmaBuf ? .dmaBuf : .memfd
        let facts = (0..<4).map { _ in
            DescriptorFacts(kind: kind, size: size, isSealedAgainstShrinking: true)
        }
        guard (try? BufferValidator.validate(layout, facts: facts, formats: [])) != nil else {
            return nil
        }
        let (width, height) = (UInt64(layout.size.width), UInt64(layout.size.height))
        if !(1...16384).contains(width) || !(1...16384).contains(height) { return "size" }
        for (index, plane) in layout.planes.enumerated() where index == 0 {
            var end = UInt64(plane.offset)
            for _ in 0..<height { end += UInt64(plane.stride) }
            if end > size { return "plane \(index) ends at \(end)" }
            if plane.stride == 0 { return "stride 0" }
        }
        return nil
    }

    private static func problem(_ metadata: SurfaceMetadata) -> String? {
        for text in [metadata.title, metadata.appID, metadata.consumerTag, metadata.originVM]
            .compactMap({ $0 })
        {
            if let problem = problem(text: text) { return problem }
        }
        for size in [metadata.minimumSize, metadata.maximumSize].compactMap({ $0 })
        where size.width > 16384 || size.height > 16384 {
            return "size limit \(size)"
        }
        if let spot = metadata.hotSpot, max(spot.x, spot.y) > 16384 { return "hot spot \(spot)" }
        return metadata.opaqueRegion.flatMap { problem($0, reach: 16384) }
    }

    private static func problem(_ frame: FrameRecord) -> String? {
        if frame.surface.value == 0 || frame.buffer.value == 0 { return "object 0" }
        if (frame.acquire == .timelinePoint) != (frame.acquirePoint != 0) { return "point" }
        if frame.targetTime > 1_000_000_000 { return "target time" }
        if let size = frame.destination,
            !(1...16384).contains(size.width) || !(1...16384).contains(size.height)
        {
            return "destination \(size)"
        }
        if let crop = frame.crop, let problem = problem(crop, reach: 16384) { return problem }
        if frame.damage.count > Damage.capacity { return "\(frame.damage.count) rectangles" }
        for rectangle in rectangles(frame.damage) where !frame.damage.isWhole {
            // Folding joins rectangles, so a joined one may be twice as wide.
            if let problem = problem(rectangle, reach: 32768) { return problem }
        }
        let size = Size(width: 640, height: 480)
        guard let valid = try? FrameValidator.validate(frame, bufferSize: size, last: nil) else {
            return nil
        }
        for rectangle in rectangles(valid.damage) where !valid.damage.isWhole {
            if !rectangle.fits(in: size) { return "damage outside the buffer" }
        }
        if let crop = valid.crop, !crop.fits(in: size) { return "crop outside the buffer" }
        return nil
    }

    private static func problem(_ rectangle: Rectangle, reach: UInt32) -> String? {
        let isInside =
            rectangle.x <= 16384 && rectangle.y <= 16384 && rectangle.width <= reach
            && rectangle.height <= reach
        return isInside ? nil : "a rectangle of \(rectangle)"
    }
}
