/// The functions of libGLESv2.so.2 that are used here (gl2.h, gl2ext.h), and their numbers.
struct GLESLibrary {
    // UNSAFE: C functions of the types that the headers declare; called by the blitter alone.
    let genTextures: @convention(c) (Int32, UnsafeMutablePointer<UInt32>) -> Void
    let deleteTextures: @convention(c) (Int32, UnsafePointer<UInt32>) -> Void
    let bindTexture: @convention(c) (UInt32, UInt32) -> Void
    let texParameter: @convention(c) (UInt32, UInt32, Int32) -> Void
    let imageTexture: @convention(c) (UInt32, EGLLibrary.Object) -> Void
    let genRenderbuffers: @convention(c) (Int32, UnsafeMutablePointer<UInt32>) -> Void
    let deleteRenderbuffers: @convention(c) (Int32, UnsafePointer<UInt32>) -> Void
    let bindRenderbuffer: @convention(c) (UInt32, UInt32) -> Void
    let renderbufferStorage: @convention(c) (UInt32, UInt32, Int32, Int32) -> Void
    let imageRenderbuffer: @convention(c) (UInt32, EGLLibrary.Object) -> Void
    let genFramebuffers: @convention(c) (Int32, UnsafeMutablePointer<UInt32>) -> Void
    let deleteFramebuffers: @convention(c) (Int32, UnsafePointer<UInt32>) -> Void
    let bindFramebuffer: @convention(c) (UInt32, UInt32) -> Void
    let framebufferRenderbuffer: @convention(c) (UInt32, UInt32, UInt32, UInt32) -> Void
    let checkFramebuffer: @convention(c) (UInt32) -> UInt32
    let createShader: @convention(c) (UInt32) -> UInt32
    let shaderSource:
        @convention(c) (UInt32, Int32, UnsafePointer<UnsafePointer<CChar>?>, UnsafePointer<Int32>?)
            -> Void
    let compileShader: @convention(c) (UInt32) -> Void
    let createProgram: @convention(c) () -> UInt32
    let attachShader: @convention(c) (UInt32, UInt32) -> Void
    let bindAttribute: @convention(c) (UInt32, UInt32, UnsafePointer<CChar>) -> Void
    let linkProgram: @convention(c) (UInt32) -> Void
    let programValue: @convention(c) (UInt32, UInt32, UnsafeMutablePointer<Int32>) -> Void
    let useProgram: @convention(c) (UInt32) -> Void
    let vertexAttribute:
        @convention(c) (UInt32, Int32, UInt32, UInt8, Int32, UnsafeRawPointer?) -> Void
    let enableAttribute: @convention(c) (UInt32) -> Void
    let viewport: @convention(c) (Int32, Int32, Int32, Int32) -> Void
    let disable: @convention(c) (UInt32) -> Void
    let drawArrays: @convention(c) (UInt32, Int32, Int32) -> Void
    let readPixels:
        @convention(c) (Int32, Int32, Int32, Int32, UInt32, UInt32, UnsafeMutableRawPointer) -> Void
    let pixelStore: @convention(c) (UInt32, Int32) -> Void
    let finish: @convention(c) () -> Void
    let lastError: @convention(c) () -> UInt32
    let string: @convention(c) (UInt32) -> UnsafePointer<CChar>?

    static let textureExternal: UInt32 = 0x8D65
    static let renderbuffer: UInt32 = 0x8D41
    static let framebuffer: UInt32 = 0x8D40
    static let colour: UInt32 = 0x8CE0
    static let complete: UInt32 = 0x8CD5
    static let rgba: UInt32 = 0x1908
    static let rgba8: UInt32 = 0x8058
    static let unsignedByte: UInt32 = 0x1401
    static let float: UInt32 = 0x1406
    static let triangleStrip: UInt32 = 0x0005
    static let vertexShader: UInt32 = 0x8B31
    static let fragmentShader: UInt32 = 0x8B30
    static let linkStatus: UInt32 = 0x8B82
    static let minify: UInt32 = 0x2801
    static let magnify: UInt32 = 0x2800
    static let wrapS: UInt32 = 0x2802
    static let wrapT: UInt32 = 0x2803
    static let dither: UInt32 = 0x0BD0
    static let packRowLength: UInt32 = 0x0D02
    static let packAlignment: UInt32 = 0x0D05
    static let extensions: UInt32 = 0x1F03
    static let renderer: UInt32 = 0x1F01
    static let nearest: Int32 = 0x2600
    static let clampToEdge: Int32 = 0x812F

