/// Datagrams in arrays, for code that has no business with pointers.
extension SeqPacketSocket {
    /// Receives one datagram into an array of fixed length; see `receive(into:descriptors:)`.
    package func receive(
        into bytes: inout [UInt8], descriptors: inout DescriptorBundle
    ) -> ReceiveResult {
        // UNSAFE: the array is lent for the call, and the kernel writes within its length.
        bytes.withUnsafeMutableBytes { receive(into: $0, descriptors: &descriptors) }
    }

    /// Sends the first bytes of an array as one datagram without descriptors.
    package func send(_ bytes: [UInt8], count: Int) -> SendResult {
        // UNSAFE: the array is lent for the call and only read; the count is clamped to its length.
        bytes.withUnsafeBytes {
            send(UnsafeRawBufferPointer(rebasing: $0[..<min(count, $0.count)]), descriptor: nil)
        }
    }

    /// The same with descriptors, which are lent.
    package func send(
        _ bytes: [UInt8], count: Int, descriptors: UnsafeBufferPointer<Int32>
    ) -> SendResult {
        // UNSAFE: the array is lent for the call and only read; the count is clamped to its length.
        bytes.withUnsafeBytes {
            send(
                UnsafeRawBufferPointer(rebasing: $0[..<min(count, $0.count)]),
                descriptors: descriptors)
        }
    }

    /// Sends an array as one datagram with descriptors, which are lent.
    package func send(_ bytes: [UInt8], descriptors: [Int32]) -> SendResult {
        // UNSAFE: both arrays are lent for the call and only read.
        bytes.withUnsafeBytes { bytes in
            descriptors.withUnsafeBufferPointer { send(bytes, descriptors: $0) }
        }
    }
}
