import Glibc
import VMBridge

/// Counts what was proved. Each case is a line that begins with `ok: ` or `FAILED: `.
final class Proof {
    private(set) var cases = 0
    private(set) var failures = 0

    /// One case: the sentence says what is true when the body gives true and throws nothing.
    func expect(_ sentence: String, _ body: () throws -> Bool) {
        cases += 1
        do {
            if try body() { return print("ok: \(sentence)") }
            print("FAILED: \(sentence)")
        } catch {
            print("FAILED: \(sentence): \(error)")
        }
        failures += 1
    }

    /// One case: the body is refused with this errno.
    func expect(_ sentence: String, refusedWith code: Int32, _ body: () throws -> Void) {
        expect(sentence) {
            do {
                try body()
            } catch let error as KernelError where error.code == code {
                return true
            }
            return false
        }
    }

    /// Several cases that share what `body` makes; that it throws is a failed case too.
    func group(_ name: String, _ body: () throws -> Void) {
        do {
            try body()
        } catch {
            cases += 1
            failures += 1
            print("FAILED: \(name): \(error)")
        }
    }
}

/// The kernel edge of the bridge against a real kernel with udmabuf, the system heap and vgem ([vm]
/// tier): what the tests of a plain machine cannot have. With `timelines NODE` those of the test device,
/// with other arguments the graphics worker: see ``proveGraphics(_:_:)``. Exit code 1 when a case failed.
@main
struct KernelProof {
    static func main() {
        let proof = Proof()
        let arguments = CommandLine.arguments.dropFirst()
        if arguments.first == "hyper-guest" || arguments.first == "hyper-peer" {
            return play(arguments.first == "hyper-guest", Array(arguments.dropFirst()))
        }
        let before = DescriptorCensus.take()
        if arguments.isEmpty {
            proveKernel(proof)
        } else if arguments.first == "timelines", arguments.count == 2 {
            proof.group("timelines") { try proveTimelines(proof, arguments[2]) }
        } else {
            proveGraphics(proof, Array(arguments))
        }
        let after = DescriptorCensus.take()
        proof.expect("no descriptor is left open") {
            if let before, let after, before != after { print("  \(before), then \(after)") }
            return before != nil && before == after
        }
        print("cases: \(proof.cases), failed: \(proof.failures)")
        exit(proof.failures == 0 ? 0 : 1)
    }

    /// Not a proof but a part that somebody has to play.
    private static func play(_ isGuest: Bool, _ words: [String]) {
        do {
            if isGuest { try playHyperGuest(words) } else { try controlHyperPeer(words) }
        } catch {
            print("KernelProof: \(error)")
            exit(1)
        }
    }

    private static func proveKernel(_ proof: Proof) {
        proof.group("memory") { try proveMemory(proof) }
        proof.group("fences") { try proveFences(proof) }
        proof.group("fences of foreign buffers") { try proveForeignFences(proof) }
        proof.group("the loop") { try proveLoop(proof) }
    }
}
