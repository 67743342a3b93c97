import Testing
import VMBridgeCore

/// Whole stories of one surface, told step by step.
@Suite("[pure] surface machine: scenarios")
struct SurfaceScenarioTests {
    private typealias It = SurfaceFixture

    private func rect(_ x: UInt32, _ y: UInt32 = 0) -> Rectangle {
        Rectangle(x: x, y: y, width: 1, height: 1)
    }

    private func shown(_ it: SurfaceFixture) -> UInt64? { it.machine.current?.sequence.value }

    @Test func firstFrameGoesThroughTheWholeDance() {
        var it = It()
        #expect(it.accept(1, [.importing, .fence]) == "")
        #expect(it.map() == "create window")
        #expect(it.unblock(1, .importing) == "")
        #expect(it.configure() == "ack 1, tell 640x480")
        #expect(it.machine.phase == .ready && shown(it) == nil)
        #expect(it.unblock(1, .fence) == "commit")
        #expect(shown(it) == 1 && it.machine.isCurrentHeld && it.machine.isCallbackPending)
    }

    @Test func mailboxSupersedes() {
        var it = It.configured()
        #expect(it.accept(1) == "commit")
        #expect(it.accept(2) == "")
        #expect(it.accept(3) == "end 2 superseded")
        #expect(it.accept(4) == "end 3 superseded")
        #expect(it.machine.hasReadyFrame)
        #expect(it.callback() == "commit")
        #expect(shown(it) == 4 && !it.machine.hasReadyFrame)
        #expect(it.callback() == "")
        #expect(it.accept(5) == "commit")
    }

    @Test func fencesThatLagByOneFrameStillShowEveryFrame() {
        var it = It.configured()
        var committed: [UInt64] = []
        _ = it.accept(1, .fence)
        for number in 2...200 as ClosedRange<UInt64> {
            #expect(it.accept(number, .fence) == "")
            #expect(it.unblock(number - 1, .fence) == "commit")
            committed.append(shown(it) ?? 0)
            #expect(it.callback() == "")
        }
        #expect(committed == Array(1...199))
    }

    @Test func fencesThatLagFarStillShowFrames() {
        var it = It.configured()
        var committed: [UInt64] = []
        var pending: [UInt64] = []
        for number in 1...60 as ClosedRange<UInt64> {
            let actions = it.accept(number, .fence)
            pending.append(number)
            if actions == "cancel \(number - 1), end \(number - 1) superseded" {
                pending.removeAll { $0 == number - 1 }
            } else {
                #expect(actions == "")
            }
            // Each signals five frames after it came.
            if let first = pending.first, first + 5 <= number {
                pending.removeFirst()
                #expect(it.unblock(first, .fence) == "commit")
                committed.append(shown(it) ?? 0)
                #expect(it.callback() == "")
            }
        }
        #expect(committed == Array(stride(from: 1, through: 51, by: 5)))
    }

    @Test func readinessOutOfOrder() {
        var it = It.configured()
        #expect(it.accept(1, .fence) == "")
        #expect(it.accept(2, .fence) == "")
        // The newer one is complete first: the older one is of no use any more.
        #expect(it.unblock(2, .fence) == "cancel 1, end 1 superseded, commit")
        #expect(it.unblock(1, .fence) == "" && it.fail(1) == "")
        #expect(shown(it) == 2)
        // In order, both pass the mailbox.
        #expect(it.accept(3, .fence) == "" && it.accept(4, .fence) == "")
        #expect(it.unblock(3, .fence) == "")
        #expect(it.unblock(4, .fence) == "end 3 superseded")
        #expect(it.callback() == "commit")
        #expect(shown(it) == 4)
    }

