#!/usr/bin/env python3
"""honest.py PORT SECONDS: clients that ask properly, and look whether every answer is theirs, whole, and nobody else's.

Each of 12 threads puts a word of its own into everything it sends to /echo of origin.py: target, fields and
body, in any framing, on kept and on new connections, alone or several at once. Prints the number of requests,
and on stderr what was wrong; exit code 1 if anything was. A 502 is no fault here: others may break servers.
"""
import hashlib, json, random, re, socket, sys, threading, time

port, end = int(sys.argv[1]), time.time() + float(sys.argv[2])
counts, wrong = [0] * 12, []
WORD = re.compile(rb"honest-(\d+)-")


def request(r, me, n, last):
    word = b"honest-%d-%d-" % (me, n)
    body = word * r.choice([0, 1, 50, 6000]) if r.random() < .5 else b""
    target = b"/echo/" + word + b"?q=" + word
    head = [b"Host: a", b"X-Word: " + word, b"Cookie: c=" + word]
    if last:
        head.append(b"Connection: close")
    if not body:
        return target, body, b"GET %s HTTP/1.1\r\n%s\r\n\r\n" % (target, b"\r\n".join(head))
    if r.random() < .5:
        head.append(b"Content-Length: %d" % len(body))
        framed = body
    else:
        head.append(b"Transfer-Encoding: chunked")
        half = r.randrange(1, len(body))
        framed = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:half], body[half:])) + b"0\r\n\r\n"
    return target, body, b"PUT %s HTTP/1.1\r\n%s\r\n\r\n%s" % (target, b"\r\n".join(head), framed)


def answer(f):
    """Status and body of the next answer."""
    line = f.readline()
    if not line:
        return None, b""
    fields = {}
    while True:
        field = f.readline()
        if field in (b"\r\n", b""):
            break
        name, _, value = field.partition(b":")
        fields[name.lower()] = value.strip()
    if not line.startswith(b"HTTP/1.1 "):
        raise ValueError("no answer: %r" % line[:100])
    if fields.get(b"transfer-encoding", b"") == b"chunked":
        body = b""
        while True:
            size = int(f.readline(), 16)
            body += f.read(size)
            f.readline()
            if size == 0:
                break
    else:
        body = f.read(int(fields.get(b"content-length", b"0")))
    return int(line.split()[1]), body


def judge(me, sent, status, body):
    strange = {int(n) for n in WORD.findall(body)} - {me}
    if strange:
        raise ValueError("%d got words of %s" % (me, strange))
    if status in (502, 503, 504):
        return
    target, sent_body, _ = sent
    got = json.loads(body)
    if status != 200 or got["target"] != target.decode() or got["body_sha256"] != hashlib.sha256(sent_body).hexdigest():
        raise ValueError("%d asked for %s and got %d %r" % (me, target, status, body[:300]))


def run(me):
    r = random.Random(me)
    n = 0
    while time.time() < end and not wrong:
        try:
            s = socket.create_connection(("127.0.0.1", port))
            s.settimeout(20)
            f = s.makefile("rb")
            turns = r.choice([1, 3, 10])
            for turn in range(turns):
                batch = [request(r, me, n + i, turn == turns - 1) for i in range(r.choice([1, 1, 1, 4]))]
                n += len(batch)
                s.sendall(b"".join(b[2] for b in batch))
                for sent in batch:
                    status, body = answer(f)
                    if status is None:
                        break
                    judge(me, sent, status, body)
                    counts[me] += 1
                if status is None or turn == turns - 1:
                    break
        except OSError:
            pass
        except ValueError as e:
            wrong.append(str(e))
        s.close()


threads = [threading.Thread(target=run, args=(i,)) for i in range(len(counts))]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("requests", sum(counts))
for w in wrong:
    print(w, file=sys.stderr)
sys.exit(bool(wrong))
