package import ArgumentParser
package import Engines
internal import Foundation

/// Exit codes of every command (docs/exit-codes.md).
package enum Exit {
    package static let failed = ExitCode(1)
    /// Not found, compare failed, different, or damaged.
    package static let notFound = ExitCode(2)
    package static let usage = ExitCode(64)
    package static let unavailable = ExitCode(69)
    package static let outcomeUnknown = ExitCode(75)
}

/// How results are printed.
package enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table, json
}

/// JSON as the commands print it: an object over several lines, or on one.
package func jsonText(_ value: some Encodable, isPretty: Bool = true) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if isPretty { encoder.outputFormatting.insert(.prettyPrinted) }
    return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
}

package func writeJSON(_ value: some Encodable, isPretty: Bool = true) throws {
    try StandardOutput.write(try jsonText(value, isPretty: isPretty))
}

/// Says in JSON that something has been carried out.
package func confirmJSON(_ value: some Encodable) throws {
    try StandardOutput.confirm(String(try jsonText(value).dropLast()))
}

/// Numbers with a unit that people read.
package func humanBytes(_ bytes: UInt64) -> String {
    var value = Double(bytes)
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024 { return unit == "B" ? "\(bytes) B" : String(format: "%.1f %@", value, unit) }
        value /= 1024
    }
    return String(format: "%.1f TiB", value)
}

/// A list divided by commas, without blanks.
package func commaList(_ text: some StringProtocol) -> [String] {
    text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
}

extension EngineError {
    package var exitCode: ExitCode {
        switch self {
        case .corruption, .familyMissing, .tooLarge: Exit.notFound
        case .locked, .busy: Exit.unavailable
        default: Exit.failed
        }
    }

    /// One line that names the thing and the remedy, from a command that works on stopped nodes.
    package var sentence: String {
        guard case .locked(let path, _) = self else { return description }
        guard let identity = try? NodeDirectory.identity(at: path) else { return description }
        let server = identity.role == "controller" ? "the controller" : "a node of group \(identity.groupId)"
        return "\(self), or ask it for a snapshot while it runs (flotilla snapshot save --endpoint HOST:PORT --out "
            + "SNAPSHOT, with the address of \(server))"
    }
}

/// Runs what works on directories; an error becomes one line and its exit code.
package func reportEngine<Result>(_ body: () throws(EngineError) -> Result) throws -> Result {
    do throws(EngineError) { return try body() } catch {
        note("flotilla: \(error.sentence)")
        throw error.exitCode
    }
}
