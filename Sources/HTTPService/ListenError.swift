import Glibc
public import Keyspace

/// Why a server can't listen; the sentence names the address and the remedy.
public struct ListenError: Error, CustomStringConvertible, Sendable {
    public var description: String

    public init(description: String) { self.description = description }
}

extension Address {
    /// Finds out whether a server could listen here, and if not, why.
    public func checkIsFree() throws(ListenError) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        guard inet_pton(AF_INET, numericHost, &address.sin_addr) == 1 else { return }
        let failed = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) != 0
                    || listen(descriptor, 1) != 0
            }
        }
        guard failed else { return }
        let reason =
            switch errno {
            case EADDRINUSE: "the port is in use; stop the process that has it, or choose another port"
            case EADDRNOTAVAIL:
                "this machine doesn't have that address; give one that it has (a node takes --listen IP:PORT)"
            case EACCES: "not permitted; choose a port above 1023"
            default: String(cString: strerror(errno))
            }
        throw ListenError(description: "can't listen on \(self): \(reason)")
    }
}
