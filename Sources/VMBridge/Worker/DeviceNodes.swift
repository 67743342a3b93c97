/// The nodes of a display device, in the order in which they are worth a try.
enum DeviceNodes {
    /// - Parameter number: of one of its nodes (`dev_t`, as in linux-dmabuf's feedback); 0 for the first
    ///   device with a render node.
    /// - Returns: paths; the named node comes first, since what the compositor itself uses works.
    static func paths(of number: UInt64) -> [String] {
        guard number != 0 else {
            return SystemFiles.names("/dev/dri").filter { $0.hasPrefix("renderD") }.prefix(1)
                .map { "/dev/dri/\($0)" }
        }
        let (major, minor) = HostDevice.parts(of: number)
        let place = "/sys/dev/char/\(major):\(minor)"
        guard let name = SystemFiles.linkName(place) else { return [] }
        let nodes = SystemFiles.names("\(place)/device/drm").filter {
            $0 != name && ($0.hasPrefix("renderD") || $0.hasPrefix("card"))
        }
        // Names sort cards first; render nodes need fewer rights.
        return ([name] + nodes.sorted(by: >)).map { "/dev/dri/\($0)" }
    }
}
