// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours: Swift 6 mode (the tools version's default), warnings are errors.
let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]
/// The pure core also answers for every unsafe construct it uses: it uses none.
let pure: [SwiftSetting] =
    strict + [.strictMemorySafety(), .enableExperimentalFeature("Lifetimes")]

let package = Package(
    name: "vm-bridge",
    products: [
        .library(name: "VMBridge", targets: ["VMBridge"]),
        .executable(name: "vm-bridge", targets: ["vm-bridge"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    ],
    targets: [
        // C edges: headers and thin shims, no logic.
        .systemLibrary(name: "CWayland", pkgConfig: "wayland-client"),
        .systemLibrary(name: "CPng", pkgConfig: "libpng"),
        .target(name: "CLinux"),

        // The one owner type of a file descriptor, used by everything that touches one.
        .target(name: "Descriptors", swiftSettings: strict),

        // Wayland: the generator, the plugin that runs it, the bindings and their run time.
        .executableTarget(name: "WaylandScanner", swiftSettings: strict),
        .plugin(
            name: "WaylandBindings", capability: .buildTool(), dependencies: ["WaylandScanner"]),
        .target(
            name: "Wayland", dependencies: ["CWayland", "Descriptors"], swiftSettings: strict,
            plugins: ["WaylandBindings"]),

        // The pure core, the library, the command.
        .target(name: "VMBridgeCore", swiftSettings: pure),
        .target(
            name: "VMBridge",
            dependencies: [
                "VMBridgeCore", "Wayland", "Descriptors", "CLinux", "CPng",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "vm-bridge",
            dependencies: [
                "VMBridge",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),

        .testTarget(
            name: "VMBridgeCoreTests", dependencies: ["VMBridgeCore"], swiftSettings: strict),
        // A compositor inside the test process, for the tests of all targets.
        .target(
            name: "WaylandTestSupport", dependencies: ["Wayland", "CWayland", "Descriptors"],
            path: "Tests/Support/WaylandTestSupport", swiftSettings: strict),
        // What runs in the test machine beside the program (Tests/vm): not part of the product.
        .executableTarget(
            name: "KernelProof",
            dependencies: [
                "VMBridge", "VMBridgeCore", "Descriptors", "CLinux",
                .product(name: "Logging", package: "swift-log"),
            ], path: "Tests/Support/KernelProof", swiftSettings: strict),
        .executableTarget(
            name: "PictureCheck", dependencies: ["VMBridge"], path: "Tests/Support/PictureCheck",
            swiftSettings: strict),
        .target(name: "AllocationCounter", path: "Tests/Support/AllocationCounter"),
        .testTarget(
            name: "WaylandTests",
            dependencies: [
                "Wayland", "CWayland", "Descriptors", "WaylandScanner", "WaylandTestSupport",
                "AllocationCounter",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "VMBridgeTests",
            dependencies: [
                "VMBridge", "VMBridgeCore", "Wayland", "Descriptors", "CLinux",
                "WaylandTestSupport", "AllocationCounter",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "CommandTests", dependencies: ["vm-bridge", "VMBridge", "VMBridgeCore"],
            exclude: ["Goldens"],
            swiftSettings: strict),
    ]
)
