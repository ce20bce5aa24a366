import Foundation

/// What a disk may hold after a power cut, as far as the file system promises anything (ext4 with its defaults):
///
/// - fsync and fdatasync of a file make its earlier writes and its size durable, and the entry under which it was
///   created or to which it was renamed. A write through an O_DSYNC or O_SYNC descriptor is durable when it returns.
/// - fsync of a directory makes the entries in it durable.
/// - Entries change in order: if a rename or unlink happened, so did those before it.
/// - Of other writes any part may be there, whatever their order. A change of a file's size is there if a later write
///   to the same file is.
public struct DiskModel {
    private enum Node: Equatable {
        case directory
        case file(Int)
    }

    private enum NameChange {
        case set(String, Node)
        case remove(String)
        case move(from: String, to: String, Node)
    }

    private struct Change {
        enum What {
            case write(offset: Int, ArraySlice<UInt8>)
            case resize(Int)
        }
        var what: What
        var isDurable: Bool
        var sequence: Int
    }

    private struct File {
        var durable: [UInt8] = []
        var changes: [Change] = []
    }

    private struct Descriptor {
        var name: String
        var file: Int?
        var isSynchronous: Bool
    }

    private let trace: RecordedTrace
    private var files: [File] = []
    private var names: [String: Node] = ["": .directory]
    private var durableNames: [String: Node] = ["": .directory]
    private var nameChanges: [(change: NameChange, sequence: Int)] = []
    private var descriptors: [Int32: Descriptor] = [:]
    /// Calls that were taken in.
    public private(set) var position = 0
    public private(set) var promises: Promises
    private var line: [UInt8] = []
    /// Files that the program writes through a map, behind the recorder's back.
    public private(set) var mapped: Set<String> = []

    private let ignoresSyncs: Bool

