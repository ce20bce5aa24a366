import Engines
import Testing

@Suite struct RecordCheckTests {
    private let key = Array("the key".utf8)
    private let value = (0..<70).map { UInt8($0) }

    private func sealed(_ key: [UInt8], _ value: [UInt8]) -> [UInt8] {
        var room = [UInt8](repeating: 0, count: value.count + RecordCheck.bytes)
        key.withUnsafeBytes { key in
            value.withUnsafeBytes { value in room.withUnsafeMutableBytes { RecordCheck.seal(key, value, into: $0) } }
        }
        return room
    }

    private func open(_ key: [UInt8], _ record: [UInt8]) -> [UInt8]? {
        key.withUnsafeBytes { key in record.withUnsafeBytes { RecordCheck.open(key, $0).map { Array($0) } } }
    }

    @Test func aWholeRecordGivesItsValue() {
        #expect(open(key, sealed(key, value)) == value)
        #expect(open(key, sealed(key, [])) == [])
    }

    @Test func everyFlippedBitOfValueAndCheckIsFound() {
        let record = sealed(key, value)
        for place in record.indices {
            for bit in 0..<8 {
                var damaged = record
                damaged[place] ^= 1 << UInt8(bit)
                #expect(open(key, damaged) == nil, "bit \(bit) of byte \(place)")
            }
        }
    }

    @Test func everyFlippedBitOfTheKeyIsFound() {
        let record = sealed(key, value)
        for place in key.indices {
            for bit in 0..<8 {
                var other = key
                other[place] ^= 1 << UInt8(bit)
                #expect(open(other, record) == nil, "bit \(bit) of byte \(place)")
            }
        }
    }

    @Test func everyCutIsFound() {
        let record = sealed(key, value)
        for count in record.indices { #expect(open(key, Array(record[..<count])) == nil, "\(count) bytes") }
    }

    @Test func bytesCantMoveBetweenKeyAndValue() {
        #expect(open(key + value[..<1], sealed(key, value)) == nil)
        #expect(open(key + value[..<1], Array(sealed(key, value).dropFirst())) == nil)
    }
}
