// swift-tools-version: 6.2
//
// The rooms of the house, from the ground up. Arrows point down only; ARCHITECTURE.md draws them all, and
// scripts/arrows checks that manifest, page and code agree:
//
//   C libraries <- Engines <- RaftLog <- RaftHost; Bytes <- RaftLog
//   Bytes, Telemetry <- Keyspace <- Wire <- Client <- Bench
//   Keyspace <- ClientCore <- Client, Server
//   Admission <- HTTPService <- Server
//   RaftLog, Keyspace <- Sharding; Sharding, RaftHost, Wire <- Server
//   Sharding <- DashboardModel; DashboardModel, Client <- Dashboard
//   Sharding <- Inspect <- InspectCommands, BackupCommands
//   Server, Client, Dashboard, Bench, InspectCommands, BackupCommands <- flotilla
//
// FLOTILLA_CORE=1 leaves out everything that needs gRPC: the engines, Raft, sharding and the
// simulator then build and test in about a minute.

import PackageDescription

let coreOnly = Context.environment["FLOTILLA_CORE"] == "1"

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

var products: [Product] = [
    .library(name: "Engines", targets: ["Engines"]),
    // For whoever writes another engine.
    .library(name: "EngineConformance", targets: ["EngineConformance"]),
    .library(name: "RaftLog", targets: ["RaftLog", "RaftHost"]),
    .executable(name: "flotilla-sim", targets: ["flotilla-sim"]),
    .executable(name: "replicated-counter", targets: ["replicated-counter"]),
    // Preloaded into the programs that the fault tests watch.
    .library(name: "WriteRecorder", type: .dynamic, targets: ["WriteRecorder"]),
]

