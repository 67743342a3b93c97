/// What hyper_dmabuf's source would find.
package struct HyperSide: Sendable, Equatable {
    /// The driver's node; nil when it is not there.
    package var node: DeviceNode?
    /// Whether the kernel says that the node is the driver's.
    package var isDriver = true
    /// The program that would read the driver's queue.
    package var reader = ""
    /// Whether that program would have CAP_DAC_OVERRIDE.
    package var mayRead = false
    /// Whether programs that this one starts gain no rights (PR_SET_NO_NEW_PRIVS).
    package var gainsNothing = false

    /// No node.
    package init() {}
}

extension Doctor {
    static func hyperSource(_ side: HyperSide) -> DoctorFinding {
        let loss = "hyper_dmabuf"
        func finding(_ state: DoctorFinding.State, _ text: String) -> DoctorFinding {
            DoctorFinding(.sources, "hyper-dmabuf.node", "hyper-dmabuf: node", state, text)
                .value("present", .flag(side.node != nil)).value("reader", .text(side.reader))
                .value("may_read", .flag(side.mayRead))
        }
        guard let node = side.node else {
            return finding(.ok, "none: this kernel does not have the driver (Xen's and ACRN's may)")
        }
        guard side.isDriver else {
            return finding(.broken, "\(node.path) is another device, and is left alone")
                .advising("Name the driver's node: --source hyper-dmabuf:NODE.").losing(loss)
        }
        guard !side.gainsNothing else {
            return finding(
                .broken,
                "the reader of \(node.path) would not get its right: NoNewPrivileges is set"
            ).advising(
                "Start the bridge without NoNewPrivileges= (systemd: a drop-in for its unit)."
            )
            .losing(loss)
        }
        guard side.mayRead else {
            return finding(
                .missing,
                "nothing here may read \(node.path): \(side.reader) lacks cap_dac_override"
            ).advising(
                "Copy vm-bridge to \(ReaderProgram.usualPath), for the users concerned alone, and setcap cap_dac_override+p it (docs/hyper-dmabuf.md)."
            ).losing(loss)
        }
        return finding(.ok, "\(node.path), read by \(side.reader)")
    }
}
