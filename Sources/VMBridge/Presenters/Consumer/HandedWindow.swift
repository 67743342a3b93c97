import Descriptors
import VMBridgeCore

/// A surface as one consumer has it.
final class HandedWindow {
    /// A frame that the consumer has and has not given back.
    struct Held {
        /// The number that the consumer knows it by.
        var number: UInt64
        /// The buffer's key on its connection.
        var buffer: UInt64
        /// Nil when the session has ended it meanwhile.
        var use: UseID?
    }

    let id: SurfaceID
    /// Its key on the connection; 0 while it is not announced.
    var key: UInt64 = 0
    let isGraphics: Bool
    var properties: WindowProperties
    /// Properties changed while the consumer did not read.
    var isUpdateDue = false
    /// Committed, and not written yet.
    var pending: Frame?
    var held: [Held] = []
    /// The machine waits to hear that the next frame may come.
    var owesCallback = false
    /// Waits for the consumer to give back what it holds, since the surface is gone.
    var isClosing = false
    /// When that ends.
    var deadline: UInt64 = 0
    /// Number of the last frame written.
    private(set) var lastNumber: UInt64 = 0
    /// Number of the last frame of which the consumer said how it was seen.
    private var lastTold: UInt64 = 0
    /// The last frames' numbers for the guest: how a frame was seen is told a few frames later.
    private var recent = InlineArray<8, FrameSequence>(repeating: FrameSequence(0))

    init(_ id: SurfaceID, isGraphics: Bool, _ properties: WindowProperties) {
        self.id = id
        self.isGraphics = isGraphics
        self.properties = properties
    }

    /// Whether the consumer holds frames whose uses have not ended.
    var isHeld: Bool { held.contains { $0.use != nil } }

    /// The next frame's number.
    func number(for sequence: FrameSequence) -> UInt64 {
        lastNumber += 1
        recent[Int(lastNumber % 8)] = sequence
        return lastNumber
    }

    /// The guest's sequence of a frame of which the consumer tells, each once and in order; nil when it
    /// is too long ago.
    func told(_ number: FrameSequence) throws(Refusal) -> FrameSequence? {
        guard number.value > lastTold, number.value <= lastNumber else {
            throw Refusal(.badSequence, "Frame \(number) was told of already, or never sent.")
        }
        lastTold = number.value
        return lastNumber - number.value < 8 ? recent[Int(number.value % 8)] : nil
    }
}

/// A buffer as one consumer has it.
final class HandedBuffer {
    let memory: BufferMemory
    /// Its key on the connection; 0 while it is not announced.
    var key: UInt64 = 0
    /// Whether the consumer got it for reading only.
    var isReadOnly = false

    init(_ memory: BufferMemory) { self.memory = memory }
}

/// An acquire fence on its way with its frame.
final class HandedFence {
    private var descriptor: OwnedDescriptor

    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

    /// Hands it over.
    func take() -> OwnedDescriptor {
        var taken = OwnedDescriptor.none
        swap(&taken, &descriptor)
        return taken
    }
}
