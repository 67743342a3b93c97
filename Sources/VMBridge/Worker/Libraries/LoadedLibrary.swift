import Glibc

/// A shared library that is opened when it is first wanted, and stays.
struct LoadedLibrary {
    // UNSAFE: dlopen's handle, never closed: drivers start threads and register handlers that outlive it.
    private let handle: UnsafeMutableRawPointer

    /// Opens a library by its file's name; nil when there is none.
    init?(_ name: String) {
        guard let opened = dlopen(name, RTLD_NOW | RTLD_LOCAL) else { return nil }
        handle = opened
    }

    /// A function of the library.
    ///
    /// - Parameter type: its C type; the caller answers for it being the header's.
    func function<Function>(_ name: String, _ type: Function.Type = Function.self) -> Function? {
        // UNSAFE: a function's address as the C function type that its header declares.
        dlsym(handle, name).map { unsafeBitCast($0, to: Function.self) }
    }
}
