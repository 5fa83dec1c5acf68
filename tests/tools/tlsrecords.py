#!/usr/bin/env python3
"""tlsrecords.py PORT VERSION SCENARIO..: a TLS client of PORT that has its records in its hands.

Between encrypting and sending, records are cut, changed, repeated or replaced. Prints one line per
scenario, `SCENARIO answer` or `SCENARIO alert-as-Python-names-it`. VERSION is 1.2 or 1.3.
  pieces-N        a request with a body, sent N bytes at a time (pieces-random: of random lengths)
  flip-first flip-last flip-type flip-version flip-length
  short oversize replay swap ccs plain-alert plain-http empty-flood
  truncate        half a request, then FIN without close_notify; prints how the server's side ended
"""
import hashlib, random, socket, ssl, struct, sys

port, version = int(sys.argv[1]), sys.argv[2]
random.seed(7)


class Client:
    def __init__(self):
        self.sock = socket.create_connection(("127.0.0.1", port), 20)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
        c.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        v = ssl.TLSVersion.TLSv1_2 if version == "1.2" else ssl.TLSVersion.TLSv1_3
        c.minimum_version = c.maximum_version = v
        self.inc, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = c.wrap_bio(self.inc, self.out, server_hostname="localhost")
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.sock.sendall(self.out.read())
                self.inc.write(self.sock.recv(65536))
        self.sock.sendall(self.out.read())

    def seal(self, data):
        """Records of this data, each as it would travel."""
        self.tls.write(data)
        b, records = self.out.read(), []
        while b:
            n = 5 + struct.unpack(">H", b[3:5])[0]
            records.append(b[:n])
            b = b[n:]
        return records

    def read(self):
        """What the server says until it ends, or the alert's name."""
        got = b""
        while True:
            try:
                d = self.tls.read(65536)
                if not d:
                    return got
                got += d
            except ssl.SSLWantReadError:
                try:
                    d = self.sock.recv(65536)
                except ConnectionResetError:
                    d = b""
                if d:
                    self.inc.write(d)
                else:
                    self.inc.write_eof()
            except ssl.SSLZeroReturnError:
                return got
            except ssl.SSLError as e:
                return e.reason


def request(path="/bytes/9", more=""):
    return ("GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n" % (path, more)).encode()


def verdict(got):
    if isinstance(got, str):
        return got
    return got.split(b"\r\n")[0].decode().split(" ", 1)[-1] or "end"


def pieces(how):
    c = Client()
    body = random.randbytes(40000)
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 40000\r\n\r\n"
    b = b"".join(c.seal(head) + c.seal(body[:100]) + c.seal(body[100:]))
    while b:
        n = random.randint(1, 3000) if how == "random" else int(how)
        # One byte per segment all along takes too long; the edges of records are what matters.
        if n < 100 and len(b) < 39000 and len(b) > 600:
            n = len(b) - 600
        c.sock.sendall(b[:n])
        b = b[n:]
    got = c.read()
    if isinstance(got, str):
        return got
    return "answer" if hashlib.sha256(body).hexdigest().encode() in got else "another answer"


def flip(record, at, by=1):
    b = bytearray(record)
    b[at] ^= by
    return bytes(b)


def hostile(scenario):
    c = Client()
    one, two = c.seal(request("/bytes/9")[:20])[0], c.seal(request("/bytes/9")[20:])[0]
    big = b"\x17\x03\x03" + struct.pack(">H", 16384 + 257 + (8 if version == "1.2" else 0))
    c.sock.sendall({
        "none": lambda: one + two,
        "flip-first": lambda: flip(one, 5) + two,
        "flip-last": lambda: flip(one, -1, 128) + two,
        "flip-type": lambda: flip(one, 0, 23 ^ 22) + two,
        "flip-version": lambda: flip(one, 2, 3 ^ 1) + two,
        "flip-length": lambda: flip(one, 4) + two,
        "short": lambda: b"\x17\x03\x03\0\x0512345",
        "oversize": lambda: big + bytes(16384 + 300),
        "replay": lambda: one + one + two,
        "swap": lambda: two + one,
        "ccs": lambda: one + b"\x14\x03\x03\0\1\1" + two,
        "plain-alert": lambda: one + b"\x15\x03\x03\0\2\1\0" + two,
        "plain-http": lambda: request(),
        "empty-flood": lambda: one + b"\x17\x03\x03\0\0" * 40 + two,
    }[scenario]())
    return verdict(c.read())


def truncate():
    c = Client()
    c.sock.sendall(b"".join(c.seal(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")))
    c.sock.shutdown(socket.SHUT_WR)
    got = c.read()
    return "no answer" if not isinstance(got, bytes) or b" 200 " not in got else "an answer"


for s in sys.argv[3:]:
    if s.startswith("pieces-"):
        said = pieces(s[7:])
    else:
        said = truncate() if s == "truncate" else hostile(s)
    print(s, said)
