import VMBridgeCore

/// What the control socket commands: a bridge, or a stand-in for one in a test.
package protocol ControlTarget: AnyObject {
    /// What every VM has and did.
    var status: [VMStatus] { get }
    /// Those that surfaces are handed to.
    var consumers: [ConsumerStatus] { get }
    /// Drivers that VMs come by.
    var drivers: [DriverStatus] { get }
    /// Does something with a surface of a VM, or with all of it.
    ///
    /// - Returns: surfaces concerned.
    func perform(_ wish: SurfaceWish, vm: String, surface: SurfaceKey?) -> Int
    /// Reads an action from a rule's words.
    func action(_ words: [String]) throws(ControlFault) -> RuleAction
    /// Reads the configuration again; the log tells what came of it.
    ///
    /// - Throws: when there is none to read.
    func reload() throws(ControlFault)
    /// The last committed frame of a surface and the memory that has it; nil when there is none.
    func lastFrame(vm: String, surface: SurfaceKey) -> CommittedFrame?
    /// Whether the frame's buffer has been ours all the time since it was committed.
    func isHeld(_ frame: CommittedFrame) -> Bool
}

/// A frame that was committed, as a capture takes it.
package struct CommittedFrame {
    /// The VM's name.
    package var vm: String
    /// The guest's name of the surface.
    package var surface: SurfaceKey
    /// Title as shown.
    package var title: String
    /// The frame.
    package var frame: Frame
    /// What it is in. Whoever has it keeps its descriptors open, not its content as it is: the guest may
    /// write into it again once the frame's use has ended.
    package var memory: BufferMemory
}
