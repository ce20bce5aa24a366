public import ArgumentParser
internal import Foundation
internal import Inspect

/// The forms of `flotilla snapshot dump`.
enum DumpFormat: String, ExpressibleByArgument, CaseIterable {
    case json, csv, resp
}

/// `flotilla snapshot dump`.
public struct DumpCommand: ReadingCommand {
    public static let configuration = CommandConfiguration(
        commandName: "dump", abstract: "Write all records in a form that other programs read.",
        discussion: """
            json: an object on each line. csv: key, value and shard, with bytes that are not printable ASCII as \\xNN. \
            resp: a SET command for each record, for `redis-cli --pipe`.
            """)

    @OptionGroup var place: PathArgument
    @Option(help: "json, csv or resp.") var format: DumpFormat = .json
    @OptionGroup var selected: SelectionOptions
    @OptionGroup var hex: HexOption
    @OptionGroup var limits: ReadingLimits

    public init() {}
    public func validate() throws { _ = try selected.selection(hex) }
    public func run() throws { try supervise() }

    func read(_ worker: Worker) throws {
        let selection = try selected.selection(hex)
        let store = try worker.open(place.path)
        if format == .csv { try worker.output.write("key,value,shard\n") }
        for shard in try worker.shards(of: store, selection) {
            try shard.show(selection.prefix, worker) { key, value, buffer in
                switch format {
                case .json:
                    buffer.append(UInt8(ascii: "{"))
                    JSONText.append("key", key, to: &buffer)
                    buffer.append(contentsOf: ",\"shard\":\(shard.shard),".utf8)
                    JSONText.append("value", value, to: &buffer)
                    buffer.append(contentsOf: "}\n".utf8)
                case .csv:
                    cell(key, &buffer)
                    buffer.append(UInt8(ascii: ","))
                    cell(value, &buffer)
                    buffer.append(contentsOf: ",\(shard.shard)\n".utf8)
                case .resp:
                    buffer.append(contentsOf: "*3\r\n$3\r\nSET\r\n$\(key.count)\r\n".utf8)
                    buffer.append(contentsOf: key)
                    buffer.append(contentsOf: "\r\n$\(value.count)\r\n".utf8)
                    buffer.append(contentsOf: value)
                    buffer.append(contentsOf: "\r\n".utf8)
                }
                return true
            }
        }
    }

    /// Quoted as RFC 4180 wants it. Line breaks are escaped already.
    private func cell(_ bytes: UnsafeRawBufferPointer, _ buffer: inout [UInt8]) {
        let quote = UInt8(ascii: "\"")
        guard !hex.hex, bytes.contains(where: { $0 == UInt8(ascii: ",") || $0 == quote }) else {
            hex.append(bytes, to: &buffer)
            return
        }
        buffer.append(quote)
        var start = 0
        for (at, byte) in bytes.enumerated() where byte == quote {
            hex.append(UnsafeRawBufferPointer(rebasing: bytes[start...at]), to: &buffer)
            buffer.append(quote)
            start = at + 1
        }
        hex.append(UnsafeRawBufferPointer(rebasing: bytes[start...]), to: &buffer)
        buffer.append(quote)
    }
}
