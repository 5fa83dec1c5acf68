#!/usr/bin/env python3
"""tlsrelay.py SCENARIO PORT [BACKEND] [options]: both ends of a relay through tlsd.

Plays the server on BACKEND (a Unix path, or a TCP port on 127.0.0.1) and a TLS client of PORT whose
records it controls, and checks what each side sees. Exit 0 when the promise held, 1 with the reason.
The relay is expected to send nothing in front of the bytes (`relay: none`), except in `header`.
"""
import hashlib, os, select, socket, ssl, struct, sys, threading, time

LIMIT = 60.0


def fail(text):
    print("FAILED: " + text)
    sys.stdout.flush()
    os._exit(1)


def check(fact, text):
    if not fact:
        fail(text)


class Client:
    """TLS over memory BIOs: close_notify, FIN and silence are separate acts."""

    def __init__(self, port, version=None, name="localhost", alpn=None, piece=0, host="127.0.0.1", source=None):
        self.sock = socket.create_connection((host, port), LIMIT, source and (source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE
        # Python takes a cut connection for a clean end by default, with OpenSSL 3.
        ctx.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        if version == "1.2":
            ctx.maximum_version = ssl.TLSVersion.TLSv1_2
        if alpn:
            ctx.set_alpn_protocols(alpn)
        self.inc, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ctx.wrap_bio(self.inc, self.out, server_hostname=name)
        self.piece = piece
        self.handshake()

    def flush(self):
        data = self.out.read()
        while data:
            n = self.piece or len(data)
            self.sock.sendall(data[:n])
            data = data[n:]

    def fill(self):
        data = self.sock.recv(65536)
        if data:
            self.inc.write(data)
        else:
            self.inc.write_eof()
        return len(data)

    def handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                self.flush()
                return
            except ssl.SSLWantReadError:
                self.flush()
                if self.fill() == 0:
                    raise EOFError("closed in the handshake")

    def send(self, data):
        self.tls.write(data)
        self.flush()

    def recv(self):
        """Bytes; b"" at close_notify; None when the connection was cut without it."""
        while True:
            try:
                data = self.tls.read(65536)
                return data if data else b""
            except ssl.SSLWantReadError:
                self.flush()
                self.fill()
            except ssl.SSLZeroReturnError:
                return b""
            except (ssl.SSLEOFError, ConnectionResetError):
                return None
            except ssl.SSLError as e:
                if e.reason != "UNEXPECTED_EOF_WHILE_READING":
                    raise
                return None

    def recv_all(self):
        got = b""
        while True:
            data = self.recv()
            if not data:
                return got, data is not None
            got += data

    def close_notify(self):
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()

    def close(self):
        self.sock.close()


def listen(where):
    if where.startswith("/"):
        s = socket.socket(socket.AF_UNIX)
        if os.path.exists(where):
            os.unlink(where)
        s.bind(where)
    else:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", int(where)))
    s.listen(64)
    s.settimeout(LIMIT)
    return s


def accept(server):
    conn, _ = server.accept()
    conn.settimeout(LIMIT)
    return conn


def read_eof(conn):
    got = b""
    while True:
        data = conn.recv(65536)
        if not data:
            return got
        got += data


def pair(port, where, **kw):
    server = listen(where)
    client = Client(port, **kw)
    return client, accept(server)


def echo(port, where, **kw):
    client, conn = pair(port, where, **kw)
    for n in (1, 100, 16384, 16385, 70000):
        data = os.urandom(n)
        t = threading.Thread(target=client.send, args=(data,))
        t.start()
        got = b""
        while len(got) < n:
            got += conn.recv(65536)
        t.join()
        check(got == data, "up: %d bytes differ" % n)
        conn.sendall(data)
        got = b""
        while len(got) < n:
            got += client.recv()
        check(got == data, "down: %d bytes differ" % n)


def client_half_close(port, where, **kw):
    """The client says close_notify; the server reads its end, answers at length, and closes."""
    client, conn = pair(port, where, **kw)
    client.send(b"question")
    client.close_notify()
    check(read_eof(conn) == b"question", "the server did not read the question and its end")
    time.sleep(0.2)
    answer = os.urandom(300000)
    t = threading.Thread(target=lambda: (conn.sendall(answer), conn.close()))
    t.start()
    got, clean = client.recv_all()
    t.join()
    check(got == answer, "%d of %d bytes of the answer" % (len(got), len(answer)))
    check(clean, "the answer's end came without close_notify")


def server_half_close(port, where, **kw):
    """The server ends its side; the client reads that, and can still send."""
    client, conn = pair(port, where, **kw)
    client.send(b"hello")
    check(conn.recv(5) == b"hello", "hello")
    conn.sendall(b"all I have")
    conn.shutdown(socket.SHUT_WR)
    got, clean = client.recv_all()
    check(got == b"all I have" and clean, "the server's end did not come as close_notify")
    late = os.urandom(200000)
    client.send(late)
    client.close_notify()
    check(read_eof(conn) == late, "what the client sent after the server's end was lost")


def client_cut(port, where, **kw):
    """FIN without close_notify: the server is closed, not half-closed."""
    client, conn = pair(port, where, **kw)
    client.send(b"half a mess")
    check(conn.recv(64) == b"half a mess", "first bytes")
    client.sock.shutdown(socket.SHUT_WR)
    check(read_eof(conn) == b"", "the server did not see the end")
    got, clean = client.recv_all()
    check(got == b"" and not clean, "a cut connection was answered with close_notify")


def server_reset(port, where, **kw):
    """A reset by a TCP server must not look like a clean end."""
    client, conn = pair(port, where, **kw)
    client.send(b"x")
    check(conn.recv(1) == b"x", "first byte")
    conn.sendall(b"part of an answer")
    got = b""
    while len(got) < 17:
        got += client.recv()
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()
    got, clean = client.recv_all()
    check(not clean, "the server's reset came as close_notify")


def early_answer(port, where, **kw):
    """The server answers an upload before its end and closes: the answer must arrive."""
    client, conn = pair(port, where, **kw)
    stop = threading.Event()

    def pour():
        try:
            while not stop.is_set():
                client.sock.settimeout(5)
                client.send(b"u" * 16000)
        except OSError:
            pass

    client.send(b"start")
    conn.recv(5)
    conn.sendall(b"413 too large")
    conn.close()
    for _ in range(20):
        client.send(b"u" * 4000)
    got, clean = client.recv_all()
    stop.set()
    check(got == b"413 too large", "the early answer was lost: %r" % got)
    check(clean, "the early answer ended without close_notify")


def closed_unread(port, where, **kw):
    """The server answers and closes without having read all: answer and end come together with the
    reset that this makes, and nobody sends anything afterwards."""
    for _ in range(20):
        client, conn = pair(port, where, **kw)
        client.send(b"start")
        conn.recv(5)
        client.send(b"u" * 4000)
        time.sleep(0.02)
        conn.sendall(b"413 too large")
        conn.close()
        t = time.time()
        got, clean = client.recv_all()
        check(got == b"413 too large" or where[0] != "/", "the answer was lost: %r" % got)
        check(time.time() - t < 15, "the end took %.1f s" % (time.time() - t))
        client.close()


def client_reset(port, where, **kw):
    """Bytes and a reset at once: the server is told soon."""
    for _ in range(20):
        client, conn = pair(port, where, **kw)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.send(b"last words")
        client.close()
        t = time.time()
        try:
            read_eof(conn)
        except ConnectionResetError:
            pass
        check(time.time() - t < 15, "the server was told after %.1f s" % (time.time() - t))


def hello_reset(port, where="", **kw):
    """Part of a ClientHello and a reset at once."""
    for _ in range(20):
        s = socket.create_connection(("127.0.0.1", port), LIMIT)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        s.close()


def long_hello(port, where="", **kw):
    """A ClientHello that says it is 128 kB long, and is."""
    s = socket.create_connection(("127.0.0.1", port), LIMIT)
    body = b"\x01\x01\xff\xff\x03\x03" + bytes(0x1ffff)
    sent = 0
    try:
        while sent < len(body):
            piece = body[sent:sent + 16384]
            s.sendall(b"\x16\x03\x01" + struct.pack("!H", len(piece)) + piece)
            sent += len(piece)
        s.settimeout(5)
        while s.recv(4096):
            pass
    except (BrokenPipeError, ConnectionResetError):
        pass


def rss_kb(pid):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    return 0


def total_mb():
    return int(os.environ.get("RELAY_MB", "100"))


def stalled(count, label):
    """Waits until the writer has stopped for half a second; how far it came."""
    last, since = -1, time.time()
    end = time.time() + LIMIT
    while time.time() < end:
        if count[0] != last:
            last, since = count[0], time.time()
        elif time.time() - since > 0.5 and last > 0:
            return last
        time.sleep(0.02)
    fail(label + ": the writer never stopped")


def transfer(write, read, total, pid, label):
    """One side writes as it can, the other sleeps first, then reads slowly, then fast."""
    block = os.urandom(1 << 16)
    sums = [hashlib.sha256(), hashlib.sha256()]
    count = [0]

    def writer():
        left = total
        while left > 0:
            piece = block[:min(left, len(block))]
            write(piece)
            sums[0].update(piece)
            left -= len(piece)
            count[0] += len(piece)

    before = rss_kb(pid)
    t = threading.Thread(target=writer, daemon=True)
    t.start()
    held = stalled(count, label)
    grown = rss_kb(pid) - before
    check(held < total, label + ": nothing held the writer back")
    check(held < 40 << 20, "%s: %d bytes went into a reader that does not read" % (label, held))
    slack = int(os.environ.get("RELAY_RSS_KB", "6000"))
    check(grown < slack, "%s: tlsd grew by %d kB while the reader slept" % (label, grown))
    got = 0
    while got < total:
        data = read()
        check(data, "%s: ended after %d of %d bytes" % (label, got, total))
        sums[1].update(data)
        got += len(data)
        if got < 1 << 20:
            time.sleep(0.002)
    t.join(LIMIT)
    check(sums[0].digest() == sums[1].digest(), label + ": bytes differ")
    print("%s: %d MB, stopped at %d kB, tlsd grew %d kB" % (label, total >> 20, held >> 10, grown))


def download(port, where, pid=0, **kw):
    client, conn = pair(port, where, **kw)
    client.send(b"go")
    check(conn.recv(2) == b"go", "go")
    conn.settimeout(None)
    transfer(conn.sendall, client.recv, total_mb() << 20, pid, "download")


def upload(port, where, pid=0, **kw):
    client, conn = pair(port, where, **kw)
    client.sock.settimeout(None)
    client.send(b"go")
    check(conn.recv(2) == b"go", "go")
    transfer(client.send, lambda: conn.recv(65536), total_mb() << 20, pid, "upload")


def both(port, where, pid=0, **kw):
    """Full duplex: both directions at once, neither waits for the other."""
    client, conn = pair(port, where, **kw)
    total = 20 << 20
    sent = os.urandom(1 << 16)

    def pour():
        for _ in range(total // len(sent)):
            conn.sendall(sent)
        conn.shutdown(socket.SHUT_WR)

    def drain():
        n = 0
        while True:
            data = conn.recv(65536)
            if not data:
                return
            n += len(data)
            up[0] = n

    up = [0]
    threads = [threading.Thread(target=pour), threading.Thread(target=drain)]
    for t in threads:
        t.start()
    got = 0
    for _ in range(total // len(sent)):
        client.send(sent)
        if select.select([client.sock], [], [], 0)[0]:
            got += len(client.recv())
    rest, clean = client.recv_all()
    client.close_notify()
    for t in threads:
        t.join()
    check(got + len(rest) == total, "down: %d of %d bytes" % (got + len(rest), total))
    check(up[0] == total, "up: %d of %d bytes" % (up[0], total))
    check(clean, "no close_notify")


def pieces(port, where, **kw):
    """Each byte of handshake and data in a segment of its own."""
    kw["piece"] = 1
    client, conn = pair(port, where, **kw)
    client.send(b"slowly but surely")
    got = b""
    while len(got) < 17:
        got += conn.recv(64)
    check(got == b"slowly but surely", repr(got))


def records(port, where, **kw):
    """Many small records at once come out as one stream."""
    client, conn = pair(port, where, **kw)
    for _ in range(2000):
        client.tls.write(b"y")
    client.flush()
    got = b""
    while len(got) < 2000:
        got += conn.recv(65536)
    check(got == b"y" * 2000, "records")


def workers(port, where, **kw):
    """Each worker begins its unique ids with a prefix of its own: prints how many were seen."""
    server = listen(where)
    seen = set()
    for _ in range(60):
        client = Client(port, **kw)
        client.send(b"x")
        got = accept(server).recv(65536)
        at = got.index(b"\x05\x00\x18") + 3
        seen.add(got[at:at + 16])
        client.close()
    print("workers=%d" % len(seen))


def header(port, where, **kw):
    """Prints the facts of the PROXY v2 header, and whether the first bytes came in the same read."""
    server = listen(where)
    client = Client(port, alpn=["http/1.1"], **kw)
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    conn = accept(server)
    got = conn.recv(65536)
    check(got[:12] == b"\r\n\r\n\0\r\nQUIT\n", "no PROXY v2 signature")
    command, family, n = got[12], got[13], struct.unpack("!H", got[14:16])[0]
    body, rest = got[16:16 + n], got[16 + n:]
    print("command=%d family=%#x" % (command & 15, family))
    size, kind = (16, socket.AF_INET6) if family == 0x21 else (4, socket.AF_INET)
    src, dst = body[:size], body[size:2 * size]
    sport, dport = struct.unpack("!HH", body[2 * size:2 * size + 4])
    print("src=%s:%s" % (socket.inet_ntop(kind, src), "same" if sport == client.sock.getsockname()[1] else sport))
    print("dst=%s:%s" % (socket.inet_ntop(kind, dst), "same" if dport == port else dport))
    tlvs(body[2 * size + 4:], "")
    print("together=%s" % (rest == b"GET / HTTP/1.1\r\n\r\n"))


def tlvs(b, prefix):
    names = {0x01: "alpn", 0x02: "authority", 0x05: "unique_id"}
    subs = {0x21: "version", 0x23: "cipher"}
    while len(b) >= 3:
        kind, n = b[0], struct.unpack("!H", b[1:3])[0]
        value = b[3:3 + n]
        if kind == 0x20:
            print("ssl client=%d verify=%d" % (value[0], struct.unpack("!I", value[1:5])[0]))
            tlvs(value[5:], "ssl ")
        elif prefix:
            print("ssl %s=%s" % (subs.get(kind, hex(kind)), value.decode()))
        elif kind == 0x05:
            print("unique_id=%d bytes" % n)
        else:
            print("%s=%s" % (names.get(kind, hex(kind)), value.decode(errors="replace")))
        b = b[3 + n:]


def waits(port, where, after=1.0, **kw):
    """Nobody listens; then somebody does."""
    client = Client(port)
    client.send(b"patience")
    time.sleep(after)
    conn = accept(listen(where))
    data = conn.recv(65536)
    check(data.endswith(b"patience"), repr(data))
    conn.sendall(b"reward")
    check(client.recv() == b"reward", "answer")


def waits_left(port, where, how="", **kw):
    """Nobody listens and the client leaves: by a reset, or by a FIN without close_notify."""
    client = Client(port, **kw)
    client.send(b"patience")
    time.sleep(1)
    if how == "reset":
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def waits_reset_with_bytes(port, where, **kw):
    """A reset that comes together with the first bytes, before the wait begins."""
    client = Client(port, **kw)
    client.tls.write(b"patience")
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.flush()
    client.close()


def waits_half_closed(port, where, **kw):
    """The client asks, says close_notify and FIN while nobody listens, and still wants its answer."""
    client = Client(port, **kw)
    client.send(b"question")
    time.sleep(0.2)
    client.send(b", second half")
    client.close_notify()
    client.sock.shutdown(socket.SHUT_WR)
    time.sleep(0.3)
    conn = accept(listen(where))
    got = read_eof(conn)
    check(got == b"question, second half", repr(got))
    conn.sendall(b"answer")
    conn.close()
    got, clean = client.recv_all()
    check(got == b"answer" and clean, "the answer: %r" % got)


def waits_young(port, where, **kw):
    """handoff_timeout is 4 s. One whose time is over but whose client stays holds up nobody."""
    old = Client(port, **kw)
    old.send(b"old")
    time.sleep(3)
    young = Client(port, **kw)
    young.send(b"young")
    got, _ = old.recv_all()
    check(got == b"", "bytes from nowhere")
    t = time.time()
    conn = accept(listen(where))
    check(conn.recv(64) == b"young", "another one")
    check(time.time() - t < 2, "it waited for %.1f s" % (time.time() - t))
    old.close()


def http_half(port, path="/", vhost="", **kw):
    """A client that asks, says close_notify at once, and reads: prints the answer's body."""
    client = Client(port, alpn=["http/1.1"], **kw)
    client.send(("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (path, vhost)).encode())
    client.close_notify()
    got, clean = client.recv_all()
    head, _, body = got.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    check(head.startswith(b"HTTP/1.1 200"), "the answer: %r" % got[:200])
    check(clean, "its end came without close_notify")
    print(len(body), hashlib.sha256(body).hexdigest())


def nobody(port, where="", more="0", then="", **kw):
    """Nobody listens, ever: after handoff_timeout close_notify and a FIN come, although the client has said more than
    was ever read. Prints how long it took. then=stay: the client keeps its side open until it is killed; then=talk: it
    says more, until it is cut off."""
    t = time.time()  # before the server's clock begins to run, however slow we are
    client = Client(port, **kw)
    client.send(b"hello?")
    client.send(bytes(int(more)))
    got, clean = client.recv_all()
    check(got == b"", "bytes from nowhere")
    check(clean, "the end came without close_notify")
    while client.fill():
        pass
    print("closed_after_ms=%d" % ((time.time() - t) * 1000))
    sys.stdout.flush()
    if then == "stay":
        time.sleep(LIMIT)
    if then == "talk":
        sent = 0
        try:
            while sent < 64 << 20:
                sent += client.sock.send(bytes(65536))
        except (ConnectionResetError, BrokenPipeError):
            return
        fail("%d bytes were heard after the end" % sent)


def silent(port, where="", **kw):
    """Connects and says nothing: closed after handshake_timeout."""
    s = socket.create_connection(("127.0.0.1", port), LIMIT)
    t = time.time()
    try:
        check(s.recv(100) == b"", "bytes for nothing")
    except ConnectionResetError:
        pass
    print("closed_after_ms=%d" % ((time.time() - t) * 1000))


def dribble(port, where="", **kw):
    """A ClientHello that never ends: a byte now and then does not move the deadline."""
    s = socket.create_connection(("127.0.0.1", port), LIMIT)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    t = time.time()
    s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    while time.time() - t < LIMIT:
        if select.select([s], [], [], 0.05)[0]:
            break
        try:
            s.sendall(b"\0")
        except OSError:
            break
    print("closed_after_ms=%d" % ((time.time() - t) * 1000))


def raw(port, where="", send="", **kw):
    """Sends the bytes (Python escapes) and prints what comes back, in hex."""
    s = socket.create_connection(("127.0.0.1", port), LIMIT)
    s.sendall(send.encode().decode("unicode_escape").encode("latin1"))
    s.settimeout(5)
    got = b""
    try:
        while True:
            data = s.recv(4096)
            if not data:
                break
            got += data
        end = "fin"
    except ConnectionResetError:
        end = "reset"
    print("%s %s" % (got.hex(), end))


def keep(port, where, go="", **kw):
    """One connection that talks before and after the file `go` appears."""
    client, conn = pair(port, where, **kw)
    for phase in ("before", "after"):
        client.send(phase.encode())
        check(conn.recv(64) == phase.encode(), phase)
        conn.sendall(phase.encode())
        check(client.recv() == phase.encode(), phase)
        if phase == "before":
            print("ready")
            sys.stdout.flush()
            end = time.time() + LIMIT
            while not os.path.exists(go):
                check(time.time() < end, "never told to go on")
                time.sleep(0.02)
    client.close_notify()
    check(read_eof(conn) == b"", "end")
    print("went on")


def hold(port, where="", n=10, go="", **kw):
    """Opens n plain connections one after the other and keeps them; says how many were accepted."""
    socks = [socket.create_connection(("127.0.0.1", port), LIMIT) for _ in range(int(n))]
    print("ready")
    sys.stdout.flush()
    end = time.time() + LIMIT
    while not os.path.exists(go) and time.time() < end:
        time.sleep(0.02)
    for s in socks:
        s.close()


def main():
    args = [a for a in sys.argv[1:] if "=" not in a or a.startswith("/")]
    kw = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a and not a.startswith("/"))
    for key in ("pid", "piece"):
        if key in kw:
            kw[key] = int(kw[key])
    if "after" in kw:
        kw["after"] = float(kw["after"])
    threading.Timer(float(os.environ.get("RELAY_LIMIT", "120")), lambda: fail("took too long")).start()
    try:
        globals()[args[0]](int(args[1]), *args[2:], **kw)
    except Exception as e:
        fail("%s: %r" % (args[0], e))
    os._exit(0)


main()
