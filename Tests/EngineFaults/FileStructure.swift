public import Engines

/// Says what lies at a place in an engine's file, so that damage can be reported by structure.
public struct FileStructure: Sendable {
    private let kind: EngineKind
    private let name: String
    private let bytes: [UInt8]

    public init(_ kind: EngineKind, name: String, bytes: [UInt8]) {
        self.kind = kind
        self.name = name
        self.bytes = bytes
    }

    public func name(at offset: Int) -> String {
        switch kind {
        case .lmdb where name == "data.mdb": "data.mdb: \(lmdb(offset))"
        case .sqlite where name == "engine.db": "engine.db: \(sqlite(page: offset / 4096 * 4096, offset))"
        case .sqlite where name == "engine.db-wal": "engine.db-wal: \(sqliteLog(offset))"
        case .rocksdb: rocksdbFile
        default: name
        }
    }

    private func number(_ offset: Int, _ width: Int) -> Int {
        guard offset + width <= bytes.count else { return 0 }
        return (0..<width).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
    }

    // MARK: - LMDB: pages of 4096 bytes, mdb.c 0.9

    private func lmdb(_ offset: Int) -> String {
        let page = offset / 4096 * 4096
        let within = offset - page
        // The pages of a large value have one header between them.
        var start = page
        var isOverflow = false
        var candidate = 8192
        while candidate <= page {
            let flags = number(candidate + 10, 2)
            let pages =
                flags == 0x04 && number(candidate, 8) == candidate / 4096 ? max(1, number(candidate + 12, 4)) : 1
            if candidate + pages * 4096 > page {
                start = candidate
                isOverflow = pages > 1 || flags == 0x04
                break
            }
            candidate += pages * 4096
        }
        if page < 8192 { return within < 16 ? "meta page, header" : within < 152 ? "meta page" : "meta page, unused" }
        if isOverflow { return offset < start + 16 ? "large value, page header" : "large value, content" }
        if within < 16 { return "page header" }
        let flags = number(page + 10, 2)
        let (lower, upper) = (number(page + 12, 2), number(page + 14, 2))
        let what = flags & 0x01 != 0 ? "branch" : flags & 0x02 != 0 ? "leaf" : "free page"
        if what == "free page" { return what }
        if within < lower { return "\(what), pointers" }
        if within < upper { return "\(what), unused" }
        for pointer in stride(from: 16, to: lower, by: 2) {
            let node = number(page + pointer, 2)
            let keySize = number(page + node + 6, 2)
            let isLarge = number(page + node + 4, 2) & 0x01 != 0
            let isTree = number(page + node + 4, 2) & 0x02 != 0
            let valueSize = what == "branch" ? 0 : isLarge ? 8 : number(page + node, 4)
            guard within >= node, within < node + 8 + keySize + valueSize else { continue }
            if within < node + 8 { return "\(what), node header" }
            if within < node + 8 + keySize { return "\(what), key" }
            return isLarge ? "leaf, number of a large value's page" : isTree ? "leaf, root of a tree" : "leaf, value"
        }
        return "\(what), unused"
    }

    // MARK: - SQLite: pages of 4096 bytes, www.sqlite.org/fileformat2.html

    private func sqlite(page: Int, _ offset: Int) -> String {
        let within = offset - page
        if page == 0, within < 100 { return "file header" }
        return sqlitePage(at: page, skipping: page == 0 ? 100 : 0, within: within)
    }

    private func sqlitePage(at page: Int, skipping header: Int, within: Int) -> String {
        let type = number(page + header, 1)
        let isInterior = type == 2 || type == 5
        guard isInterior || type == 10 || type == 13 else { return "overflow or free page" }
        let what = isInterior ? "interior page" : "leaf page"
        func word(_ offset: Int) -> Int { number(offset, 1) << 8 | number(offset + 1, 1) }
        let headerEnd = header + (isInterior ? 12 : 8)
        if within < headerEnd { return "\(what), header" }
        if within < headerEnd + 2 * word(page + header + 3) { return "\(what), pointers" }
        if within < word(page + header + 5) { return "\(what), unused" }
        return "\(what), cells"
    }

    private func sqliteLog(_ offset: Int) -> String {
        if offset < 32 { return "header" }
        let within = (offset - 32) % 4120
        if within < 24 { return "frame header" }
        let page = offset - within + 24
        let isFirst = number(page, 4) == 0x694c_5153
        return sqlitePage(at: page, skipping: isFirst ? 100 : 0, within: within - 24)
    }

    // MARK: - RocksDB: the kind of file

    private var rocksdbFile: String {
        if name.hasSuffix(".log") { return "write-ahead log" }
        if name.hasSuffix(".sst") { return "table file (.sst)" }
        return String(name.prefix { !$0.isNumber && $0 != "-" })
    }
}
