public import ArgumentParser
internal import CommandSupport
internal import Foundation
internal import Inspect
internal import Keyspace

/// What `keys` and `scan` are told.
struct RecordOptions: ParsableArguments {
    @OptionGroup var place: PathArgument
    @OptionGroup var selected: SelectionOptions
    @Option(help: "At most so many, 1 to 1000000000 (default: all).") var limit: Int?
    @OptionGroup var hex: HexOption
    @OptionGroup var format: FormatOption
    @OptionGroup var limits: ReadingLimits

    func validate() throws {
        if let limit { try require("--limit", limit, in: ArgumentLimits.count) }
        _ = try selected.selection(hex)
    }

    func show(_ worker: Worker, values: Bool) throws {
        let printer = RecordPrinter(worker, hex: hex, isJSON: format.isJSON, values: values)
        try printer.show(place.path, try selected.selection(hex), limit: limit)
    }
}

/// `flotilla snapshot keys`.
public struct KeysCommand: ReadingCommand {
    public static let configuration = CommandConfiguration(
        commandName: "keys", abstract: "List keys, shard by shard, in order within each.")

    @OptionGroup var options: RecordOptions
    var limits: ReadingLimits { options.limits }

    public init() {}
    public func run() throws { try supervise() }
    func read(_ worker: Worker) throws { try options.show(worker, values: false) }
}

/// `flotilla snapshot scan`.
public struct ScanCommand: ReadingCommand {
    public static let configuration = CommandConfiguration(
        commandName: "scan", abstract: "List keys and values, shard by shard, in order within each.",
        discussion: "In a table a tab stands between key and value.")

    @OptionGroup var options: RecordOptions
    var limits: ReadingLimits { options.limits }

    public init() {}
    public func run() throws { try supervise() }
    func read(_ worker: Worker) throws { try options.show(worker, values: true) }
}

/// Prints records one by one.
private struct RecordPrinter {
    private let worker: Worker
    private let hex: HexOption
    private let isJSON: Bool
    private let values: Bool

    init(_ worker: Worker, hex: HexOption, isJSON: Bool, values: Bool) {
        self.worker = worker
        self.hex = hex
        self.isJSON = isJSON
        self.values = values
    }

    func show(_ path: String, _ selection: RecordSelection, limit: Int?) throws {
        let store = try worker.open(path)
        var left = limit ?? .max
        for shard in try worker.shards(of: store, selection) where left > 0 {
            try shard.show(selection.prefix, worker) { key, value, buffer in
                if isJSON {
                    buffer.append(contentsOf: "{\"group\":\(shard.group.gid),".utf8)
                    JSONText.append("key", key, to: &buffer)
                    buffer.append(contentsOf: ",\"shard\":\(shard.shard)".utf8)
                    if values {
                        buffer.append(UInt8(ascii: ","))
                        JSONText.append("value", value, to: &buffer)
                    }
                    buffer.append(contentsOf: "}\n".utf8)
                } else {
                    hex.append(key, to: &buffer)
                    if values {
                        buffer.append(UInt8(ascii: "\t"))
                        hex.append(value, to: &buffer)
                    }
                    buffer.append(10)
                }
                left -= 1
                return left > 0
            }
        }
    }
}

extension UserShard {
    /// Writes something for each record into the output, until `body` returns false.
    func show(
        _ prefix: [UInt8], _ worker: Worker,
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ buffer: inout [UInt8]) -> Bool
    ) throws {
        var failure: (any Error)?
        try scan(prefix: prefix, worker.progress) { key, value in
            var goesOn = true
            do { try worker.output.write { goesOn = body(key, value, &$0) } } catch {
                failure = error
                return false
            }
            return goesOn
        }
        if let failure { throw failure }
    }
}

/// `flotilla snapshot get`.
public struct GetCommand: ReadingCommand {
    public static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Print the value of a key, as it is, and a line feed.",
        discussion: "Exit code 2 if there is no such key. On a terminal characters that don't print stand as \\xNN.")

    @OptionGroup var place: PathArgument
    @Argument(help: "The key (\\xNN stands for a byte).") var key: String
    @Option(help: "Only this group.") var group: GroupID?
    @OptionGroup var hex: HexOption
    @OptionGroup var format: FormatOption
    @OptionGroup var limits: ReadingLimits

    public init() {}
    public func validate() throws { _ = try hex.parse(key, "KEY") }
    public func run() throws { try supervise() }

    func read(_ worker: Worker) throws {
        let bytes = try hex.parse(key, "KEY")
        var selection = RecordSelection()
        selection.gid = group
        let store = try worker.open(place.path)
        guard let (shard, value) = try store.get(bytes, selection) else {
            worker.note("flotilla: \(place.path) holds no key \(hex.text(bytes))")
            throw Exit.notFound
        }
        try worker.output.write { buffer in
            if format.isJSON {
                buffer.append(contentsOf: "{\"group\":\(shard.group.gid),".utf8)
                bytes.withUnsafeBytes { JSONText.append("key", $0, to: &buffer) }
                buffer.append(contentsOf: ",\"shard\":\(shard.shard),".utf8)
                value.withUnsafeBytes { JSONText.append("value", $0, to: &buffer) }
                buffer.append(UInt8(ascii: "}"))
            } else if hex.hex {
                buffer.append(contentsOf: BytesText.hex(value).utf8)
            } else if StandardOutput.isTerminal {
                buffer.append(contentsOf: TerminalText.escape(value, keepsLines: true))
            } else {
                buffer.append(contentsOf: value)
            }
            buffer.append(10)
        }
    }
}
