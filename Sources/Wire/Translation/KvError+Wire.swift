public import GRPCCore
public import GRPCProtobuf
public import Keyspace
import SwiftProtobuf

extension KvError {
    public init(_ wire: Flotilla_V1_Error) {
        let code: Code =
            switch wire.code {
            case .invalidArgument: .invalidArgument
            case .notLeader: .notLeader
            case .noLeader: .noLeader
            case .wrongGroup: .wrongGroup
            case .busy: .busy
            case .sessionExpired: .sessionExpired
            case .outcomeUnknown: .outcomeUnknown
            case .noSpace: .noSpace
            case .unavailable: .unavailable
            case .notFound: .notFound
            case .failedPrecondition: .failedPrecondition
            case .internal: .internal
            case .unspecified, .UNRECOGNIZED: .unknown
            }
        self.init(
            code, wire.message, leader: wire.leaderAddress, config: wire.config,
            retryAfterMilliseconds: wire.retryAfterMs, logTime: wire.logTimeMs)
    }

    public var wire: Flotilla_V1_Error {
        var wire = Flotilla_V1_Error()
        wire.code =
            switch code {
            case .invalidArgument: .invalidArgument
            case .notLeader: .notLeader
            case .noLeader: .noLeader
            case .wrongGroup: .wrongGroup
            case .busy: .busy
            case .sessionExpired: .sessionExpired
            case .outcomeUnknown: .outcomeUnknown
            case .noSpace: .noSpace
            case .unavailable: .unavailable
            case .notFound: .notFound
            case .failedPrecondition: .failedPrecondition
            case .internal: .internal
            case .unknown: .unspecified
            }
        wire.message = message
        wire.leaderAddress = leader
        wire.config = config
        wire.retryAfterMs = retryAfterMilliseconds
        wire.logTimeMs = logTime
        return wire
    }

    /// As the status of a unary call: the nearest gRPC code, with the error itself as a detail.
    public var status: GoogleRPCStatus {
        let statusCode: RPCError.Code =
            switch code {
            case .invalidArgument: .invalidArgument
            case .notLeader, .noLeader, .unavailable, .wrongGroup: .unavailable
            case .busy, .noSpace: .resourceExhausted
            case .sessionExpired, .failedPrecondition: .failedPrecondition
            case .outcomeUnknown: .aborted
            case .notFound: .notFound
            case .internal, .unknown: .internalError
            }
        var details: [ErrorDetails] = []
        if let any = try? Google_Protobuf_Any(message: wire) { details.append(.any(any)) }
        return GoogleRPCStatus(code: statusCode, message: message, details: details)
    }

    /// The error that a failed call carries; `nil` if it carries none: then nobody who knows Flotilla has answered.
    public init?(carriedBy error: any Error) {
        guard let error = error as? RPCError, let status = try? error.unpackGoogleRPCStatus() else { return nil }
        for detail in status.details {
            guard let any = detail.any, let found = try? Flotilla_V1_Error(unpackingAny: any) else { continue }
            self.init(found)
            return
        }
        return nil
    }
}

/// A service throws it as it is: gRPC asks for the status.
extension KvError: RPCErrorConvertible {
    public var rpcErrorCode: RPCError.Code { status.rpcErrorCode }
    public var rpcErrorMessage: String { status.rpcErrorMessage }
    public var rpcErrorMetadata: Metadata { status.rpcErrorMetadata }
}
