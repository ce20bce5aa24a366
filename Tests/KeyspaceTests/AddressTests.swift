import Keyspace
import Testing

@Suite struct AddressTests {
    @Test(arguments: [
        "localhost:1", "127.0.0.1:65535", "node-1.example.com:50051", "my_node:80", "[::1]:50051",
        "[fe80::1%eth0]:7", "a:0", "xn--bcher-kva.example:9", "1a:1", "node.1:7000", "12345:1", "n0.example.com.:1",
    ]) func whatIsAnAddressIsReadBack(_ text: String) throws {
        let address = try #require(Address(text))
        #expect(address.description == text)
        #expect(Address(address.description) == address)
    }

    @Test(arguments: [
        "", ":", "a", "a:", ":1", "a:65536", "a:-1", "a:+1", "a:1 ", " a:1", "a b:1", "http://localhost:1",
        "localhost:1;localhost:2", "localhost:1,localhost:2", "a:1\n", "a\n:1", "a:1/x", "::1:80", "[::1]", "[::1:80",
        "[a]:1", "a..b:1", ".a:1", "10.0.0.256:1", "01.2.3.1000:1", ".:1", "a:٣", "ü:1", "user@host:1", "[]:1",
        "[::1%]:1", "a:000001",
    ]) func whatIsNoneIsRefused(_ text: String) {
        #expect(Address(text) == nil, "\(text)")
    }

    @Test func portZeroIsForListeningOnly() {
        #expect(Address("127.0.0.1:0")?.port == 0)
        #expect(Address(toCall: "127.0.0.1:0") == nil)
        #expect(Address(toCall: "127.0.0.1:1")?.port == 1)
    }
}
