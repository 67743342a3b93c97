/// One protocol file as read: facts and documentation, nothing resolved yet.
struct ProtocolDescription: Equatable {
    var name = ""
    var interfaces: [InterfaceDescription] = []
}

/// Short and long documentation of a protocol element.
struct Documentation: Equatable {
    var summary = ""
    var text = ""
}

struct InterfaceDescription: Equatable {
    var name: String
    var version: UInt32
    var documentation = Documentation()
    /// In the order of their opcodes, which start at 0.
    var requests: [MessageDescription] = []
    var events: [MessageDescription] = []
    var enumerations: [EnumerationDescription] = []
}

/// A request or an event.
struct MessageDescription: Equatable {
    var name: String
    var since: UInt32
    var isDestructor: Bool
    var documentation = Documentation()
    var arguments: [ArgumentDescription] = []
}

struct ArgumentDescription: Equatable {
    /// The wire types, with the names that protocol files use.
    enum Kind: String {
        case int, uint, fixed, string, array, object
        case newID = "new_id"
        case descriptor = "fd"
    }

    var name: String
    var kind: Kind
    /// The interface of an object or a new object; absent when it is told at run time.
    var interface: String?
    var allowsNull: Bool
    /// `enum` or `interface.enum`, as the file says.
    var enumeration: String?
    var summary: String
}

struct EnumerationDescription: Equatable {
    struct Entry: Equatable {
        var name: String
        var value: UInt32
        var since: UInt32
        var summary: String
    }

    var name: String
    var isBitfield: Bool
    var documentation = Documentation()
    var entries: [Entry] = []
}

/// What stops the scanner; the text is for the person who runs the build.
struct ScannerError: Error, Equatable, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
