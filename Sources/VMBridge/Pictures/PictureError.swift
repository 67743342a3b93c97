import Glibc

/// Why a picture could not be made, read or written. Nothing in this folder traps on bad input.
package enum PictureError: Error, Equatable, CustomStringConvertible {
    /// A fourcc that has no conversion here.
    case unsupportedFormat(fourcc: UInt32)
    /// Width or height outside 1…`Picture.maximumSide`.
    case size(width: Int, height: Int)
    /// The format needs another number of planes than given.
    case planeCount(expected: Int, given: Int)
    /// A stride (bytes) smaller than one row of the plane.
    case strideTooShort(plane: Int, stride: Int, needed: Int)
    /// An offset (bytes) below zero.
    case negativeOffset(plane: Int, offset: Int)
    /// The plane ends `end` bytes into memory that has `length`; `end` is `Int.max` where the sum
    /// has no room in 64 bits.
    case outOfBounds(plane: Int, end: Int, length: Int)
    /// Rows that do not begin on multiples of four bytes, where pixels are drawn in place.
    case misaligned(plane: Int)
    /// A system call on a file failed; `code` is errno.
    case file(path: String, operation: String, code: Int32)
    /// libpng refused; `reason` is its message.
    case png(path: String, reason: String)

    package var description: String {
        switch self {
        case .unsupportedFormat(let fourcc):
            "pixel format \(PixelFormat.name(ofFourcc: fourcc)) cannot be converted"
        case .size(let width, let height):
            "a picture of \(width)x\(height) is not between 1x1 and "
                + "\(Picture.maximumSide)x\(Picture.maximumSide)"
        case .planeCount(let expected, let given):
            "the format has \(expected) plane(s), \(given) given"
        case .strideTooShort(let plane, let stride, let needed):
            "plane \(plane): stride \(stride) is shorter than a row of \(needed) bytes"
        case .negativeOffset(let plane, let offset):
            "plane \(plane): offset \(offset) is below zero"
        case .outOfBounds(let plane, let end, let length):
            "plane \(plane) ends at byte \(end) of a buffer of \(length) bytes"
        case .misaligned(let plane):
            "plane \(plane): rows do not begin on multiples of 4 bytes"
        case .file(let path, let operation, let code):
            "\(path): \(operation): \(String(cString: strerror(code)))"
        case .png(let path, let reason):
            "\(path): \(reason)"
        }
    }
}
