import CLinux
import Descriptors
import VMBridgeCore

/// EGL on the compositor's device, or on none: opened when the first source comes.
final class Renderer {
    // UNSAFE: this object alone holds the display, and the one context is current on the one thread.
    let egl: EGLLibrary
    let gl: GLESLibrary
    let display: EGLLibrary.Object
    /// The device under the display; nil without one.
    let device: GBMDevice?
    private let hasModifiers: Bool
    private let isES3: Bool
    private var programs: [Bool: UInt32] = [:]

    /// Opens EGL on the first of the devices that it runs on, or without a device.
    init(_ devices: [GBMDevice]) throws(GraphicsRefusal) {
        guard let egl = EGLLibrary.load(), let gl = GLESLibrary.load(egl) else {
            throw GraphicsRefusal(
                .noRenderer, "libEGL.so.1 and libGLESv2.so.2 are not there or too old.")
        }
        var found: (display: EGLLibrary.Object, device: GBMDevice?)?
        for device in devices where found == nil {
            found = Self.open(egl, EGLLibrary.platformGBM, device.device).map { ($0, device) }
        }
        if found == nil {
            found = Self.open(egl, EGLLibrary.platformSurfaceless, nil).map { ($0, nil) }
        }
        guard let found else { throw GraphicsRefusal(.noRenderer, "EGL finds no driver.") }
        let offered = EGLLibrary.words(egl.queryString(found.display, EGLLibrary.extensions))
        for name in [
            "EGL_EXT_image_dma_buf_import", "EGL_KHR_surfaceless_context",
            "EGL_KHR_no_config_context",
        ] where !offered.contains(name[...]) {
            throw GraphicsRefusal(.noRenderer, "EGL lacks \(name).")
        }
        guard let version = Self.makeContext(egl, found.display) else {
            throw GraphicsRefusal(.noRenderer, "EGL makes no OpenGL ES context.")
        }
        let words = EGLLibrary.words(gl.string(GLESLibrary.extensions))
        for name in ["GL_OES_EGL_image", "GL_OES_EGL_image_external"]
        where !words.contains(name[...]) {
            throw GraphicsRefusal(.noRenderer, "OpenGL ES lacks \(name).")
        }
        self.egl = egl
        self.gl = gl
        display = found.display
        device = found.device
        hasModifiers = offered.contains("EGL_EXT_image_dma_buf_import_modifiers")
        isES3 = version == 3
        gl.disable(GLESLibrary.dither)
    }

    private static func open(
        _ egl: EGLLibrary, _ platform: UInt32, _ native: EGLLibrary.Object?
    ) -> EGLLibrary.Object? {
        guard let display = egl.platformDisplay(platform, native, nil),
            egl.initialize(display, nil, nil) == 1
        else { return nil }
        return display
    }

    /// A current context of OpenGL ES 3, else 2; its version.
    private static func makeContext(_ egl: EGLLibrary, _ display: EGLLibrary.Object) -> Int32? {
        guard egl.bindAPI(EGLLibrary.openGLES) == 1 else { return nil }
        for version: Int32 in [3, 2] {
            let attributes = [EGLLibrary.clientVersion, version, EGLLibrary.none]
            if let context = egl.createContext(display, nil, nil, attributes),
                egl.makeCurrent(display, nil, nil, context) == 1
            {
                return version
            }
        }
        return nil
    }

    /// The driver's own words.
    var name: String { gl.string(GLESLibrary.renderer).map { String(cString: $0) } ?? "unknown" }

    /// Whether rows of any length can be read back.
    var readsRows: Bool { isES3 }

