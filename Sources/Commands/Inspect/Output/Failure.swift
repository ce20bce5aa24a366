/// A failure in one sentence.
struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ sentence: String) { description = sentence }
}
