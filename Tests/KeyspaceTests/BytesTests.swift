import Bytes
import Foundation
import Testing

@Suite struct BytesTests {
    @Test func base64IsThatOfFoundation() {
        for count in 0...40 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 89 &+ count) }
            #expect(bytes.base64 == Data(bytes).base64EncodedString())
        }
    }

    @Test func hexadecimalHasTwoDigitsForEachByte() {
        #expect(([0, 15, 16, 255] as [UInt8]).hexadecimal == "000f10ff")
        #expect([UInt8]().hexadecimal == "")
    }

    @Test func theSuccessorOfAPrefixIsAboveAllThatBeginWithIt() {
        #expect(successor(ofPrefix: [1, 2]) == [1, 3])
        #expect(successor(ofPrefix: [1, 255]) == [2])
        #expect(successor(ofPrefix: [255, 255]) == nil)
        #expect(successor(ofPrefix: []) == nil)
    }
}
