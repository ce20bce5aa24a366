public import Foundation

extension Data {
    /// The bytes as an array: what everything but generated code works with.
    public var array: [UInt8] { [UInt8](self) }
}
