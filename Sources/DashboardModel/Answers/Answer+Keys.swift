internal import Bytes
public import Keyspace

extension Answer {
    /// Bytes as JSON has them: text if they are UTF-8, else Base64 under another name.
    struct Bytes: Sendable, Equatable {
        /// What is shown of a value; the rest is cut.
        static let valueBytesMax = 64 << 10

        var text: String?
        var base64: String?

        init(_ bytes: [UInt8]) {
            text = String(validating: bytes, as: UTF8.self)
            base64 = text == nil ? bytes.base64 : nil
        }

        /// The beginning of a value, and of text only whole characters.
        init(beginningOf value: [UInt8]) {
            guard value.count > Self.valueBytesMax else {
                self.init(value)
                return
            }
            let cut = Array(value.prefix(Self.valueBytesMax))
            // The bytes 10xxxxxx at the end, and what they belong to.
            let start = cut.lastIndex { $0 & 0xc0 != 0x80 } ?? 0
            let length = cut[start] >= 0xf0 ? 4 : cut[start] >= 0xe0 ? 3 : cut[start] >= 0xc0 ? 2 : 1
            let whole = Array(cut[..<start])
            let isCutInside = start + length > cut.count && String(validating: whole, as: UTF8.self) != nil
            self.init(isCutInside ? whole : cut)
        }

        func encode<Key: CodingKey>(
            to container: inout KeyedEncodingContainer<Key>, _ textKey: Key, _ base64Key: Key
        ) throws {
            if let base64 {
                try container.encode(base64, forKey: base64Key)
            } else {
                try container.encode(text, forKey: textKey)
            }
        }
    }

    /// `GET /api/keys/get`.
    public struct KeyValue: Encodable, Sendable, Equatable {
        let key: Bytes
        let value: Bytes?
        public let bytes: Int
        public let shardId: ShardID
        public let groupId: GroupID

        /// - Parameter value: `nil` if there is no such key.
        public init(key: [UInt8], value: [UInt8]?, shardId: ShardID, groupId: GroupID) {
            self.key = Bytes(key)
            self.value = value.map(Bytes.init(beginningOf:))
            bytes = value?.count ?? 0
            self.shardId = shardId
            self.groupId = groupId
        }

        public var found: Bool { value != nil }
        public var truncated: Bool { bytes > Bytes.valueBytesMax }

        enum CodingKeys: String, CodingKey {
            case key, keyBase64, found, value, valueBase64, bytes, truncated, shardId, groupId
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try key.encode(to: &container, .key, .keyBase64)
            try container.encode(found, forKey: .found)
            if let value {
                try value.encode(to: &container, .value, .valueBase64)
            } else {
                try container.encodeNil(forKey: .value)
            }
            try container.encode(bytes, forKey: .bytes)
            try container.encode(truncated, forKey: .truncated)
            try container.encode(shardId, forKey: .shardId)
            try container.encode(groupId, forKey: .groupId)
        }
    }

    /// `GET /api/keys/scan`.
    public struct KeyPage: Encodable, Sendable, Equatable {
        /// What is shown of a value.
        public static let valueBytesMax = Bytes.valueBytesMax

        public struct Pair: Encodable, Sendable, Equatable {
            let key: Bytes
            let value: Bytes
            public let bytes: Int

            public init(key: [UInt8], value: [UInt8]) {
                self.key = Bytes(key)
                self.value = Bytes(beginningOf: value)
                bytes = value.count
            }

            public var truncated: Bool { bytes > Bytes.valueBytesMax }

            enum CodingKeys: String, CodingKey { case key, keyBase64, value, valueBase64, bytes, truncated }

            public func encode(to encoder: any Encoder) throws {
                var container = encoder.container(keyedBy: CodingKeys.self)
                try key.encode(to: &container, .key, .keyBase64)
                try value.encode(to: &container, .value, .valueBase64)
                try container.encode(bytes, forKey: .bytes)
                try container.encode(truncated, forKey: .truncated)
            }
        }

        public let pairs: [Pair]
        public let more: Bool
        @OrNull public private(set) var afterBase64: String?

        /// - Parameter after: where the next page begins, behind this key; `nil` if this is the last one.
        public init(pairs: [Pair], after: [UInt8]?) {
            self.pairs = pairs
            more = after != nil
            afterBase64 = after.map { $0.base64 }
        }
    }
}
