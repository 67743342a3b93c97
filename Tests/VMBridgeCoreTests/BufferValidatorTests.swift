import Testing
import VMBridgeCore

/// A table for each reason a buffer is refused with, and arithmetic that a guest tries to overflow.
@Suite("[pure] buffer validation")
struct BufferValidatorTests {
    struct Buffer {
        var width: UInt32 = 640
        var height: UInt32 = 480
        var format = FourCC.xrgb8888
        var modifier = Modifier.linear
        var memory = MemoryKind.dmaBuf
        var planes = [PlaneLayout(descriptor: 0, offset: 0, stride: 2560)]
        var facts: [DescriptorFacts]?
        var formats: [ImportableFormat] = []
    }

    private func result(_ change: (inout Buffer) -> Void) -> Result<UInt64, Refusal> {
        var buffer = Buffer()
        change(&buffer)
        let layout = BufferLayout(
            size: Size(width: buffer.width, height: buffer.height), format: buffer.format,
            modifier: buffer.modifier, memory: buffer.memory, planes: buffer.planes)
        let facts =
            buffer.facts ?? [
                DescriptorFacts(
                    kind: buffer.memory == .dmaBuf ? .dmaBuf : .memfd, size: 640 * 480 * 4,
                    isSealedAgainstShrinking: true)
            ]
        do {
            return .success(
                try BufferValidator.validate(layout, facts: facts, formats: buffer.formats))
        } catch {
            return .failure(error)
        }
    }

    private func why(_ change: (inout Buffer) -> Void) -> RefusalReason? {
        switch result(change) {
        case .success: nil
        case .failure(let refusal): refusal.reason
        }
    }

    private func bytes(_ change: (inout Buffer) -> Void) -> UInt64? { try? result(change).get() }

