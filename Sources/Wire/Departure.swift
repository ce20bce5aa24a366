import GRPCCore
import Synchronization

/// Whether the request of a call may have left this process. A failed call doesn't say: a node that can't be connected to
/// and one that broke off in the middle give the same code.
public final class Departure: Sendable {
    @TaskLocal fileprivate static var current: Departure?
    private let flag = Atomic(false)

    public init() {}

    public var hasLeft: Bool { flag.load(ordering: .acquiring) }

    fileprivate func begin() { flag.store(true, ordering: .releasing) }

    /// Makes a call under watch.
    public func watch<Result>(_ call: () async throws -> Result) async rethrows -> Result {
        try await Self.$current.withValue(self, operation: call)
    }
}

/// gRPC asks for a request's messages once it has a stream to put them on.
struct DepartureWatch: ClientInterceptor {
    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingClientRequest<Input>, context: ClientContext,
        next: (StreamingClientRequest<Input>, ClientContext) async throws -> StreamingClientResponse<Output>
    ) async throws -> StreamingClientResponse<Output> {
        guard let departure = Departure.current else { return try await next(request, context) }
        var request = request
        let produce = request.producer
        request.producer = { writer in
            departure.begin()
            try await produce(writer)
        }
        return try await next(request, context)
    }
}
