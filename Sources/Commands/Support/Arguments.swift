public import ArgumentParser
public import Keyspace

// A number on the command line is a group or a shard as it stands; whether the cluster has it is for others to say.
extension GroupID: ExpressibleByArgument {}
extension ShardID: ExpressibleByArgument {}

/// Refuses a number that an option doesn't take: usage, with the numbers that it does. Not a number is outside of every
/// range.
package func require<Number: Comparable>(
    _ option: String, _ number: Number, in range: ClosedRange<Number>, _ unit: String = ""
) throws(ValidationError) {
    guard !range.contains(number) else { return }
    let unit = unit.isEmpty ? "" : " \(unit)"
    throw ValidationError(
        "\(option) takes \(shown(range.lowerBound)) to \(shown(range.upperBound))\(unit), not \(number).")
}

/// "86400" for 86400.0.
private func shown(_ number: some Comparable) -> String {
    let text = "\(number)"
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}

/// Refuses what isn't the HOST:PORT of somebody to call.
package func requireAddress(_ text: String, _ option: String) throws(ValidationError) {
    guard Address(toCall: text) == nil else { return }
    throw ValidationError("\(option) takes HOST:PORT, not \"\(text)\".")
}

/// Reads HOST:PORT,HOST:PORT,…; at least one.
package func addressList(_ text: some StringProtocol, _ option: String) throws(ValidationError) -> [String] {
    let addresses = commaList(text)
    if addresses.isEmpty { throw ValidationError("\(option) names no address; it takes HOST:PORT,HOST:PORT,…") }
    for address in addresses { try requireAddress(address, option) }
    return addresses
}

/// What options with a time or a count take.
package enum ArgumentLimits {
    /// A tenth of a second, since less is no time to reach anybody, to a day.
    package static let seconds = 0.1...86_400.0
    /// Operations or keys: more than any run has, and sums of them are still numbers.
    package static let count = 1...1_000_000_000
    package static let port = 0...65_535
    package static let shards = 1...Limits.shardCountMax
    /// Log entries: as much as keeping all.
    package static let entries: ClosedRange<UInt64> = 0...1_000_000_000_000
}
