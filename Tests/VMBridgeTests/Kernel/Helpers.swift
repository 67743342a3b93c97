import CLinux
import Descriptors
import Glibc
import Testing

@testable import VMBridge

// The [kernel] tier runs on any plain Linux machine, without /dev/udmabuf, heaps, vgem or a GPU. Calls to those are tested here for numbers, layouts
// and error texts only; the [vm] tier runs them for real.
//
// Descriptor counts, limits and signals belong to the whole process, and other suites run beside these: whatever depends on them runs in
// a process of its own (an exit test).

/// Runs `body` and fails unless as many descriptors of each kind are open after it as before. In a process of its own only.
func withoutLeaks(_ body: () throws -> Void) throws {
    let before = try settledCensus()
    try body()
    let after = try censusComing(to: before)
    #expect(after == before, "before \(before), after \(after)")
}

/// A census, as soon as it is the wanted one or after five seconds: a thread that closes descriptors on its own time may be late on a busy
/// machine, and a leak stays one however long it is looked at.
func censusComing(to wanted: DescriptorCensus) throws -> DescriptorCensus {
    var now = try settledCensus()
    for _ in 0..<50 where now != wanted {
        if isOnlyARunTimesTimer(now, wanted) { return wanted }
        usleep(50_000)
        now = try settledCensus()
    }
    return now
}

/// Whether all that came is one timer. The concurrency run time makes one whenever it first waits for a time, early
/// or late; a loop of ours has an epoll and an eventfd as well, and one that leaked would leak all three.
private func isOnlyARunTimesTimer(_ now: DescriptorCensus, _ wanted: DescriptorCensus) -> Bool {
    var counts = now.counts
    counts["anon_inode:[timerfd]"] = wanted.counts["anon_inode:[timerfd]"]
    return counts == wanted.counts && now.total == wanted.total + 1
}

/// A census that stayed the same for a while: the test process's own threads open and close things as it starts.
func settledCensus() throws -> DescriptorCensus {
    var last = try #require(DescriptorCensus.take())
    var same = 0
    while same < 5 {
        usleep(10_000)
        let now = try #require(DescriptorCensus.take())
        same = now == last ? same + 1 : 0
        last = now
    }
    return last
}

/// An empty directory of its own, removed afterwards.
func withDirectory(_ body: (String) throws -> Void) throws {
    var template = Array("/tmp/vmb-test-XXXXXX".utf8CString)
    let made = template.withUnsafeMutableBufferPointer { $0.baseAddress.flatMap { mkdtemp($0) } }
    let path = String(cString: try #require(made))
    defer {
        if let directory = vmb_directory_open(path) {
            while let entry = vmb_directory_next(directory) {
                _ = unlink("\(path)/\(String(cString: entry))")
            }
            vmb_directory_close(directory)
        }
        _ = rmdir(path)
    }
    try body(path)
}

/// Both ends of a pipe; the reading end tells whether somebody still has the writing one.
struct Pipe: ~Copyable {
    let reading: OwnedDescriptor
    private(set) var writing: OwnedDescriptor

    init() throws {
        var ends: [Int32] = [-1, -1]
        let made = pipe(&ends)
        try #require(made == 0)
        reading = OwnedDescriptor(owning: ends[0])
        writing = OwnedDescriptor(owning: ends[1])
    }

    mutating func closeWriting() { writing = .none }
}

/// Whether all writing ends of a pipe are closed.
func isHungUp(_ readingEnd: Int32) -> Bool { vmb_poll_now(readingEnd) & Int32(POLLHUP) != 0 }

extension SeqPacketSocket {
    /// Sends text, with descriptors.
    func send(text: String, _ descriptors: [Int32] = []) -> SendResult {
        Array(text.utf8).withUnsafeBytes { bytes in
            descriptors.withUnsafeBufferPointer { send(bytes, descriptors: $0) }
        }
    }

    /// Receives into a buffer of `room` bytes; the text if a datagram came.
    func receive(room: Int, _ bundle: inout DescriptorBundle) -> (ReceiveResult, String) {
        var buffer = [UInt8](repeating: 0, count: room)
        let result = buffer.withUnsafeMutableBytes { receive(into: $0, descriptors: &bundle) }
        guard case .datagram(let count) = result else { return (result, "") }
        return (result, String(decoding: buffer.prefix(count), as: UTF8.self))
    }
}

/// Two connected sockets.
func makePair(
    _ body: (borrowing SeqPacketSocket, borrowing SeqPacketSocket) throws -> Void
) throws {
    var pair = try SeqPacketPair()
    guard let first = pair.takeFirst(), let second = pair.takeSecond() else {
        Issue.record("a new pair has two ends")
        return
    }
    try body(first, second)
}

/// The errno that `body` fails with, nil if it does not.
func code(_ body: () throws(KernelError) -> Void) -> Int32? {
    do {
        try body()
        return nil
    } catch { return error.code }
}
