#!/usr/bin/env python3
"""passthrough.py SCENARIO PORT BACKEND [key=value..]: both ends of a connection that tlsd passes through.

Plays the server on BACKEND (a TCP port of 127.0.0.1, or a Unix path) and a client of PORT that sends a
ClientHello with the name `name` (legacy.test), and checks what each side sees. Exit 0 when the promise
held, 1 with the reason. `pieces` is a client alone, of a TLS server that stands behind.
"""
import os, select, socket, ssl, struct, sys, threading, time

LIMIT = 60.0


def fail(text):
    print("FAILED: " + text)
    sys.stdout.flush()
    os._exit(1)


def check(fact, text):
    if not fact:
        fail(text)


def client_hello(name, record=0):
    """The bytes of a real ClientHello; `record`: in records of so many bytes."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    inc, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ctx.wrap_bio(inc, out, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return split(out.read(), record)


def split(data, size):
    """Handshake records cut into smaller ones; others stay."""
    if not size:
        return data
    out, i = b"", 0
    while i < len(data):
        n = struct.unpack("!H", data[i + 3:i + 5])[0]
        body = data[i + 5:i + 5 + n]
        if data[i] == 22:
            for j in range(0, n, size):
                part = body[j:j + size]
                out += data[i:i + 3] + struct.pack("!H", len(part)) + part
        else:
            out += data[i:i + 5 + n]
        i += 5 + n
    return out


def listen(where):
    if where.isdigit():
        s = socket.create_server(("127.0.0.1", int(where)))
    else:
        if os.path.exists(where):
            os.unlink(where)
        s = socket.socket(socket.AF_UNIX)
        s.bind(where)
        s.listen(16)
    s.settimeout(LIMIT)
    return s


def connect(port, rcvbuf=0):
    s = socket.socket()
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.settimeout(LIMIT)
    s.connect(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_n(s, n):
    got = b""
    while len(got) < n:
        data = s.recv(min(n - len(got), 1 << 20))
        check(data, "the end came after %d of %d bytes" % (len(got), n))
        got += data
    return got


def read_all(s):
    parts = []
    while True:
        data = s.recv(1 << 20)
        if not data:
            return b"".join(parts)
        parts.append(data)


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def pair(port, server, name, **kw):
    """A connection from end to end whose ClientHello has arrived: (client, server's side, hello)."""
    c = connect(port, **kw)
    hello = client_hello(name)
    c.sendall(hello)
    a, _ = server.accept()
    a.settimeout(LIMIT)
    check(read_n(a, len(hello)) == hello, "the ClientHello is not the one that was sent")
    return c, a


def is_reset(s):
    """It ends, and not by a FIN."""
    try:
        read_all(s)
    except ConnectionResetError:
        return True
    return False


def exact(port, server, name, mb="8", record="0", segment="0"):
    """Every byte both ways at once, the ClientHello first, and both ends as FINs."""
    up, down = os.urandom(int(mb) << 20), os.urandom(int(mb) << 20)
    hello = client_hello(name, int(record))
    c = connect(port)

    def talk():
        n = int(segment)
        for i in range(0, len(hello), n or len(hello)):
            c.sendall(hello[i:i + n] if n else hello)
            if n and len(hello) < 4000:
                time.sleep(0.001)
        c.sendall(up)
        c.shutdown(socket.SHUT_WR)

    t = threading.Thread(target=talk)
    t.start()
    a, _ = server.accept()
    a.settimeout(LIMIT)
    t2 = threading.Thread(target=lambda: (a.sendall(down), a.shutdown(socket.SHUT_WR)))
    t2.start()
    heard = []
    t3 = threading.Thread(target=lambda: heard.append(read_all(a)))
    t3.start()
    got = read_all(c)
    for x in (t, t2, t3):
        x.join(LIMIT)
    check(got == down, "down: %d bytes of %d, or others" % (len(got), len(down)))
    check(heard and heard[0] == hello + up, "up: not the bytes that were sent")
    a.close()
    c.close()


def half(port, server, name):
    """The client ends its side first; the answer comes after that, and the other way round."""
    c, a = pair(port, server, name)
    c.sendall(b"question")
    c.shutdown(socket.SHUT_WR)
    check(read_all(a) == b"question", "the question")
    data = os.urandom(3 << 20)
    threading.Thread(target=lambda: (a.sendall(data), a.close())).start()
    check(read_all(c) == data, "the answer after the client's end")
    c, a = pair(port, server, name)
    a.sendall(b"bye")
    a.shutdown(socket.SHUT_WR)
    check(read_all(c) == b"bye", "the server's end")
    data = os.urandom(3 << 20)
    threading.Thread(target=lambda: (c.sendall(data), c.close())).start()
    check(read_all(a) == data, "the rest after the server's end")


def resets(port, server, name):
    """A reset is a reset on the other side, not an end."""
    c, a = pair(port, server, name)
    a.sendall(b"half of it")
    check(read_n(c, 10) == b"half of it", "what came before")
    reset(a)
    check(is_reset(c), "the server's reset looked like an end")
    c, a = pair(port, server, name)
    reset(c)
    check(is_reset(a), "the client's reset looked like an end")
    # while the client is sending: the write is what notices
    c, a = pair(port, server, name)
    a.sendall(b"part")
    c.setblocking(False)
    for _ in range(50):
        try:
            c.send(bytes(65536))
        except BlockingIOError:
            break
    reset(a)
    c.setblocking(True)
    c.settimeout(LIMIT)
    check(is_reset(c), "the server's reset during an upload looked like an end")


def pressure(port, server, name, pid="0"):
    """Who does not read is not read for: the sender stops, tlsd holds little, and nothing is lost."""
    total = 96 << 20
    before = rss_kb(int(pid))
    c, a = pair(port, server, name, rcvbuf=65536)
    for sender, reader in ((c, a), (a, c)):
        sent = stuff(sender, total)
        check(sent < total, "%d MB went to somebody who reads nothing" % (sent >> 20))
        check(rss_kb(int(pid)) - before < int(os.environ.get("RELAY_RSS_KB", 8192)), "tlsd has grown")
        # the other direction is not held up by it
        reader.sendall(b"meanwhile")
        check(read_n(sender, 9) == b"meanwhile", "the other direction")
        got = 0
        while got < sent:
            got += len(read_n(reader, min(sent - got, 1 << 20)))
    reset(c)
    a.close()


def stuff(s, total):
    """Send until it has not moved for a second."""
    s.setblocking(False)
    sent = 0
    while sent < total:
        if not select.select([], [s], [], 1.0)[1]:
            break
        try:
            sent += s.send(bytes(min(total - sent, 1 << 18)))
        except BlockingIOError:
            pass
    s.setblocking(True)
    s.settimeout(LIMIT)
    return sent


def rss_kb(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def header(port, server, name):
    """A PROXY v2 header with the client's address and the name it asks for, then its bytes."""
    c = connect(port)
    hello = client_hello(name)
    c.sendall(hello)
    a, _ = server.accept()
    a.settimeout(LIMIT)
    head = read_n(a, 16)
    check(head[:12] == b"\r\n\r\n\0\r\nQUIT\n" and head[12] == 0x21 and head[13] == 0x11, "the header's begin")
    rest = read_n(a, struct.unpack("!H", head[14:])[0])
    src, dst = socket.inet_ntoa(rest[:4]), socket.inet_ntoa(rest[4:8])
    sport, dport = struct.unpack("!HH", rest[8:12])
    check((src, sport) == c.getsockname() and (dst, dport) == ("127.0.0.1", port), "the addresses")
    tlvs, rest = {}, rest[12:]
    while rest:
        n = struct.unpack("!H", rest[1:3])[0]
        tlvs[rest[0]] = rest[3:3 + n]
        rest = rest[3 + n:]
    check(tlvs.get(2) == name.lower().encode(), "the name: %r" % tlvs)
    check(0x20 not in tlvs, "it says that TLS was ended here")
    check(read_n(a, len(hello)) == hello, "the ClientHello")
    c.close()
    a.close()


def idle(port, server, name, ms="500"):
    """Silence on both sides for idle_timeout ends it, on both sides as a reset."""
    c, a = pair(port, server, name)
    for _ in range(4):  # a byte now and then keeps it
        time.sleep(int(ms) / 1000 * 0.3)
        a.sendall(b".")
        read_n(c, 1)
    began = time.monotonic()
    check(is_reset(c) and is_reset(a), "not a reset")
    check(time.monotonic() - began >= int(ms) / 1000 - 0.2, "too early")


def keep(port, server, name, go=""):
    """A connection that says `ready` and goes on when the file `go` is there."""
    c, a = pair(port, server, name)
    print("ready", flush=True)
    while not os.path.exists(go):
        time.sleep(0.02)
    data = os.urandom(1 << 20)
    threading.Thread(target=lambda: (c.sendall(data), c.shutdown(socket.SHUT_WR))).start()
    check(read_all(a) == data, "the bytes after it")
    a.close()
    check(read_all(c) == b"", "the end after it")


def alert(port, _, name):
    """Where no server can be reached: a fatal alert internal_error, then the end."""
    c = connect(port)
    c.sendall(client_hello(name))
    got = read_all(c)
    check(got == bytes([21, 3, 1, 0, 2, 2, 80]), "got %r" % got)


def pieces(port, _, name, record="0", segment="0", want=""):
    """A real handshake whose every handshake record comes in small records, in small segments."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    inc, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ctx.wrap_bio(inc, out, server_hostname=name)
    s = connect(port)
    is_first = True

    def flush():
        nonlocal is_first
        data = out.read()
        if is_first and data:
            data, is_first = split(data, int(record)), False
        n = int(segment) or len(data)
        for i in range(0, len(data), n or 1):
            s.sendall(data[i:i + n])
            if int(segment):
                time.sleep(0.0005)

    def run(fn):
        while True:
            try:
                r = fn()
                flush()
                return r
            except ssl.SSLWantReadError:
                flush()
                data = s.recv(65536)
                check(data, "closed")
                inc.write(data)

    run(tls.do_handshake)
    tls.write(b"GET / HTTP/1.0\r\nHost: %s\r\n\r\n" % name.encode())
    flush()
    got = b""
    while want.encode() not in got:
        data = run(lambda: tls.read(65536))
        check(data, "no answer: %r" % got)
        got += data


if __name__ == "__main__":
    scenario, port, where = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    options = dict(a.split("=", 1) for a in sys.argv[4:])
    options.setdefault("name", "legacy.test")
    needs_server = scenario not in ("alert", "pieces")
    globals()[scenario](port, listen(where) if needs_server else None, **options)
    print("ok")
    sys.stdout.flush()
    os._exit(0)
