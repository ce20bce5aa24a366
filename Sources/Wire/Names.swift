extension Flotilla_V1_ShardState {
    /// The name that users see, which is eRaft's.
    public var name: String {
        switch self {
        case .serving: "Serving"
        case .pulling: "Pulling"
        case .bePulling: "BePulling"
        case .gcing: "GCing"
        case .unspecified, .UNRECOGNIZED: "Unknown"
        }
    }
}