    @Test func goodOnes() {
        #expect(bytes { _ in } == 1_228_800)
        #expect(bytes { $0.memory = .memfd } == 1_228_800)
        #expect(
            bytes {
                ($0.width, $0.height) = (1, 1)
                $0.planes = [PlaneLayout(descriptor: 0, offset: 1_228_796, stride: 4)]
            } == 1_228_800)
    }

    @Test func sizes() {
        for (width, height): (UInt32, UInt32) in [
            (0, 1), (1, 0), (16385, 1), (1, 16385), (.max, .max), (0x8000_0000, 1),
        ] {
            #expect(why { ($0.width, $0.height) = (width, height) } == .badValue, "\(width)")
        }
        #expect(
            why {
                ($0.width, $0.height) = (16384, 16384)
                $0.planes = [PlaneLayout(descriptor: 0, offset: 0, stride: 65536)]
                $0.facts = [DescriptorFacts(kind: .dmaBuf, size: 1 << 30)]
            } == nil)
    }

    @Test func formats() {
        #expect(why { $0.format = FourCC(0) } == .badFormat)
        #expect(why { $0.format = FourCC(0x2020_2020) } == .badFormat)
        // Said by nobody yet: the import will tell.
        #expect(why { $0.modifier = Modifier(0x0100_0000_0000_0002) } == nil)
        let known = [
            ImportableFormat(format: .argb8888, modifier: .linear, memory: 3),
            ImportableFormat(format: .xrgb8888, modifier: Modifier(2), memory: 1),
            ImportableFormat(format: .xbgr8888, modifier: .linear, memory: 2),
        ]
        #expect(why { $0.formats = known } == .badModifier)
        #expect(
            why {
                $0.formats = known
                $0.modifier = Modifier(2)
            } == nil)
        #expect(
            why {
                $0.formats = known
                $0.modifier = .invalid
            } == .badModifier)
        #expect(
            why {
                $0.formats = known
                $0.format = .argb8888
            } == nil)
        // Listed, but for the other kind of memory.
        #expect(
            why {
                $0.formats = known
                $0.format = .xbgr8888
            } == .badFormat)
        #expect(
            why {
                $0.formats = known
                $0.format = .xbgr8888
                $0.memory = .memfd
            } == nil)
        #expect(
            why {
                $0.formats = known
                $0.memory = .memfd
            } == .badFormat)
        #expect(
            why {
                $0.formats = known
                $0.format = FourCC(0x3432_5852)
            } == .badFormat)
        #expect(
            why {
                $0.memory = .memfd
                $0.modifier = Modifier(2)
            } == .badModifier)
    }

    @Test func descriptors() {
        for (memory, kind, expected): (MemoryKind, DescriptorFacts.Kind, RefusalReason?) in [
            (.dmaBuf, .dmaBuf, nil), (.dmaBuf, .memfd, .badDescriptor),
            (.dmaBuf, .syncFile, .badDescriptor), (.dmaBuf, .other, .badDescriptor),
            (.memfd, .memfd, nil), (.memfd, .dmaBuf, .badDescriptor),
            (.memfd, .syncFile, .badDescriptor), (.memfd, .other, .badDescriptor),
        ] {
            #expect(
                why {
                    $0.memory = memory
                    $0.facts = [
                        DescriptorFacts(kind: kind, size: 1 << 24, isSealedAgainstShrinking: true)
                    ]
                } == expected, "\(memory) \(kind)")
        }
        #expect(
            why { $0.planes = [PlaneLayout(descriptor: 1, offset: 0, stride: 2560)] }
                == .badDescriptor)
        #expect(
            why { $0.planes = [PlaneLayout(descriptor: .max, offset: 0, stride: 2560)] }
                == .badDescriptor)
        #expect(why { $0.facts = [] } == .badDescriptor)
    }

    @Test func sealsAndAccess() {
        for (shrink, write, both, expected): (Bool, Bool, Bool, RefusalReason?) in [
            (true, false, true, nil), (false, false, true, .badSeals),
            (true, true, true, .badSeals),
            (true, false, false, .badAccess), (false, true, false, .badSeals),
        ] {
            #expect(
                why {
                    $0.memory = .memfd
                    $0.facts = [
                        DescriptorFacts(
                            kind: .memfd, size: 1 << 24, isSealedAgainstShrinking: shrink,
                            isSealedAgainstWriting: write, isReadWrite: both)
                    ]
                } == expected)
        }
        #expect(
            why {
                $0.facts = [DescriptorFacts(kind: .dmaBuf, size: 1 << 24, isReadWrite: false)]
            } == .badAccess)
    }

    /// A dma-buf has no seals, and its size is for good.
    @Test func onlyMemfdsCanBeCutShort() {
        for (kind, isSealed, expected) in [
            (.memfd, false, true), (.memfd, true, false), (.dmaBuf, false, false),
            (.dmaBuf, true, false),
        ] as [(DescriptorFacts.Kind, Bool, Bool)] {
            let facts = DescriptorFacts(
                kind: kind, size: 4096, isSealedAgainstShrinking: isSealed)
            #expect(facts.mayBeCutShort == expected)
        }
    }

    @Test func memfdsAreReadInWords() {
        for (offset, stride, expected): (UInt32, UInt32, RefusalReason?) in [
            (0, 2560, nil), (4, 2564, nil), (1, 2560, .badLayout), (2, 2560, .badLayout),
            (0, 2561, .badLayout), (0, 2562, .badLayout), (0, 2563, .badLayout),
        ] {
            for (memory, kind) in [
                (MemoryKind.memfd, DescriptorFacts.Kind.memfd), (.dmaBuf, .dmaBuf),
            ] {
                #expect(
                    why {
                        $0.memory = memory
                        $0.planes = [PlaneLayout(descriptor: 0, offset: offset, stride: stride)]
                        $0.facts = [
                            DescriptorFacts(
                                kind: kind, size: 1 << 24, isSealedAgainstShrinking: true)
                        ]
                    } == (memory == .memfd ? expected : nil), "\(memory) \(offset) \(stride)")
            }
        }
    }

    @Test func layouts() {
        let plane = { (offset: UInt32, stride: UInt32) in
            self.why { $0.planes = [PlaneLayout(descriptor: 0, offset: offset, stride: stride)] }
        }
        #expect(plane(0, 2560) == nil)
        #expect(plane(1, 2560) == .badLayout)
        #expect(plane(0, 2559) == .badLayout)
        #expect(plane(0, 2561) == .badLayout)
        #expect(plane(0, 0) == .badLayout)
        #expect(plane(0, 0x7fff_ffff) == .badLayout)
        #expect(plane(0, 0x8000_0000) == .badLayout)
        #expect(plane(0, .max) == .badLayout)
        #expect(plane(.max, 2560) == .badLayout)
        #expect(plane(.max, .max) == .badLayout)
        // What 32 bits would make small: 2^32 = 480 x 8947849 - something, and offset wraps.
        #expect(plane(0xffff_f600, 2560) == .badLayout)
        #expect(plane(0, 0x0088_8889) == .badLayout)
        // The same at the largest size, where stride x height passes 2^44.
        #expect(
            why {
                ($0.width, $0.height) = (16384, 16384)
                $0.planes = [PlaneLayout(descriptor: 0, offset: .max, stride: 0x7fff_ffff)]
                $0.facts = [DescriptorFacts(kind: .dmaBuf, size: 0xffff_ffff + 0x7fff_ffff * 16384)]
            } == nil)
        #expect(
            why {
                ($0.width, $0.height) = (16384, 16384)
                $0.planes = [PlaneLayout(descriptor: 0, offset: .max, stride: 0x7fff_ffff)]
                $0.facts = [
                    DescriptorFacts(kind: .dmaBuf, size: 0xffff_ffff + 0x7fff_ffff * 16384 - 1)
                ]
            } == .badLayout)
        // A compositor's pool is counted in signed 32 bits.
        for (offset, expected): (UInt32, RefusalReason?) in [
            (0x7fff_fffc - 2560 * 480, nil), (0x8000_0000 - 2560 * 480, .badLayout),
        ] {
            #expect(
                why {
                    $0.memory = .memfd
                    $0.planes = [PlaneLayout(descriptor: 0, offset: offset, stride: 2560)]
                    $0.facts = [
                        DescriptorFacts(kind: .memfd, size: 1 << 33, isSealedAgainstShrinking: true)
                    ]
                } == expected, "\(offset)")
        }
    }

    @Test func emptyMemory() {
        #expect(why { $0.facts = [DescriptorFacts(kind: .dmaBuf, size: 0)] } == .badLayout)
        #expect(
            why {
                $0.facts = [DescriptorFacts(kind: .dmaBuf, size: .max)]
            } == nil)
    }

    @Test func planesOfNV12() {
        // 321 x 201: luma 321 bytes x 201 rows, chroma 161 pairs of 2 bytes x 101 rows.
        let luma = PlaneLayout(descriptor: 0, offset: 0, stride: 322)
        let chromaAt: UInt32 = 322 * 201
        let end = UInt64(chromaAt) + 322 * 101
        let check = { (planes: [PlaneLayout], size: UInt64, modifier: Modifier) in
            self.why {
                ($0.width, $0.height, $0.format) = (321, 201, .nv12)
                ($0.planes, $0.modifier) = (planes, modifier)
                $0.facts = [DescriptorFacts(kind: .dmaBuf, size: size)]
            }
        }
        let chroma = PlaneLayout(descriptor: 0, offset: chromaAt, stride: 322)
        #expect(check([luma, chroma], end, .linear) == nil)
        #expect(check([luma, chroma], end - 1, .linear) == .badLayout)
        #expect(check([luma], end, .linear) == .badLayout)
        #expect(check([luma, chroma, chroma], end, .linear) == .badLayout)
        let short = PlaneLayout(descriptor: 0, offset: chromaAt, stride: 321)
        #expect(check([luma, short], end, .linear) == .badLayout)
        // A tiled layout: strides are the driver's, further planes only need a place.
        let tiled = Modifier(0x0100_0000_0000_0002)
        #expect(check([luma, short], end, tiled) == nil)
        #expect(check([luma], end, tiled) == .badLayout)
        let extra = PlaneLayout(descriptor: 0, offset: UInt32(end) - 1, stride: 64)
        #expect(check([luma, chroma, extra], end, tiled) == nil)
        let outside = PlaneLayout(descriptor: 0, offset: UInt32(end), stride: 64)
        #expect(check([luma, chroma, outside], end, tiled) == .badLayout)
        // A memfd never has a second plane.
        #expect(
            why {
                ($0.width, $0.height, $0.format, $0.memory) = (320, 200, .nv12, .memfd)
                $0.planes = [luma, PlaneLayout(descriptor: 0, offset: 64400, stride: 322)]
                $0.facts = [
                    DescriptorFacts(kind: .memfd, size: 1 << 20, isSealedAgainstShrinking: true)
                ]
            } == .badLayout)
    }

    @Test func sharedAndSeveralDescriptors() {
        let planes = [
            PlaneLayout(descriptor: 1, offset: 0, stride: 640),
            PlaneLayout(descriptor: 0, offset: 0, stride: 640),
        ]
        let check = { (sizes: [UInt64]) in
            self.bytes {
                ($0.format, $0.planes) = (.nv12, planes)
                $0.facts = sizes.map { DescriptorFacts(kind: .dmaBuf, size: $0) }
            }
        }
        // Each plane is measured against its own descriptor, and both count.
        #expect(check([640 * 240, 640 * 480]) == 640 * 720)
        #expect(check([640 * 480, 640 * 240]) == nil)
        #expect(check([640 * 240, 640 * 480 - 1]) == nil)
        // One memory given once counts once.
        #expect(
            bytes {
                $0.format = .nv12
                $0.planes = [
                    PlaneLayout(descriptor: 0, offset: 0, stride: 640),
                    PlaneLayout(descriptor: 0, offset: 640 * 480, stride: 640),
                ]
                $0.facts = [DescriptorFacts(kind: .dmaBuf, size: 640 * 720)]
            } == 640 * 720)
        // Sizes that only a lying kernel would give still do not overflow.
        #expect(
            why {
                ($0.format, $0.planes) = (.nv12, planes)
                $0.facts = [.max, 640 * 480].map { DescriptorFacts(kind: .dmaBuf, size: $0) }
            } == .tooManyBytes)
    }

    @Test func everyKnownFormatNeedsItsRows() {
        let codes: [(String, [(bytes: UInt32, rows: UInt32)])] = [
            ("XR24", [(64, 8)]), ("AR24", [(64, 8)]), ("XB24", [(64, 8)]), ("AB24", [(64, 8)]),
            ("RX24", [(64, 8)]), ("RA24", [(64, 8)]), ("BX24", [(64, 8)]), ("BA24", [(64, 8)]),
            ("XR30", [(64, 8)]), ("AR30", [(64, 8)]), ("XB30", [(64, 8)]), ("AB30", [(64, 8)]),
            ("RG16", [(32, 8)]), ("YUYV", [(32, 8)]), ("NV12", [(16, 8), (16, 4)]),
            ("P010", [(32, 8), (32, 4)]),
        ]
        for (name, planes) in codes {
            var code: UInt32 = 0
            for (index, byte) in name.utf8.enumerated() {
                code |= UInt32(byte) << UInt32(index * 8)
            }
            var offset: UInt32 = 0
            var layouts: [PlaneLayout] = []
            for plane in planes {
                layouts.append(PlaneLayout(descriptor: 0, offset: offset, stride: plane.bytes))
                offset += plane.bytes * plane.rows
            }
            let check = { (layouts: [PlaneLayout], size: UInt64) in
                self.why {
                    ($0.width, $0.height, $0.format, $0.planes) = (16, 8, FourCC(code), layouts)
                    $0.facts = [DescriptorFacts(kind: .dmaBuf, size: size)]
                }
            }
            #expect(check(layouts, UInt64(offset)) == nil, "\(name)")
            #expect(check(layouts, UInt64(offset) - 1) == .badLayout, "\(name)")
            for index in layouts.indices {
                var short = layouts
                short[index].stride -= 1
                #expect(check(short, UInt64(offset)) == .badLayout, "\(name)")
            }
            #expect(FourCC(code).description == name)
        }
    }
}

