#!/usr/bin/env python3
"""rawclient.py: sends exactly these bytes, at this pace, and prints what comes back.

usage: rawclient.py TARGET [OPTIONS] [TEXT..]     TARGET: PORT, HOST:PORT or unix:/path

The texts (or standard input as it comes and without escapes, when there are none) are sent one after the other as one
stream; backslash escapes are understood: '\\r\\n', '\\x00', '\\\\'. In between may stand:

  @MS        pause MS milliseconds
  @wait      until some more of the answer has arrived
  @wait:S    until the answer so far contains S
  @body:N    until N bytes stand behind the answer's first head
  @half      shut down the sending side
  @reset     close with a RST, at once
  @close     close
  @repeat:N:TEXT   TEXT, N times

  --raw           no escapes
  --split N       send in pieces of N bytes, each in a packet of its own
  --slow MS       with --split: pause between pieces
  --timeout S     how long to wait for the end of the answer (5); then exit code 3
  --until S       stop when the answer contains S instead of when the connection ends
  --read-after MS do not read for that long (what arrives meanwhile stays in the socket)
  --read-rate N   read at most N bytes per second
  --small         neither its socket nor the peer's takes much that is not read
  --tls           TLS without verification    --sni NAME    --alpn A,B
  --proxy2 SRC    put a PROXY v2 header for SRC (address:port) in front
  --events        what happens goes to stderr: "sent N", "end", "reset", "timeout"

Exit code: 0 the peer ended the connection or --until was met, 3 timeout, 4 reset.
"""
import argparse, socket, ssl, struct, sys, threading, time

ap = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
ap.add_argument("target")
ap.add_argument("texts", nargs="*")
for flag in ("--raw", "--tls", "--events", "--small"):
    ap.add_argument(flag, action="store_true")
for name, kind, default in (("--split", int, 0), ("--slow", float, 0), ("--timeout", float, 5), ("--until", str, None),
                            ("--read-after", float, 0), ("--read-rate", int, 0), ("--sni", str, None),
                            ("--alpn", str, None), ("--proxy2", str, None)):
    ap.add_argument(name, type=kind, default=default)
opt = ap.parse_intermixed_args()


def event(text):
    if opt.events:
        print(text, file=sys.stderr, flush=True)


def unescape(text):
    if opt.raw:
        return text.encode("latin-1", "surrogateescape")
    return text.encode("utf-8", "surrogateescape").decode("latin-1").encode("latin-1").decode("unicode_escape").encode("latin-1")


def connect():
    if opt.target.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(opt.target[5:])
    else:
        host, _, port = opt.target.rpartition(":")
        s = socket.socket(socket.AF_INET6 if host.startswith("[") else socket.AF_INET)
        if opt.small:  # here: most calls do without what the import costs
            import h2raw
            h2raw.slow_reader(s)
        s.settimeout(opt.timeout)
        s.connect((host.strip("[]") or "127.0.0.1", int(port)))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.settimeout(None)
    if opt.proxy2:
        host, _, port = opt.proxy2.rpartition(":")
        body = socket.inet_aton(host) + socket.inet_aton("127.0.0.1") + struct.pack(">HH", int(port), 80)
        s.sendall(b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", len(body)) + body)
    if opt.tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        if opt.alpn:
            context.set_alpn_protocols(opt.alpn.split(","))
        s = context.wrap_socket(s, server_hostname=opt.sni or "localhost")
    return s


got, changed, done = bytearray(), threading.Condition(), {"why": None}


def read_all(s):
    time.sleep(opt.read_after / 1000)
    until = opt.until and unescape(opt.until)
    why = None
    while why is None:
        try:
            data = s.recv(min(65536, max(1, opt.read_rate // 10)) if opt.read_rate else 65536)
            why = None if data else "end"
        except ConnectionResetError:
            data, why = b"", "reset"
        except OSError:
            data, why = b"", "end"
        with changed:
            got.extend(data)
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            if until and until in got:
                why = "until"
            changed.notify_all()
        if opt.read_rate:
            time.sleep(0.1)
    with changed:
        done["why"] = why
        changed.notify_all()


def wait(condition):
    with changed:
        return changed.wait_for(lambda: condition() or done["why"], opt.timeout)


def send(s, data):
    step = opt.split or len(data) or 1
    for i in range(0, len(data), step):
        s.sendall(data[i:i + step])
        if opt.slow:
            time.sleep(opt.slow / 1000)
    event("sent %d" % len(data))


def act(s, text):
    """One argument; True when the connection is over for us."""
    word, _, rest = text[1:].partition(":")
    if not text.startswith("@"):
        send(s, unescape(text))
    elif word.replace(".", "").isdigit():
        time.sleep(float(word) / 1000)
    elif word == "wait" and rest:
        wait(lambda: unescape(rest) in got)
    elif word == "body":
        wait(lambda: len(got.partition(b"\r\n\r\n")[2]) >= int(rest))
    elif word == "wait":
        before = len(got)
        wait(lambda: len(got) > before)
    elif word == "half":
        (s.unwrap if opt.tls else lambda: s.shutdown(socket.SHUT_WR))()
    elif word == "repeat":
        count, _, what = rest.partition(":")
        send(s, unescape(what) * int(count))
    elif word in ("reset", "close"):
        if word == "reset":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            s.shutdown(socket.SHUT_RDWR)
        s.close()
        return True
    else:
        sys.exit("rawclient: what is \"%s\"?" % text)
    return False


def main():
    s = connect()
    reader = threading.Thread(target=read_all, args=(s,), daemon=True)
    reader.start()
    texts = opt.texts or (piece.decode("latin-1") for piece in iter(lambda: sys.stdin.buffer.read1(65536), b""))
    if not opt.texts:
        opt.raw = True
    try:
        for text in texts:
            if act(s, text):
                return 0
    except (BrokenPipeError, ConnectionResetError):
        event("the peer stopped reading")
    with changed:
        changed.wait_for(lambda: done["why"], opt.timeout)
    why = done["why"] or "timeout"
    event(why)
    return {"timeout": 3, "reset": 4}.get(why, 0)


code = main()
sys.stdout.flush()
import os
os._exit(code)
