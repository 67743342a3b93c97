import Glibc

/// The functions of libEGL.so.1 that are used here (egl.h, eglext.h), and their numbers.
struct EGLLibrary {
    // UNSAFE: opaque objects of the library, as its headers declare them.
    typealias Object = UnsafeMutableRawPointer
    typealias Attributes = UnsafePointer<Int32>

    let address: @convention(c) (UnsafePointer<CChar>) -> UnsafeMutableRawPointer?
    let platformDisplay: @convention(c) (UInt32, Object?, Attributes?) -> Object?
    let initialize:
        @convention(c) (Object, UnsafeMutablePointer<Int32>?, UnsafeMutablePointer<Int32>?) ->
            UInt32
    let terminate: @convention(c) (Object) -> UInt32
    let queryString: @convention(c) (Object?, Int32) -> UnsafePointer<CChar>?
    let bindAPI: @convention(c) (UInt32) -> UInt32
    let createContext: @convention(c) (Object, Object?, Object?, Attributes) -> Object?
    let makeCurrent: @convention(c) (Object, Object?, Object?, Object?) -> UInt32
    let lastError: @convention(c) () -> Int32
    let createImage: @convention(c) (Object, Object?, UInt32, Object?, Attributes) -> Object?
    let destroyImage: @convention(c) (Object, Object) -> UInt32

    static let platformGBM: UInt32 = 0x31D7
    static let platformSurfaceless: UInt32 = 0x31DD
    static let openGLES: UInt32 = 0x30A0
    static let extensions: Int32 = 0x3055
    static let none: Int32 = 0x3038
    static let clientVersion: Int32 = 0x3098
    static let width: Int32 = 0x3057
    static let height: Int32 = 0x3056
    static let linuxDMABuf: UInt32 = 0x3270
    static let fourcc: Int32 = 0x3271
    /// Of planes 0…3: descriptor, offset, pitch, low and high half of the modifier.
    static let planes: [(fd: Int32, offset: Int32, pitch: Int32, low: Int32, high: Int32)] = [
        (0x3272, 0x3273, 0x3274, 0x3443, 0x3444), (0x3275, 0x3276, 0x3277, 0x3445, 0x3446),
        (0x3278, 0x3279, 0x327A, 0x3447, 0x3448), (0x3440, 0x3441, 0x3442, 0x3449, 0x344A),
    ]

    /// Opens the library; nil when it, or a function that everything here needs, is not there.
    static func load() -> EGLLibrary? {
        guard let library = LoadedLibrary("libEGL.so.1"),
            let address = library.function(
                "eglGetProcAddress",
                (@convention(c) (UnsafePointer<CChar>) -> UnsafeMutableRawPointer?).self)
        else { return nil }
        // UNSAFE: the extension's function, cast to its header's type.
        func named<Function>(_ name: String, _ type: Function.Type) -> Function? {
            library.function(name, type)
                ?? address(name).map { unsafeBitCast($0, to: Function.self) }
        }
        guard
            let platformDisplay = named(
                "eglGetPlatformDisplayEXT",
                (@convention(c) (UInt32, Object?, Attributes?) -> Object?).self),
            let initialize = named(
                "eglInitialize",
                (@convention(c) (
                    Object, UnsafeMutablePointer<Int32>?, UnsafeMutablePointer<Int32>?
                ) -> UInt32).self),
            let terminate = named("eglTerminate", (@convention(c) (Object) -> UInt32).self),
            let queryString = named(
                "eglQueryString", (@convention(c) (Object?, Int32) -> UnsafePointer<CChar>?).self),
            let bindAPI = named("eglBindAPI", (@convention(c) (UInt32) -> UInt32).self),
            let createContext = named(
                "eglCreateContext",
                (@convention(c) (Object, Object?, Object?, Attributes) -> Object?).self),
            let makeCurrent = named(
                "eglMakeCurrent",
                (@convention(c) (Object, Object?, Object?, Object?) -> UInt32).self),
            let lastError = named("eglGetError", (@convention(c) () -> Int32).self),
            let createImage = named(
                "eglCreateImageKHR",
                (@convention(c) (Object, Object?, UInt32, Object?, Attributes) -> Object?).self),
            let destroyImage = named(
                "eglDestroyImageKHR", (@convention(c) (Object, Object) -> UInt32).self)
        else { return nil }
        return EGLLibrary(
            address: address, platformDisplay: platformDisplay, initialize: initialize,
            terminate: terminate, queryString: queryString, bindAPI: bindAPI,
            createContext: createContext, makeCurrent: makeCurrent, lastError: lastError,
            createImage: createImage, destroyImage: destroyImage)
    }

    /// Words of a list that EGL or OpenGL gave.
    static func words(_ text: UnsafePointer<CChar>?) -> Set<Substring> {
        guard let text else { return [] }
        return Set(String(cString: text).split(separator: " "))
    }
}
