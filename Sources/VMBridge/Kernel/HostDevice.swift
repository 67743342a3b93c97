/// A device of this machine by its number, as the kernel describes it in /sys. For words only.
package struct HostDevice: Equatable, Sendable, CustomStringConvertible {
    /// The dev_t, as the C library lays it into 64 bits.
    package let number: UInt64
    /// Its node, "/dev/dri/renderD128"; nil when the kernel does not know the device.
    package let node: String?
    /// Its driver, "virtio_gpu"; nil for devices without one.
    package let driver: String?

    /// Looks a character device up: a few reads, for start-up and rare events alone.
    ///
    /// - Parameters:
    ///   - number: the dev_t.
    ///   - directory: where the kernel lists character devices by number.
    package init(number: UInt64, directory: String = "/sys/dev/char") {
        self.number = number
        let (major, minor) = Self.parts(of: number)
        let place = "\(directory)/\(major):\(minor)"
        let key = "DEVNAME="
        node = SystemFiles.text("\(place)/uevent")?.split(separator: "\n")
            .first { $0.hasPrefix(key) }.map { "/dev/" + $0.dropFirst(key.count) }
        driver = SystemFiles.linkName("\(place)/device/driver")
    }

    /// Major and minor number of a dev_t.
    package static func parts(of number: UInt64) -> (major: UInt64, minor: UInt64) {
        (
            (number >> 8) & 0xfff | (number >> 32) & 0xffff_f000,
            number & 0xff | (number >> 12) & 0xffff_ff00
        )
    }

    /// "/dev/dri/renderD128 (226:128, driver virtio_gpu)".
    package var description: String {
        let (major, minor) = Self.parts(of: number)
        var facts = "\(major):\(minor)"
        if let driver { facts += ", driver \(driver)" }
        return node.map { "\($0) (\(facts))" } ?? facts
    }
}

extension DescriptorProbe {
    /// The kernel's name of what made a dma-buf: the driver ("udmabuf", "vgem") or the heap ("system").
    /// Nil for other descriptors and without /proc. For words only, and not of the frame path.
    package static func exporter(of descriptor: Int32) -> String? {
        let key = "exp_name:"
        return SystemFiles.text("/proc/self/fdinfo/\(descriptor)")?.split(separator: "\n")
            .first { $0.hasPrefix(key) }
            .map { String($0.dropFirst(key.count).drop { $0 == "\t" || $0 == " " }) }
    }
}
