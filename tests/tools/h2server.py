#!/usr/bin/env python3
"""h2server.py [--tls PEM [--tls-only 1.2|1.3] [--early]] MODE..: HTTP/2 servers that misbehave, one port each, frame by frame.

Prints "port MODE N" for each and then "ready"; for every connection and request a line "MODE connection" or
"MODE request STREAM", for every RST_STREAM and GOAWAY that it gets "MODE reset STREAM CODE", "MODE goaway CODE".
What requests say is not decoded: the mode alone decides. `ok` answers each with 200 and "ok". With --early, what the server
says at once comes in one piece with the last bytes of the handshake (TLS 1.2, where the server has the last word).
"""
import argparse, hashlib, itertools, socket, ssl, struct, threading, time

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONT = range(10)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def length(n):
    if n < 127:
        return bytes([n])
    out, n = b"\x7f", n - 127
    while n >= 128:
        out, n = out + bytes([n % 128 | 128]), n // 128
    return out + bytes([n])


def fields(*pairs):
    """Literal, not indexed, no Huffman."""
    out = b""
    for name, value in pairs:
        name, value = name.encode("latin1"), value.encode("latin1")
        out += b"\x00" + length(len(name)) + name + length(len(value)) + value
    return out


OK = (":status", "200")


def head(stream, *pairs, end=False):
    return frame(HEADERS, 4 | end, stream, fields(*pairs))


def answer(stream, body=b"ok", *more):
    return head(stream, OK, *more) + frame(DATA, 1, stream, body)


def bomb(stream):
    """One large field in the table, then referred to again and again."""
    big = b"\x40" + length(1) + b"a" + length(4000) + b"b" * 4000
    block = fields(OK) + big + b"\xbe" * 12000
    return frame(HEADERS, 4, stream, block)


def continuations(stream):
    out = frame(HEADERS, 0, stream, fields(OK))
    return out + b"".join(frame(CONT, 0, stream, fields(("a%d" % i, "b"))) for i in range(5000))