var dependencies: [Package.Dependency] = [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let histogram: Target.Dependency = .product(name: "Histogram", package: "hdrhistogram-swift")

var targets: [Target] = [
    // The C libraries under the engines, and two checksums.
    .systemLibrary(name: "CRocksDB", pkgConfig: "rocksdb", providers: [.apt(["librocksdb-dev"])]),
    .systemLibrary(name: "CLMDB", pkgConfig: "lmdb", providers: [.apt(["liblmdb-dev"])]),
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
    .target(name: "CChecksum"),

    // Bytes as numbers and text, and as keys that sort.
    .target(name: "Bytes", swiftSettings: settings),

    // What clients and servers say to each other, as plain values: groups, shards, the shard map, requests, answers.
    .target(name: "Keyspace", dependencies: ["Bytes", "Telemetry"], swiftSettings: settings),
    .testTarget(name: "KeyspaceTests", dependencies: ["Bytes", "Keyspace"], swiftSettings: settings),

    // What a client decides: whom to ask, how often, when to wait, and what can be said at the end. Pure.
    .target(name: "ClientCore", dependencies: ["Bytes", "Keyspace"], swiftSettings: settings),
    .testTarget(name: "ClientCoreTests", dependencies: ["ClientCore", "Keyspace"], swiftSettings: settings),

    // Durations and counts, and how Prometheus reads them.
    .target(name: "Telemetry", swiftSettings: settings),
    .testTarget(name: "TelemetryTests", dependencies: ["Telemetry"], swiftSettings: settings),

    // One protocol, four engines.
    .target(
        name: "Engines",
        dependencies: [
            "CChecksum",
            .target(name: "CRocksDB", condition: .when(traits: ["RocksDB"])),
            .target(name: "CLMDB", condition: .when(traits: ["LMDB"])),
            .target(name: "CSQLite", condition: .when(traits: ["SQLite"])),
        ],
        swiftSettings: settings),
    .target(name: "EngineConformance", dependencies: ["Engines"], swiftSettings: settings),
    .testTarget(
        name: "EnginesTests",
        dependencies: [
            "Engines", "EngineConformance", "EngineFaults", "engine-crash-writer",
            .target(name: "CLMDB", condition: .when(traits: ["LMDB"])),
        ],
        swiftSettings: settings),

    // `flotilla bench engines`: the engines beside each other, and beside their C libraries.
    .target(
        name: "EngineBench",
        dependencies: [
            "CommandSupport", "Engines", argumentParser, histogram,
            .target(name: "CRocksDB", condition: .when(traits: ["RocksDB"])),
            .target(name: "CLMDB", condition: .when(traits: ["LMDB"])),
            .target(name: "CSQLite", condition: .when(traits: ["SQLite"])),
        ],
        swiftSettings: settings),
    .testTarget(
        name: "EngineBenchTests", dependencies: ["EngineBench", "Engines", argumentParser], swiftSettings: settings),

    // What crashes, power cuts, full disks and damage leave: child programs, a recorder of writes that is
    // preloaded into them, and the long runs of scripts/durability.
    .target(name: "EngineFaults", dependencies: ["Engines"], path: "Tests/EngineFaults", swiftSettings: settings),
    .executableTarget(
        name: "engine-crash-writer", dependencies: ["Engines", "EngineFaults"], path: "Tests/EngineCrashWriter",
        swiftSettings: settings),
    .executableTarget(
        name: "engine-durability", dependencies: ["Engines", "EngineFaults"], path: "Tests/EngineDurability",
        swiftSettings: settings),
    .target(name: "WriteRecorder", path: "Tests/WriteRecorder", publicHeadersPath: "include"),

    // Raft: the pure core and replica driver, and the shell that runs them.
    .target(name: "RaftLog", dependencies: ["Bytes", "Engines", deque], swiftSettings: settings),
    .target(name: "RaftHost", dependencies: ["RaftLog", "Engines"], swiftSettings: settings),
    .testTarget(
        name: "RaftLogTests", dependencies: ["Bytes", "RaftLog", "RaftHost", "Engines", "Simulator"],
        exclude: ["Transcripts"], swiftSettings: settings),

    // The shard map, the group machine, sessions and migration, all pure.
    .target(
        name: "Sharding", dependencies: ["Bytes", "Keyspace", "RaftLog", "Engines"], swiftSettings: settings),
    .testTarget(
        name: "ShardingTests", dependencies: ["Keyspace", "Bytes", "Sharding", "RaftLog", "Engines"],
        swiftSettings: settings),

    // What the dashboard makes of what the cluster's nodes say, pure.
    .target(
        name: "DashboardModel", dependencies: ["Bytes", "Keyspace", "Sharding", "Telemetry"], swiftSettings: settings),
    .testTarget(
        name: "DashboardModelTests", dependencies: ["Keyspace", "DashboardModel", "Sharding", "Telemetry"],
        swiftSettings: settings),

    // A seeded group of replica drivers under virtual time, and a whole cluster.
    .target(
        name: "Simulator", dependencies: ["Bytes", "ClientCore", "Engines", "Keyspace", "RaftLog", "Sharding"],
        swiftSettings: settings),
    .executableTarget(
        name: "flotilla-sim", dependencies: ["Simulator", argumentParser], swiftSettings: settings),
    .testTarget(name: "SimulatorTests", dependencies: ["Keyspace", "RaftLog", "Simulator"], swiftSettings: settings),

    // Offline tools: stopped directories, snapshots, backups.
    .target(
        name: "Inspect", dependencies: ["Bytes", "Engines", "Keyspace", "RaftLog", "Sharding"], swiftSettings: settings),
    // What all commands share: exit codes, notes, forms of output.
    .target(
        name: "CommandSupport", dependencies: ["Engines", "Keyspace", argumentParser],
        path: "Sources/Commands/Support", swiftSettings: settings),
    // `flotilla snapshot`: the commands on them, each of which reads in a child process.
    .target(
        name: "InspectCommands",
        dependencies: ["Sharding", "CommandSupport", "Inspect", "Keyspace", "Engines", argumentParser],
        path: "Sources/Commands/Inspect", swiftSettings: settings),
    // Small nodes on every engine, for tests and drills.
    .target(
        name: "InspectFixtures",
        dependencies: ["Inspect", "EngineFaults", "Engines", "Keyspace", "RaftLog", "Sharding"],
        path: "Tests/InspectFixtures", swiftSettings: settings),
    .executableTarget(
        name: "snapshot-tool",
        dependencies: ["Keyspace", "InspectCommands", "InspectFixtures", "Engines", argumentParser],
        path: "Tests/SnapshotTool",
        swiftSettings: settings),
    .executableTarget(
        name: "inspect-drills", dependencies: ["InspectFixtures", "EngineFaults"], path: "Tests/InspectDrills",
        swiftSettings: settings),
    .testTarget(
        name: "InspectTests",
        dependencies: [
            "Keyspace", "Bytes", "Inspect", "InspectFixtures", "snapshot-tool", "EngineFaults", "Engines",
            "RaftLog", "Sharding",
        ],
        exclude: ["Golden"], swiftSettings: settings),

    // `flotilla snapshot restore` and `flotilla group recover`.
    .target(
        name: "BackupCommands",
        dependencies: ["Sharding", "CommandSupport", "Inspect", "Keyspace", "RaftLog", "Engines", argumentParser],
        path: "Sources/Commands/Backup", swiftSettings: settings),
    .testTarget(
        name: "DirectoryTests",
        dependencies: [
            "BackupCommands", "Inspect", "Engines", "RaftLog", "RaftHost", "Sharding", "Keyspace", argumentParser,
        ],
        swiftSettings: settings),

    // How to embed Raft: knows nothing of keys or shards.
    .executableTarget(
        name: "replicated-counter", dependencies: ["Bytes", "RaftLog", "RaftHost", "Engines"],
        path: "Examples/ReplicatedCounter", exclude: ["README.md"], swiftSettings: settings),
]

if !coreOnly {
    products += [
        .executable(name: "flotilla", targets: ["flotilla"]),
        .library(name: "FlotillaClient", targets: ["Client"]),
    ]
    dependencies += [
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.34.1"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
    ]
    let grpcCore: Target.Dependency = .product(name: "GRPCCore", package: "grpc-swift-2")
    let grpcTransport: Target.Dependency = .product(
        name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport")
    let grpcProtobuf: Target.Dependency = .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf")
    let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")
    let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")

    targets += [
        // Generated protobuf and gRPC code (scripts/generate-protos), committed.
        .target(
            name: "Wire", dependencies: ["Keyspace", "Telemetry", grpcCore, grpcProtobuf, grpcTransport, protobuf],
            swiftSettings: [.swiftLanguageMode(.v6)]),
        .target(
            name: "Client", dependencies: ["ClientCore", "Keyspace", "Wire", grpcCore],
            swiftSettings: settings),
        .testTarget(
            name: "ClientTests", dependencies: ["Client", "Wire", "Keyspace"],
            swiftSettings: settings),
        // Who is let in, and how much is held for whom.
        .target(
            name: "Admission",
            dependencies: [
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings),
        // HTTP for people, browsers and Prometheus.
        .target(
            name: "HTTPService",
            dependencies: [
                "Admission", "Keyspace", .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                logging,
            ],
            swiftSettings: settings),
        .target(
            name: "Server",
            dependencies: [
                "Admission", "Bytes", "ClientCore", "Keyspace", "Wire", "Sharding", "RaftHost", "RaftLog", "Engines",
                "HTTPService", "Telemetry", grpcCore, grpcTransport, logging, deque,
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "ServerTests",
            dependencies: [
                grpcCore, logging, "Admission", "Keyspace", "Bytes", "Server", "HTTPService", "RaftLog", "Telemetry",
                "Wire",
                "Sharding",
                "Engines",
            ],
            swiftSettings: settings),
        // The pages, as bytes of the program.
        .target(name: "CDashboardPages", exclude: ["pages"]),
        // The dashboard: a client that watches, and serves what it sees to browsers.
        .target(
            name: "Dashboard",
            dependencies: [
                "Admission", "Bytes", "CDashboardPages", "Client", "DashboardModel", "HTTPService", "Keyspace",
                "Sharding",
                logging,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "DashboardTests", dependencies: ["Dashboard", "HTTPService"],
            swiftSettings: settings),
        .target(
            name: "Bench", dependencies: ["Client", "Keyspace", histogram], swiftSettings: settings),
        .executableTarget(
            name: "flotilla",
            dependencies: [
                "HTTPService", "Bytes", "Bench", "Client", "CommandSupport", "Dashboard", "EngineBench", "Inspect",
                "InspectCommands",
                "BackupCommands",
                "Server", "Sharding", "RaftLog", "Engines", "Keyspace", argumentParser, logging,
            ],
            swiftSettings: settings),
        .testTarget(
            name: "CommandTests", dependencies: ["CommandSupport", "flotilla", argumentParser], swiftSettings: settings),
    ]
}

let package = Package(
    name: "flotilla",
    platforms: [.macOS(.v15)],
    products: products,
    traits: [
        .trait(name: "RocksDB", description: "The RocksDB engine (librocksdb)"),
        .trait(name: "LMDB", description: "The LMDB engine (liblmdb)"),
        .trait(name: "SQLite", description: "The SQLite engine (libsqlite3)"),
        .default(enabledTraits: ["RocksDB", "LMDB", "SQLite"]),
    ],
    dependencies: dependencies,
    targets: targets
)
