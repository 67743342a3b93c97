import Descriptors
import VMBridgeCore

/// Holds a worker's answers against what was asked and against the kernel: a driver that a guest's
/// buffer broke may say anything.
struct AnswerCheck {
    let probe: DescriptorProbe
    /// Which run of the worker answers.
    let run: UInt32

    /// The event that an answer is; `malformed` when it does not answer that request.
    ///
    /// - Parameter bundle: the answer's descriptors, as many as it says; those of a good answer are taken.
    func event(
        _ answer: WorkerAnswer, to words: WorkerRequest, _ request: GraphicsRequest,
        _ bundle: inout DescriptorBundle
    ) throws(GraphicsRefusal) -> GraphicsEvent {
        switch (answer, words) {
        case (.refused(let reason, let sentence), _):
            return .refused(request, GraphicsRefusal(reason, sentence))
        case (.done(let nanoseconds), .blit), (.done(let nanoseconds), .drop):
            return .blitted(request, nanoseconds)
        case (.allocated(let layout, let allocator), .allocate(let wanted)):
            guard layout.size == wanted.size, layout.format == wanted.format,
                wanted.modifiers.contains(layout.modifier), layout.modifier != .invalid,
                layout.memory == .dmaBuf, !layout.isBottomUp,
                !wanted.isContiguous || allocator == .contiguousHeap
            else { throw wrong("memory that nobody asked for") }
            let memory = try memory(layout, &bundle, 0..<bundle.count)
            return .allocated(request, memory, allocator)
        case (.opened(let layout, let pair, let parts), .open(let source)):
            guard layout.size == source.size, layout.memory == .dmaBuf, !layout.isBottomUp,
                layout.modifier == .linear, layout.planes.count == 1,
                layout.planes[0].descriptor == 0,
                layout.format == .xrgb8888 || layout.format == .argb8888
            else { throw wrong("an output that nobody asked for") }
            var dmaBuf: BufferMemory?
            var memfd: BufferMemory?
            if parts.contains(.dmaBuf) { dmaBuf = try memory(layout, &bundle, 0..<1) }
            if parts.contains(.memfd) {
                var shared = layout
                shared.memory = .memfd
                memfd = try memory(shared, &bundle, (parts.count - 1)..<parts.count)
            }
            let output = BlitOutput(
                dmaBuf: dmaBuf, memfd: memfd, isReadBack: parts.contains(.readBack))
            return .opened(request, BlitPair(run: run, number: pair), output)
        default:
            throw wrong("the answer to another question")
        }
    }

    private func memory(
        _ layout: BufferLayout, _ bundle: inout DescriptorBundle, _ range: Range<Int>
    ) throws(GraphicsRefusal) -> BufferMemory {
        let bytes: UInt64
        do throws(Refusal) {
            bytes = try BufferValidator.validate(
                layout, facts: try probe.facts(of: bundle, range), formats: [])
        } catch {
            throw wrong("bad memory: \(error.sentence)")
        }
        return BufferMemory(layout: layout, bytes: bytes, from: &bundle, range)
    }

    private func wrong(_ what: String) -> GraphicsRefusal {
        GraphicsRefusal(.malformed, "The graphics worker sent \(what).")
    }
}
