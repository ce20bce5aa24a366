/// eRaft's programs, with Go's rules for flags: one dash or two, `-flag value` or `-flag=value`, and
/// flags end at the first argument that is none, so `put k -v` stores `-v`.
package enum SeedProgram: String, CaseIterable {
    case controllerServer = "shardctrlerserver"
    case controllerClient = "shardctrlerclient"
    case groupServer = "shardkvserver"
    case groupClient = "shardkvclient"
    case dashboardServer = "dashboard-server"

    package struct UsageError: Error, CustomStringConvertible {
        package var description: String
    }

    /// Flag of eRaft -> option of ours.
    private var flags: [String: String] {
        switch self {
        case .controllerServer:
            [
                "id": "--id", "cluster": "--cluster", "db": "--db", "engine": "--engine", "listen": "--listen",
                "shards": "--shards", "retain": "--retain", "http-port": "--http-port",
            ]
        case .groupServer:
            [
                "id": "--id", "gid": "--gid", "cluster": "--cluster", "ctrlers": "--controllers", "db": "--db",
                "engine": "--engine", "listen": "--listen", "retain": "--retain", "http-port": "--http-port",
            ]
        case .controllerClient, .groupClient:
            ["addrs": "--endpoints", "ctrlers": "--endpoints", "endpoints": "--endpoints", "w": "-w"]
        case .dashboardServer:
            [
                "port": "--port", "config-addrs": "--controllers", "update-interval": "--update-interval",
                "listen": "--listen", "allow-host": "--allow-host",
            ]
        }
    }

    var usage: String {
        let program = rawValue
        return switch self {
        case .controllerServer:
            "usage: \(program) -id N -cluster HOST:PORT,… -db DIR [-engine rocksdb|lmdb|sqlite] [-listen IP:PORT] [-shards N]"
        case .groupServer:
            "usage: \(program) -id N -gid GID -cluster HOST:PORT,… -ctrlers HOST:PORT,… -db DIR "
                + "[-engine rocksdb|lmdb|sqlite] [-listen IP:PORT]"
        case .controllerClient:
            "usage: \(program) [-ctrlers HOST:PORT,…] join GID=HOST:PORT,… | leave GID… | move SHARD GID | query [N] | status"
        case .groupClient:
            "usage: \(program) [-ctrlers HOST:PORT,…] get KEY | put KEY VALUE | append KEY VALUE | delete KEY | "
                + "bench N [CLIENTS] | status"
        case .dashboardServer:
            "usage: \(program) [-port 8080] [-config-addrs HOST:PORT,…] [-update-interval 5s] [-listen IP] "
                + "[-allow-actions] [-allow-host NAME]"
        }
    }

    /// The arguments of `flotilla` that mean the same; `nil` if help was asked for.
    package func translate(_ arguments: [String]) throws(UsageError) -> [String]? {
        let (options, rest) = try parse(arguments)
        guard let options else { return nil }
        switch self {
        case .controllerServer:
            try none(rest)
            return ["controller", "serve"] + options
        case .groupServer:
            try none(rest)
            return ["group", "serve"] + options
        case .dashboardServer:
            try none(rest)
            return ["dashboard"] + options
        case .controllerClient:
            guard let verb = rest.first else { throw UsageError(description: "a command is missing") }
            guard ["join", "leave", "move", "query", "status"].contains(verb) else {
                throw UsageError(description: "there is no command \"\(verb)\"")
            }
            return ["controller", verb] + options + ["--"] + rest.dropFirst()
        case .groupClient:
            guard let verb = rest.first else { throw UsageError(description: "a command is missing") }
            switch verb {
            case "get", "put", "append", "delete", "scan": return ["kv", verb] + options + ["--"] + rest.dropFirst()
            case "status": return ["group", "status"] + options
            case "bench": return ["bench", "count"] + options + ["--"] + rest.dropFirst()
            default: throw UsageError(description: "there is no command \"\(verb)\"")
            }
        }
    }

    private func none(_ rest: [String]) throws(UsageError) {
        if let first = rest.first { throw UsageError(description: "unexpected argument \"\(first)\"") }
    }

    private func parse(_ arguments: [String]) throws(UsageError) -> (options: [String]?, rest: [String]) {
        var options: [String] = []
        var rest = arguments[...]
        while let argument = rest.first, argument.hasPrefix("-"), argument != "-" {
            rest = rest.dropFirst()
            if argument == "--" { break }
            var name = argument.drop { $0 == "-" }
            var value: String?
            if let equals = name.firstIndex(of: "=") {
                value = String(name[name.index(after: equals)...])
                name = name[..<equals]
            }
            if name == "h" || name == "help" { return (nil, []) }
            if name == "version" { return (["--version"], []) }
            // The one flag without an argument.
            if self == .dashboardServer, name == "allow-actions", value == nil || value == "true" {
                options.append("--allow-actions")
                continue
            }
            guard let option = flags[String(name)] else {
                throw UsageError(description: "flag provided but not defined: -\(name)")
            }
            if value == nil {
                guard let next = rest.first else { throw UsageError(description: "flag needs an argument: -\(name)") }
                value = next
                rest = rest.dropFirst()
            }
            // Joined, so that a value that begins with a dash stays a value.
            if option == "-w" { options += ["-w", value ?? ""] } else { options.append("\(option)=\(value ?? "")") }
        }
        return (options, Array(rest))
    }
}
