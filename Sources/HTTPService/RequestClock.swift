internal import Admission
internal import HTTPTypes
internal import NIOCore
internal import NIOHTTPTypes

/// Bounds how long a connection may take to say what it wants, and tells the gate when it is in use: from a request that
/// has come as a whole to the end of its answer. Whoever sends half a request has no claim to its place.
final class RequestClock: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// For a first request, and for the body of any.
    private static let requestMax: TimeAmount = .seconds(10)

    private let gate: ConnectionGate
    /// A connection that asks nothing more for so long is closed.
    private let idleMax: TimeAmount
    private var timer: Scheduled<Void>?
    /// Whole requests that aren't answered yet: a client may send the next one before it has its answer.
    private var unanswered = 0

    init(gate: ConnectionGate, idleMax: TimeAmount) {
        self.gate = gate
        self.idleMax = idleMax
    }

    func handlerAdded(context: ChannelHandlerContext) { allow(Self.requestMax, context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head: if unanswered == 0 { allow(Self.requestMax, context) }
        case .body: break
        case .end:
            unanswered += 1
            timer?.cancel()
            timer = nil
            if unanswered == 1, let number = gate.number(of: context.channel) { gate.begin(number) }
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) { rest(context) }
        context.write(data, promise: promise)
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
    }

    private func rest(_ context: ChannelHandlerContext) {
        unanswered = max(0, unanswered - 1)
        guard unanswered == 0 else { return }
        if let number = gate.number(of: context.channel) { gate.end(number) }
        allow(idleMax, context)
    }

    private func allow(_ limit: TimeAmount, _ context: ChannelHandlerContext) {
        timer?.cancel()
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(in: limit) { channel.close(promise: nil) }
    }
}
