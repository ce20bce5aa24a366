import Admission
import Foundation
import HTTPService
import Keyspace
import Logging
import Testing

/// Long pages are part of what the process may hold.
@Suite struct HTTPMemoryTests {
    /// The status of an answer over a connection of its own.
    private static func status(of path: String, at port: Int) throws -> Int {
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(client) }
        // A bound, not a measure: simulations beside it may have every thread of the pool for many seconds.
        var timeout = timeval(tv_sec: 120, tv_usec: 0)
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(client, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        try #require(isConnected)
        let request = Array("GET \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".utf8)
        try #require(send(client, request, request.count, 0) == request.count)
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = recv(client, &buffer, buffer.count, 0), count > 0 { answer += buffer[..<count] }
        let words = String(decoding: answer.prefix(32), as: UTF8.self).split(separator: " ")
        return try #require(words.dropFirst().first.flatMap { Int($0) })
    }

    @Test func aLongPageIsRefusedWhileTheBudgetIsTakenAndAShortOneIsNot() async throws {
        let ledger = MemoryLedger(MemoryAccount(bytesMax: 1_000_000, holderBytesMax: 1_000_000))
        let listener = try await HTTPListener(
            Address(host: "127.0.0.1", port: 0), memory: ledger, log: Logger(label: "test")
        ) { question in .text(200, String(repeating: "x", count: question.path == "/long" ? 100_000 : 10)) }
        defer { listener.stop() }
        let port = listener.endpoint.port
        func ask(_ path: String) async throws -> Int {
            try await withCheckedThrowingContinuation { continuation in
                Thread.detachNewThread { continuation.resume(with: Result { try Self.status(of: path, at: port) }) }
            }
        }
        #expect(try await ask("/long") == 200)
        // More than the reserve for those who hold nothing.
        ledger.charge(1_300_000, for: 1)
        #expect(try await ask("/long") == 503)
        #expect(try await ask("/healthz") == 200)
        ledger.give(1_300_000, from: 1)
        #expect(try await ask("/long") == 200)
    }
}
