public import NIOCore
internal import NIOPosix

/// Stands at a listening socket: asks the gate about each connection, and waits when the system gives no more.
package final class AcceptHandler: ChannelInboundHandler {
    package typealias InboundIn = any Channel
    package typealias InboundOut = any Channel

    /// How long nothing is accepted when there are no descriptors or buffers; whoever knocks waits in the backlog.
    private static let pause: TimeAmount = .milliseconds(100)

    private let gate: ConnectionGate
    private var resumption: Scheduled<Void>?

    package init(gate: ConnectionGate) { self.gate = gate }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let channel = unwrapInboundIn(data)
        guard gate.admit(channel) else {
            channel.close(promise: nil)
            return
        }
        context.fireChannelRead(data)
    }

    /// An error that went on would end the sequence of connections, and with it the server.
    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is IOError else { return context.fireErrorCaught(error) }
        guard resumption == nil else { return }
        // The socket stays readable: without this the loop would do nothing but fail to accept.
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
        let channel = NIOLoopBound(context.channel, eventLoop: context.eventLoop)
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        resumption = context.eventLoop.scheduleTask(in: Self.pause) {
            handler.value.resumption = nil
            try? channel.value.syncOptions?.setOption(.autoRead, value: true)
        }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        resumption?.cancel()
        resumption = nil
    }
}

extension ConnectionGate {
    /// Listens behind the gate.
    /// - Parameters:
    ///   - initializer: of the listening channel.
    ///   - connection: sets up a connection.
    public func listen<Output: Sendable>(
        host: String, port: Int, group: any EventLoopGroup,
        initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void> = {
            $0.eventLoop.makeSucceededVoidFuture()
        },
        connection: @escaping @Sendable (any Channel) -> EventLoopFuture<Output>
    ) async throws -> NIOAsyncChannel<Output, Never> {
        try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Self.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptHandler(gate: self))
                }.flatMap { initializer(channel) }
            }
            .bind(host: host, port: port, childChannelInitializer: connection)
    }
}
