import GRPCCore
public import GRPCProtobuf
import SwiftProtobuf

extension Flotilla_V1_Error: Error {}

extension Flotilla_V1_Error {
    public init(
        _ code: Flotilla_V1_ErrorCode, _ message: String, leader: String = "", config: UInt64 = 0,
        retryAfterMilliseconds: UInt32 = 0
    ) {
        self.init()
        self.code = code
        self.message = message
        leaderAddress = leader
        self.config = config
        retryAfterMs = retryAfterMilliseconds
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
            case .internal, .unspecified, .UNRECOGNIZED: .internalError
            }
        var details: [ErrorDetails] = []
        if let any = try? Google_Protobuf_Any(message: self) { details.append(.any(any)) }
        return GoogleRPCStatus(code: statusCode, message: message, details: details)
    }

    /// The error that a failed call carries, if it carries one.
    public init?(_ error: any Error) {
        guard let error = error as? RPCError, let status = try? error.unpackGoogleRPCStatus() else { return nil }
        for detail in status.details {
            guard let any = detail.any, let found = try? Flotilla_V1_Error(unpackingAny: any) else { continue }
            self = found
            return
        }
        return nil
    }
}