    /// Begins with the files that lie in `directory`, all of them durable, and what was promised about them.
    ///
    /// - Parameter ignoresSyncs: The disk lies: nothing is ever durable. Every rule must then be seen to break.
    public init(
        _ trace: RecordedTrace, over directory: String? = nil, promises: Promises = Promises(),
        ignoresSyncs: Bool = false
    ) throws {
        self.trace = trace
        self.promises = promises
        self.ignoresSyncs = ignoresSyncs
        guard let directory else { return }
        for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
            let path = "\(directory)/\(name)"
            var isDirectory: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
            if isDirectory.boolValue {
                names[name] = .directory
            } else {
                files.append(File(durable: [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))))
                names[name] = .file(files.count - 1)
            }
        }
        durableNames = names
    }

    // MARK: - Taking in calls

    /// Takes in calls until `count` have been.
    public mutating func advance(to count: Int) throws {
        while position < count {
            try take(trace.calls[position])
            position += 1
        }
    }

    private mutating func take(_ call: RecordedCall) throws {
        switch call {
        case .open(let descriptor, let name, let flags):
            let isSynchronous = flags & (O_DSYNC | O_SYNC) != 0 && !ignoresSyncs
            if names[name] == nil {
                // A directory that was there before, or a file that stdio made: then it holds nothing that counts.
                guard flags & O_DIRECTORY == 0 else { break }
                files.append(File())
                change(.set(name, .file(files.count - 1)))
            }
            guard case .file(let file) = names[name] else {
                descriptors[descriptor] = Descriptor(name: name, file: nil, isSynchronous: false)
                break
            }
            descriptors[descriptor] = Descriptor(name: name, file: file, isSynchronous: isSynchronous)
            if flags & O_TRUNC != 0 { add(.resize(0), to: file, isDurable: false) }
        case .close(let descriptor): descriptors[descriptor] = nil
        case .write(let descriptor, let offset, let bytes):
            guard let open = descriptors[descriptor], let file = open.file else { break }
            add(.write(offset: offset, trace.bytes[bytes]), to: file, isDurable: open.isSynchronous)
            if open.isSynchronous { settleName(of: file) }
        case .truncate(let descriptor, let name, let size):
            if let file = descriptors[descriptor]?.file ?? file(name) { add(.resize(size), to: file, isDurable: false) }
        case .allocate(let descriptor, let end, let keepsSize):
            guard !keepsSize, let file = descriptors[descriptor]?.file else { break }
            if size(file) < end { add(.resize(end), to: file, isDurable: false) }
        case .sync(let descriptor):
            guard let open = descriptors[descriptor], !ignoresSyncs else { break }
            if let file = open.file {
                files[file].durable = contents(of: file) { _, _ in true }
                files[file].changes = []
                settleName(of: file)
            } else {
                settleNames(in: open.name)
            }
        case .rename(let from, let to):
            guard let node = names[from] else { break }
            change(.move(from: from, to: to, node))
        case .link(let from, let to):
            guard let node = names[from] else { break }
            change(.set(to, node))
        case .unlink(let name), .removeDirectory(let name):
            if names[name] != nil { change(.remove(name)) }
        case .makeDirectory(let name): change(.set(name, .directory))
        case .map(let descriptor):
            if let open = descriptors[descriptor] { mapped.insert(open.name) }
        case .say(let bytes):
            line += trace.bytes[bytes]
            while let end = line.firstIndex(of: UInt8(ascii: "\n")) {
                promises.hear(Substring(String(decoding: line[..<end], as: UTF8.self)))
                line.removeSubrange(...end)
            }
        }
    }

    private func file(_ name: String) -> Int? {
        if case .file(let file) = names[name] { file } else { nil }
    }

    private mutating func add(_ what: Change.What, to file: Int, isDurable: Bool) {
        files[file].changes.append(Change(what: what, isDurable: isDurable, sequence: position))
    }

    private mutating func change(_ change: NameChange) {
        Self.apply(change, to: &names)
        nameChanges.append((change, position))
    }

    private static func apply(_ change: NameChange, to names: inout [String: Node]) {
        switch change {
        case .set(let name, let node): names[name] = node
        case .remove(let name): names[name] = nil
        case .move(let from, let to, let node):
            let below = from + "/"
            for (name, child) in names where name.hasPrefix(below) {
                names[name] = nil
                names["\(to)/\(name.dropFirst(below.count))"] = child
            }
            names[from] = nil
            names[to] = node
        }
    }

    /// The entry by which a file came to its name is durable, and everything before it.
    private mutating func settleName(of file: Int) {
        settle(
            through: nameChanges.lastIndex {
                switch $0.change {
                case .set(_, let node), .move(_, _, let node): node == .file(file)
                case .remove: false
                }
            })
    }

    private mutating func settleNames(in directory: String) {
        func isInside(_ name: String) -> Bool {
            let parent = name.lastIndex(of: "/").map { String(name[..<$0]) } ?? ""
            return parent == directory
        }
        settle(
            through: nameChanges.lastIndex {
                switch $0.change {
                case .set(let name, _), .remove(let name): isInside(name)
                case .move(let from, let to, _): isInside(from) || isInside(to)
                }
            })
    }

    private mutating func settle(through index: Int?) {
        guard let index else { return }
        for entry in nameChanges[...index] { Self.apply(entry.change, to: &durableNames) }
        nameChanges.removeFirst(index + 1)
    }

    // MARK: - What a cut leaves

    /// Which of the changes that nobody synced are on the disk.
    public enum Survival: Sendable, CustomStringConvertible {
        case nothing
        case everything
        /// Those up to a call, in order.
        case prefix(Int)
        /// Any blocks of this many bytes.
        case blocks(Int)

        public var description: String {
            switch self {
            case .nothing: "nothing unsynced"
            case .everything: "everything"
            case .prefix(let call): "unsynced calls up to \(call)"
            case .blocks(let bytes): "unsynced blocks of \(bytes)"
            }
        }
    }

    /// Picks a way to survive. A prefix ends among the changes that are still unsynced.
    public func survival(using random: inout SeededRandom) -> Survival {
        switch Int.random(in: 0..<10, using: &random) {
        case 0: return .nothing
        case 1: return .everything
        case 2, 3, 4:
            let unsynced =
                files.flatMap { $0.changes.lazy.filter { !$0.isDurable }.map(\.sequence) }
                + nameChanges.map(\.sequence)
            return .prefix(unsynced.randomElement(using: &random) ?? position)
        case 5, 6, 7: return .blocks(512)
        default: return .blocks(4096)
        }
    }

    /// Writes one state that a cut here may leave into an empty directory.
    public func write(_ survival: Survival, to directory: String, using random: inout SeededRandom) throws {
        var left = durableNames
        let kept: Int
        switch survival {
        case .nothing: kept = 0
        case .everything: kept = nameChanges.count
        case .prefix(let call): kept = nameChanges.count { $0.sequence <= call }
        case .blocks: kept = Int.random(in: 0...nameChanges.count, using: &random)
        }
        for entry in nameChanges.prefix(kept) { Self.apply(entry.change, to: &left) }
        for (name, node) in left.sorted(by: { $0.key < $1.key }) where !name.isEmpty {
            let path = "\(directory)/\(name)"
            switch node {
            case .directory: try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            case .file(let file):
                let bytes = remains(of: file, survival, using: &random)
                try Data(bytes).write(to: URL(fileURLWithPath: path))
            }
        }
    }

    private func remains(of file: Int, _ survival: Survival, using random: inout SeededRandom) -> [UInt8] {
        // A size that a durable write came after is durable too.
        let lastDurable = files[file].changes.lastIndex { $0.isDurable } ?? -1
        func isDurable(_ change: Change, _ index: Int) -> Bool {
            if case .resize = change.what { index < lastDurable } else { change.isDurable }
        }
        switch survival {
        case .nothing: return contents(of: file, where: isDurable)
        case .everything: return contents(of: file) { _, _ in true }
        case .prefix(let call): return contents(of: file) { isDurable($0, $1) || $0.sequence <= call }
        case .blocks(let size): return torn(file, blockBytes: size, using: &random)
        }
    }

    /// Any blocks of the unsynced writes. A size is kept if a later write is; and the last size may be there with
    /// nothing but zeros in it.
    private func torn(_ file: Int, blockBytes: Int, using random: inout SeededRandom) -> [UInt8] {
        let percent = [10, 50, 90].randomElement(using: &random) ?? 50
        let changes = files[file].changes
        var keptBlocks: [Set<Int>] = []
        for change in changes {
            guard case .write(let offset, let bytes) = change.what, !change.isDurable, !bytes.isEmpty else {
                keptBlocks.append([])
                continue
            }
            var kept: Set<Int> = []
            for block in offset / blockBytes...(offset + bytes.count - 1) / blockBytes where random.chance(percent) {
                kept.insert(block)
            }
            keptBlocks.append(kept)
        }
        let lastKept = changes.indices.last { changes[$0].isDurable || !keptBlocks[$0].isEmpty } ?? -1
        var keptSizes: Set<Int> = []
        for index in changes.indices {
            if case .resize = changes[index].what, index < lastKept || random.chance(50) { keptSizes.insert(index) }
        }
        let isFullSize = random.chance(30)
        var bytes = files[file].durable
        for (index, change) in changes.enumerated() {
            switch change.what {
            case .resize(let size): if keptSizes.contains(index) { Self.resize(&bytes, size) }
            case .write(let offset, let data):
                if change.isDurable {
                    Self.write(data, at: offset, to: &bytes)
                    continue
                }
                for block in keptBlocks[index].sorted() {
                    let lower = max(offset, block * blockBytes)
                    let upper = min(offset + data.count, (block + 1) * blockBytes)
                    let piece = data[data.startIndex + lower - offset..<data.startIndex + upper - offset]
                    Self.write(piece, at: lower, to: &bytes)
                }
            }
        }
        let full = size(file)
        if isFullSize, bytes.count < full { Self.resize(&bytes, full) }
        return bytes
    }

    private func contents(of file: Int, where isKept: (Change, Int) -> Bool) -> [UInt8] {
        var bytes = files[file].durable
        for (index, change) in files[file].changes.enumerated() where isKept(change, index) {
            switch change.what {
            case .resize(let size): Self.resize(&bytes, size)
            case .write(let offset, let data): Self.write(data, at: offset, to: &bytes)
            }
        }
        return bytes
    }

    private func size(_ file: Int) -> Int {
        files[file].changes.reduce(files[file].durable.count) { size, change in
            switch change.what {
            case .resize(let new): new
            case .write(let offset, let bytes): max(size, offset + bytes.count)
            }
        }
    }

    private static func resize(_ bytes: inout [UInt8], _ size: Int) {
        if size < bytes.count {
            bytes.removeLast(bytes.count - size)
        } else {
            bytes.append(contentsOf: repeatElement(0, count: size - bytes.count))
        }
    }

    private static func write(_ data: ArraySlice<UInt8>, at offset: Int, to bytes: inout [UInt8]) {
        if bytes.count < offset + data.count { resize(&bytes, offset + data.count) }
        bytes.replaceSubrange(offset..<offset + data.count, with: data)
    }
}
