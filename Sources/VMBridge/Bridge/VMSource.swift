import VMBridgeCore

/// Our end of one VM's transport, whatever that is: turns what comes by it into records for the session, and
/// the session's feedback into words of the transport. Belongs to the loop's thread.
///
/// Subclasses override what differs; `settle` and `shutDown` call up.
package class VMSource<P: Presenter> {
    /// Where records go and feedback comes from.
    package let session: VMSession<P>
    package let loop: EventLoop

    init(session: VMSession<P>) {
        self.session = session
        loop = session.loop
    }

    /// Whether somebody is at the other end.
    package var isConnected: Bool { false }
    /// Which connection it is, from 1; 0 before the first.
    package var connectionNumber: UInt64 { 0 }
    /// What is at the other end and what it lacks, in words; nil when there is nothing to say.
    package var words: String? { nil }

    /// Descriptors that are open for the VM. Subclasses add their own.
    package var descriptors: DescriptorHoldings { session.descriptors }

    /// Other limits from the next record on.
    package func apply(_ limits: VMLimits, fences: FencePolicy) {
        session.apply(limits, fences: fences)
    }

    /// Takes what gathered in a batch of the loop; called after each.
    package func settle() { session.settle() }

    /// Ends the transport and the session.
    package func shutDown() { session.shutDown() }
}
