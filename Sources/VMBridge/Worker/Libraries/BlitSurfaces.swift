import Descriptors
import VMBridgeCore

/// A source: an image of a guest's dma-buf as a texture.
final class BlitSource {
    // UNSAFE: the driver's image and the texture of it, deleted with this object.
    private let renderer: Renderer
    private let image: EGLLibrary.Object
    let texture: UInt32
    let layout: BufferLayout

    init(
        _ layout: BufferLayout, _ descriptors: [Int32], _ renderer: Renderer
    ) throws(GraphicsRefusal) {
        guard let image = renderer.image(layout, descriptors) else {
            throw GraphicsRefusal(
                .sourceRefused,
                "EGL does not import \(layout.format) with \(layout.modifier) (error 0x\(hex(UInt32(bitPattern: renderer.egl.lastError()))), \(renderer.name))."
            )
        }
        let gl = renderer.gl
        var texture: UInt32 = 0
        gl.genTextures(1, &texture)
        gl.bindTexture(GLESLibrary.textureExternal, texture)
        for (name, value) in [
            (GLESLibrary.minify, GLESLibrary.nearest), (GLESLibrary.magnify, GLESLibrary.nearest),
            (GLESLibrary.wrapS, GLESLibrary.clampToEdge),
            (GLESLibrary.wrapT, GLESLibrary.clampToEdge),
        ] {
            gl.texParameter(GLESLibrary.textureExternal, name, value)
        }
        gl.imageTexture(GLESLibrary.textureExternal, image)
        let code = gl.lastError()
        guard code == 0 else {
            gl.deleteTextures(1, &texture)
            _ = renderer.egl.destroyImage(renderer.display, image)
            throw GraphicsRefusal(
                .sourceRefused,
                "OpenGL ES makes no texture of \(layout.format) (error 0x\(hex(code)), \(renderer.name))."
            )
        }
        self.renderer = renderer
        self.image = image
        self.texture = texture
        self.layout = layout
    }

    deinit {
        var texture = texture
        renderer.gl.deleteTextures(1, &texture)
        _ = renderer.egl.destroyImage(renderer.display, image)
    }
}

/// What a source is drawn into: an imported output, or memory of the driver that is read back.
final class BlitFramebuffer {
    // UNSAFE: the driver's objects, deleted with this one.
    private let renderer: Renderer
    private let image: EGLLibrary.Object?
    private let renderbuffer: UInt32
    private let framebuffer: UInt32

    /// - Parameter descriptors: of the output, lent; nil to draw into memory of the driver.
    /// - Returns: nil when the driver does not draw into that.
    init?(_ layout: BufferLayout, _ descriptors: [Int32]?, _ renderer: Renderer) {
        let gl = renderer.gl
        var image: EGLLibrary.Object?
        if let descriptors {
            image = renderer.image(layout, descriptors)
            if image == nil { return nil }
        }
        var renderbuffer: UInt32 = 0
        gl.genRenderbuffers(1, &renderbuffer)
        gl.bindRenderbuffer(GLESLibrary.renderbuffer, renderbuffer)
        if let image {
            gl.imageRenderbuffer(GLESLibrary.renderbuffer, image)
        } else {
            gl.renderbufferStorage(
                GLESLibrary.renderbuffer, GLESLibrary.rgba8, Int32(layout.size.width),
                Int32(layout.size.height))
        }
        var framebuffer: UInt32 = 0
        gl.genFramebuffers(1, &framebuffer)
        gl.bindFramebuffer(GLESLibrary.framebuffer, framebuffer)
        gl.framebufferRenderbuffer(
            GLESLibrary.framebuffer, GLESLibrary.colour, GLESLibrary.renderbuffer, renderbuffer)
        let isComplete = gl.checkFramebuffer(GLESLibrary.framebuffer) == GLESLibrary.complete
        self.renderer = renderer
        self.image = image
        self.renderbuffer = renderbuffer
        self.framebuffer = framebuffer
        guard gl.lastError() == 0, isComplete else { return nil }
    }

    deinit {
        var (framebuffer, renderbuffer) = (framebuffer, renderbuffer)
        renderer.gl.deleteFramebuffers(1, &framebuffer)
        renderer.gl.deleteRenderbuffers(1, &renderbuffer)
        if let image { _ = renderer.egl.destroyImage(renderer.display, image) }
    }

    /// Draws go here from now on.
    func bind() { renderer.gl.bindFramebuffer(GLESLibrary.framebuffer, framebuffer) }

    /// Copies what was drawn into memory, rows of `stride` bytes.
    func read(_ size: Size, stride: UInt32, into memory: inout MappedMemory) {
        let gl = renderer.gl
        gl.pixelStore(GLESLibrary.packAlignment, 4)
        if renderer.readsRows { gl.pixelStore(GLESLibrary.packRowLength, Int32(stride / 4)) }
        // UNSAFE: the mapping holds every row; its owner made it of stride times height bytes.
        memory.withUnsafeMutableBytes { bytes in
            guard let start = bytes.baseAddress,
                UInt64(bytes.count) >= UInt64(stride) * UInt64(size.height)
            else { return }
            gl.readPixels(
                0, 0, Int32(size.width), Int32(size.height), GLESLibrary.rgba,
                GLESLibrary.unsignedByte, start)
        }
    }
}