# What is sent when a request has come.
REQUEST = {
    "ok": lambda s: answer(s),
    "settings_flood": lambda s: frame(SETTINGS, 0, 0) * 5000,
    "ping_flood": lambda s: frame(PING, 0, 0, b"12345678") * 5000,
    "window_update_flood": lambda s: frame(WINDOW, 0, 0, struct.pack(">I", 1)) * 5000,
    "saved_up": lambda s: answer(s) if s < 1200 else frame(WINDOW, 0, 0, struct.pack(">I", 1)) * 5000 + answer(s),
    "priority_flood": lambda s: frame(2, 0, s, b"\0\0\0\0\1") * 5000,
    "unknown_frames": lambda s: frame(0x42, 0, 0, b"x" * 1000) * 5000,
    "stray_frames": lambda s: answer(s) + frame(DATA, 0, s) * 5000,
    "grease": lambda s: frame(0x42, 0, 0, b"x" * 8000) * 20 + answer(s),
    "in_flight": lambda s: head(s, OK) + frame(DATA, 0, s, b"part"),
    "empty_frames": lambda s: head(s, OK) + frame(DATA, 0, s) * 5000,
    "reset_flood": lambda s: frame(RST, 0, s, struct.pack(">I", 8)) * 5000,
    "continuation_flood": continuations,
    "hpack_bomb": bomb,
    "many_fields": lambda s: head(s, OK, *[("f%d" % i, "v") for i in range(1000)]),
    "push": lambda s: frame(PUSH, 4, s, struct.pack(">I", 2) + fields((":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a"))),
    "upper_case": lambda s: answer(s, b"ok", ("X-Upper", "v")),
    "crlf_value": lambda s: answer(s, b"ok", ("x-split", "a\r\nSet-Cookie: b")),
    "nul_value": lambda s: answer(s, b"ok", ("x-nul", "a\0b")),
    "crlf_name": lambda s: answer(s, b"ok", ("x-split\r\nx", "b")),
    "colon_name": lambda s: answer(s, b"ok", ("x:y", "b")),
    "blank_value": lambda s: answer(s, b"ok", ("x-blank", " b")),
    "connection_field": lambda s: answer(s, b"ok", ("connection", "close")),
    "transfer_encoding": lambda s: answer(s, b"ok", ("transfer-encoding", "chunked")),
    "two_lengths": lambda s: answer(s, b"ok", ("content-length", "2"), ("content-length", "2")),
    "bad_length": lambda s: answer(s, b"ok", ("content-length", "+2")),
    "short_body": lambda s: answer(s, b"ok", ("content-length", "10")),
    "long_body": lambda s: answer(s, b"ok" * 100, ("content-length", "10")),
    "length_no_body": lambda s: head(s, OK, ("content-length", "10"), end=True),
    "no_status": lambda s: head(s, ("a", "b"), end=True),
    "two_status": lambda s: head(s, OK, OK, end=True),
    "late_status": lambda s: head(s, ("a", "b"), OK, end=True),
    "bad_status": lambda s: head(s, (":status", "20x"), end=True),
    "request_pseudo": lambda s: head(s, OK, (":path", "/"), end=True),
    "switching": lambda s: head(s, (":status", "101"), end=True),
    "bad_trailer": lambda s: head(s, OK) + frame(DATA, 0, s, b"ok") + head(s, (":status", "200"), end=True),
    "unknown_stream": lambda s: frame(DATA, 0, 99, b"x"),
    "even_stream": lambda s: head(2, OK),
    "large_frame": lambda s: frame(DATA, 0, s, b"x" * 20000),
    "bad_padding": lambda s: head(s, OK) + frame(DATA, 8, s, b"\xff"),
    "bad_hpack": lambda s: frame(HEADERS, 4, s, b"\xff\xff\xff\xff\xff\xff"),
    "window_overflow": lambda s: frame(WINDOW, 0, s, struct.pack(">I", 0x7FFFFFFF)) * 2,
    "http1": lambda s: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "refused": lambda s: frame(RST, 0, s, struct.pack(">I", 7)),
    "reset": lambda s: frame(RST, 0, s, struct.pack(">I", 2)),
    "reset_later": lambda s: head(s, OK) + frame(DATA, 0, s, b"part") + frame(RST, 0, s, struct.pack(">I", 2)),
    "goaway": lambda s: frame(GOAWAY, 0, 0, struct.pack(">II", s - 2 if s > 2 else 0, 0)),
    "interims": lambda s: head(s, (":status", "103"), ("link", "<a>")) * 50,
    "silent": lambda s: b"",
    "crumbs": lambda s: answer(s, b"ok", ("set-cookie", "a=1"), ("set-cookie", "b=2")),
    "early": lambda s: head(s, OK) + frame(DATA, 1, s, b"early") + frame(RST, 0, s, struct.pack(">I", 0)),
    "small_window": lambda s: b"",
    "one_at_a_time": lambda s: b"",
    "drop": lambda s: b"",
    "trailers": lambda s: head(s, OK) + frame(DATA, 0, s, b"ok") + head(s, ("x-sum", "1"), ("x-forwarded-for", "evil"), end=True),
    "unasked": lambda s: answer(s),
    "long_stream": lambda s: head(s, OK) + frame(DATA, 0, s, b"part"),
    "settles_late": lambda s: b"",
    "split_trailers": lambda s: b"",
    "tunnel": lambda s: head(s, OK),
    "none_at_all": lambda s: frame(RST, 0, s, struct.pack(">I", 7)),
    "last_one": lambda s: b"",
    "padded_nothing": lambda s: head(s, OK) + frame(DATA, 8, s, b"\0") * 5000,
    "padding": lambda s: head(s, OK) + frame(DATA, 8, s, b"\xff" + b"\0" * 255) * 5000,
    "goaway_flood": lambda s: frame(GOAWAY, 0, 0, struct.pack(">II", 0x7FFFFFFF, 0)) * 5000,
    "goaway_rising": lambda s: b"".join(frame(GOAWAY, 0, 0, struct.pack(">II", n, 0)) for n in (s, s + 2)),
    "header_flood": lambda s: answer(s) + head(s, OK) * 5000,
    "stray_resets": lambda s: answer(s) + frame(RST, 0, s, struct.pack(">I", 8)) * 5000,
    "origin_frames": lambda s: frame(12, 0, 0, b"\0\x10https://a.example") * 5000,
    "long_continuation": lambda s: frame(HEADERS, 0, s, fields(OK)) + frame(CONT, 0, s, fields(("a", "b" * 16000))) * 31,
    "conn_window_overflow": lambda s: frame(WINDOW, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 2,
    "window_of_zero": lambda s: frame(WINDOW, 0, 0, b"\0\0\0\0"),
    "settings_window": lambda s: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)),
    "settings_frame_size": lambda s: frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 16383)),
    "settings_of_five": lambda s: frame(SETTINGS, 0, 0, b"\0" * 5),
    "settings_on_stream": lambda s: frame(SETTINGS, 0, s),
    "many_settings": lambda s: frame(SETTINGS, 0, 0, struct.pack(">HI", 0xFA, 1) * 100),
    "ping_of_seven": lambda s: frame(PING, 0, 0, b"1234567"),
    "idle_stream": lambda s: head(99, OK),
    "interleaved": lambda s: frame(HEADERS, 0, s, fields(OK)) + frame(PING, 0, 0, b"12345678"),
    "greedy": lambda s: head(s, OK) + frame(DATA, 0, s, b"x" * 16384) * 100,
    "data_after_end": lambda s: answer(s) + frame(DATA, 1, s, b"x" * 100) * 3,
    "second_answer": lambda s: answer(s) + answer(s, b"again"),
    "data_first": lambda s: frame(DATA, 1, s, b"ok"),
    "data_after_interim": lambda s: head(s, (":status", "103")) + frame(DATA, 1, s, b"ok"),
    "te_field": lambda s: answer(s, b"ok", ("te", "trailers")),
    "keep_alive": lambda s: answer(s, b"ok", ("keep-alive", "timeout=5")),
    "proxy_connection": lambda s: answer(s, b"ok", ("proxy-connection", "close")),
    "upgrade": lambda s: answer(s, b"ok", ("upgrade", "h2c")),
    "empty_name": lambda s: answer(s, b"ok", ("", "b")),
    "status_99": lambda s: head(s, (":status", "099"), end=True),
    "status_600": lambda s: head(s, (":status", "600"), end=True),
    "status_2000": lambda s: head(s, (":status", "2000"), end=True),
    "last_interim": lambda s: head(s, (":status", "103"), end=True),
    "interim_bomb": lambda s: head(s, (":status", "103"), *[("link", "x" * 130)] * 50) * 5000,
    "endless_interim": lambda s: head(s, (":status", "103"), ("link", "<a>")) * 20,
    "body_of_head": lambda s: answer(s, b"body"),
    "body_of_204": lambda s: head(s, (":status", "204")) + frame(DATA, 1, s, b"body"),
    "body_of_304": lambda s: head(s, (":status", "304")) + frame(DATA, 1, s, b"body"),
    "upper_trailer": lambda s: head(s, OK) + frame(DATA, 0, s, b"ok") + head(s, ("X-Upper", "v"), end=True),
    "connection_trailer": lambda s: head(s, OK) + frame(DATA, 0, s, b"ok") + head(s, ("connection", "close"), end=True),
    "many_trailers": lambda s: head(s, OK) + frame(DATA, 0, s, b"ok") + head(s, *[("t%d" % i, "v") for i in range(1000)], end=True),
    "trailer_bomb": lambda s: head(s, OK) + frame(DATA, 0, s, b"ok") + frame(HEADERS, 5, s, b"\x40\x01a" + length(4000) + b"b" * 4000 + b"\xbe" * 12000),
    "trailers_go_on": lambda s: head(s, OK) + frame(DATA, 0, s, b"ok") + head(s, ("x-sum", "1")) + frame(DATA, 1, s, b"more"),
    "flood_beside": lambda s: frame(SETTINGS, 0, 0) * 5000 if s > 1 else head(s, OK) + frame(DATA, 0, s, b"part"),
    "large_table": lambda s: answer(s),
    "mute": lambda s: b"",
    "half_section": lambda s: b"",
}
SETTINGS_OF = {
    "small_window": struct.pack(">HI", 4, 10),
    "one_at_a_time": struct.pack(">HI", 3, 1),
    "settles_late": struct.pack(">HI", 4, 1 << 20),
    "split_trailers": struct.pack(">HI", 3, 1),
    "tunnel": struct.pack(">HI", 8, 1),
    "none_at_all": struct.pack(">HIHI", 3, 0, 8, 1),
    "large_table": struct.pack(">HIHI", 1, 0xFFFFFFFF, 5, 0xFFFFFF),
}
serial = itertools.count(1)


