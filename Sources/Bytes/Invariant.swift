/// What must hold, or going on would lose data: `precondition`, which keeps its sentence in an optimised build.
///
/// The standard library's `precondition` drops its message there, so that a process which stops says «illegal
/// instruction» and nothing else. Here an operator reads what was wrong, with the values, on standard error.
///
/// - Parameters:
///   - condition: evaluated in every build.
///   - message: says what doesn't hold, with the values; evaluated only then.
@inlinable
package func invariant(
    _ condition: @autoclosure () -> Bool, _ message: @autoclosure () -> String, file: StaticString = #fileID,
    line: UInt = #line
) {
    if !condition() { invariantFailure(message(), file: file, line: line) }
}

/// Stops the process where what must hold doesn't.
@usableFromInline
package func invariantFailure(_ message: String, file: StaticString = #fileID, line: UInt = #line) -> Never {
    fatalError(message, file: file, line: line)
}
