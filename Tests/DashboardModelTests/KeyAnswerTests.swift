import DashboardModel
import Foundation
import Keyspace
import Testing

@Suite struct KeyAnswerTests {
    @Test func textComesAsTextAndBytesAsBase64() throws {
        let text = try object(
            Answer.KeyValue(key: Array("hello".utf8), value: Array("wörld".utf8), shardId: 3, groupId: 100))
        #expect(text["key"] as? String == "hello")
        #expect(text["value"] as? String == "wörld")
        #expect(text["bytes"] as? Int == 6)
        #expect(
            text.keys.sorted() == ["bytes", "found", "groupId", "key", "shardId", "truncated", "value"])
        let bytes = try object(Answer.KeyValue(key: [0xff, 1], value: [0xc3], shardId: 3, groupId: 100))
        #expect(bytes["keyBase64"] as? String == "/wE=")
        #expect(bytes["valueBase64"] as? String == "ww==")
        #expect(bytes["key"] == nil && bytes["value"] == nil)
    }

    @Test func aKeyThatIsNotThereHasNoValue() throws {
        let answer = try object(Answer.KeyValue(key: [97], value: nil, shardId: 3, groupId: 100))
        #expect(answer["found"] as? Bool == false)
        #expect(answer["value"] is NSNull)
        #expect(answer["bytes"] as? Int == 0)
    }

    @Test func aValueIsCutAt64KiB() throws {
        let limit = 65536
        func answer(_ value: [UInt8]) throws -> [String: Any] {
            try object(Answer.KeyValue(key: [97], value: value, shardId: 0, groupId: 1))
        }
        let whole = try answer(Array(repeating: 97, count: limit))
        #expect(whole["truncated"] as? Bool == false)
        #expect((whole["value"] as? String)?.utf8.count == limit)
        let cut = try answer(Array(repeating: 97, count: limit + 1))
        #expect(cut["truncated"] as? Bool == true)
        #expect((cut["value"] as? String)?.utf8.count == limit)
        #expect(cut["bytes"] as? Int == limit + 1)
    }

    @Test(arguments: ["é", "€", "😀"], 0...4) func textIsCutBetweenCharacters(character: String, offset: Int) throws {
        let value = Array(repeating: UInt8(97), count: offset) + Array(String(repeating: character, count: 40_000).utf8)
        let answer = try object(Answer.KeyValue(key: [97], value: value, shardId: 0, groupId: 1))
        let text = try #require(answer["value"] as? String)
        #expect(answer["truncated"] as? Bool == true)
        #expect((65533...65536).contains(text.utf8.count))
        #expect(value.starts(with: text.utf8))
    }

    @Test func bytesAreCutWhereTheyAre() throws {
        let value = Array(repeating: UInt8(0x80), count: 70_000)
        let answer = try object(Answer.KeyValue(key: [97], value: value, shardId: 0, groupId: 1))
        let text = try #require(answer["valueBase64"] as? String)
        #expect(Data(base64Encoded: text)?.count == 65536)
    }

    @Test func base64IsThatOfEveryoneElse() throws {
        for count in 0...10 {
            let bytes = (0..<count).map { UInt8(250 - $0 * 23) }
            let page = try object(Answer.KeyPage(pairs: [], after: bytes))
            #expect(page["afterBase64"] as? String == Data(bytes).base64EncodedString())
        }
    }

    @Test func aPageSaysWhereTheNextBegins() throws {
        let pair = Answer.KeyPage.Pair(key: Array("hello".utf8), value: Array("world".utf8))
        let last = try object(Answer.KeyPage(pairs: [pair], after: nil))
        #expect(last.keys.sorted() == ["afterBase64", "more", "pairs"])
        #expect(last["more"] as? Bool == false)
        #expect(last["afterBase64"] is NSNull)
        let first = try #require((last["pairs"] as? [[String: Any]])?.first)
        #expect(first.keys.sorted() == ["bytes", "key", "truncated", "value"])
        #expect(try object(Answer.KeyPage(pairs: [pair], after: [97]))["more"] as? Bool == true)
    }
}
