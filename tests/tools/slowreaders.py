#!/usr/bin/env python3
"""slowreaders.py: many clients who ask and do not read, until they are told to.

usage: slowreaders.py PORT h1|tls|h2|h2w N PATH [STREAMS]

N connections ask for PATH. h1 and tls: HTTP/1.1, over TLS without verification. h2 and h2w: STREAMS requests each, on a
connection that is not read; or that is, with windows of 0. Says "open", waits for a line from standard input, then
reads everything, and says "whole K" and "cut L": answers that came to their end, and those that did not.
"""
import os, resource, socket, ssl, struct, sys, threading
import h2raw

most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20000), most))
port, kind, n, path = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
streams = int(sys.argv[5]) if len(sys.argv) > 5 else 1
LARGE = 1 << 30


def connect_h1():
    s = socket.socket()
    h2raw.slow_reader(s)
    s.settimeout(30)
    s.connect(("127.0.0.1", port))
    if kind == "tls":
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
        s = c.wrap_socket(s)
    s.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
    return s


def read_h1(s):
    """Whole answers: 1 or 0."""
    got, left = b"", None
    try:
        while True:
            more = s.recv(1 << 18)
            if not more:
                return int(left == 0)
            if left is None:
                got += more
                head, sep, rest = got.partition(b"\r\n\r\n")
                if not sep:
                    continue
                if b" 200 " not in head.split(b"\r\n")[0]:
                    return 0
                left = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) - len(rest)
            else:
                left -= len(more)
    except OSError:
        return 0


def connect_h2():
    q = h2raw.Peer(port, settings=((1, 0), (4, LARGE if kind == "h2" else 0)), rcvbuf=4096 if kind == "h2" else None)
    q.put(h2raw.WINDOW, 0, 0, struct.pack(">I", LARGE))
    q.open, q.patience = set(range(1, 2 * streams, 2)), 300
    # Where sockets are small, some wait until their answers are read.
    q.asking = threading.Thread(target=lambda: [q.ask(h2raw.req(path)) for _ in range(streams)], daemon=True)
    q.asking.start()
    return q


def read_h2(q):
    whole = 0
    if kind == "h2w":
        q.put(h2raw.SETTINGS, 0, 0, struct.pack(">HI", 4, LARGE))
    while q.open:
        f = q.read(30)
        if f in (None, "close"):
            break
        q.word(f)
        if f[2] in q.open and (f[0] == h2raw.RST or f[1] & h2raw.END_STREAM and f[0] in (h2raw.DATA, h2raw.HEADERS)):
            q.open.discard(f[2])
            whole += f[0] == h2raw.DATA
    return whole


is_h1 = kind in ("h1", "tls")
held = [connect_h1() if is_h1 else connect_h2() for _ in range(n)]
for q in held if not is_h1 else []:
    q.asking.join(0.5)
print("open", flush=True)
sys.stdin.readline()
results = []
threads = [threading.Thread(target=lambda c=c: results.append(read_h1(c) if is_h1 else read_h2(c))) for c in held]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("whole", sum(results))
print("cut", n * (1 if is_h1 else streams) - sum(results))
sys.stdout.flush()
os._exit(0)  # whoever is still asking