def split_trailers(c, stream):
    """Trailers in two halves, so that those of another connection come in between."""
    n = str(next(serial))
    block = fields(*[("x-mark-%d" % i, n * 20) for i in range(20)])
    c.sendall(head(stream, OK, ("x-conn", n)) + frame(DATA, 0, stream, b"ok") + frame(HEADERS, 1, stream, block[:200]))
    both.wait()
    rest = frame(CONT, 4, stream, block[200:])
    time.sleep(0.1)
    c.sendall(rest[:300])
    both.wait()
    time.sleep(0.1)
    c.sendall(rest[300:])


both = threading.Barrier(2)

lock = threading.Lock()


def say(*words):
    with lock:
        print(*words, flush=True)


def exactly(c, n):
    out = b""
    while len(out) < n:
        part = c.recv(n - len(out))
        if not part:
            raise EOFError
        out += part
    return out


def give_up(c, sending, stream):
    with sending:
        c.sendall(frame(RST, 0, stream, struct.pack(">I", 2)))


def serve(c, mode):
    say(mode, "connection")
    got = {}
    sending = threading.Lock()
    due, room = [], 65535  # streams whose data waits for the connection's window: a frame each
    try:
        if c.family == socket.AF_INET:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if mode == "settles_late":
            # Until then requests wait; all of them go at once, and nothing holds their bodies back.
            time.sleep(1)
        if mode == "mute":
            while c.recv(65536):
                pass
            return
        c.sendall(frame(SETTINGS, 0, 0, SETTINGS_OF.get(mode, b"")) + (answer(1) if mode == "unasked" else b""))
        if mode == "settles_late":
            c.sendall(frame(WINDOW, 0, 0, struct.pack(">I", 1 << 30)))
        exactly(c, 24)
        while True:
            h = exactly(c, 9)
            payload = exactly(c, int.from_bytes(h[:3], "big"))
            kind, flags, stream = h[3], h[4], int.from_bytes(h[5:], "big")
            if kind == SETTINGS and not flags & 1:
                c.sendall(frame(SETTINGS, 1, 0))
            elif kind == PING and not flags & 1:
                c.sendall(frame(PING, 1, 0, payload))
            elif kind == RST:
                if mode == "in_flight":
                    # A window of it was on its way when the reset came.
                    c.sendall(frame(DATA, 0, stream, b"x" * 100) * 2500)
                say(mode, "reset", stream, int.from_bytes(payload, "big"))
            elif kind == GOAWAY:
                say(mode, "goaway", int.from_bytes(payload[4:8], "big"))
            elif kind == WINDOW and stream == 0:
                room += int.from_bytes(payload, "big")
            elif kind == DATA and mode == "settles_late":
                got[stream] = got.get(stream, b"") + payload
                if flags & 1:
                    c.sendall(answer(stream, hashlib.sha256(got.pop(stream)).hexdigest().encode()))
            elif kind == DATA and mode == "tunnel" and payload:
                c.sendall(head(stream, ("x-over", "1"), end=True))
            elif kind == HEADERS:
                say(mode, "request", stream)
                if mode == "last_one":
                    c.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", stream, 0)))
                    time.sleep(0.1)
                    c.sendall(answer(stream))
                    continue
                if mode == "split_trailers":
                    split_trailers(c, stream)
                    continue
                if mode == "drop":
                    return
                if mode == "half_section":
                    # The first connection begins a section of headers and says no more.
                    first = got.setdefault("first", next(serial) == 1)
                    c.sendall(frame(HEADERS, 0, stream, fields(OK)) if first else answer(stream))
                    continue
                if mode == "much":
                    c.sendall(head(stream, OK))
                    due += [stream] * 15
                elif mode == "one_at_a_time":
                    time.sleep(0.2)
                    c.sendall(answer(stream))
                else:
                    c.sendall(REQUEST[mode](stream))
                while mode == "greedy":
                    c.sendall(frame(DATA, 0, stream, b"x" * 16384) * 100)
            while due and room >= 16384:
                room -= 16384
                one = due.pop(0)
                with sending:
                    c.sendall(frame(DATA, 0, one, b"x" * 16384))
                if one not in due:
                    # A client that does not read has most of it before it, and the server gives up.
                    threading.Timer(1, give_up, [c, sending, one]).start()
    except (EOFError, OSError):
        pass
    finally:
        say(mode, "closed")
        c.close()


