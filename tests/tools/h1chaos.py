#!/usr/bin/env python3
"""h1chaos.py: clients that do everything at once: whole and broken requests, cut anywhere, slow, gone.

usage: h1chaos.py PORT SECONDS [SEED]

Each of 24 threads opens one connection after the other, sends one to five requests for paths of
origin.py, in pieces, and reads some of the answers or none. What comes back is not looked at: whoever
calls looks at what it has left behind in the daemon. Prints the seed and the number of requests.
"""
import random, socket, struct, sys, threading, time

PATHS = """bytes/0 bytes/10 bytes/70000 bytes/3000000 chunked/100/7 chunked/200000/3000 trailers until-close/50000
status/204 status/304 close reset half/1000 half/500000 half-chunk stall/1000 early/413 early-keep/200 continue refuse
late-continue/50 slow-read/100 info/103 interims/5/2000 interims/33/3 last drop-after drop-next old/keep old/close
behind/200/0?HTTP/1.1%20200%20OK%0d%0a behind/204/5?x upgrade upgrade-reset upgrade-half/10 echo raw?garbage delay/100
silent ../../x""".split()
port, end = int(sys.argv[1]), time.time() + float(sys.argv[2])
seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 30)
counts = [0] * 24


def make_body(r, length):
    if r.random() < .5:
        return "Content-Length: %d\r\n" % length, bytes(length)
    left, body = length, b""
    while left > 0 and len(body) < 400000:
        n = min(left, r.choice([1, 1000, 100000]))
        body += b"%x\r\n" % n + bytes(n) + b"\r\n"
        left -= n
    return "Transfer-Encoding: chunked\r\n", body + b"0\r\n" + r.choice([b"\r\n", b"X-T: 1\r\n\r\n", b"bad\r\n\r\n"])


def make_request(r):
    method, path = r.choice("GET GET GET HEAD POST PUT OPTIONS DELETE".split()), r.choice(PATHS)
    fields, body = "Host: a\r\n", b""
    if r.random() < .2 or "upgrade" in path:
        fields += "Connection: Upgrade\r\nUpgrade: echo\r\n"
    for share, field in ((.1, "Expect: 100-continue"), (.1, "Connection: close"), (.05, "X : y")):
        fields += field + "\r\n" if r.random() < share else ""
    if method in ("POST", "PUT") or r.random() < .1:
        more, body = make_body(r, r.choice([0, 1, 100, 65536, 65537, 300000]))
        fields += more
    head = "%s %s/%s HTTP/1.%d\r\n%s\r\n" % (method, r.choice(["", "/local"]), path, r.random() < .75, fields)
    data = head.encode() + body
    return data[:r.randrange(len(data))] if r.random() < .2 else data


def send(r, s, data):
    at = 0
    while at < len(data):
        n = r.choice([1, 10, 1000, 100000, 1 << 20]) if at < 300 else len(data)
        s.sendall(data[at:at + n])
        at += n
        if r.random() < .02:
            time.sleep(.02)


def read(r, s):
    try:
        for _ in range(r.choice([0, 1, 3, 100])):
            if not s.recv(r.choice([1, 100, 65536])):
                break
    except socket.timeout:
        pass


def run(i):
    r = random.Random(seed * 100 + i)
    while time.time() < end:
        try:
            s = socket.create_connection(("127.0.0.1", port))
            s.settimeout(r.choice([.05, .3, 1.5]))
            for _ in range(r.choice([1, 1, 2, 5])):
                send(r, s, make_request(r))
                if r.random() < .1:
                    s.shutdown(socket.SHUT_WR)
                read(r, s)
                counts[i] += 1
            if r.random() < .4:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        s.close()


threads = [threading.Thread(target=run, args=(i,)) for i in range(len(counts))]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("seed", seed, "requests", sum(counts))
