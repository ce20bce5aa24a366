import Foundation
import Testing

/// What earlier programs wrote, kept for ever in Tests/Fixtures (scripts/make-fixtures): every format version in a
/// directory of its own.
enum FixtureStore {
    static let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures").path

    /// Where `scripts/make-fixtures` wants new ones.
    static let making = ProcessInfo.processInfo.environment["FLOTILLA_MAKE_FIXTURES"]

    /// Every fixture there must be. Nothing is ever taken off this list while the program reads its format.
    static let names = [
        "archive-1", "exported-family-1", "identity-2", "node-directory-2", "record-1", "sync-mark-1",
    ]

    static func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")))
    }

    static func text(_ name: String) throws -> String { String(decoding: try bytes(name), as: UTF8.self) }

    static func write(_ bytes: some Collection<UInt8>, _ root: String, _ name: String) throws {
        let url = URL(fileURLWithPath: "\(root)/\(name)")
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: url)
    }

    static func write(_ text: String, _ root: String, _ name: String) throws { try write(Array(text.utf8), root, name) }

    static func writeJSON(_ value: some Encodable, _ root: String, _ name: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try write(Array(try encoder.encode(value)) + [10], root, name)
    }

    static func decode<Value: Decodable>(_ type: Value.Type, _ name: String) throws -> Value {
        try JSONDecoder().decode(type, from: Data(try bytes(name)))
    }

    // MARK: - Directories in one file

    /// Packs a directory's contents so that the same contents give the same bytes.
    static func pack(_ directory: String, into file: String) throws {
        try FileManager.default.createDirectory(
            at: URL(fileURLWithPath: file).deletingLastPathComponent(), withIntermediateDirectories: true)
        try run([
            "tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--use-compress-program",
            "gzip -9n", "-cf", file, "-C", directory, ".",
        ])
    }

    /// Unpacks `name` of the store into a new directory.
    static func unpack(_ name: String, into directory: String) throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try run(["tar", "-xzf", "\(path)/\(name)", "-C", directory])
    }

    private static func run(_ words: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Missing() }
    }
}

func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

func bytes(hex text: some StringProtocol) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = text[...]
    while !rest.isEmpty {
        bytes.append(try unwrapped(UInt8(rest.prefix(2), radix: 16)))
        rest = rest.dropFirst(2)
    }
    return bytes
}
