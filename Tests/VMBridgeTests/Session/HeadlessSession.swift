import Logging
import VMBridgeCore

@testable import VMBridge

extension VMSession where P == HeadlessPresenter {
    /// A VM without a source that is shown a thousand times a second on a virtual output, and logs nothing.
    static func onVirtualOutput(_ name: String, loop: EventLoop) throws -> VMSession {
        var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .critical
        var options = HeadlessOptions()
        options.refreshRate = 1000
        return VMSession(
            name: name, limits: VMLimits(),
            presenter: HeadlessPresenter(
                vmName: name, options: options, capture: nil, loop: loop, logger: logger),
            loop: loop, probe: try DescriptorProbe(), logger: logger)
    }
}
