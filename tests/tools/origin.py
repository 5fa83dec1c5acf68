#!/usr/bin/env python3
"""origin.py: an HTTP/1.1 server that does what the request's path says, wrong things included.

usage: origin.py [--port N] [--host A] [--unix PATH] [--name NAME] [--log FILE] [--idle S] [--max-requests N]
                 [--tls PEM [--tls-only 1.2|1.3] [--tls-client-ca PEM] [--tls-ciphers LIST]]

Prints "port N" and "ready". One thread per connection, plain sockets: what goes out is what stands
here. The first path segment that is a known word is the mode, so a prefix before it does not matter
(/api/bytes/100); the rest are its arguments.

  /echo               the request as JSON: name, method, target, version, headers (list of pairs),
                      body_len, body_sha256, body (up to 4 kB, latin-1), trailers, conn, nth, peer
  /bytes/N            N bytes (a fixed pattern: /bytes/N is always the same) with Content-Length
  /chunked/N[/SIZE]   the same bytes in chunks of SIZE (1000)
  /trailers           a chunked answer with trailers X-Sum and X-Last
  /until-close/N      N bytes without a length, then the connection is closed
  /cut/N              the same over TLS, but closed without close_notify
  /status/CODE        that status, a short body where one is allowed
  /delay/MS           waits before the answer
  /held/KEY           answers when somebody has asked for /release/KEY
  /drip/N/MS          N bytes, one every MS milliseconds (Content-Length)
  /stall/N[/OF]       Content-Length OF (2N), N bytes, then nothing until the peer leaves
  /open/N             N bytes without a length, then nothing until the peer leaves
  /silent             never answers
  /close              closes instead of answering       /reset   the same with a RST
  /half/N             Content-Length 2N, N bytes, then closes
  /half-chunk         a chunked answer cut off inside a chunk
  /early/CODE         answers without reading the body, then closes (lingering a second)
  /early-keep/CODE    answers without waiting for the body, then reads it and goes on
  /continue           sends 100 Continue before it reads the body, then as /echo
  /refuse             417 to Expect: 100-continue, without reading the body
  /slow-read/MS       reads the body only after MS, then as /echo
  /late-continue/MS   waits MS, sends 100 Continue, then as /echo
  /drop-next          answers; when the next request begins to come, closes without a word
  /interims/N/SIZE    N interim 103 with a field of SIZE bytes each, then the answer
  /behind/CODE/MS?TEXT  an answer CODE; MS later (0: in one piece) TEXT, percent-decoded, behind it; stays open
  /old/keep, /old/close  an answer of HTTP/1.0, with a length and kept, or until the close
  /info/CODE          an interim CODE (102, 103) with X-Interim: 1 before the answer
  /headers?A=B&A=C    those response fields (percent-decoded)
  /raw?TEXT           TEXT, percent-decoded, is the whole answer; then the connection is closed
  /last               answers with Connection: close
  /drop-after         answers as if keep-alive, then closes
  /ws                 WebSocket: echoes frames, answers ping and close (RFC 6455)
  /upgrade            101 for the protocol asked for, then echoes bytes raw
  /upgrade-half/MS    101 and "end", closes its side; after MS reads to the end and logs "tunnel" with bytes
  /upgrade-open/N     101 and N bytes, then nothing until the peer leaves
  /upgrade-reset      101 and "cut"; closes with a RST when a byte comes
  /health             200, or what PUT /set-health/CODE said last
  anything else       as /bytes/128

The log has one JSON object a line: {"event": "request", ...} when a request has been read (the members
of /echo, without body), "gone" when its peer left before the answer was out, "reset" when it did so
with a RST, "open" and "close" of connections; over TLS "open" tells version, sni, alpn, cipher and client (the
subject of its certificate), "refused" a handshake that failed.
"""
import argparse, base64, hashlib, json, os, select, signal, socket, ssl, struct, sys, threading, time, urllib.parse