    @Test func theMiddleOfThreeYields() {
        var it = It.configured()
        _ = it.accept(1, .fence)
        _ = it.accept(2, .fence)
        #expect(it.accept(3, .fence) == "cancel 2, end 2 superseded")
        #expect(it.fail(1) == "cancel 1, end 1 refused")
        #expect(it.accept(4, .fence) == "")
        #expect(it.unblock(4, .fence) == "cancel 3, end 3 superseded, commit")
        // With the newer place empty and the older one taken, age still decides.
        _ = it.callback()
        _ = it.accept(5, .fence)
        _ = it.accept(6, .fence)
        #expect(it.fail(6) == "cancel 6, end 6 refused")
        #expect(it.accept(7, .fence) == "")
        #expect(it.unblock(5, .fence) == "commit")
        #expect(it.unblock(7, .fence) == "")
        #expect(it.callback() == "commit")
        #expect(shown(it) == 7)
    }

    @Test func aFrameWaitsForAllItLacks() {
        var it = It.configured()
        _ = it.accept(1, [.importing, .fence, .time])
        #expect(it.unblock(1, .time) == "" && it.unblock(1, .time) == "")
        #expect(it.unblock(1, .fence) == "")
        #expect(it.unblock(1, .importing) == "commit")
    }

    @Test func aCommitThatFailsIsMadeUpForByTheNext() {
        var it = It.configured()
        let part = { (x: UInt32) -> Damage in
            var damage = Damage.none
            damage.add(Rectangle(x: x, y: 0, width: 1, height: 1))
            return damage
        }
        _ = it.accept(1)
        _ = it.callback()
        #expect(it.accept(2, damage: part(2)) == "commit")
        #expect(it.accept(3, damage: part(3)) == "")
        #expect(it.commitFailed(1) == "")
        #expect(it.commitFailed(2) == "end 2 refused, commit")
        #expect(it.commitFailed(2) == "")
        let damage = it.machine.current?.damage
        #expect(it.machine.current?.sequence.value == 3 && damage?.count == 2)
        #expect(damage?[0].x == 3 && damage?[1].x == 2)
    }

    @Test func hiddenBySilence() {
        var it = It.configured()
        _ = it.accept(1)
        #expect(it.silence() == "" && it.machine.phase == .hidden)
        #expect(it.tick() == "")
        for number in 2...20 as ClosedRange<UInt64> {
            #expect(it.accept(number) == "")
            #expect(it.tick() == "end \(number) superseded, discarded \(number)")
            #expect(it.tick() == "")
        }
        // On return the newest content is missing, so it is asked for, once.
        #expect(it.callback() == "tell 640x480 wants")
        #expect(it.machine.phase == .presenting)
        #expect(it.callback() == "")
        #expect(it.accept(21) == "commit")
        #expect(it.callback() == "")
    }

