#if LMDB || SQLite
    /// The overlay's side of a cursor that merges it with the order of the file; at equal keys the overlay is newer.
    struct OverlayWalk {
        /// Who has the next row.
        enum Turn {
            case file
            /// `hidesFile`: the file has an older row of the same key, which must be passed.
            case overlay(hidesFile: Bool)
            case end
        }

        /// No row can come from here: the cursor may forget about it.
        let isEmpty: Bool
        private let overlay: RowOverlay
        private let lower: [UInt8]
        private let upper: [UInt8]?
        private let reverse: Bool
        private let contents: CursorContents
        private var position: RowOverlay.Position?

        init(
            _ overlay: RowOverlay, lower: [UInt8], upper: [UInt8]?, reverse: Bool, _ contents: CursorContents
        ) {
            self.contents = contents
            self.overlay = overlay
            isEmpty = overlay.isEmpty
            self.lower = lower
            self.upper = upper
            self.reverse = reverse
            let end = upper.map { overlay.lowerBound($0) } ?? overlay.end
            position = reverse ? overlay.position(before: end) : overlay.lowerBound(lower)
        }

        /// Is a key behind the bounds, in the direction of the cursor?
        func isOver(_ key: UnsafeRawBufferPointer) -> Bool {
            if reverse { return compareKeys(lower, key) > 0 }
            guard let upper else { return false }
            return compareKeys(upper, key) <= 0
        }

        /// - Parameter fileKey: where the file's cursor stands; `nil` at its end.
        func turn(_ fileKey: UnsafeRawBufferPointer?) -> Turn {
            guard let position, overlay.holds(position) else { return .file }
            return overlay.show(position) { key, _ in
                let order = fileKey.map { compareKeys(key, $0) } ?? (reverse ? 1 : -1)
                if order != 0, (order > 0) != reverse { return .file }
                return isOver(key) ? .end : .overlay(hidesFile: order == 0)
            }
        }

        /// Shows the overlay's row, after it was its turn, and goes on behind it; `nil` for a deleted one.
        mutating func take<Result>(_ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result) -> Result? {
            guard let current = position else { return nil }
            position = reverse ? overlay.position(before: current) : overlay.position(after: current)
            return overlay.show(current) { key, value in value.map { body(key, contents == .pairs ? $0 : .noValue) }
            }
        }
    }
#endif
