import Descriptors
import Logging
import VMBridgeCore
import Wayland

/// A plain arrow of ours, for compositors that have no images of their own for pointers (cursor-shape-v1): a
/// client that shows none leaves whatever was there before.
final class PointerArrow {
    /// X is black, a point is white, a space shows what is below.
    private static let art: [StaticString] = [
        "X           ",
        "XX          ",
        "X.X         ",
        "X..X        ",
        "X...X       ",
        "X....X      ",
        "X.....X     ",
        "X......X    ",
        "X.......X   ",
        "X........X  ",
        "X.........X ",
        "X..........X",
        "X......XXXXX",
        "X...X..X    ",
        "X..X X..X   ",
        "X.X  X..X   ",
        "XX    X..X  ",
        "X     X..X  ",
        "       XX   ",
    ]
    static let size = Size(width: 12, height: 19)

    private let compositor: WlCompositor
    private let shm: WlShm
    private let books: PresenterBooks
    private let logger: Logger
    private var made: (surface: WlSurface, buffer: WlBuffer)?

    init(_ compositor: WlCompositor, _ shm: WlShm, _ books: PresenterBooks, _ logger: Logger) {
        self.compositor = compositor
        self.shm = shm
        self.books = books
        self.logger = logger
    }

    /// The surface that shows it, made when it is first wanted; nil when there is no memory or descriptor.
    func surface() -> WlSurface? {
        if let made { return made.surface }
        if !books.hasToldOfArrow {
            books.hasToldOfArrow = true
            logger.debug(
                "\(books.vmName): the compositor has no wp_cursor_shape_manager_v1: pointers show an arrow of ours"
            )
        }
        let pixels = Self.pixels
        let file: OwnedDescriptor
        do throws(KernelError) {
            file = try MemoryFile.create(
                name: "vm-bridge-arrow", holding: pixels, seals: [.shrink, .grow, .seal])
        } catch { return nil }
        guard file.canBePassed() else { return nil }
        let (width, height) = (Int32(Self.size.width), Int32(Self.size.height))
        let pool = shm.createPool(fd: file, size: Int32(pixels.count))
        let buffer = pool.createBuffer(
            offset: 0, width: width, height: height, stride: width * 4,
            format: WlShm.Format(rawValue: 0))
        pool.destroy()
        let surface = compositor.createSurface()
        surface.attach(buffer: buffer, x: 0, y: 0)
        surface.damageBuffer(x: 0, y: 0, width: width, height: height)
        surface.commit()
        made = (surface, buffer)
        return surface
    }

    /// ARGB8888, premultiplied.
    static var pixels: [UInt8] {
        art.flatMap { row in
            (0..<Int(size.width)).flatMap { column -> [UInt8] in
                switch row.description.utf8.dropFirst(column).first {
                case UInt8(ascii: "X"): [0, 0, 0, 255]
                case UInt8(ascii: "."): [255, 255, 255, 255]
                default: [0, 0, 0, 0]
                }
            }
        }
    }

    /// Ends its objects.
    func tearDown() {
        made?.surface.destroy()
        made?.buffer.destroy()
        made = nil
    }
}
