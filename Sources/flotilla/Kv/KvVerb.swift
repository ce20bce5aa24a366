import ArgumentParser
import Client
import CommandSupport
internal import Keyspace

struct KvVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kv", abstract: "Read and write keys.",
        discussion: """
            Keys and values are bytes, as they are typed. One that begins with a dash goes behind --: \
            flotilla kv put -- KEY -5
            """,
        subcommands: [
            Get.self, Put.self, Append.self, Delete.self, CompareAndSet.self, Scan.self, Batch.self, Sessions.self,
        ])

    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the value of a key; nothing and exit code 2 if it is absent.",
            discussion: """
                The value is printed as it is, with a line feed behind it. On a terminal characters that don't print \
                stand as \\xNN.
                """)
        @OptionGroup var cluster: ClusterOptions
        @Argument var key: ByteArgument

        func run() async throws {
            let client = cluster.makeClient()
            let key = key.bytes
            let value = try await report { () throws(ClientError) in try await client.get(key) }
            guard let value else { throw Exit.notFound }
            if cluster.format == .json {
                var object = JSONObject()
                object.setBytes("key", key)
                object.setBytes("value", value)
                try writeJSON(object)
            } else {
                let isShown = StandardOutput.isTerminal
                try StandardOutput.write((isShown ? TerminalText.escape(value, keepsLines: true) : value) + [10])
            }
        }
    }

    struct Put: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Set the value of a key.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var key: ByteArgument
        @Argument(help: "The value; - reads it from standard input.") var value: ByteArgument

        func run() async throws {
            let client = cluster.makeClient()
            let (key, value) = (key.bytes, try value.orStandardInput())
            try await report { () throws(ClientError) in try await client.put(key, value) }
            try cluster.confirm("OK", ["ok": true])
        }
    }

    struct Append: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Append to the value of a key; prints its new length.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var key: ByteArgument
        @Argument(help: "What to append; - reads it from standard input.") var value: ByteArgument

        func run() async throws {
            let client = cluster.makeClient()
            let (key, value) = (key.bytes, try value.orStandardInput())
            let length = try await report { () throws(ClientError) in try await client.append(key, value) }
            try cluster.confirm("\(length)", ["length": length])
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete a key; exit code 2 if it was absent.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var key: ByteArgument

        func run() async throws {
            let client = cluster.makeClient()
            let key = key.bytes
            let existed = try await report { () throws(ClientError) in try await client.delete(key) }
            try cluster.confirm(existed ? "OK" : nil, ["existed": existed])
            if !existed { throw Exit.notFound }
        }
    }

    struct CompareAndSet: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "cas", abstract: "Replace a value if it is what is expected; exit code 2 if it isn't.",
            discussion:
                "flotilla kv cas KEY EXPECTED VALUE. With --absent EXPECTED is left out; with --remove VALUE is.")
        @OptionGroup var cluster: ClusterOptions
        @Flag(help: "Expect that the key is absent.") var absent = false
        @Flag(help: "Delete the key instead of setting it.") var remove = false
        @Argument var key: ByteArgument
        @Argument var values: [ByteArgument] = []

        func validate() throws {
            let wanted = (absent ? 0 : 1) + (remove ? 0 : 1)
            if values.count != wanted {
                throw ValidationError("Give \(wanted) value(s) after the key, not \(values.count).")
            }
        }

        func run() async throws {
            let client = cluster.makeClient()
            let key = key.bytes
            let expected = absent ? nil : values.first?.bytes
            let value = remove ? nil : values.last?.bytes
            let succeeded = try await report { () throws(ClientError) in
                try await client.compareAndSet(key, expected: expected, value: value)
            }
            try cluster.confirm(succeeded ? "OK" : nil, ["succeeded": succeeded])
            if !succeeded { throw Exit.notFound }
        }
    }
}

extension ClusterOptions {
    /// Says what a write came to: a line for people, if there is one, or JSON.
    fileprivate func confirm(_ line: String?, _ object: [String: some Encodable]) throws {
        if format == .json { try confirmJSON(object) } else if let line { try StandardOutput.confirm(line) }
    }
}

extension ByteArgument {
    /// What was typed, or for "-" what is on standard input.
    fileprivate func orStandardInput() throws(InputFailure) -> [UInt8] {
        bytes == [UInt8(ascii: "-")] ? try StandardInput.readAll(atMost: Limits.valueBytesMax) : bytes
    }
}
