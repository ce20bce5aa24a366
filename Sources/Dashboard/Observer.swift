internal import Client
internal import DashboardModel
internal import Foundation
internal import Keyspace
internal import Synchronization

/// Looks at the whole cluster once: the map, then every node.
final class Observer: Sendable {
    /// A node that takes longer is shown as one that doesn't answer.
    private static let patience: Duration = .seconds(2)
    /// Nodes that are asked at once.
    private static let concurrencyMax = 64

    let controllers: [String]
    let controller: ControllerClient
    let status = StatusClient(timeout: patience)
    /// Where the controller's members say that they are.
    private let known: Mutex<[String]>
    private let began = ContinuousClock.now
    private let lastConfig = Mutex<HeldMap?>(nil)

    init(_ controllers: [String]) {
        self.controllers = controllers
        controller = ControllerClient(endpoints: controllers, deadline: Self.patience)
        known = Mutex(controllers)
    }

    private struct Target: Hashable, Sendable {
        var gid: GroupID
        /// Its place among the group's addresses.
        var place: Int
        var address: String
    }

    func observe() async -> Observation {
        async let answer = query()
        // Nodes are asked while the map is awaited: they may be all that is left to see, and what hangs must not add up.
        let controllers = known.withLock { $0 }
        let before = targets(lastConfig.withLock { $0 })
        async let seen = ask(
            controllers.enumerated().map { Target(gid: 0, place: $0.offset, address: $0.element) } + before)
        let result: Observation.ConfigResult
        switch await answer {
        case .success(let config):
            lastConfig.withLock { $0 = config }
            result = .answered(config)
        case .failure(let error): result = .failed(error.message)
        }
        let now = targets(lastConfig.withLock { $0 })
        let asked = Set(before)
        let nodes = await seen + ask(now.filter { !asked.contains($0) })
        learnControllers(nodes)
        status.keepOnly(now.map(\.address) + known.withLock { $0 })
        return Observation(
            at: UInt64(max(0, Date().timeIntervalSince1970 * 1000)), config: result, nodes: nodes)
    }

    private func targets(_ config: HeldMap?) -> [Target] {
        (config?.map.groups ?? [:]).sorted { $0.key < $1.key }.flatMap { gid, group in
            group.addresses.enumerated().map { Target(gid: gid, place: $0.offset, address: $0.element) }
        }
    }

    private func query() async -> Result<HeldMap, ClientError> {
        do throws(ClientError) { return .success(try await controller.query()) } catch { return .failure(error) }
    }

    private func ask(_ targets: [Target]) async -> [NodeObservation] {
        await withTaskGroup(of: (Int, NodeObservation).self) { group in
            var waiting = Array(targets.enumerated())[...]
            var nodes: [(Int, NodeObservation)] = []
            func start() {
                guard let (number, target) = waiting.popFirst() else { return }
                group.addTask { (number, await self.ask(target)) }
            }
            for _ in 0..<Self.concurrencyMax { start() }
            for await node in group {
                nodes.append(node)
                start()
            }
            return nodes.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private func ask(_ target: Target) async -> NodeObservation {
        let result: NodeObservation.Result
        do throws(ClientError) {
            var report = try await status.node(target.address)
            report.takenAt = UInt64(max(1, (ContinuousClock.now - began) / .milliseconds(1)))
            result = .answered(report)
        } catch {
            result = .failed(error.message)
        }
        return NodeObservation(gid: target.gid, id: UInt64(target.place), address: target.address, result: result)
    }

    /// Members of the controller that nobody has named, or that were added since. If none of them can be reached from
    /// here, those that were named are asked again.
    private func learnControllers(_ nodes: [NodeObservation]) {
        let reports = nodes.compactMap { node -> NodeStatus? in
            guard node.gid == .controller, case .answered(let report) = node.result, report.gid == .controller else {
                return nil
            }
            return report
        }
        if reports.isEmpty { return known.withLock { $0 = controllers } }
        let leader = reports.filter { $0.role == .leader }.max { ($0.term, $0.id) < ($1.term, $1.id) }
        guard let members = leader?.members.map(\.address), !members.isEmpty else { return }
        // The same node under two spellings is asked once.
        func spelling(_ text: String) -> String { Address(text).map { "\($0.numericHost):\($0.port)" } ?? text }
        known.withLock { known in
            let there = Set(members.map(spelling))
            let kept = known.filter { there.contains(spelling($0)) }
            let spelled = Set(kept.map(spelling))
            known = kept + members.filter { !spelled.contains(spelling($0)) }
        }
    }
}
