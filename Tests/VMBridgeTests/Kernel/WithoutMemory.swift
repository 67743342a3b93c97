import Glibc

/// Runs `body` once as it is and then again while no allocation can succeed, and tells whether that was so: an allocation in the
/// second run ends the process. (The first lets the run time make the type descriptions that it makes once.)
///
/// The address space may not grow and every free block is taken, from large to small, so that none is left in any list of the
/// C library either. For a process of its own only.
func withoutMemory(_ body: () throws -> Void) rethrows -> Bool {
    try body()
    var limit = rlimit()
    let resource = __rlimit_resource_t(RLIMIT_AS.rawValue)
    guard getrlimit(resource, &limit) == 0 else { return false }
    let previous = limit.rlim_cur
    limit.rlim_cur = 4096
    guard setrlimit(resource, &limit) == 0 else { return false }
    var size = 1 << 26
    while size >= 16 {
        while malloc(size) != nil {}
        size = size > 2048 ? size / 2 : size - 8
    }
    try body()
    // Nothing was given back meanwhile either.
    let starved = malloc(16) == nil
    limit.rlim_cur = previous
    return setrlimit(resource, &limit) == 0 && starved
}
