import ArgumentParser
import BackupCommands
internal import Bytes
import Client
import CommandSupport
import Inspect
internal import Keyspace
import RaftLog

/// `flotilla snapshot restore`.
struct RestoreVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: RestoreOptions.abstract, discussion: RestoreOptions.discussion)

    @OptionGroup var options: RestoreOptions

    func run() async throws { try await options.run { LiveCluster(endpoints: $0) } }
}

/// A cluster that keys are put into, through its controllers' map.
private struct LiveCluster: KeyDestination {
    private let client: FlotillaClient
    private let controller: ControllerClient

    /// How long one attempt of an operation lasts; whoever puts repeats it.
    private static let deadline: Duration = .seconds(10)
    /// Soon enough to hear of a mistyped address.
    private static let controllerDeadline: Duration = .seconds(3)
    /// Longer than a client that waits for each answer has: with megabytes on their way a disk may take its time, and
    /// sending them again would only add to it.
    private static let attemptPatience: Duration = .seconds(5)

    private static let sessionLifetime: Duration = .seconds(60)

    init(endpoints: [String]) {
        var options = FlotillaClient.Options()
        options.deadline = Self.deadline
        options.attemptPatience = Self.attemptPatience
        // A run that ends, however it ends, leaves nothing for long.
        options.sessionLifetime = Self.sessionLifetime
        client = FlotillaClient(endpoints: endpoints, options: options)
        controller = ControllerClient(endpoints: endpoints, deadline: Self.controllerDeadline)
    }

    func clusterID() async throws(DestinationError) -> String {
        do throws(ClientError) { return BytesText.hex(try await controller.query().map.clusterID) } catch {
            throw DestinationError(error)
        }
    }

    func firstKey(withPrefix prefix: [UInt8]) async throws(DestinationError) -> [UInt8]? {
        do throws(ClientError) {
            let end = successor(ofPrefix: prefix) ?? []
            return try await client.scan(start: prefix, end: end, limit: 1, keysOnly: true).first?.key
        } catch { throw DestinationError(error) }
    }

    func put(_ key: [UInt8], _ value: [UInt8]) async throws(DestinationError) {
        do throws(ClientError) { try await client.put(key, value) } catch { throw DestinationError(error) }
    }

    func putIfAbsent(_ key: [UInt8], _ value: [UInt8]) async throws(DestinationError) -> Bool {
        do throws(ClientError) {
            return try await client.compareAndSet(key, expected: nil, value: value)
        } catch { throw DestinationError(error) }
    }
}

extension DestinationError {
    fileprivate init(_ error: ClientError) {
        switch error.code {
        case .unavailable, .outcomeUnknown: self.init(.unavailable, error.message)
        case .noSpace: self.init(.noSpace, error.message)
        case .invalidArgument, .failedPrecondition, .notFound, .internal: self.init(.refused, error.message)
        }
    }
}
