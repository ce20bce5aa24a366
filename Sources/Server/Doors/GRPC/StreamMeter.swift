internal import Admission
internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import NIOCore
internal import NIOHPACK
internal import NIOHTTP2
internal import Wire

/// The first handler of an HTTP/2 stream: counts what the stream holds in the budget.
///
/// A message is counted as soon as its length is known. If there is no room for it the call ends as «busy», and nothing was
/// done of this message; so it does if the message hardly goes on for `stallMax`. A stream is read on only when its service has taken over
/// what has come.
final class StreamMeter: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias InboundOut = HTTP2Frame.FramePayload
    typealias OutboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private static let stallMax: TimeAmount = .seconds(10)
    /// What must come in that time, unless it is less that is missing.
    private static let progressBytesMin = 16 << 10
    /// A shorter message, or answer, costs less than what counts and watches it; it is covered by the stream's own share.
    private static let countedBytesMin = 16 << 10
    /// Of a stream itself: its channel, its tasks, and what is written before it stops being writable.
    private static let streamBytes = 16 << 10
    /// A client that takes its answers more slowly than this, in bytes a second, is one that takes nothing. (An answer
    /// isn't cut into pieces to see it go: a stream whose writability changes within a write loses the end of the answer.)
    private static let slowest = 128 << 10
    private static let untakenMax: TimeAmount = .seconds(30)
    private static let clientPaths = "/flotilla.v1.Kv/"

    private let budget: MemoryBudget
    private let desk: StreamDesk
    private let gate: ConnectionGate
    private let holder: MemoryAccount.Holder
    private let messageBytesMax: Int
    private var account: StreamAccount?
    private var number: UInt64 = 0
    private var lengths = MessageLengths()
    private var isRefused = false
    /// A read is put off until the service has taken over a message.
    private var isCrowded = false
    private var stallTimer: Scheduled<Void>?
    /// Bytes that have come since the timer last looked.
    private var progress = 0
    /// Messages that have begun, and which of them the timer looks after.
    private var begun: UInt64 = 0
    private var watched: UInt64 = 0
    /// The service wants more; if it doesn't, a message that stands still is not the client's fault.
    private var isReading = false
    private var hasSentHeaders = false
    /// Bytes of counted answers that have not left, and whether one has since the timer last looked.
    private var untaken = 0
    private var hasTaken = false
    private var untakenTimer: Scheduled<Void>?

    init(
        budget: MemoryBudget, desk: StreamDesk, gate: ConnectionGate, holder: MemoryAccount.Holder,
        messageBytesMax: Int
    ) {
        self.budget = budget
        self.desk = desk
        self.gate = gate
        self.holder = holder
        self.messageBytesMax = messageBytesMax
    }

    // MARK: - In

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isRefused else { return }
        let payload = unwrapInboundIn(data)
        switch payload {
        case .headers(var headers) where account == nil:
            let path = headers.headers.first(name: ":path") ?? ""
            let ledger = path.hasPrefix(Self.clientPaths) ? budget.clients : budget.peers
            let account = StreamAccount(ledger: ledger, holder: holder)
            self.account = account
            guard isAdmitted(Self.streamBytes, to: ledger) else { return refuse(context) }
            account.opened(Self.streamBytes)
            number = desk.open(account)
            // Whatever a client has put there is not its business.
            headers.headers.replaceOrAdd(name: StreamDesk.field, value: "\(number)")
            // A client may have opened it without a window.
            watchAnswers(context)
            context.fireChannelRead(wrapInboundOut(.headers(headers)))
        case .data(let frame):
            guard case .byteBuffer(let buffer) = frame.data, let account else { return context.fireChannelRead(data) }
            progress += buffer.readableBytes
            isReading = false
            guard take(buffer, account) else { return refuse(context) }
            watch(context)
            context.fireChannelRead(data)
        default: context.fireChannelRead(data)
        }
    }

    /// Counts the messages that begin in these bytes. False if there is no room for one.
    private func take(_ buffer: ByteBuffer, _ account: StreamAccount) -> Bool {
        var hasRoom = true
        lengths.read(buffer.readableBytesView) { length in
            // What is too long is refused by gRPC, when it sees the same length.
            let bytes = length >= Self.countedBytesMin && length <= messageBytesMax ? length : 0
            guard hasRoom, bytes == 0 || isAdmitted(bytes, to: account.ledger) else {
                hasRoom = false
                return
            }
            begun += 1
            account.begins(bytes)
        }
        return hasRoom
    }

    private func isAdmitted(_ bytes: Int, to ledger: MemoryLedger) -> Bool {
        switch ledger.take(bytes, for: holder) {
        case .granted: return true
        case .instead(of: let most):
            gate.showOut(most)
            return true
        case .refused: return false
        }
    }

    func read(context: ChannelHandlerContext) {
        if isCrowded { return }
        guard let account else { return context.read() }
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        isCrowded = account.isCrowded(hasUnfinished: lengths.missing > 0) {
            eventLoop.execute {
                handler.value.isCrowded = false
                handler.value.read(context: bound.value)
            }
        }
        guard !isCrowded else { return }
        isReading = true
        context.read()
    }

    /// A message that has begun must go on: it has its place already.
    private func watch(_ context: ChannelHandlerContext) {
        guard stallTimer == nil, lengths.missing > 0, lengths.current >= Self.countedBytesMin else { return }
        (progress, watched) = (0, begun)
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        stallTimer = context.eventLoop.scheduleTask(in: Self.stallMax) { handler.value.look(bound.value) }
    }

    private func look(_ context: ChannelHandlerContext) {
        stallTimer = nil
        guard !isRefused else { return }
        if lengths.missing > 0, begun == watched, isReading, progress < Self.progressBytesMin { return refuse(context) }
        watch(context)
    }

    // MARK: - Out

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !isRefused else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        let payload = unwrapOutboundIn(data)
        switch payload {
        case .headers: hasSentHeaders = true
        case .data(let frame):
            guard let account else { break }
            let bytes = frame.data.readableBytes
            guard bytes >= Self.countedBytesMin else {
                account.releaseKept()
                break
            }
            let lease = account.charge(bytes)
            account.releaseKept()
            untaken += bytes
            watchAnswers(context)
            let written = promise ?? context.eventLoop.makePromise()
            let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
            written.futureResult.whenComplete { _ in
                withExtendedLifetime(lease) {}
                handler.value.untaken -= bytes
                handler.value.hasTaken = true
            }
            return context.write(data, promise: written)
        default: break
        }
        context.write(data, promise: promise)
    }

    /// Answers wait here for the client, or in the service for the stream to become writable.
    private func isBlocked(_ context: ChannelHandlerContext) -> Bool { untaken > 0 || !context.channel.isWritable }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        hasTaken = true
        watchAnswers(context)
        context.fireChannelWritabilityChanged()
    }

    private func watchAnswers(_ context: ChannelHandlerContext) {
        guard untakenTimer == nil, isBlocked(context) else { return }
        hasTaken = false
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        let patience = Self.untakenMax + .seconds(Int64(untaken / Self.slowest))
        untakenTimer = context.eventLoop.scheduleTask(in: patience) {
            handler.value.untakenTimer = nil
            guard handler.value.isBlocked(bound.value), !handler.value.hasTaken else {
                return handler.value.watchAnswers(bound.value)
            }
            // Behind answers that nobody takes, a status would not arrive either.
            handler.value.isRefused = true
            bound.value.close(promise: nil)
        }
    }

    /// Ends the call with the error that a client understands as «try again».
    private func refuse(_ context: ChannelHandlerContext) {
        guard !isRefused else { return }
        isRefused = true
        let error = KvError(.busy, "the server has no memory for this call now", retryAfterMilliseconds: 100)
        var fields = HPACKHeaders()
        if !hasSentHeaders {
            fields.add(name: ":status", value: "200")
            fields.add(name: "content-type", value: "application/grpc")
        }
        fields.add(name: "grpc-status", value: "\(error.rpcErrorCode.rawValue)")
        fields.add(name: "grpc-message", value: error.message)
        for (name, value) in error.rpcErrorMetadata {
            switch value {
            case .string(let text): fields.add(name: name, value: text)
            case .binary(let bytes): fields.add(name: name, value: Data(bytes).base64EncodedString())
            }
        }
        let trailers = HTTP2Frame.FramePayload.headers(.init(headers: fields, endStream: true))
        context.writeAndFlush(wrapOutboundOut(trailers), promise: nil)
        // The client may still be sending: this tells it to stop.
        context.close(promise: nil)
    }

    // MARK: - The end

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { end() }

    private func end() {
        stallTimer?.cancel()
        stallTimer = nil
        untakenTimer?.cancel()
        untakenTimer = nil
        isRefused = true
        if number != 0 { desk.close(number) }
        number = 0
        account?.close()
    }
}
