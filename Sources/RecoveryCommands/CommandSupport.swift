internal import ArgumentParser
internal import Engines
internal import Foundation

/// A note for people, on standard error.
func note(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

/// Runs what works on directories; an error becomes one line and its exit code (docs/exit-codes.md).
func reportEngine<Result>(_ body: () throws(EngineError) -> Result) throws -> Result {
    do throws(EngineError) { return try body() } catch {
        note("flotilla: \(error)")
        switch error {
        case .corruption: throw ExitCode(2)
        case .locked, .busy: throw ExitCode(69)
        default: throw ExitCode(1)
        }
    }
}

/// HOST:PORT,HOST:PORT,… as a list.
func addressList(_ text: some StringProtocol) -> [String] {
    text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
}

/// Numbers with a unit that people read.
func humanBytes(_ bytes: UInt64) -> String {
    var value = Double(bytes)
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024 { return unit == "B" ? "\(bytes) B" : String(format: "%.1f %@", value, unit) }
        value /= 1024
    }
    return String(format: "%.1f TiB", value)
}
