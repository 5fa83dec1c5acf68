#!/usr/bin/env python3
"""ends.py: connections in the states that a proxy's end may find them in, and what their clients then see.

usage: ends.py PORT plain|tls KIND..

Opens one connection of each KIND, says "open" when all are where they shall be, and reads nothing more until a line comes
from stdin: what a reset has destroyed by then is not there. Then one line for each:

  KIND END STATUS BYTES   END is fin, reset, nothing (open for another 10 s), or over TLS close_notify, truncated (a FIN
                          without it), reset; BYTES of the body, or of what came through the tunnel
  KIND END WORDS..        for h2: statuses, resets and GOAWAYs as they came, with stream or last stream

Kinds: head (half a request head), waiting (for an answer), length, chunked (1000 bytes of an answer that has not ended),
old (the same of HTTP/1.0: the end of the connection is its end), upload (half of one is sent), stuffed (one that the server
does not read, as much as goes), tunnel (after 101), flooded
(the same, and its server's bytes wait because nobody reads them), unread (a whole answer of 50 kB with bytes behind its
request, neither read), h2 (an answer waited for, one half here, and a WebSocket), windowless (h2, waiting, no window)
"""
import socket, ssl, sys, time
import h2raw

SECONDS = 10


class Conn:
    def __init__(self, port, is_tls, kind):
        self.kind, self.got, self.end, self.is_over = kind, b"", None, False
        self.s = socket.socket()
        if kind in ("unread", "flooded"):
            h2raw.slow_reader(self.s)
        self.s.connect(("127.0.0.1", port))
        self.s.settimeout(SECONDS)
        self.tls = None
        if is_tls:
            ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
            ctx.set_alpn_protocols(["h2"] if kind in ("h2", "windowless") else ["http/1.1"])
            self.i, self.o = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = ctx.wrap_bio(self.i, self.o, server_hostname="localhost")
            while True:
                try:
                    self.tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self.flush()
                    self.i.write(self.s.recv(65536))
            self.flush()

    def flush(self):
        self.s.sendall(self.o.read())

    def send(self, data):
        if self.tls is None:
            self.s.sendall(data)
            return
        self.tls.write(data)
        self.flush()

    def step(self):
        """What one recv brings; sets end at the end."""
        try:
            more = self.s.recv(65536)
        except socket.timeout:
            self.end = "nothing"
            return
        except OSError:
            self.end = "reset" if self.end is None else self.end + ",reset"
            return
        if self.tls is None:
            self.got += more
            self.end = self.end if more else "fin"
            return
        self.i.write(more)
        try:
            while self.end is None:
                plain = self.tls.read(65536)
                if not plain:
                    raise ssl.SSLZeroReturnError
                self.got += plain
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.end = "close_notify"
        if not more:
            self.end = self.end or "truncated"
            self.is_over = True

    def until(self, enough):
        while not enough(self.got):
            self.step()
            if self.end is not None:
                sys.exit("%s: %s in front of its time, after %r" % (self.kind, self.end, self.got[:200]))

    def read_to_end(self):
        while self.end is None:
            self.step()
        while self.end == "close_notify" and not self.is_over:
            self.step()  # is what follows it a FIN?


def body(got):
    return got.split(b"\r\n\r\n", 1)[1] if b"\r\n\r\n" in got else b""


def status(got):
    return got.split(b" ", 2)[1].decode() if got.startswith(b"HTTP/") else "-"


def get(path, more="", version="1.1"):
    return ("GET %s HTTP/%s\r\nHost: localhost\r\n%s\r\n" % (path, version, more)).encode()


UPGRADE = "Connection: Upgrade\r\nUpgrade: echo\r\n"


def enter(c):
    kind = c.kind
    if kind == "head":
        c.send(get("/bytes/5")[:20])
    elif kind == "waiting":
        c.send(get("/delay/60000"))
    elif kind == "length":
        c.send(get("/stall/1000"))
        c.until(lambda got: len(body(got)) == 1000)
    elif kind in ("chunked", "old"):
        c.send(get("/open/1000", version="1.0" if kind == "old" else "1.1"))
        c.until(lambda got: len(body(got)) >= 1000)
    elif kind == "upload":
        c.send(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + bytes(500000))
    elif kind == "stuffed":
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        c.s.settimeout(0.5)
        try:
            c.send(b"POST /slow-read/60000 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n")
            while True:
                c.send(bytes(16384))
        except socket.timeout:
            c.s.settimeout(SECONDS)
    elif kind == "tunnel":
        c.send(get("/upgrade", UPGRADE))
        c.until(lambda got: b"\r\n\r\n" in got)
        c.send(b"hello")
        c.until(lambda got: body(got) == b"hello")
    elif kind == "flooded":
        c.send(get("/upgrade-open/8000000", UPGRADE))
        c.until(lambda got: len(body(got)) > 0)
    elif kind == "unread":
        c.send(get("/bytes/50000", "Connection: close\r\n") + b"x" * 1000)
    else:
        settings = h2raw.Peer.frame(h2raw.SETTINGS, 0, 0, b"\0\4\0\0\0\0" if kind == "windowless" else b"")
        c.send(h2raw.PREFACE + settings)
        ask(c, 1, "/delay/60000")
        if kind == "h2":
            ask(c, 3, "/stall/1000")
            c.until(lambda got: len(got) > 1000)
            ask(c, 5, "/ws", (":protocol", "websocket"), ("sec-websocket-version", "13"))
            c.until(lambda got: 5 in [f[1] for f in frames(got) if f[0] == h2raw.HEADERS])


def ask(c, sid, path, *more):
    pairs = h2raw.req(path, "CONNECT" if more else "GET", *more[:1]) + list(more[1:])
    flags = h2raw.END_HEADERS | (0 if more else h2raw.END_STREAM)
    c.send(h2raw.Peer.frame(h2raw.HEADERS, flags, sid, h2raw.fields(pairs)))


def frames(got):
    while len(got) >= 9 and len(got) >= 9 + int.from_bytes(got[:3], "big"):
        n = 9 + int.from_bytes(got[:3], "big")
        yield got[3], int.from_bytes(got[5:9], "big"), got[9:n]
        got = got[n:]


def words(got):
    for kind, sid, payload in frames(got):
        if kind == h2raw.HEADERS:
            yield "%d:%d" % (sid, h2raw.status_of(payload))
        elif kind == h2raw.RST:
            yield "%d:%s" % (sid, h2raw.ERRORS[int.from_bytes(payload, "big")])
        elif kind == h2raw.GOAWAY:
            last = int.from_bytes(payload[:4], "big")
            yield "goaway:%s" % (last if last < 1 << 30 else "soon")


def main(port, tls, *kinds):
    conns = [Conn(int(port), tls == "tls", k) for k in kinds]
    for c in conns:
        enter(c)
    print("open", flush=True)
    sys.stdin.readline()
    for c in conns:
        c.read_to_end()
        if c.kind in ("h2", "windowless"):
            print(c.kind, c.end, *words(c.got))
        else:
            print(c.kind, c.end, status(c.got), len(body(c.got)))


if __name__ == "__main__":
    main(*sys.argv[1:])
