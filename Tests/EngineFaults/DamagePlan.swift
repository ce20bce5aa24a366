public import Engines
import Foundation

/// What is done to the files of a directory, one step for each damaged copy: each file cut at each sixteenth (or at some
/// of them), and bits flipped.
public struct DamagePlan: Sendable {
    enum Damage: Sendable {
        case cut(Int)
        case flip(byte: Int, bit: Int)
    }

    public struct Step: Sendable {
        let file: Int
        let damage: Damage
        /// The file, and where that is known the structure within it.
        public var structure: String
        /// In words: everything that makes it again.
        public var what: String
        public var isFlip: Bool { if case .flip = damage { true } else { false } }
    }

    let files: [(name: String, bytes: [UInt8])]
    public private(set) var steps: [Step] = []

    /// Half of the flips go anywhere, half are spread evenly over the structures, most of which are small.
    ///
    /// - Parameters:
    ///   - directory: read with all below it; empty files are left out.
    ///   - kind: the engine whose structures its files have, if any.
    ///   - enginePrefix: how the paths of that engine's files begin.
    public init(
        of directory: String, _ kind: EngineKind?, enginePrefix: String = "", flips: Int, cutsPerFile: Int = 16,
        using random: inout SeededRandom
    ) throws {
        files = try FileManager.default.subpathsOfDirectory(atPath: directory).sorted().compactMap {
            name -> (name: String, bytes: [UInt8])? in
            var isDirectory: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: "\(directory)/\(name)", isDirectory: &isDirectory)
            if isDirectory.boolValue { return nil }
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(name)")))
            return bytes.isEmpty ? nil : (name, bytes)
        }
        var plan: [(file: Int, damage: Damage)] = []
        for (number, file) in files.enumerated() {
            for cut in Array(0..<16).shuffled(using: &random).prefix(cutsPerFile).sorted() {
                plan.append((number, .cut(file.bytes.count * cut / 16)))
            }
        }
        let total = files.reduce(0) { $0 + $1.bytes.count }
        func anywhere() -> (file: Int, byte: Int) {
            var at = Int.random(in: 0..<total, using: &random)
            for (number, file) in files.enumerated() {
                if at < file.bytes.count { return (number, at) }
                at -= file.bytes.count
            }
            return (0, 0)
        }
        let structures = files.map { file -> Structure in
            guard let kind, file.name.hasPrefix(enginePrefix) else { return Structure(name: file.name, inside: nil) }
            let name = String(file.name.dropFirst(enginePrefix.count))
            return Structure(name: name, inside: FileStructure(kind, name: name, bytes: file.bytes))
        }
        let places = Self.places(files.map(\.bytes.count), structures, using: &random)
        let names = places.keys.sorted()
        for number in 0..<flips {
            var chosen = anywhere()
            if number % 2 == 0, let name = names.randomElement(using: &random),
                let place = places[name]?.randomElement(using: &random)
            {
                chosen = place
            }
            plan.append((chosen.file, .flip(byte: chosen.byte, bit: Int.random(in: 0..<8, using: &random))))
        }
        steps = plan.map { file, damage in
            let size = files[file].bytes.count
            switch damage {
            case .cut(let cut):
                let name = structures[file].name(at: 0).split(separator: ":").first.map(String.init)
                return Step(
                    file: file, damage: damage, structure: name ?? files[file].name,
                    what: "\(files[file].name) cut to \(cut) of \(size)")
            case .flip(let byte, let bit):
                return Step(
                    file: file, damage: damage, structure: structures[file].name(at: byte),
                    what: "\(files[file].name) bit \(bit) of byte \(byte) of \(size) flipped")
            }
        }
    }

    private struct Structure {
        var name: String
        var inside: FileStructure?

        func name(at offset: Int) -> String { inside?.name(at: offset) ?? name }
    }

    /// Some places in each structure.
    private static func places(
        _ sizes: [Int], _ structures: [Structure], using random: inout SeededRandom
    ) -> [String: [(file: Int, byte: Int)]] {
        var places: [String: [(file: Int, byte: Int)]] = [:]
        for (file, size) in sizes.enumerated() {
            // The beginnings of pages hold most structures.
            for number in 0..<600 {
                var byte = Int.random(in: 0..<size, using: &random)
                if number % 3 == 0 { byte = byte / 4096 * 4096 + Int.random(in: 0..<64, using: &random) }
                if number % 3 == 1 { byte = Int.random(in: 0..<min(size, 12_288), using: &random) }
                if byte < size { places[structures[file].name(at: byte), default: []].append((file, byte)) }
            }
        }
        return places
    }

    /// Makes `copy` (removed first) as the directory is, with one step of damage.
    public func apply(_ step: Step, from original: String, to copy: String) throws {
        try? FileManager.default.removeItem(atPath: copy)
        try FileManager.default.copyItem(atPath: original, toPath: copy)
        var bytes = files[step.file].bytes
        switch step.damage {
        case .cut(let size): bytes.removeLast(bytes.count - size)
        case .flip(let byte, let bit): bytes[byte] ^= 1 << UInt8(bit)
        }
        try Data(bytes).write(to: URL(fileURLWithPath: "\(copy)/\(files[step.file].name)"))
    }
}
