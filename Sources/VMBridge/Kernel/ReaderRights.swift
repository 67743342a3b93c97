import CLinux
import Glibc

/// The rights of a process that reads hyper_dmabuf's queue: the driver asks for CAP_DAC_OVERRIDE at each read, so that one stays, and
/// nothing else.
package enum ReaderRights {
    private static let wanted = UInt64(1) << UInt64(VMB_CAP_DAC_OVERRIDE)
    /// nobody, nogroup.
    private static let nobody: UInt32 = 65534

    /// Whether a program that this process starts from a file would have what is needed: as root, or by the file's
    /// capabilities (`struct vfs_cap_data`, linux/capability.h).
    package static func areGiven(to path: String) -> Bool {
        if geteuid() == 0 { return true }
        var bytes = [UInt8](repeating: 0, count: 64)
        // The first word has version and flags, the second what is permitted of capabilities 0 to 31.
        let count = vmb_getxattr(path, "security.capability", &bytes, bytes.count)
        return count >= 8 && UInt64(bytes[4]) & wanted != 0
    }

    /// Whether this process has made sure that nothing it starts gains rights.
    package static var areBarred: Bool { vmb_prctl(VMB_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }

    /// Gives up every other right for good. Call it before any thread is there.
    ///
    /// - Throws: `EPERM` when the one that is needed is not there.
    package static func keepOnly() throws(KernelError) {
        var permitted: UInt64 = 0
        var effective: UInt64 = 0
        try check(vmb_capabilities(&permitted, &effective), "capget")
        guard permitted & wanted != 0 else {
            throw KernelError(
                "read hyper_dmabuf's queue", EPERM,
                advice: "the reader's program needs cap_dac_override as a file capability")
        }
        // While the right to do so is there; without it, what is left cannot be raised anyway.
        for capability in 0..<64 as Range<UInt> where capability != UInt(VMB_CAP_DAC_OVERRIDE) {
            _ = vmb_prctl(VMB_PR_CAPBSET_DROP, capability, 0, 0, 0)
        }
        _ = vmb_prctl(VMB_PR_CAP_AMBIENT, VMB_PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        if geteuid() == 0 {
            _ = vmb_prctl(VMB_PR_SET_KEEPCAPS, 1, 0, 0, 0)
            try check(vmb_become(nobody, nobody), "become nobody")
        }
        try check(vmb_set_capabilities(wanted), "capset")
        // Changing the user took it away.
        _ = vmb_prctl(VMB_PR_SET_PDEATHSIG, UInt(SIGKILL), 0, 0, 0)
    }
}
