import Glibc
import Testing

@testable import VMBridge

@Suite("pixel bounds [kernel]") struct PixelBoundsTests {
    /// Memory whose last byte is followed by a page that nobody may touch.
    private struct Guarded {
        private let start: UnsafeMutableRawPointer
        private let total: Int
        private let page = 4096
        let bytes: UnsafeMutableRawBufferPointer

        init(count: Int) {
            let used = (count + page - 1) / page * page
            total = used + page
            let mapped = mmap(
                nil, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            guard let mapped, mapped != MAP_FAILED else { fatalError("mmap: \(errno)") }
            start = mapped
            precondition(mprotect(start + used, page, PROT_NONE) == 0)
            bytes = UnsafeMutableRawBufferPointer(start: start + (used - count), count: count)
        }

        func free() { munmap(start, total) }
    }

    /// Bytes of each plane when it is as short as can be, with strides beyond the rows.
    private func shortest(_ format: PixelFormat, width: Int, height: Int, padding: Int) -> [Int] {
        (0..<format.planeCount).map {
            let row = format.rowBytes(plane: $0, width: width)
            return (row + padding) * (format.rows(plane: $0, height: height) - 1) + row
        }
    }

    @Test(arguments: PixelFormat.allCases)
    func exactFitIsReadAndWrittenWithoutTouchingMore(format: PixelFormat) throws {
        for (width, height) in [(1, 1), (2, 2), (5, 3), (64, 16), (33, 7)] {
            let lengths = shortest(format, width: width, height: height, padding: 5)
            let blocks = lengths.map(Guarded.init(count:))
            defer { blocks.forEach { $0.free() } }
            let planes = blocks.enumerated().map { index, block in
                WritablePixelPlane(
                    block.bytes, offset: 0,
                    stride: format.rowBytes(plane: index, width: width) + 5)
            }
            try Picture(width: width, height: height, fill: .white).encode(format, into: planes)
            let picture = try Picture(
                format, width: width, height: height, planes: planes.map(\.readable))
            #expect(picture == Picture(width: width, height: height, fill: .white))
        }
    }

    @Test(arguments: PixelFormat.allCases)
    func oneByteLessIsRefused(format: PixelFormat) {
        let (width, height) = (6, 4)
        let lengths = shortest(format, width: width, height: height, padding: 0)
        for plane in lengths.indices {
            let blocks = lengths.enumerated().map { index, length in
                Guarded(count: index == plane ? length - 1 : length)
            }
            defer { blocks.forEach { $0.free() } }
            let planes = blocks.enumerated().map { index, block in
                WritablePixelPlane(
                    block.bytes, offset: 0, stride: format.rowBytes(plane: index, width: width))
            }
            let refusal = PictureError.outOfBounds(
                plane: plane, end: lengths[plane], length: lengths[plane] - 1)
            #expect(throws: refusal) {
                try Picture(format, width: width, height: height, planes: planes.map(\.readable))
            }
            #expect(throws: refusal) {
                try Picture(width: width, height: height).encode(format, into: planes)
            }
        }
    }

    @Test(arguments: PixelFormat.allCases)
    func everyHostileFieldIsRefused(format: PixelFormat) {
        let (width, height) = (6, 4)
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 1000, alignment: 8)
        defer { block.deallocate() }
        let memory = UnsafeRawBufferPointer(block)
        func attempt(
            plane: Int, offset: Int? = nil, stride: Int? = nil
        ) throws(PictureError) {
            let planes = (0..<format.planeCount).map { index in
                PixelPlane(
                    memory, offset: index == plane ? offset ?? 0 : 0,
                    stride: index == plane
                        ? stride ?? 64 : format.rowBytes(plane: index, width: width))
            }
            _ = try Picture(format, width: width, height: height, planes: planes)
        }
        for plane in 0..<format.planeCount {
            let needed = format.rowBytes(plane: plane, width: width)
            #expect(throws: Never.self) { try attempt(plane: plane) }
            for stride in [needed - 1, 0, -1, .min] {
                #expect(
                    throws: PictureError.strideTooShort(
                        plane: plane, stride: stride, needed: needed)
                ) { try attempt(plane: plane, stride: stride) }
            }
            for offset in [-1, .min] {
                #expect(throws: PictureError.negativeOffset(plane: plane, offset: offset)) {
                    try attempt(plane: plane, offset: offset)
                }
            }
            for offset in [Int.max, .max - 3] {
                #expect(
                    throws: PictureError.outOfBounds(plane: plane, end: .max, length: 1000)
                ) { try attempt(plane: plane, offset: offset) }
            }
            // Times the rows: past 64 bits, or (two rows) just below.
            let rows = format.rows(plane: plane, height: height)
            #expect(throws: PictureError.self) { try attempt(plane: plane, stride: .max) }
            #expect(throws: PictureError.self) { try attempt(plane: plane, stride: .max / rows) }
            #expect(throws: PictureError.self) { try attempt(plane: plane, stride: 1 << 32) }
            let last = 1000 - 64 * (rows - 1) - needed
            #expect(throws: Never.self) { try attempt(plane: plane, offset: last) }
            #expect(throws: PictureError.outOfBounds(plane: plane, end: 1001, length: 1000)) {
                try attempt(plane: plane, offset: last + 1)
            }
        }
    }

    @Test func sizesAndPlaneCountsAreChecked() {
        let memory = UnsafeRawBufferPointer(start: nil, count: 0)
        let plane = PixelPlane(memory, offset: 0, stride: 1 << 20)
        for (width, height) in [(0, 1), (1, 0), (-1, 1), (16_385, 1), (1, 16_385), (.max, .max)] {
            #expect(throws: PictureError.size(width: width, height: height)) {
                try Picture(.xrgb8888, width: width, height: height, planes: [plane])
            }
            #expect(throws: PictureError.size(width: width, height: height)) {
                try PixelFormat.nv12.linearLayout(width: width, height: height)
            }
        }
        #expect(throws: PictureError.planeCount(expected: 1, given: 0)) {
            try Picture(.xrgb8888, width: 1, height: 1, planes: [])
        }
        #expect(throws: PictureError.planeCount(expected: 2, given: 1)) {
            try Picture(.nv12, width: 1, height: 1, planes: [plane])
        }
        #expect(throws: PictureError.planeCount(expected: 1, given: 2)) {
            try Picture(.yuyv, width: 1, height: 1, planes: [plane, plane])
        }
        #expect(throws: PictureError.outOfBounds(plane: 0, end: 4, length: 0)) {
            try Picture(.xrgb8888, width: 1, height: 1, planes: [plane])
        }
    }

    @Test func refusalsSayWhatIsWrong() {
        let error = PictureError.outOfBounds(plane: 1, end: 4100, length: 4096)
        #expect("\(error)" == "plane 1 ends at byte 4100 of a buffer of 4096 bytes")
        #expect("\(PictureError.unsupportedFormat(fourcc: 0x3432_5258))".contains("XR24"))
    }
}
