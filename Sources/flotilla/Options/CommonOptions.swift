import ArgumentParser
import Client
import CommandSupport
import Foundation

struct ClusterOptions: ParsableArguments {
    @Option(
        help: "The controllers' addresses, HOST:PORT,… (default: FLOTILLA_ENDPOINTS, else localhost:50051 to 50053).")
    var endpoints: String?

    @Option(name: [.customShort("w"), .customLong("write-out")], help: "How to print: table or json.")
    var format: OutputFormat = .table

    @Option(help: "Give up after this many seconds, 0.1 to 86400.")
    var timeout: Double = 10

    func validate() throws {
        _ = try controllerAddresses(endpoints, "--endpoints")
        try require("--timeout", timeout, in: ArgumentLimits.seconds, "seconds")
    }

    var addresses: [String] { (try? controllerAddresses(endpoints, "--endpoints")) ?? [] }

    func makeClient(streamsPerNode: Int = 1) -> FlotillaClient {
        var options = FlotillaClient.Options()
        options.deadline = .seconds(timeout)
        options.streamsPerNode = streamsPerNode
        // Every run is a session of its own, of which a shard takes so many at a time: let them end soon.
        options.sessionLifetime = .seconds(max(60, timeout * 4))
        return FlotillaClient(endpoints: addresses, options: options)
    }

    func makeController() -> ControllerClient {
        ControllerClient(endpoints: addresses, deadline: .seconds(timeout))
    }
}

/// The controllers that an option names, or FLOTILLA_ENDPOINTS, or a cluster on this machine. An option that is there and
/// names nobody is a slip, and must not ask another cluster.
func controllerAddresses(_ given: String?, _ option: String) throws(ValidationError) -> [String] {
    if let given { return try addressList(given, option) }
    if let variable = ProcessInfo.processInfo.environment["FLOTILLA_ENDPOINTS"], !variable.isEmpty {
        return try addressList(variable, "FLOTILLA_ENDPOINTS")
    }
    return ["localhost:50051", "localhost:50052", "localhost:50053"]
}

extension ClientError {
    var exitCode: ExitCode {
        switch code {
        case .invalidArgument, .failedPrecondition, .noSpace, .internal: Exit.failed
        case .notFound: Exit.notFound
        case .unavailable: Exit.unavailable
        case .outcomeUnknown: Exit.outcomeUnknown
        }
    }
}

/// Runs a verb; an error becomes one line and its exit code.
func report<Result>(_ body: () async throws(ClientError) -> Result) async throws -> Result {
    do throws(ClientError) { return try await body() } catch {
        note("flotilla: \(error.message)")
        throw error.exitCode
    }
}

/// A value in JSON: bytes that are not UTF-8 go under another name, in Base64.
struct JSONObject: Encodable {
    private var members: [(String, any Encodable)] = []

    struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    mutating func set(_ name: String, _ value: any Encodable) { members.append((name, value)) }

    mutating func setBytes(_ name: String, _ bytes: [UInt8]) {
        if let text = String(validating: bytes, as: UTF8.self) {
            set(name, text)
        } else {
            set(name + "Base64", Data(bytes).base64EncodedString())
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        for (name, value) in members { try container.encode(value, forKey: Key(name)) }
    }
}

/// Columns as wide as their widest cell.
func tableText(_ header: [String], _ rows: [[String]]) -> String {
    let widths = header.indices.map { column in
        max(header[column].count, rows.map { $0.indices.contains(column) ? $0[column].count : 0 }.max() ?? 0)
    }
    var text = ""
    for row in [header] + rows {
        let cells = row.enumerated().map { column, cell in
            column == row.count - 1
                ? cell : cell + String(repeating: " ", count: max(0, widths[column] - cell.count))
        }
        text += cells.joined(separator: "  ") + "\n"
    }
    return text
}
