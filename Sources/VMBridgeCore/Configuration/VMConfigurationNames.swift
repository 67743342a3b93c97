extension VMConfiguration {
    /// The kinds of sources that this version knows.
    public static let sourceKinds = [
        "socket", "vhost-user-gpu", "qemu", "qemu-bus", "hyper-dmabuf",
    ]

    /// What is wrong with a name for a VM or a consumer; nil for a good one.
    public static func problem(ofName name: String) -> String? {
        guard name.utf8.count <= 64, !name.isEmpty, CleanText.identifier(name) == name else {
            return
                "\(ConfigurationFileReader.quoted(name)) is no name: use up to 64 letters, digits, dots, dashes, underscores"
        }
        guard name.first != ".", name.first != "-" else {
            return "“\(name)” is no name: it begins with a letter, a digit or an underscore"
        }
        return nil
    }

    /// Path of the socket that its source is at: absolute as configured, relative ones and the
    /// defaults, NAME.sock and NAME.gpu, below the runtime directory; nil when no source is configured, or one
    /// without a socket.
    ///
    /// - Parameter directory: `$XDG_RUNTIME_DIR/vm-bridge`; empty gives relative paths as they are.
    public func socketPath(in directory: String) -> String? {
        guard let source else { return nil }
        let words = SourceWords(source)
        let path: String
        switch words.kind {
        case "hyper-dmabuf": return nil
        case "qemu-bus" where !words.place.contains("/"): return nil
        case "vhost-user-gpu": path = words.place.isEmpty ? "\(name).gpu" : words.place
        default: path = words.place.isEmpty ? "\(name).sock" : words.place
        }
        return RuntimePath.resolved(path, in: directory)
    }
}

extension ConsumerConfiguration {
    /// Path of the socket that the program connects to; relative ones and the default, NAME.consumer,
    /// below the runtime directory.
    public func socketPath(in directory: String) -> String {
        RuntimePath.resolved(socket ?? "\(name).consumer", in: directory)
    }
}

private enum RuntimePath {
    static func resolved(_ path: String, in directory: String) -> String {
        path.hasPrefix("/") || directory.isEmpty ? path : "\(directory)/\(path)"
    }
}
