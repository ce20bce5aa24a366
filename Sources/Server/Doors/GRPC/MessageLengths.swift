/// Reads the lengths of gRPC's messages out of a stream's bytes: each is announced by five bytes, a flag and a length in
/// big-endian order (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). Pure.
package struct MessageLengths {
    package static let prefixBytes = 5

    private var prefix = 0
    private var length = 0
    /// Of the message that has begun.
    package private(set) var missing = 0
    /// The announced length of that message.
    package private(set) var current = 0

    package init() {}

    /// - Parameter begins: is told the announced length of each message that begins in these bytes, without its prefix.
    package mutating func read(_ bytes: some Collection<UInt8>, begins: (Int) -> Void) {
        var rest = bytes[...]
        while !rest.isEmpty {
            if missing > 0 {
                let taken = min(missing, rest.count)
                missing -= taken
                rest = rest.dropFirst(taken)
                continue
            }
            guard let byte = rest.popFirst() else { break }
            prefix += 1
            if prefix > 1 { length = length << 8 | Int(byte) }
            if prefix == Self.prefixBytes {
                begins(length)
                (missing, current) = (length, length)
                (prefix, length) = (0, 0)
            }
        }
    }
}
