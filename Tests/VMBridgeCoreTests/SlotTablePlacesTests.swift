import Testing
import VMBridgeCore

@Suite("[pure] slot table: changes in place and walks by place")
struct SlotTablePlacesTests {
    @Test("a change in place reaches the entry of that name and no other")
    func update() {
        var table = SlotTable<Int>()
        let a = table.insert(1)
        let b = table.insert(2)
        #expect(
            table.update(a) {
                $0 += 10
                return $0 * 2
            } == 22)
        #expect(table[a] == 11)
        #expect(table[b] == 2)
        table.remove(a)
        var isCalled = false
        table.update(a) { _ in isCalled = true }
        #expect(!isCalled)
        let successor = table.insert(3)
        #expect(successor.index == a.index)
        table.update(a) { $0 = 0 }
        #expect(table[successor] == 3)
    }

    @Test("a walk by place meets the entries that the names stand for")
    func places() {
        var table = SlotTable<String>()
        #expect(table.places.isEmpty)
        let a = table.insert("a")
        let b = table.insert("b")
        let c = table.insert("c")
        table.remove(b)
        #expect(table.count == 2)
        #expect(table.places.map { table.element(at: $0) } == ["a", nil, "c"])
        #expect(table.places.compactMap { table.slot(at: $0) } == [a, c])
        // The name that the free place will give out next stands for nothing yet.
        let next = SlotIndex(index: b.index, generation: b.generation + 1)
        #expect(!table.contains(next))
        #expect(table.remove(next) == nil)
        #expect(table.count == 2)
        #expect(table.insert("d") == next)
    }
}
