"""HTTP/2 by hand, for what no library of a client would do: to leave messages unfinished and answers unread."""

import select
import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4
FRAME_BYTES = 16384


def varint(number):
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(encoded + bytes([number]))


def field(number, content):
    """A field of a protobuf message: bytes, or a number."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def message(content, announced=None):
    """As gRPC puts it into a stream; `announced` bytes, if fewer follow for now."""
    return struct.pack(">BI", 0, len(content) if announced is None else announced) + content


class Stream:
    def __init__(self, window):
        self.window = window
        self.came = 0
        self.is_ended = False


class RawConnection:
    """Sends what windows allow, and takes nothing: it never opens a window again."""

    def __init__(self, address, window=65535):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.socket.setblocking(False)
        self.received, self.unsent = bytearray(), bytearray()
        self.window, self.first_window = 65535, 65535
        self.streams, self.is_open = {}, True
        self.unsent += PREFACE
        self.frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, window))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def close(self):
        self.socket.close()
        self.is_open = False

    def frame(self, kind, flags, stream, payload):
        self.unsent += struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    def call(self, path):
        """Opens a stream, and answers its number."""
        number = 2 * len(self.streams) + 1
        block = b""
        for name, value in ((b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"localhost"),
                            (b"te", b"trailers"), (b"content-type", b"application/grpc")):
            # A literal that isn't indexed; names and values have less than 127 bytes.
            block += b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
        self.streams[number] = Stream(self.first_window)
        self.frame(HEADERS, END_HEADERS, number, block)
        return number

    def send(self, number, content, is_last=False):
        """Sends as much as windows allow; how much that was."""
        stream = self.streams[number]
        sent = 0
        # What the socket doesn't take is not piled up here.
        while self.is_open and not stream.is_ended and len(self.unsent) < 1 << 20:
            size = min(len(content) - sent, self.window, stream.window, FRAME_BYTES)
            if size <= 0:
                break
            ends = is_last and sent + size == len(content)
            self.frame(DATA, END_STREAM if ends else 0, number, content[sent:sent + size])
            self.window -= size
            stream.window -= size
            sent += size
        return sent

    def pump(self, seconds):
        """Exchanges with the server what is to be exchanged, for so long."""
        end = time.monotonic() + seconds
        while self.is_open:
            left = end - time.monotonic()
            readable, writable, _ = select.select(
                [self.socket], [self.socket] if self.unsent else [], [], max(0, left))
            try:
                if writable:
                    del self.unsent[:self.socket.send(self.unsent)]
                if readable:
                    came = self.socket.recv(1 << 18)
                    if not came:
                        self.close()
                        return
                    self.received += came
                    self.read_frames()
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
            if left <= 0:
                return

    def read_frames(self):
        while len(self.received) >= 9:
            size = int.from_bytes(self.received[:3], "big")
            if len(self.received) < 9 + size:
                return
            kind, flags = self.received[3], self.received[4]
            number = int.from_bytes(self.received[5:9], "big") & 0x7FFFFFFF
            payload = bytes(self.received[9:9 + size])
            del self.received[:9 + size]
            self.take(kind, flags, number, payload)

    def take(self, kind, flags, number, payload):
        stream = self.streams.get(number)
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload) - 5, 6):
                name, value = struct.unpack(">HI", payload[at:at + 6])
                if name == INITIAL_WINDOW_SIZE:
                    for other in self.streams.values():
                        other.window += value - self.first_window
                    self.first_window = value
            self.frame(SETTINGS, ACK, 0, b"")
        elif kind == PING and not flags & ACK:
            self.frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE:
            increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
            if number == 0:
                self.window += increment
            elif stream:
                stream.window += increment
        elif kind == GOAWAY:
            self.close()
        elif stream:
            if kind == DATA:
                stream.came += len(payload)
            if kind == RST_STREAM or kind in (DATA, HEADERS) and flags & END_STREAM:
                stream.is_ended = True
