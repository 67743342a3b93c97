import Descriptors
import VMBridgeCore

/// The worker's own side: one request after the other from the bridge's socket, until that is closed.
/// Waiting, crashing and taking long are allowed here; the bridge bounds them.
package final class GraphicsWorkerService {
    private let socket: SeqPacketSocket
    private let device: UInt64
    private let allocator: BufferAllocator
    private let probe: DescriptorProbe
    private var openedDevices: [GBMDevice]?
    private var blitter: Blitter?

    /// - Parameters:
    ///   - socket: the bridge's.
    ///   - device: the compositor's device (`dev_t`), 0 when it is not known.
    package init(_ socket: consuming SeqPacketSocket, device: UInt64) throws(KernelError) {
        self.socket = socket
        self.device = device
        probe = try DescriptorProbe()
        allocator = BufferAllocator()
    }

    /// Serves until the bridge is gone or says what makes no sense.
    package func run() {
        guard send(.ready(version: WorkerProtocol.version), 0, []) else { return }
        var bytes = [UInt8](repeating: 0, count: WorkerProtocol.maximumBytes)
        while true {
            HelperConduct.waitUntilReadable(socket.number)
            var bundle = DescriptorBundle()
            switch socket.receive(into: &bytes, descriptors: &bundle) {
            case .wouldBlock: continue
            case .datagram(let count):
                guard let (request, number, descriptors) = WorkerReader.request(bytes[..<count]),
                    descriptors == bundle.count, serve(request, number, &bundle)
                else { return }
            default: return
            }
        }
    }

    /// Answers one request; false when the bridge is gone.
    private func serve(
        _ request: WorkerRequest, _ number: UInt64, _ bundle: inout DescriptorBundle
    ) -> Bool {
        var made = DescriptorBundle()
        let answer: WorkerAnswer
        do throws(GraphicsRefusal) {
            answer = try self.answer(request, &bundle, &made)
        } catch {
            made.reset()
            answer = .refused(error.reason, error.sentence)
        }
        let numbers = (0..<made.count).compactMap { made.number(at: $0) }
        return send(answer, number, numbers)
    }

    private func send(_ answer: WorkerAnswer, _ number: UInt64, _ descriptors: [Int32]) -> Bool {
        let datagram = WorkerWriter.bytes(answer, number: number, descriptors: descriptors.count)
        return socket.send(datagram, descriptors: descriptors) == .sent
    }

    private func answer(
        _ request: WorkerRequest, _ bundle: inout DescriptorBundle, _ made: inout DescriptorBundle
    ) throws(GraphicsRefusal) -> WorkerAnswer {
        switch request {
        case .allocate(let wanted):
            let result = try allocator.allocate(wanted, on: { devices }, into: &made)
            return .allocated(result.layout, result.allocator)
        case .open(let layout):
            // The bridge has checked the same; a descriptor that lies would be mapped by a driver.
            do throws(Refusal) {
                let facts = try probe.facts(of: bundle, 0..<bundle.count)
                _ = try BufferValidator.validate(layout, facts: facts, formats: [])
            } catch {
                throw GraphicsRefusal(.badRequest, error.sentence)
            }
            let numbers = (0..<bundle.count).compactMap { bundle.number(at: $0) }
            let result = try openedBlitter().open(layout, numbers, into: &made)
            return .opened(result.layout, pair: result.pair, result.parts)
        case .blit(let pair):
            let start = MonotonicClock.now()
            guard let blitter else {
                throw GraphicsRefusal(.badRequest, "Nothing was opened.")
            }
            try blitter.blit(pair)
            return .done(nanoseconds: MonotonicClock.now() - start)
        case .drop(let pair):
            blitter?.drop(pair)
            return .done(nanoseconds: 0)
        }
    }

    private var devices: [GBMDevice] {
        if let openedDevices { return openedDevices }
        // The library alone takes its time; without a device there is no use for it.
        let paths = DeviceNodes.paths(of: device)
        var found: [GBMDevice] = []
        if !paths.isEmpty, let library = GBMLibrary.load() {
            found = paths.compactMap { GBMDevice($0, library) }
        }
        openedDevices = found
        return found
    }

    private func openedBlitter() throws(GraphicsRefusal) -> Blitter {
        if let blitter { return blitter }
        let made = try Blitter(device == 0 ? [] : devices, allocator)
        blitter = made
        return made
    }
}
