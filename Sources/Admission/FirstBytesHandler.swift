public import NIOCore

/// Closes a connection that hasn't sent its first bytes in time. Takes itself out of the way when it has.
public final class FirstBytesHandler: ChannelInboundHandler, RemovableChannelHandler {
    public typealias InboundIn = ByteBuffer
    public typealias InboundOut = ByteBuffer

    private let bytesMin: Int
    private let limit: TimeAmount
    private var bytes = 0
    private var timer: Scheduled<Void>?

    /// - Parameter bytesMin: what shows that somebody is there who speaks the protocol, such as its preface.
    public init(bytesMin: Int, within limit: TimeAmount) {
        self.bytesMin = bytesMin
        self.limit = limit
    }

    public func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(in: limit) { channel.close(promise: nil) }
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        bytes += unwrapInboundIn(data).readableBytes
        context.fireChannelRead(data)
        guard bytes >= bytesMin, let timer else { return }
        timer.cancel()
        self.timer = nil
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    public func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        context.fireChannelInactive()
    }

    public func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
    }
}