    /// Opens the library; nil when it, or a function of the list, is not there.
    static func load(_ egl: EGLLibrary) -> GLESLibrary? {
        guard let library = LoadedLibrary("libGLESv2.so.2") else { return nil }
        // UNSAFE: the function's address as the type of its header.
        func named<Function>(_ name: String, _ type: Function.Type) -> Function? {
            library.function(name, type)
                ?? egl.address(name).map { unsafeBitCast($0, to: Function.self) }
        }
        guard
            let genTextures = named(
                "glGenTextures", (@convention(c) (Int32, UnsafeMutablePointer<UInt32>) -> Void).self
            ),
            let deleteTextures = named(
                "glDeleteTextures", (@convention(c) (Int32, UnsafePointer<UInt32>) -> Void).self),
            let bindTexture = named(
                "glBindTexture", (@convention(c) (UInt32, UInt32) -> Void).self),
            let texParameter = named(
                "glTexParameteri", (@convention(c) (UInt32, UInt32, Int32) -> Void).self),
            let imageTexture = named(
                "glEGLImageTargetTexture2DOES",
                (@convention(c) (UInt32, EGLLibrary.Object) -> Void).self),
            let genRenderbuffers = named(
                "glGenRenderbuffers",
                (@convention(c) (Int32, UnsafeMutablePointer<UInt32>) -> Void).self),
            let deleteRenderbuffers = named(
                "glDeleteRenderbuffers",
                (@convention(c) (Int32, UnsafePointer<UInt32>) -> Void).self),
            let bindRenderbuffer = named(
                "glBindRenderbuffer", (@convention(c) (UInt32, UInt32) -> Void).self),
            let renderbufferStorage = named(
                "glRenderbufferStorage",
                (@convention(c) (UInt32, UInt32, Int32, Int32) -> Void).self),
            let imageRenderbuffer = named(
                "glEGLImageTargetRenderbufferStorageOES",
                (@convention(c) (UInt32, EGLLibrary.Object) -> Void).self),
            let genFramebuffers = named(
                "glGenFramebuffers",
                (@convention(c) (Int32, UnsafeMutablePointer<UInt32>) -> Void).self),
            let deleteFramebuffers = named(
                "glDeleteFramebuffers", (@convention(c) (Int32, UnsafePointer<UInt32>) -> Void).self
            ),
            let bindFramebuffer = named(
                "glBindFramebuffer", (@convention(c) (UInt32, UInt32) -> Void).self),
            let framebufferRenderbuffer = named(
                "glFramebufferRenderbuffer",
                (@convention(c) (UInt32, UInt32, UInt32, UInt32) -> Void).self),
            let checkFramebuffer = named(
                "glCheckFramebufferStatus", (@convention(c) (UInt32) -> UInt32).self),
            let createShader = named("glCreateShader", (@convention(c) (UInt32) -> UInt32).self),
            let shaderSource = named(
                "glShaderSource",
                (@convention(c) (
                    UInt32, Int32, UnsafePointer<UnsafePointer<CChar>?>, UnsafePointer<Int32>?
                ) -> Void).self),
            let compileShader = named("glCompileShader", (@convention(c) (UInt32) -> Void).self),
            let createProgram = named("glCreateProgram", (@convention(c) () -> UInt32).self),
            let attachShader = named(
                "glAttachShader", (@convention(c) (UInt32, UInt32) -> Void).self),
            let bindAttribute = named(
                "glBindAttribLocation",
                (@convention(c) (UInt32, UInt32, UnsafePointer<CChar>) -> Void).self),
            let linkProgram = named("glLinkProgram", (@convention(c) (UInt32) -> Void).self),
            let programValue = named(
                "glGetProgramiv",
                (@convention(c) (UInt32, UInt32, UnsafeMutablePointer<Int32>) -> Void).self),
            let useProgram = named("glUseProgram", (@convention(c) (UInt32) -> Void).self),
            let vertexAttribute = named(
                "glVertexAttribPointer",
                (@convention(c) (UInt32, Int32, UInt32, UInt8, Int32, UnsafeRawPointer?) -> Void)
                    .self),
            let enableAttribute = named(
                "glEnableVertexAttribArray", (@convention(c) (UInt32) -> Void).self),
            let viewport = named(
                "glViewport", (@convention(c) (Int32, Int32, Int32, Int32) -> Void).self),
            let disable = named("glDisable", (@convention(c) (UInt32) -> Void).self),
            let drawArrays = named(
                "glDrawArrays", (@convention(c) (UInt32, Int32, Int32) -> Void).self),
            let readPixels = named(
                "glReadPixels",
                (@convention(c) (
                    Int32, Int32, Int32, Int32, UInt32, UInt32, UnsafeMutableRawPointer
                ) -> Void).self),
            let pixelStore = named("glPixelStorei", (@convention(c) (UInt32, Int32) -> Void).self),
            let finish = named("glFinish", (@convention(c) () -> Void).self),
            let lastError = named("glGetError", (@convention(c) () -> UInt32).self),
            let string = named(
                "glGetString", (@convention(c) (UInt32) -> UnsafePointer<CChar>?).self)
        else { return nil }
        return GLESLibrary(
            genTextures: genTextures, deleteTextures: deleteTextures, bindTexture: bindTexture,
            texParameter: texParameter, imageTexture: imageTexture,
            genRenderbuffers: genRenderbuffers, deleteRenderbuffers: deleteRenderbuffers,
            bindRenderbuffer: bindRenderbuffer, renderbufferStorage: renderbufferStorage,
            imageRenderbuffer: imageRenderbuffer, genFramebuffers: genFramebuffers,
            deleteFramebuffers: deleteFramebuffers, bindFramebuffer: bindFramebuffer,
            framebufferRenderbuffer: framebufferRenderbuffer, checkFramebuffer: checkFramebuffer,
            createShader: createShader, shaderSource: shaderSource, compileShader: compileShader,
            createProgram: createProgram, attachShader: attachShader, bindAttribute: bindAttribute,
            linkProgram: linkProgram, programValue: programValue, useProgram: useProgram,
            vertexAttribute: vertexAttribute, enableAttribute: enableAttribute, viewport: viewport,
            disable: disable, drawArrays: drawArrays, readPixels: readPixels,
            pixelStore: pixelStore, finish: finish, lastError: lastError, string: string)
    }
}
