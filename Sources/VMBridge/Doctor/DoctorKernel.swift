import Glibc

extension Doctor {
    /// System calls: what guests' memory and fences need.
    static func kernel(_ facts: DoctorFacts) -> [DoctorFinding] {
        let kernel = facts.kernel
        return [
            release(kernel), probe(kernel), sealing(kernel), noExecute(kernel),
            fences(kernel), fenceInfo(kernel),
        ]
    }

    private static func release(_ kernel: KernelSide) -> DoctorFinding {
        guard let version = kernel.version else {
            return DoctorFinding(
                .kernel, "release", "release", .note, "the kernel does not say its version"
            ).advising("Mount /proc, from which the version is read.")
        }
        let text = "Linux \(kernel.release)"
        let finding = DoctorFinding(.kernel, "release", "release", text)
            .value("release", .text(kernel.release))
        guard version < (6, 0) else { return finding }
        var old = finding
        old.state = .note
        old.text += ": before 6.0 dma-bufs take and give no fences"
        return old.advising("Use Linux 6.0 or later.")
    }

    private static func probe(_ kernel: KernelSide) -> DoctorFinding {
        let name = "descriptors"
        guard case .fails(let error) = kernel.probe else {
            return DoctorFinding(
                .kernel, "descriptors", name,
                "dma-bufs, memfds, fences and what is none of them can be told apart")
        }
        return DoctorFinding(
            .kernel, "descriptors", name, .broken,
            "dma-bufs, memfds and fences cannot be told apart (\(reason(error)))"
        ).advising("Allow eventfd and statx to this process.").fatal()
    }

    private static func sealing(_ kernel: KernelSide) -> DoctorFinding {
        let key = "memfd-sealing"
        let name = "sealed memfds"
        let result = word(kernel.sealing)
        guard case .fails(let error) = kernel.sealing else {
            return DoctorFinding(
                .kernel, key, name,
                "can be made: memory of guests that cannot shrink under a reader"
            ).value("sealing", result)
        }
        let isPolicy = kernel.noExecutePolicy == 2 && error.code == EACCES
        return DoctorFinding(
            .kernel, key, name, .broken,
            isPolicy
                ? "refused by vm.memfd_noexec=2: `vm-bridge produce` and `demo` cannot make buffers"
                : "cannot be made (\(reason(error))): `vm-bridge produce` and `demo` have no buffers"
        )
        .advising(
            isPolicy
                ? "Allow them: sysctl vm.memfd_noexec=1."
                : "Use a kernel with CONFIG_MEMFD_CREATE, and let the sandbox allow memfd_create."
        )
        .value("sealing", result).losing("memfds of this host")
    }

    private static func noExecute(_ kernel: KernelSide) -> DoctorFinding {
        let key = "memfd-noexec"
        let name = "MFD_NOEXEC_SEAL"
        var finding = DoctorFinding(
            .kernel, key, name, "memfds can be sealed against becoming programs")
        if let policy = kernel.noExecutePolicy {
            finding.text = "known; vm.memfd_noexec=\(policy) " + meaning(ofPolicy: policy)
            finding = finding.value("policy", .number(policy))
        }
        finding = finding.value("flag", word(kernel.noExecute))
        guard case .fails = kernel.noExecute else { return finding }
        finding.state = .note
        finding.text = "this kernel does not know it (Linux 6.3): producers must go without"
        return finding.advising("Let producers make memfds without MFD_NOEXEC_SEAL here.")
    }

    private static func meaning(ofPolicy policy: UInt64) -> String {
        switch policy {
        case 0: "demands it of nobody"
        case 1: "adds it for those that do not ask"
        default: "refuses memfds without it"
        }
    }

    private static func fences(_ kernel: KernelSide) -> DoctorFinding {
        let key = "dma-buf-fences"
        let name = "fences of dma-bufs"
        func finding(_ state: DoctorFinding.State, _ text: String) -> DoctorFinding {
            DoctorFinding(.kernel, key, name, state, text)
                .value("export", word(kernel.exportFence))
                .value("import", word(kernel.importFence))
                .value("tried_on", .text(kernel.bufferOrigin ?? "none"))
        }
        switch (kernel.exportFence, kernel.importFence) {
        case (.works, .works):
            return finding(
                .ok,
                "can be taken out and put in (tried on a buffer of \(kernel.bufferOrigin ?? "ours"))"
            )
        case (.fails(let error), _), (_, .fails(let error)):
            let isOld = error.code == ENOTTY
            return finding(
                isOld ? .missing : .broken,
                isOld
                    ? "EXPORT_SYNC_FILE and IMPORT_SYNC_FILE are not there (Linux 6.0 brought them)"
                    : "there, but refused: \(reason(error))"
            ).advising(
                isOld
                    ? "Use Linux 6.0 or later; until then send fences beside the frames."
                    : "Ask the maintainer of the buffer's driver.")
        default:
            guard let version = kernel.version else {
                return finding(.note, "could not be tried: no buffer can be made here")
                    .advising(
                        "Make /dev/udmabuf usable, so that a buffer can be made to try them on.")
            }
            let isNew = version >= (6, 0)
            return finding(
                isNew ? .ok : .missing,
                isNew
                    ? "Linux 6.0 brought them (not tried: no buffer can be made here)"
                    : "the kernel is older than 6.0, which brought EXPORT_SYNC_FILE and IMPORT_SYNC_FILE"
            ).advising(
                isNew ? "" : "Use Linux 6.0 or later; until then send fences beside the frames.")
        }
    }

    private static func fenceInfo(_ kernel: KernelSide) -> DoctorFinding {
        let key = "fence-info"
        let name = "state of fences"
        let result = word(kernel.fenceInfo)
        switch kernel.fenceInfo {
        case .works:
            return DoctorFinding(.kernel, key, name, "can be read (SYNC_IOC_FILE_INFO, tried)")
                .value("info", result)
        case .fails(let error):
            return DoctorFinding(
                .kernel, key, name, .broken,
                "cannot be read (\(reason(error))): frames with a sync_file are refused"
            ).advising("Use a kernel with CONFIG_SYNC_FILE.").losing("sync_file fences")
                .value("info", result)
        case .untried:
            return DoctorFinding(
                .kernel, key, name,
                "comes with sync_files (not tried: there is no fence to ask)"
            ).value("info", result)
        }
    }
}
