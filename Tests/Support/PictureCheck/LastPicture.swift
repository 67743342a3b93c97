import VMBridge

/// `PictureCheck last LOG VM SLOT PICTURE`: whether the last line of a `frames.log` for a surface is of the same picture
/// as a PNG, of whatever it shows. Prints both.
struct LastPicture {
    private let words: [String]

    init(_ words: [String]) throws {
        guard words.count == 4 else { throw PictureCheck.WrongUsage() }
        self.words = words
    }

    func check() throws -> Bool {
        let file = try ReadableFile(path: words[0])
        let text = String(decoding: file.bytes(at: 0, count: Int(file.size)), as: UTF8.self)
        let last = text.split(separator: "\n").last { $0.hasPrefix("\(words[1]) \(words[2]) ") }
        let picture = try PNGFile.read(words[3])
        var checksum = PixelChecksum()
        checksum.add(picture)
        let digits = String(checksum.value, radix: 16)
        let wanted =
            "\(picture.width)x\(picture.height) "
            + String(repeating: "0", count: 8 - digits.count) + digits
        print("shown: \(last ?? "nothing"); picture: \(wanted)")
        return last?.hasSuffix(" " + wanted) == true
    }
}