ap = argparse.ArgumentParser()
ap.add_argument("--port", type=int, default=0)
ap.add_argument("--host", default="127.0.0.1")
ap.add_argument("--unix")
ap.add_argument("--name", default="origin")
ap.add_argument("--log")
ap.add_argument("--idle", type=float, default=0, help="close idle connections after S seconds")
ap.add_argument("--max-requests", type=int, default=0, help="close after N requests on a connection")
ap.add_argument("--tls", help="certificate, chain and key")
ap.add_argument("--tls-only", choices=["1.2", "1.3"])
ap.add_argument("--tls-client-ca", help="demand certificates of clients")
ap.add_argument("--tls-ciphers", help="of TLS 1.2")
opt = ap.parse_args()

lock = threading.Lock()
state = {"health": 200, "conns": 0}
released = set()
log_file = open(opt.log, "a", buffering=1) if opt.log else None
PATTERN = bytes((i * 7 + i // 251) % 256 for i in range(65536))
REASONS = {200: "OK", 204: "No Content", 304: "Not Modified", 404: "Not Found", 500: "Internal Server Error",
           413: "Content Too Large", 417: "Expectation Failed", 503: "Service Unavailable", 102: "Processing",
           103: "Early Hints"}


class Gone(Exception):
    """The peer left, or the connection is to end now."""


def note(**event):
    if log_file:
        with lock:
            log_file.write(json.dumps(event) + "\n")


def pattern(n):
    whole, rest = divmod(n, len(PATTERN))
    return PATTERN * whole + PATTERN[:rest]


class Conn:
    def __init__(self, sock, number):
        self.sock, self.number, self.nth, self.buf, self.is_cut = sock, number, 0, b"", False

    # --- bytes ---
    def fill(self):
        try:
            got = self.sock.recv(65536)
        except ConnectionResetError:
            note(event="reset", conn=self.number)
            raise Gone
        except (socket.timeout, OSError):
            raise Gone
        if not got:
            raise Gone
        self.buf += got

    def line(self):
        while b"\r\n" not in self.buf:
            if len(self.buf) > 100000:
                raise Gone
            self.fill()
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line.decode("latin-1")

    def take(self, n):
        while len(self.buf) < n:
            self.fill()
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            raise Gone

    # --- request ---
    def read_head(self):
        first = self.line()
        while first == "":
            first = self.line()
        parts = first.split(" ")
        if len(parts) != 3:
            raise Gone
        self.method, self.target, self.version = parts
        self.headers, self.trailers, self.body = [], [], None
        while True:
            line = self.line()
            if line == "":
                break
            name, _, value = line.partition(":")
            self.headers.append([name, value.strip()])
        self.nth += 1

    def header(self, name, default=None):
        for k, v in self.headers:
            if k.lower() == name:
                return v
        return default

    def read_body(self):
        if self.body is not None:
            return
        sha, total, kept = hashlib.sha256(), 0, b""

        def piece(data):
            nonlocal total, kept
            sha.update(data)
            total += len(data)
            if len(kept) < 4096:
                kept += data[:4096 - len(kept)]

        if "chunked" in (self.header("transfer-encoding") or "").lower():
            while True:
                size = int(self.line().split(";")[0], 16)
                if size == 0:
                    break
                piece(self.take(size))
                self.take(2)
            while True:
                line = self.line()
                if line == "":
                    break
                name, _, value = line.partition(":")
                self.trailers.append([name, value.strip()])
        else:
            left = int(self.header("content-length", "0"))
            while left > 0:
                if not self.buf:
                    self.fill()
                part, self.buf = self.buf[:left], self.buf[left:]
                piece(part)
                left -= len(part)
        self.body, self.body_len, self.body_sha = kept, total, sha.hexdigest()

    def facts(self):
        return {"name": opt.name, "method": self.method, "target": self.target, "version": self.version,
                "headers": self.headers, "body_len": self.body_len, "body_sha256": self.body_sha,
                "trailers": self.trailers, "conn": self.number, "nth": self.nth}

    # --- answers ---
    def head(self, code, fields, length=None):
        lines = ["HTTP/1.1 %d %s" % (code, REASONS.get(code, "Status")), "X-Origin: " + opt.name]
        lines += ["%s: %s" % (k, v) for k, v in fields]
        if length is not None:
            lines.append("Content-Length: %d" % length)
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def answer(self, code=200, body=b"", fields=(), kind="application/octet-stream"):
        no_body = code in (204, 304)
        fields = list(fields) + ([] if no_body else [("Content-Type", kind)])
        data = self.head(code, fields, None if no_body else len(body))
        self.send(data + (b"" if self.method == "HEAD" or no_body else body))

    def chunk(self, data):
        return b"%x\r\n%s\r\n" % (len(data), data)


# Modes: fn(conn, args, query). True: the connection can go on.
def m_echo(c, args, query):
    c.read_body()
    out = c.facts()
    out["body"] = c.body.decode("latin-1")
    c.answer(200, (json.dumps(out) + "\n").encode(), kind="application/json")
    return True


def m_bytes(c, args, query):
    c.read_body()
    c.answer(200, pattern(int(args[0]) if args else 128))
    return True


def m_chunked(c, args, query):
    c.read_body()
    data, size = pattern(int(args[0])), int(args[1]) if len(args) > 1 else 1000
    c.send(c.head(200, [("Transfer-Encoding", "chunked")]))
    if c.method != "HEAD":
        for i in range(0, len(data), size):
            c.send(c.chunk(data[i:i + size]))
        c.send(b"0\r\n\r\n")
    return True


def m_trailers(c, args, query):
    c.read_body()
    c.send(c.head(200, [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum, X-Last")]))
    c.send(c.chunk(b"hello ") + c.chunk(b"world") + b"0\r\nX-Sum: 11\r\nX-Last: yes\r\n\r\n")
    return True


def m_until_close(c, args, query):
    c.read_body()
    c.send(c.head(200, [("Connection", "close")]) + pattern(int(args[0])))


def m_cut(c, args, query):
    m_until_close(c, args, query)
    c.is_cut = True


def m_status(c, args, query):
    c.read_body()
    code = int(args[0])
    c.answer(code, b"status %d\n" % code, kind="text/plain")
    return True


def pause(c, ms):
    """Unless the peer leaves meanwhile: recv gives nothing then."""
    look = select.poll()
    look.register(c.sock, select.POLLIN)
    try:
        if look.poll(ms) and c.sock.recv(1, socket.MSG_PEEK) == b"":
            raise Gone
    except OSError:
        raise Gone


def m_delay(c, args, query):
    c.read_body()
    pause(c, int(args[0]))
    c.answer(200, b"late\n", kind="text/plain")
    return True


def m_held(c, args, query):
    c.read_body()
    while args[0] not in released:
        pause(c, 50)
    c.answer(200, b"late\n", kind="text/plain")
    return True


def m_release(c, args, query):
    c.read_body()
    released.add(args[0])
    c.answer(204)
    return True


def m_drip(c, args, query):
    c.read_body()
    n, ms = int(args[0]), int(args[1])
    c.send(c.head(200, [], n))
    for byte in pattern(n):
        c.send(bytes([byte]))
        time.sleep(ms / 1000)
    return True


def wait_gone(c):
    while True:
        c.fill()


def m_stall(c, args, query):
    c.read_body()
    n = int(args[0])
    c.send(c.head(200, [], int(args[1]) if len(args) > 1 else 2 * n) + pattern(n))
    wait_gone(c)


def m_open(c, args, query):
    m_until_close(c, args, query)
    wait_gone(c)


def m_silent(c, args, query):
    c.read_body()
    wait_gone(c)


def m_close(c, args, query):
    c.read_body()


def m_reset(c, args, query):
    c.read_body()
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def m_half(c, args, query):
    c.read_body()
    n = int(args[0])
    c.send(c.head(200, [], 2 * n) + pattern(n))


def m_half_chunk(c, args, query):
    c.read_body()
    c.send(c.head(200, [("Transfer-Encoding", "chunked")]) + b"64\r\nonly this")


def m_early(c, args, query):
    code = int(args[0])
    c.send(c.head(code, [("Connection", "close")], 6) + b"early\n")
    c.sock.shutdown(socket.SHUT_WR)
    c.sock.settimeout(1)
    try:
        while c.sock.recv(65536):
            pass
    except OSError:
        pass


def m_early_keep(c, args, query):
    c.answer(int(args[0]), b"early\n", kind="text/plain")
    c.read_body()
    return True


def m_continue(c, args, query):
    c.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    return m_echo(c, args, query)


def m_slow_read(c, args, query):
    time.sleep(int(args[0]) / 1000)
    return m_echo(c, args, query)


def m_late_continue(c, args, query):
    time.sleep(int(args[0]) / 1000)
    return m_continue(c, args, query)


def m_drop_next(c, args, query):
    c.read_body()
    c.answer(200, b"next one dropped\n", kind="text/plain")
    c.take(1)


def m_interims(c, args, query):
    c.read_body()
    for _ in range(int(args[0])):
        c.send(c.head(103, [("X-Interim", "i" * int(args[1]))]))
    c.answer(200, b"final\n", kind="text/plain")
    return True


def m_behind(c, args, query):
    c.read_body()
    text = urllib.parse.unquote_to_bytes(query)
    code, ms = int(args[0]), int(args[1])
    if ms:
        c.answer(code, b"ok\n", kind="text/plain")
        time.sleep(ms / 1000)
        c.send(text)
    else:
        no_body = code in (204, 304)
        c.send(c.head(code, [], None if no_body else 3) + (b"" if no_body or c.method == "HEAD" else b"ok\n") + text)
    return True


def m_old(c, args, query):
    c.read_body()
    keep = args[0] == "keep"
    c.send(b"HTTP/1.0 200 OK\r\n" + (b"Connection: keep-alive\r\nContent-Length: 4\r\n" if keep else b"") + b"\r\nold\n")
    return keep


def m_refuse(c, args, query):
    c.answer(417, b"no\n", [("Connection", "close")], "text/plain")


def m_info(c, args, query):
    c.read_body()
    c.send(c.head(int(args[0]), [("X-Interim", "1")]))
    c.answer(200, b"final\n", kind="text/plain")
    return True


def m_headers(c, args, query):
    c.read_body()
    c.answer(200, b"headers\n", urllib.parse.parse_qsl(query, keep_blank_values=True), "text/plain")
    return True


def m_raw(c, args, query):
    c.read_body()
    c.send(urllib.parse.unquote_to_bytes(query))


def m_last(c, args, query):
    c.read_body()
    c.answer(200, b"last\n", [("Connection", "close")], "text/plain")


def m_drop_after(c, args, query):
    c.read_body()
    c.answer(200, b"dropped\n", kind="text/plain")


def m_ws(c, args, query):
    key = c.header("sec-websocket-key", "")
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    c.send(c.head(101, [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]))
    while True:
        first, second = c.take(2)
        n = second & 127
        if n == 126:
            n, = struct.unpack(">H", c.take(2))
        elif n == 127:
            n, = struct.unpack(">Q", c.take(8))
        mask = c.take(4) if second & 128 else b"\0\0\0\0"
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(c.take(n)))
        op = first & 15
        size = bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n) if n < 65536 else b"\x7f" + struct.pack(">Q", n)
        c.send(bytes([(first & 0xf0) | (10 if op == 9 else op)]) + size + data)
        if op == 8:
            return


def m_upgrade(c, args, query):
    c.send(c.head(101, [("Upgrade", c.header("upgrade", "x")), ("Connection", "Upgrade")]))
    while True:
        if not c.buf:
            c.fill()
        data, c.buf = c.buf, b""
        c.send(data)


def m_upgrade_half(c, args, query):
    c.send(c.head(101, [("Upgrade", c.header("upgrade", "x")), ("Connection", "Upgrade")]) + b"end")
    c.sock.shutdown(socket.SHUT_WR)
    time.sleep(int(args[0]) / 1000)
    total = len(c.buf)
    while data := c.sock.recv(65536):
        total += len(data)
    note(event="tunnel", bytes=total)


def m_upgrade_open(c, args, query):
    c.send(c.head(101, [("Upgrade", c.header("upgrade", "x")), ("Connection", "Upgrade")]) + pattern(int(args[0])))
    wait_gone(c)


def m_upgrade_reset(c, args, query):
    c.send(c.head(101, [("Upgrade", c.header("upgrade", "x")), ("Connection", "Upgrade")]) + b"cut")
    c.take(1)
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def m_health(c, args, query):
    c.read_body()
    c.answer(state["health"], b"health\n", kind="text/plain")
    return True


def m_set_health(c, args, query):
    c.read_body()
    state["health"] = int(args[0])
    c.answer(204)
    return True


MODES = {name[2:].replace("_", "-"): fn for name, fn in list(globals().items()) if name.startswith("m_")}
BODY_LATER = {"early", "early-keep", "continue", "refuse", "ws", "upgrade", "upgrade-reset", "upgrade-half", "upgrade-open", "slow-read", "late-continue"}


def one_request(c):
    c.read_head()
    path, _, query = c.target.partition("?")
    segments = [s for s in path.split("/") if s]
    at = next((i for i, s in enumerate(segments) if s in MODES), None)
    mode, args = (segments[at], segments[at + 1:]) if at is not None else ("bytes", [])
    try:
        if mode not in BODY_LATER:
            c.read_body()
            note(event="request", **c.facts())
        else:
            note(event="request", **{"name": opt.name, "method": c.method, "target": c.target, "version": c.version,
                                     "headers": c.headers, "conn": c.number, "nth": c.nth})
        goes_on = MODES[mode](c, args, query)
    except Gone:
        note(event="gone", conn=c.number, nth=c.nth, target=c.target)
        raise
    tokens = (c.header("connection") or "").lower()
    if "close" in tokens or (c.version == "HTTP/1.0" and "keep-alive" not in tokens):
        return False
    return goes_on and not (opt.max_requests and c.nth >= opt.max_requests)


def make_tls():
    if not opt.tls:
        return None
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(opt.tls)
    ctx.set_alpn_protocols(["http/1.1"])
    ctx.sni_callback = lambda s, name, c: setattr(s, "asked_for", name)
    if opt.tls_only:
        ctx.minimum_version = ctx.maximum_version = getattr(ssl.TLSVersion, "TLSv1_" + opt.tls_only[2:])
    if opt.tls_ciphers:
        ctx.set_ciphers(opt.tls_ciphers)
    if opt.tls_client_ca:
        ctx.load_verify_locations(opt.tls_client_ca)
        ctx.verify_mode = ssl.CERT_REQUIRED
    return ctx


def shake(sock, number):
    """The socket as TLS, or None."""
    try:
        sock.settimeout(10)
        tls = TLS.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
        tls.settimeout(None)
    except OSError as e:
        note(event="refused", conn=number, error=str(e))
        sock.close()
        return None
    peer = tls.getpeercert() or {}
    note(event="open", conn=number, version=tls.version(), sni=getattr(tls, "asked_for", None), cipher=tls.cipher()[0],
         alpn=tls.selected_alpn_protocol(), client=[v for rdn in peer.get("subject", ()) for _, v in rdn])
    return tls


def bye(c, sock):
    """close_notify, without waiting for the other one."""
    try:
        sock.settimeout(0)
        sock.unwrap()
    except OSError:
        pass


TLS = make_tls()


def serve(sock, number):
    if TLS:
        sock = shake(sock, number)
        if sock is None:
            return
    else:
        note(event="open", conn=number)
    c = Conn(sock, number)
    try:
        if opt.idle:
            sock.settimeout(opt.idle)
        while one_request(c):
            pass
    except (Gone, ValueError, IndexError) as e:
        if not isinstance(e, Gone):
            note(event="bad", conn=number, error=repr(e))
    finally:
        if TLS and not c.is_cut:
            bye(c, sock)
        sock.close()
        note(event="close", conn=number)


def main():
    if opt.unix:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(opt.unix)
    else:
        listener = socket.socket(socket.AF_INET6 if ":" in opt.host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((opt.host, opt.port))
        print("port", listener.getsockname()[1])
    listener.listen(1024)
    print("ready", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        sock, _ = listener.accept()
        if not opt.unix:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        state["conns"] += 1
        threading.Thread(target=serve, args=(sock, state["conns"]), daemon=True).start()


main()
