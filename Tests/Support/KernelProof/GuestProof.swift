import Descriptors
import VMBridge
import VMBridgeCore

private let page = MemoryMap.pageSize

/// A guest's RAM as a front end of vhost-user gives it, and dma-bufs over lists of its pages.
func proveGuestMemory(_ proof: Proof) throws {
    let probe = try DescriptorProbe()
    let memory = try MemoryFile.create(name: "guest", size: 64 * page)
    let guest: UInt64 = 1 << 32
    let map = try MemoryMap([
        MemoryRegion(guest: guest, size: 62 * page, user: 1 << 46, offset: 2 * page)
    ])
    var bundle = DescriptorBundle()
    _ = bundle.append(memory.duplicate())
    let ram = try GuestRAM(map, &bundle, probe: probe)
    let maker = UdmabufMaker()
    for index in 0..<62 as Range<UInt64> {
        _ = ram.write([UInt8(index)][...], at: guest + index * page)
    }
    proof.expect("guest: a list of scattered pages is one dma-buf, in order") {
        let list = [40, 41, 3, 60, 7].map { GuestRange(address: guest + $0 * page, length: page) }
        let pieces = try map.pieces(of: list)
        let buffer = try maker.make(pieces, of: ram)
        guard pieces.count == 4, try probe.facts(of: buffer.number).size == 5 * page else {
            return false
        }
        let shown = try MappedMemory(buffer.number, count: Int(5 * page))
        let before = shown.withUnsafeBytes { bytes in (0..<5).map { bytes[$0 * Int(page)] } }
        // What the guest draws is there at once: nothing was copied.
        _ = ram.write([99][...], at: guest + 3 * page)
        let after = shown.withUnsafeBytes { $0[2 * Int(page)] }
        return before == [40, 41, 3, 60, 7] && after == 99
    }
    proof.expect("guest: the module's limits are known") {
        maker.lack == nil && maker.listLimit > 0 && maker.sizeLimit > 0
    }
    proof.expect("guest: a list at the module's limit is taken, a longer one told of") {
        // Every other page of what there is, again and again: nothing of it can be merged.
        let count = Int(min(maker.listLimit, maker.sizeLimit / page))
        func list(_ count: Int) throws -> [MemoryPiece] {
            try map.pieces(
                of: (0..<count).map {
                    GuestRange(address: guest + UInt64($0 % 31) * 2 * page, length: page)
                })
        }
        // Its number is good as long as it has an owner.
        let made = try maker.make(list(count), of: ram)
        guard try probe.facts(of: made.number).kind == .dmaBuf else { return false }
        do {
            _ = try maker.make(list(count + 1), of: ram)
            return false
        } catch {
            return "\(error)".contains("limit")
        }
    }
}