    /// An image of a dma-buf; nil when the driver takes no such layout.
    ///
    /// - Parameter descriptors: of the layout's numbers, lent for the call.
    func image(_ layout: BufferLayout, _ descriptors: [Int32]) -> EGLLibrary.Object? {
        guard hasModifiers || layout.modifier == .linear,
            layout.planes.allSatisfy({ Int($0.descriptor) < descriptors.count })
        else { return nil }
        var attributes = [
            EGLLibrary.width, Int32(layout.size.width), EGLLibrary.height,
            Int32(layout.size.height), EGLLibrary.fourcc,
            Int32(bitPattern: layout.format.rawValue),
        ]
        for (plane, names) in zip(layout.planes, EGLLibrary.planes) {
            attributes += [
                names.fd, descriptors[Int(plane.descriptor)], names.offset,
                Int32(bitPattern: plane.offset), names.pitch, Int32(bitPattern: plane.stride),
            ]
            // Without them a driver chooses a layout by itself, which INVALID asks for.
            guard hasModifiers, layout.modifier != .invalid else { continue }
            attributes += [
                names.low, Int32(truncatingIfNeeded: layout.modifier.rawValue), names.high,
                Int32(truncatingIfNeeded: layout.modifier.rawValue >> 32),
            ]
        }
        attributes.append(EGLLibrary.none)
        return egl.createImage(display, nil, EGLLibrary.linuxDMABuf, nil, attributes)
    }

    /// Copies a source's picture into the bound framebuffer, pixel by pixel.
    ///
    /// - Parameter swapped: red and blue change places: reading back gives RGBA, wanted is BGRA.
    func draw(
        _ texture: UInt32, size: Size, isBottomUp: Bool, swapped: Bool
    ) throws(GraphicsRefusal) {
        gl.useProgram(try program(swapped: swapped))
        gl.viewport(0, 0, Int32(size.width), Int32(size.height))
        // Binding again is what makes the new contents of the source seen.
        gl.bindTexture(GLESLibrary.textureExternal, texture)
        let top: Float = isBottomUp ? 1 : 0
        // x, y, then where in the source; the first row of memory is y = -1 here.
        let corners: [Float] = [
            -1, -1, 0, top, 1, -1, 1, top, -1, 1, 0, 1 - top, 1, 1, 1, 1 - top,
        ]
        // UNSAFE: the array is read by the draw call, inside the closure.
        corners.withUnsafeBytes { bytes in
            gl.vertexAttribute(0, 2, GLESLibrary.float, 0, 16, bytes.baseAddress)
            gl.vertexAttribute(1, 2, GLESLibrary.float, 0, 16, bytes.baseAddress.map { $0 + 8 })
            gl.enableAttribute(0)
            gl.enableAttribute(1)
            gl.drawArrays(GLESLibrary.triangleStrip, 0, 4)
        }
        let code = gl.lastError()
        guard code == 0 else {
            throw GraphicsRefusal(.drawingFailed, "OpenGL ES fails with 0x\(hex(code)).")
        }
    }

    private func program(swapped: Bool) throws(GraphicsRefusal) -> UInt32 {
        if let made = programs[swapped] { return made }
        let vertex = """
            attribute vec2 corner;
            attribute vec2 place;
            varying vec2 at;
            void main() { at = place; gl_Position = vec4(corner, 0.0, 1.0); }
            """
        let fragment = """
            #extension GL_OES_EGL_image_external : require
            precision highp float;
            uniform samplerExternalOES source;
            varying vec2 at;
            void main() { gl_FragColor = texture2D(source, at)\(swapped ? ".bgra" : ""); }
            """
        let program = gl.createProgram()
        for (kind, text) in [
            (GLESLibrary.vertexShader, vertex), (GLESLibrary.fragmentShader, fragment),
        ] {
            let shader = gl.createShader(kind)
            // UNSAFE: the text is copied by the call.
            text.withCString { start in
                var start: UnsafePointer<CChar>? = start
                gl.shaderSource(shader, 1, &start, nil)
            }
            gl.compileShader(shader)
            gl.attachShader(program, shader)
        }
        gl.bindAttribute(program, 0, "corner")
        gl.bindAttribute(program, 1, "place")
        gl.linkProgram(program)
        var linked: Int32 = 0
        gl.programValue(program, GLESLibrary.linkStatus, &linked)
        guard linked == 1 else {
            throw GraphicsRefusal(.noRenderer, "The driver does not take our shader.")
        }
        programs[swapped] = program
        return program
    }
}

/// A number as drivers' documents write it.
func hex(_ number: UInt32) -> String { String(number, radix: 16) }
