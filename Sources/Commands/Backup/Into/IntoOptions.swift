package import ArgumentParser
internal import CommandSupport
internal import Foundation
internal import Inspect

extension ExistingKeys: ExpressibleByArgument {}

/// `flotilla snapshot restore --into`: the keys go into a live cluster.
package struct IntoOptions: ParsableArguments {
    @Option(help: "The live cluster's controllers, HOST:PORT,…") package var into: String?
    @Option(help: "What is put before every key (\\xNN stands for a byte).") var prefix: String?
    @Flag(help: "Put the keys back under their own names, without a prefix.") var inPlace = false
    @Option(help: "Only keys of the backup that begin with this (\\xNN stands for a byte).") var onlyPrefix: String?
    @Option(help: "What becomes of a key that the cluster has already: overwrite or keep.")
    var existing = ExistingKeys.overwrite
    @Option(help: "At most so many keys a second, 0.1 to 1000000000.") var rate: Double?
    @Option(
        help: "The file with which an interrupted restore goes on (default: the backup's path with .restore-progress).",
        transform: ArgumentText.plain)
    var progress: String?
    @Option(help: "Give up when the cluster hasn't answered for this many seconds, 0.1 to 86400.") var timeout = 120.0
    @Option(name: [.customShort("w"), .customLong("write-out")], help: "How to print: table or json.")
    var format: OutputFormat = .table

    package init() {}

    package var endpoints: [String] { commaList(into ?? "") }

    /// The first option that was given though `--into` wasn't.
    var stray: String? {
        if prefix != nil { return "--prefix" }
        if inPlace { return "--in-place" }
        if onlyPrefix != nil { return "--only-prefix" }
        if rate != nil { return "--rate" }
        if progress != nil { return "--progress" }
        if existing != .overwrite { return "--existing" }
        return format == .table ? nil : "-w"
    }

    package func validate() throws {
        guard let into else { return }
        _ = try addressList(into, "--into")
        let typed = BytesText.parse(ArgumentText.bytes(of: prefix ?? ""))
        if typed.isEmpty, !inPlace {
            throw ValidationError(
                "Give --prefix P, which is put before every key, or --in-place to put the keys back under their own "
                    + "names.")
        }
        if !typed.isEmpty, inPlace { throw ValidationError("Give --prefix or --in-place, not both.") }
        if let rate { try require("--rate", rate, in: 0.1...1e9, "keys a second") }
        try require("--timeout", timeout, in: ArgumentLimits.seconds, "seconds")
    }

    package func request(from archive: String) -> IntoRequest {
        var path = archive
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        var request = IntoRequest(archive: path, progressPath: progress ?? "\(path).restore-progress")
        request.prefix = BytesText.parse(ArgumentText.bytes(of: prefix ?? ""))
        request.onlyPrefix = BytesText.parse(ArgumentText.bytes(of: onlyPrefix ?? ""))
        request.existing = existing
        request.rate = rate
        request.patience = .seconds(timeout)
        return request
    }

    func run(from archive: String, _ destination: any KeyDestination) async throws {
        let request = request(from: archive)
        let start = ContinuousClock.now
        let summary: IntoSummary
        do throws(IntoError) {
            summary = try await IntoRun(request: request, destination: destination).run()
        } catch {
            note("flotilla: \(error.sentence)")
            throw ExitCode(error.exitCode)
        }
        if format == .json {
            try writeJSON(summary)
        } else {
            try StandardOutput.confirm(Self.text(summary, request, (ContinuousClock.now - start) / .seconds(1)))
        }
    }

    static func text(_ summary: IntoSummary, _ request: IntoRequest, _ seconds: Double) -> String {
        let place = request.prefix.isEmpty ? "in place" : "under \"\(BytesText.escaped(request.prefix))\""
        var text = "\(request.archive): \(summary.keys) keys, \(humanBytes(summary.bytes)), are in cluster "
        text += "\(summary.clusterId) \(place)"
        if request.existing == .keep { text += "; \(summary.kept) of them were there and kept their values" }
        return text + String(format: "; %.1f s%@", seconds, summary.wasResumed ? " since it went on" : "")
    }
}