def pump(a, b, pause):
    """All that a says to b; with a pause, what was written in pieces arrives in one."""
    try:
        while data := a.recv(65536):
            if pause:
                time.sleep(pause)
                a.setblocking(False)
                try:
                    data += a.recv(65536)
                except BlockingIOError:
                    pass
                a.setblocking(True)
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def secure(c, mode):
    if opt.early:
        near, far = socket.socketpair()
        threading.Thread(target=pump, args=(c, far, 0), daemon=True).start()
        threading.Thread(target=pump, args=(far, c, 0.1), daemon=True).start()
        c = near
    try:
        serve(TLS.wrap_socket(c, server_side=True), mode)
    except OSError as e:
        say(mode, "failed", type(e).__name__)
        c.close()


def accept(s, mode):
    while True:
        threading.Thread(target=secure if TLS else serve, args=(s.accept()[0], mode), daemon=True).start()


ap = argparse.ArgumentParser()
ap.add_argument("--tls", help="certificate, chain and key")
ap.add_argument("--tls-only", choices=["1.2", "1.3"])
ap.add_argument("--early", action="store_true")
ap.add_argument("mode", nargs="+")
opt = ap.parse_args()
TLS = None
if opt.tls:
    TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    TLS.load_cert_chain(opt.tls)
    TLS.set_alpn_protocols(["h2"])
    only = "1.2" if opt.early else opt.tls_only
    if only:
        TLS.minimum_version = TLS.maximum_version = getattr(ssl.TLSVersion, "TLSv1_" + only[2:])
for m in opt.mode:
    listener = socket.create_server(("127.0.0.1", 0))
    say("port", m, listener.getsockname()[1])
    threading.Thread(target=accept, args=(listener, m), daemon=True).start()
say("ready")
while True:
    time.sleep(3600)
