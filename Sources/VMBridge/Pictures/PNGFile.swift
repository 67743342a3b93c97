import CPng
import Descriptors
import Glibc

// Unsafe here: libpng. Its simplified interface (png_image_…, png.h "Simplified API") is used
// because it reports errors by value; the classic one jumps over our frames with longjmp.

/// Reading and writing PNG files.
package enum PNGFile {
    /// Files with more bytes than this are not read.
    package static let maximumFileSize = 1 << 30

    /// Writes a picture as 8-bit RGBA.
    ///
    /// The file appears complete or not at all: a temporary file beside it is renamed over `path`.
    /// - Parameter fast: less compression, for pictures written while others wait.
    /// - Throws: `PictureError.size` for an empty picture, `.file` or `.png` with path and reason.
    package static func write(
        _ picture: Picture, to path: String, fast: Bool = false
    ) throws(PictureError) {
        try Picture.checkSize(width: picture.width, height: picture.height)
        let (descriptor, temporary) = try makeTemporary(beside: path)
        guard let file = fdopen(descriptor, "wb") else {
            let code = errno
            close(descriptor)
            unlink(temporary)
            throw .file(path: temporary, operation: "fdopen", code: code)
        }
        do throws(PictureError) {
            try write(picture, to: file, path: path, fast: fast)
        } catch {
            unlink(temporary)
            throw error
        }
        if rename(temporary, path) != 0 {
            let code = errno
            unlink(temporary)
            throw .file(path: path, operation: "rename", code: code)
        }
    }

    /// Writes a picture to an open file, from where it stands, and closes it, whatever happens.
    package static func write(
        _ picture: Picture, to descriptor: consuming OwnedDescriptor, fast: Bool = false
    ) throws(PictureError) {
        let name = "the file"
        try Picture.checkSize(width: picture.width, height: picture.height)
        guard let file = fdopen(descriptor.number, "wb") else {
            throw .file(path: name, operation: "fdopen", code: errno)
        }
        // The stream closes it from here on.
        _ = descriptor.release()
        try write(picture, to: file, path: name, fast: fast)
    }

    /// Writes a picture to an open stream and closes it, whatever happens. `path` is for errors.
    static func write(
        _ picture: Picture, to file: UnsafeMutablePointer<FILE>, path: String, fast: Bool
    ) throws(PictureError) {
        var image = emptyImage()
        image.width = png_uint_32(picture.width)
        image.height = png_uint_32(picture.height)
        image.format = png_uint_32(PNG_FORMAT_FLAG_COLOR | PNG_FORMAT_FLAG_ALPHA)
        if fast { image.flags = png_uint_32(PNG_IMAGE_FLAG_FAST) }
        let written = picture.withPixels {
            png_image_write_to_stdio(&image, file, 0, $0.baseAddress, 0, nil)
        }
        let reason = message(of: image)
        png_image_free(&image)
        // A full disk may show only when the last bytes leave the buffer.
        let closed = fclose(file)
        let code = errno
        guard written != 0 else { throw .png(path: path, reason: reason) }
        guard closed == 0 else { throw .file(path: path, operation: "close", code: code) }
    }

    /// Reads a PNG of any kind as 8-bit RGBA with straight alpha.
    /// - Throws: `.file` when it cannot be opened, is no regular file or is too large, `.png` when
    ///   it is no proper PNG, `.size` when a side is beyond `Picture.maximumSide`.
    package static func read(_ path: String) throws(PictureError) -> Picture {
        // Not blocking, so that a fifo in the place of a file cannot hold us.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .file(path: path, operation: "open", code: errno) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw .png(path: path, reason: "not a regular file")
        }
        guard status.st_size <= maximumFileSize else {
            close(descriptor)
            throw .file(path: path, operation: "read", code: EFBIG)
        }
        guard let file = fdopen(descriptor, "rb") else {
            let code = errno
            close(descriptor)
            throw .file(path: path, operation: "fdopen", code: code)
        }
        defer { fclose(file) }
        var image = emptyImage()
        // Frees what libpng holds, whichever way this ends; libpng allows it twice.
        defer { png_image_free(&image) }
        guard png_image_begin_read_from_stdio(&image, file) != 0 else {
            throw .png(path: path, reason: message(of: image))
        }
        let (width, height) = (Int(image.width), Int(image.height))
        try Picture.checkSize(width: width, height: height)
        image.format = png_uint_32(PNG_FORMAT_FLAG_COLOR | PNG_FORMAT_FLAG_ALPHA)
        var picture = Picture(width: width, height: height)
        let finished = picture.withMutablePixels {
            png_image_finish_read(&image, nil, $0.baseAddress, 0, nil)
        }
        guard finished != 0 else { throw .png(path: path, reason: message(of: image)) }
        return picture
    }

    private static func emptyImage() -> png_image {
        var image = png_image()
        image.version = png_uint_32(PNG_IMAGE_VERSION)
        return image
    }

    /// A new file beside `path` that nobody had before: other writers and links cannot interfere.
    private static func makeTemporary(
        beside path: String
    ) throws(PictureError) -> (descriptor: Int32, path: String) {
        for attempt in 0..<100 {
            let candidate = "\(path).\(getpid()).\(attempt).part"
            let descriptor = open(
                candidate, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
            if descriptor >= 0 { return (descriptor, candidate) }
            if errno != EEXIST { throw .file(path: path, operation: "create", code: errno) }
        }
        throw .file(path: path, operation: "create", code: EEXIST)
    }

    /// libpng's message: a C array of characters ending with a zero.
    private static func message(of image: png_image) -> String {
        withUnsafeBytes(of: image.message) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}