    @Test func hiddenThenReturnWithAFrameAtHand() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.silence()
        _ = it.accept(2)
        _ = it.tick()
        _ = it.accept(3)
        // Frame 3 is newer than the one that was discarded: nothing to ask for.
        #expect(it.callback() == "commit")
        #expect(it.callback() == "")
        #expect(shown(it) == 3)
    }

    @Test func suspendedAndBack() {
        var it = It.configured()
        _ = it.accept(1)
        #expect(
            it.configure(states: It.suspended, serial: 5)
                == "ack 5, tell 640x480 suspended, commit state")
        #expect(it.machine.phase == .hidden)
        // A late callback does not wake it.
        #expect(it.callback() == "" && it.machine.phase == .hidden)
        #expect(it.accept(2) == "")
        #expect(it.tick() == "end 2 superseded, discarded 2")
        // A configure that only repeats the states is acknowledged and not told.
        #expect(it.configure(states: It.suspended, serial: 6) == "ack 6, commit state")
        #expect(it.configure(serial: 7) == "ack 7, tell 640x480 wants, commit state")
        #expect(it.machine.phase == .presenting)
        #expect(it.accept(3) == "commit")
    }

    @Test func suspendedBeforeTheFirstFrame() {
        var it = It()
        _ = it.map()
        #expect(it.configure(states: It.suspended) == "ack 1, tell 640x480 suspended")
        // The first content maps the window; the compositor then shows it or keeps silent.
        #expect(it.accept(1) == "commit")
        #expect(it.silence() == "" && it.machine.phase == .hidden)
        #expect(it.callback() == "" && it.machine.phase == .hidden)
        #expect(it.configure(serial: 2) == "ack 2, tell 640x480, commit state")
        #expect(it.machine.phase == .presenting)
    }

    @Test func resizeIsAcknowledgedWithTheNextContent() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.accept(2)
        #expect(
            it.configure(Size(width: 800, height: 600), serial: 2)
                == "ack 2, tell 800x600, commit state")
        #expect(it.callback() == "commit")
        _ = it.callback()
        #expect(it.configure(Size(width: 800, height: 600), serial: 3) == "ack 3, commit state")
    }

    @Test func lostKeepsTheNewestCompleteFrame() {
        // Nothing newer than what is on the screen: that one is kept.
        var it = It.configured()
        _ = it.accept(1)
        #expect(it.lost() == "")
        #expect(it.machine.uses == [It.use(1)] && it.machine.current == nil)
        #expect(it.machine.framesLackingImport.map(\.sequence.value) == [1])
        #expect(!it.machine.isCurrentHeld && !it.machine.isCallbackPending)
        #expect(it.map() == "create window")
        #expect(it.configure(serial: 8) == "ack 8, tell 640x480")
        #expect(it.unblock(1, .importing) == "commit")
        #expect(shown(it) == 1 && it.machine.isCurrentHeld)

        // Released already, so there is nothing to keep, and it is asked for.
        it.machine.released(It.use(1))
        #expect(it.machine.uses == [])
        #expect(it.lost() == "")
        _ = it.map()
        #expect(it.configure(serial: 9) == "ack 9, tell 640x480 wants")

        // A complete one in the mailbox wins over the held one and over a pending fence.
        it = It.configured()
        _ = it.accept(1)
        _ = it.accept(2)
        _ = it.accept(3, .fence)
        _ = it.accept(4, .fence)
        #expect(it.lost() == "cancel 4, end 4 lost, cancel 3, end 3 lost, end 1 lost")
        #expect(it.machine.uses == [It.use(2)])

        // Only pending fences: the newest.
        it = It.configured()
        _ = it.accept(1, .fence)
        _ = it.accept(2, .fence)
        #expect(it.lost() == "cancel 1, end 1 lost")
        #expect(it.machine.uses == [It.use(2)])
        _ = it.map()
        _ = it.configure()
        #expect(it.unblock(2, .fence) == "")
        #expect(it.unblock(2, .importing) == "commit")
    }

    @Test func whileThereIsNoCompositor() {
        var it = It()
        #expect(it.accept(1, .importing) == "")
        #expect(it.accept(2, .importing) == "cancel 1, end 1 superseded")
        // A pending fence does not push a complete frame out until it has signalled.
        #expect(it.accept(3, [.importing, .fence]) == "")
        #expect(it.machine.uses == [It.use(2), It.use(3)])
        #expect(it.unblock(3, .fence) == "cancel 2, end 2 superseded")
        #expect(it.machine.uses == [It.use(3)])
        #expect(it.close() == "" && it.configure() == "" && it.callback() == "")
    }

    @Test func givenUpAfterHalfAMinute() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.lost()
        #expect(it.heldTooLong() == "cancel 1, end 1 lost")
        #expect(it.machine.uses == [])
        #expect(it.heldTooLong() == "")
        // No frame is kept until there is a compositor; each ends at once.
        #expect(it.accept(2, .importing) == "cancel 2, end 2 superseded")
        #expect(it.accept(3) == "end 3 superseded")
        #expect(it.map() == "create window")
        #expect(it.configure() == "ack 1, tell 640x480 wants")
        #expect(it.accept(4, .importing) == "")
        #expect(it.unblock(4, .importing) == "commit")
        #expect(it.machine.current?.damage.isWhole == true)
    }

    @Test func lostTwiceAndLostWhileClosing() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.lost()
        #expect(it.lost() == "")
        #expect(it.map() == "create window")
        #expect(it.lost() == "" && it.machine.uses == [It.use(1)])
        _ = it.map()
        _ = it.configure()
        _ = it.unblock(1, .importing)
        #expect(it.destroy() == "destroy window")
        #expect(it.lost() == "end 1 lost" && it.machine.phase == .gone)
        #expect(it.gone() == "" && it.machine.uses == [])
    }

    @Test func releaseBeforeTheWindowGoes() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.destroy()
        it.machine.released(It.use(1))
        #expect(it.gone() == "" && it.machine.phase == .gone)
    }

    // MARK: Damage

    @Test func theDamageOfASkippedFrameIsRepainted() {
        var it = It.configured()
        _ = it.accept(1, damage: damage([rect(1)]))
        #expect(it.machine.current?.damage.isWhole == true)
        _ = it.accept(2, damage: damage([rect(2)]))
        _ = it.accept(3, damage: damage([rect(3)]))
        _ = it.callback()
        #expect(Set(rectangles(it.machine.current?.damage ?? .none)) == [rect(2), rect(3)])
        _ = it.callback()
        _ = it.accept(4, damage: damage([rect(4)]))
        #expect(rectangles(it.machine.current?.damage ?? .whole) == [rect(4)])
        // Failed and discarded ones too.
        _ = it.accept(5, .fence, damage: damage([rect(5)]))
        _ = it.fail(5)
        _ = it.silence()
        _ = it.accept(6, damage: damage([rect(6)]))
        _ = it.tick()
        _ = it.callback()
        _ = it.accept(7, damage: damage([rect(7)]))
        #expect(
            Set(rectangles(it.machine.current?.damage ?? .none)) == [rect(5), rect(6), rect(7)])
    }

    /// A skipped frame that is newer than the one committed next counts for the one after.
    @Test func theDamageOfAYieldingFrameIsKept() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.callback()
        _ = it.accept(2, .fence, damage: damage([rect(2)]))
        _ = it.accept(3, .fence, damage: damage([rect(3)]))
        _ = it.accept(4, .fence, damage: damage([rect(4)]))
        _ = it.unblock(2, .fence)
        #expect(shown(it) == 2)
        _ = it.callback()
        _ = it.unblock(4, .fence)
        let last = Set(rectangles(it.machine.current?.damage ?? .none))
        #expect(shown(it) == 4 && last.isSuperset(of: [rect(3), rect(4)]))
    }

    @Test func aRefusedFrameMakesTheNextOneWhole() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.callback()
        _ = it.accept(2, .fence, damage: damage([rect(2)]))
        it.machine.frameWasRefused()
        // The one from before the refusal may come first; it does not settle the matter.
        _ = it.unblock(2, .fence)
        _ = it.callback()
        _ = it.accept(3, damage: damage([rect(3)]))
        #expect(it.machine.current?.damage.isWhole == true)
        _ = it.callback()
        // Then it is settled.
        _ = it.accept(4, damage: damage([rect(4)]))
        #expect(rectangles(it.machine.current?.damage ?? .whole) == [rect(4)])
    }

    @Test func aRefusalAfterTheLastSequence() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.callback()
        let last = It.frame(7, .fence, damage: damage([rect(2)])) {
            $0.sequence = FrameSequence(.max)
        }
        _ = it.machine.accept(last)
        it.machine.frameWasRefused()
        _ = it.machine.unblock(It.use(7), .fence)
        #expect(it.machine.current?.sequence.value == .max)
        #expect(it.machine.current?.damage.isWhole == true)
    }

    @Test func anotherGeometryIsWhole() {
        let changes: [(inout FrameRecord) -> Void] = [
            { $0.crop = Rectangle(x: 0, y: 0, width: 10, height: 10) },
            { $0.destination = Size(width: 5, height: 5) },
            { $0.transform = .flippedVertically },
        ]
        for change in changes {
            var it = It.configured()
            _ = it.accept(1)
            _ = it.callback()
            _ = it.machine.accept(It.frame(2, damage: damage([rect(2)]), change: change))
            #expect(it.machine.current?.damage.isWhole == true)
            _ = it.callback()
            _ = it.machine.accept(It.frame(3, damage: damage([rect(3)]), change: change))
            #expect(rectangles(it.machine.current?.damage ?? .whole) == [rect(3)])
        }
        var it = It.configured()
        _ = it.accept(1)
        _ = it.callback()
        let small = Size(width: 50, height: 40)
        _ = it.machine.accept(It.frame(2, damage: damage([rect(2)]), size: small))
        #expect(it.machine.current?.damage.isWhole == true)
    }

    /// Frames 1 and 3 look alike, but 3 only says what differs from 2, which had another size and was
    /// never shown.
    @Test func aSkippedFrameOfAnotherGeometryMakesTheNextOneWhole() {
        var it = It.configured()
        _ = it.accept(1)
        let small = Size(width: 50, height: 40)
        _ = it.machine.accept(It.frame(2, damage: damage([rect(2)]), size: small))
        _ = it.accept(3, damage: damage([rect(3)]))
        _ = it.callback()
        #expect(shown(it) == 3 && it.machine.current?.damage.isWhole == true)
    }

    /// The frame that is kept over the loss of the compositor is older than one that was lost.
    @Test func aLostNewerFrameMakesALaterOneWhole() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.accept(2, damage: damage([rect(2)]))
        _ = it.accept(3, .fence, damage: damage([rect(3)]))
        #expect(it.lost() == "cancel 3, end 3 lost, end 1 lost")
        _ = it.map()
        _ = it.configure()
        _ = it.unblock(2, .importing)
        #expect(shown(it) == 2 && it.machine.current?.damage.isWhole == true)
        _ = it.callback()
        _ = it.accept(4, damage: damage([rect(4)]))
        #expect(it.machine.current?.damage.isWhole == true)
        _ = it.callback()
        _ = it.accept(5, damage: damage([rect(5)]))
        #expect(rectangles(it.machine.current?.damage ?? .whole) == [rect(5)])
    }

    /// The most actions that one event can lead to: everything waits, everything ends.
    @Test func theLongestListOfActions() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.accept(2)
        _ = it.accept(3, .fence)
        _ = it.accept(4, .fence)
        var copy = it
        #expect(copy.machine.destroy().count == 6)
        copy = it
        #expect(copy.machine.compositorLost().count == 5)
        copy = it
        #expect(copy.machine.accept(It.frame(5)).count == 5)
        // In one list with a commit.
        copy = It()
        _ = copy.map()
        _ = copy.accept(2)
        _ = copy.accept(3, .fence)
        _ = copy.accept(4, .fence)
        _ = copy.configure()
        #expect(copy.machine.phase == .presenting)
        #expect(copy.machine.accept(It.frame(5)).count == 4)
    }

    @Test func shownSizes() {
        #expect(It.frame(1).shownSize == Size(width: 100, height: 80))
        #expect(
            It.frame(1) { $0.transform = Transform(rawValue: 1) ?? .normal }.shownSize
                == Size(width: 80, height: 100))
        let crop: (inout FrameRecord) -> Void = {
            $0.crop = Rectangle(x: 1, y: 1, width: 7, height: 9)
            $0.transform = Transform(rawValue: 7) ?? .normal
        }
        #expect(It.frame(1, change: crop).shownSize == Size(width: 9, height: 7))
        #expect(
            It.frame(1) { $0.destination = Size(width: 3, height: 4) }.shownSize
                == Size(width: 3, height: 4))
    }

    // MARK: The host's wishes

    @Test("a concealed surface takes frames at the beat; the newest is shown when it is revealed")
    func concealed() {
        var it = It.configured()
        _ = it.accept(1)
        #expect(it.conceal() == "destroy window, tell 640x480 suspended")
        #expect(it.machine.phase == .concealed && it.conceal() == "")
        #expect(it.accept(2) == "" && it.machine.hasReadyFrame)
        #expect(it.tick() == "end 2 superseded, discarded 2" && it.tick() == "")
        #expect(it.gone() == "")
        #expect(it.accept(3) == "" && it.accept(4) == "end 3 superseded")
        #expect(it.reveal() == "" && it.machine.framesLackingImport.count == 1)
        #expect(it.map() == "create window")
        #expect(it.unblock(4, .importing) == "")
        #expect(it.configure() == "ack 1, tell 640x480, commit" && shown(it) == 4)
        #expect(it.machine.current?.damage.isWhole == true)
    }

    @Test("when all was let go unseen, the producer is asked for a frame after the reveal")
    func concealedAsks() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.conceal()
        _ = it.accept(2)
        _ = it.tick()
        _ = it.reveal()
        _ = it.map()
        #expect(it.configure() == "ack 1, tell 640x480 wants")
        #expect(it.accept(3) == "commit" && shown(it) == 3)
    }

    @Test("the use of a window that was concealed ends with it, also after the surface itself")
    func concealedAndDestroyed() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.conceal()
        #expect(it.destroy() == "" && it.machine.phase == .closing)
        #expect(it.gone() == "" && it.machine.phase == .gone)
        var other = It()
        _ = other.conceal()
        #expect(other.destroy() == "" && other.machine.phase == .gone)
    }

    @Test("a fence that was passed on is waited for here when its frame is concealed")
    func concealedPassedFence() {
        var it = It.configured()
        _ = it.accept(1)
        #expect(it.pass(2) == "" && it.machine.hasReadyFrame)
        #expect(it.conceal() == "give 2, destroy window, tell 640x480 suspended")
        #expect(!it.machine.hasReadyFrame && it.tick() == "")
        #expect(it.machine.waitingUse(FrameSequence(2)) != nil)
        #expect(it.unblock(2, .fence) == "" && it.tick() == "end 2 superseded, discarded 2")
    }

    @Test("a stuck fence of a window that was concealed makes no new one")
    func concealedStuckFence() {
        var it = It.configured()
        _ = it.pass(1)
        #expect(it.conceal() == "destroy window, tell 640x480 suspended")
        #expect(it.stuck(1) == "" && it.machine.phase == .concealed)
        _ = it.reveal()
        #expect(it.map() == "create window" && it.stuck(1) == "")
    }

    @Test("a compositor that goes and comes means nothing to a concealed surface")
    func concealedWithoutCompositor() {
        var it = It.configured()
        _ = it.accept(1)
        _ = it.conceal()
        #expect(it.lost() == "" && it.map() == "" && it.heldTooLong() == "")
        #expect(it.accept(2) == "" && it.tick() == "end 2 superseded, discarded 2")
        #expect(it.accept(3, .fence) == "" && it.accept(4) == "cancel 3, end 3 superseded")
        _ = it.reveal()
        #expect(it.heldTooLong() == "cancel 4, end 4 lost")
    }

    @Test("a frozen window keeps its frame; later ones end at the beat, a thaw shows the newest")
    func frozen() {
        var it = It.configured()
        _ = it.accept(1)
        it.machine.freeze()
        #expect(it.accept(2) == "" && it.callback() == "")
        #expect(it.tick() == "end 2 superseded, discarded 2" && shown(it) == 1)
        #expect(it.accept(3) == "" && it.accept(4) == "end 3 superseded")
        #expect(it.thaw() == "commit" && shown(it) == 4)
        #expect(it.machine.current?.damage.isWhole == true)
    }

    @Test("when all was let go unseen, a thaw asks the producer for a frame")
    func frozenAsks() {
        var it = It.configured()
        _ = it.accept(1)
        it.machine.freeze()
        _ = it.callback()
        _ = it.accept(2)
        _ = it.tick()
        #expect(it.callback() == "")
        #expect(it.thaw() == "tell 640x480 wants")
    }

    @Test("a window without content gets one frame, however frozen, and each new window does")
    func frozenFirst() {
        var it = It.configured()
        it.machine.freeze()
        #expect(it.accept(1) == "commit" && it.callback() == "" && it.accept(2) == "")
        #expect(it.lost() == "end 1 lost")
        _ = it.map()
        _ = it.unblock(2, .importing)
        #expect(it.configure() == "ack 1, tell 640x480, commit" && shown(it) == 2)
        _ = it.callback()
        #expect(it.accept(3) == "")
    }
}