@Suite("[pure] frame validation")
struct FrameValidatorTests {
    private let size = Size(width: 100, height: 80)

    private func frame(
        _ sequence: UInt64 = 5, change: (inout FrameRecord) -> Void = { _ in }
    ) -> FrameRecord {
        var frame = FrameRecord(
            surface: SurfaceKey(1), buffer: BufferKey(1), sequence: FrameSequence(sequence))
        change(&frame)
        return frame
    }

    private func why(_ frame: FrameRecord, last: UInt64?) -> RefusalReason? {
        reason { () throws(Refusal) in
            try FrameValidator.validate(
                frame, bufferSize: size, last: last.map(FrameSequence.init))
        }
    }

    @Test func sequences() {
        #expect(why(frame(0), last: nil) == .badSequence)
        #expect(why(frame(1), last: nil) == nil)
        #expect(why(frame(5), last: 4) == nil)
        #expect(why(frame(5), last: 5) == .badSequence)
        #expect(why(frame(5), last: 6) == .badSequence)
        #expect(why(frame(0), last: 0) == .badSequence)
        #expect(why(frame(.max), last: 0) == nil)
        #expect(why(frame(.max), last: .max) == .badSequence)
    }

    @Test func crops() throws {
        for (x, y, width, height, expected): (UInt32, UInt32, UInt32, UInt32, RefusalReason?) in [
            (0, 0, 100, 80, nil), (99, 79, 1, 1, nil), (0, 0, 101, 80, .badValue),
            (1, 0, 100, 80, .badValue), (0, 1, 100, 80, .badValue), (0, 0, 0, 80, .badValue),
            (0, 0, 100, 0, .badValue), (.max, 0, 2, 2, .badValue), (2, 2, .max, .max, .badValue),
        ] {
            let crop = Rectangle(x: x, y: y, width: width, height: height)
            #expect(why(frame { $0.crop = crop }, last: nil) == expected, "\(crop)")
        }
        let whole = try FrameValidator.validate(
            frame { $0.crop = Rectangle(x: 0, y: 0, width: 100, height: 80) }, bufferSize: size,
            last: nil)
        #expect(whole.crop == nil)
    }

    @Test func damageIsClipped() throws {
        let valid = try FrameValidator.validate(
            frame {
                $0.damage = damage([
                    Rectangle(x: 90, y: 70, width: 20, height: 20),
                    Rectangle(x: 100, y: 0, width: 5, height: 5),
                    Rectangle(x: 16384, y: 16384, width: 16384, height: 16384),
                    Rectangle(x: 1, y: 2, width: 3, height: 4),
                ])
            }, bufferSize: size, last: nil)
        #expect(
            rectangles(valid.damage) == [
                Rectangle(x: 90, y: 70, width: 10, height: 10),
                Rectangle(x: 1, y: 2, width: 3, height: 4),
            ])
        let whole = try FrameValidator.validate(frame(), bufferSize: size, last: nil)
        #expect(whole.damage.isWhole)
    }
}
