import Testing
import VMBridgeCore

/// Each key of a PC keyboard has QEMU's number.
@Suite("[pure] QEMU's key numbers")
struct QEMUKeyCodeTests {
    /// Of each key, its evdev code, its scan code of set 1, and whether that begins with 0xe0.
    private static let keys: [(UInt32, UInt32, Bool)] = [
        (85, 0x76, false), (86, 0x56, false), (87, 0x57, false), (88, 0x58, false),
        (89, 0x73, false), (90, 0x78, false), (91, 0x77, false), (92, 0x79, false),
        (93, 0x70, false), (94, 0x7b, false), (95, 0x5c, false), (96, 0x1c, true),
        (97, 0x1d, true), (98, 0x35, true), (99, 0x54, false), (100, 0x38, true),
        (101, 0x5b, false), (102, 0x47, true), (103, 0x48, true), (104, 0x49, true),
        (105, 0x4b, true), (106, 0x4d, true), (107, 0x4f, true), (108, 0x50, true),
        (109, 0x51, true), (110, 0x52, true), (111, 0x53, true), (112, 0x6f, true),
        (113, 0x20, true), (114, 0x2e, true), (115, 0x30, true), (116, 0x5e, true),
        (117, 0x59, false), (118, 0x4e, true), (119, 0x46, true), (120, 0x0b, true),
        (121, 0x7e, false), (123, 0x0d, true), (124, 0x7d, false), (125, 0x5b, true),
        (126, 0x5c, true), (127, 0x5d, true), (128, 0x68, true), (129, 0x05, true),
        (130, 0x06, true), (131, 0x07, true), (132, 0x0c, true), (133, 0x78, true),
        (134, 0x64, false), (135, 0x65, false), (136, 0x41, true), (137, 0x3c, true),
        (138, 0x75, true), (139, 0x1e, true), (140, 0x21, true), (141, 0x66, false),
        (142, 0x5f, true), (143, 0x63, true), (144, 0x67, false), (145, 0x68, false),
        (146, 0x69, false), (147, 0x13, true), (148, 0x1f, true), (149, 0x17, true),
        (150, 0x02, true), (151, 0x6a, false), (152, 0x12, true), (153, 0x6b, false),
        (154, 0x26, true), (155, 0x6c, true), (156, 0x66, true), (157, 0x6b, true),
        (158, 0x6a, true), (159, 0x69, true), (160, 0x23, true), (161, 0x6c, false),
        (162, 0x7d, true), (163, 0x19, true), (164, 0x22, true), (165, 0x10, true),
        (166, 0x24, true), (172, 0x32, true), (173, 0x67, true), (183, 0x5d, false),
        (184, 0x5e, false), (185, 0x5f, false), (186, 0x55, false), (187, 0x03, true),
        (188, 0x77, true), (189, 0x04, true), (190, 0x5a, false), (191, 0x74, false),
        (192, 0x79, true), (193, 0x6d, false), (194, 0x6f, false), (217, 0x65, true),
        (224, 0x4c, true), (225, 0x54, true), (226, 0x6d, true), (239, 0x74, true),
    ]

    @Test func theFirstKeysKeepTheirCode() {
        for code in 1...83 as ClosedRange<UInt32> {
            #expect(QEMUKeyCode.number(evdev: code) == code)
        }
    }

    @Test func theListed() {
        for (code, scan, isExtended) in Self.keys {
            #expect(
                QEMUKeyCode.number(evdev: code) == (isExtended ? scan | 0x80 : scan), "\(code)")
        }
    }

    @Test func allNumbersFitAndNoneIsZero() {
        for code in 0...1000 as ClosedRange<UInt32> {
            guard let number = QEMUKeyCode.number(evdev: code) else { continue }
            #expect((1...0xff).contains(number), "\(code)")
        }
    }

    @Test func whatIsNoKeyHasNone() {
        for code in [0, 84, 122, 240, 255, 0x110, 0x2ff, .max] as [UInt32] {
            #expect(QEMUKeyCode.number(evdev: code) == nil, "\(code)")
        }
    }
}
