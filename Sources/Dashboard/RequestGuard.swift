package import HTTPService
internal import Keyspace

/// Who may ask. Pages of other sites can have a browser ask here too, with the rights of whoever sits before it. Pure.
package struct RequestGuard: Sendable {
    /// Names that this dashboard goes by.
    var hosts: Set<String>

    package init(hosts: [String]) { self.hosts = Set(hosts.map { $0.lowercased() } + ["localhost"]) }

    /// Why the request must not be answered at all: a name that somebody else has pointed at this address (DNS
    /// rebinding) would make their page one of ours.
    package func misdirection(_ question: HTTPQuestion) -> String? {
        guard let host = question.headers["host"], !host.isEmpty else { return "the request names no host" }
        let name = Self.name(host).lowercased()
        if Self.isNumeric(name) || hosts.contains(name) { return nil }
        return "this dashboard doesn't go by \"\(name)\"; use its address, or start it with --allow-host \(name)"
    }

    /// Why a question must not be answered: some cost the cluster a lot, and a browser asks them for any site that wants it.
    package static func objection(toQuestion question: HTTPQuestion) -> String? {
        guard let site = question.headers["sec-fetch-site"], site != "same-origin", site != "none" else { return nil }
        return "pages of other sites can't ask here"
    }

    /// Why an action must not be carried out. A form or script of another site can't send our header without being
    /// asked by the browser first, and its origin is another.
    package static func objection(_ question: HTTPQuestion, action: String) -> String? {
        guard let host = question.headers["host"], let origin = question.headers["origin"] else {
            return "an action must come from the dashboard's own page"
        }
        guard origin == "http://\(host)" || origin == "https://\(host)" else {
            return "an action must come from the dashboard's own page, not from \(origin)"
        }
        if let site = question.headers["sec-fetch-site"], site != "same-origin" {
            return "an action must come from the dashboard's own page"
        }
        guard question.headers["x-flotilla-action"] == action else {
            return "the header X-Flotilla-Action: \(action) is missing"
        }
        let type = question.headers["content-type", default: ""].split(separator: ";").first ?? ""
        // Media types have no case.
        guard type.lowercased().filter({ $0 != " " }) == "application/json" else {
            return "the body must be application/json"
        }
        return nil
    }

    private static func name(_ host: String) -> String {
        if host.hasPrefix("[") { return String(host.prefix { $0 != "]" }.dropFirst()) }
        return String(host.prefix { $0 != ":" })
    }

    private static func isNumeric(_ name: String) -> Bool {
        if name.contains(":") { return name.allSatisfy { $0.isHexDigit || $0 == ":" || $0 == "." } }
        return Address(host: name, port: 0).isIPv4
    }
}
