/// What to tell somebody whose key or value begins with a dash, and was taken for an option.
package enum DashHint {
    private static let operands = [
        "get": "KEY", "put": "KEY VALUE", "append": "KEY VALUE", "delete": "KEY", "cas": "KEY EXPECTED VALUE",
    ]
    private static let takeValues: Set = ["--endpoints", "--write-out", "-w", "--timeout"]
    private static let flags: Set = ["--absent", "--remove", "--help", "-h", "--version"]

    /// - Parameter words: the program's arguments, which it couldn't read.
    /// - Returns: `nil` where none of them looks like such a key or value.
    package static func hint(_ words: [String]) -> String? {
        guard words.count > 2, words[0] == "kv", let operands = operands[words[1]], !words.contains("--") else {
            return nil
        }
        var rest = words.dropFirst(2)
        while let word = rest.popFirst() {
            guard word.utf8.first == UInt8(ascii: "-"), word != "-", !flags.contains(word) else { continue }
            let name = String(word.prefix { $0 != "=" })
            guard takeValues.contains(name) else {
                return "If \(word) is a key or a value, put -- before the first of them: flotilla kv \(words[1]) -- "
                    + operands
            }
            if name == word { _ = rest.popFirst() }
        }
        return nil
    }
}
