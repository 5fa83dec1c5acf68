#!/usr/bin/env python3
"""h2raw.py: HTTP/2 frame by frame, right and wrong, against a server on clear text (prior knowledge).

usage: h2raw.py PORT conform [NAME..]     every rule below; one line each, exit 1 when one is broken
       h2raw.py PORT smuggle              messages that HTTP/1 could read in two ways: all refused
       h2raw.py PORT attack NAME          what the server did about it, as one word
       h2raw.py PORT get PATH [N]         N (1) requests at once: statuses and body lengths
       h2raw.py PORT continue_late        100 Continue that comes while the client does not read
       h2raw.py PORT no_windows PATH N    N at once without a window until a line comes from stdin
       h2raw.py PORT uploads PATH N THEN  N bodies without end to PATH, as far as windows allow; then one of 200 kB to THEN;
                                          the ends of the others, when a line comes from stdin
       h2raw.py PORT posts PATH N BYTES   N bodies without a length at once: what became of each
       h2raw.py PORT cut_between PATH     small pieces of one upload, its reset, and many of another's, in one segment
       h2raw.py PORT half_section         half of a header section; the rest when a line comes from stdin
       h2raw.py PORT left_body PATH       a body that is refused for its length and does not end, another request: what becomes of the first
       h2raw.py PORT at_once PATH N       one request, and N in one segment when a line comes from stdin: what became of each
       h2raw.py PORT late PATH N          N at once, read only when a line comes from stdin: ends and body lengths
       h2raw.py PORT drained [PATH]       says "open" once served, then each GOAWAY with its last stream, the answer, the end
       h2raw.py --list                    the names of attacks and rules

Results are words: status:200, rst:PROTOCOL_ERROR, goaway:FRAME_SIZE_ERROR, close, ok, nothing. Plain sockets
and an encoder of its own that writes what it is told, so that nothing here is kinder than a peer would be.
"""
import socket, struct, sys, time

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONT = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIO = 1, 1, 4, 8, 32
ERRORS = ("NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
          "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM").split()
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STATIC_STATUS = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
GET = [(":method", "GET"), (":scheme", "http"), (":path", "/bytes/5"), (":authority", "h.test")]


def number(value, bits, first=0):
    if value < (1 << bits) - 1:
        return bytes([first | value])
    out = bytearray([first | ((1 << bits) - 1)])
    value -= (1 << bits) - 1
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def raw(s):
    return s if isinstance(s, bytes) else s.encode("latin-1")


def text(s):
    return number(len(raw(s)), 7) + raw(s)


def fields(pairs, indexed=False):
    """Literals without indexing (or with), names spelled out."""
    return b"".join((b"\x40" if indexed else b"\0") + text(n) + text(v) for n, v in pairs)


def req(path="/bytes/5", method="GET", *more):
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "h.test")] + list(more)


def digits(data):
    """Huffman-coded digits (RFC 7541 appendix B): five bits for 0 to 2, six for the others."""
    bits = "".join("{:08b}".format(b) for b in data)
    out = ""
    while len(bits) >= 5 and not set(bits) == {"1"}:
        if bits[:5] in ("00000", "00001", "00010"):
            out, bits = out + str(int(bits[:5], 2)), bits[5:]
        else:
            out, bits = out + str(int(bits[:6], 2) - 0b011001 + 3), bits[6:]
    return int(out)


def status_of(block):
    """:status comes first; our table has no room, so it is static or literal."""
    while block and block[0] & 0xe0 == 0x20:
        block = block[1:]
    if block[0] & 0x80:
        return STATIC_STATUS[block[0] & 0x7f]
    n = block[1] & 0x7f
    value = block[2:2 + n]
    return digits(value) if block[1] & 0x80 else int(value)


def slow_reader(s, rcvbuf=4096):
    """Neither socket takes much for who does not read. With segments as large as the loopback's the sender's takes 3 to 4 MB."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)


class Peer:
    def __init__(self, port, settings=((1, 0),), preface=PREFACE, rcvbuf=None):
        self.s = socket.socket()
        if rcvbuf:
            slow_reader(self.s, rcvbuf)
        self.s.connect(("127.0.0.1", port))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf, self.next, self.events = b"", 1, []
        self.patience = 5  # with a server that reads nothing
        if preface:
            self.send(preface + self.frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", k, v) for k, v in settings)))

    @staticmethod
    def frame(kind, flags, stream, payload=b"", length=None):
        n = len(payload) if length is None else length
        return struct.pack(">I", n)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    def send(self, data):
        """False: the server has hung up."""
        try:
            self.s.settimeout(self.patience)
            self.s.sendall(data)
            return True
        except OSError:
            return False

    def put(self, *args, **kw):
        return self.send(self.frame(*args, **kw))

    def ask(self, pairs=GET, end=True, flags=0, stream=None, block=None):
        sid = stream or self.next
        self.next = max(self.next, sid) + 2
        self.put(HEADERS, END_HEADERS | (END_STREAM if end else 0) | flags, sid, fields(pairs) if block is None else block)
        return sid

    def read(self, seconds):
        """The next frame as (kind, flags, stream, payload); None after so long; "close" at the end."""
        until = time.monotonic() + seconds
        while True:
            if len(self.buf) >= 9:
                n = int.from_bytes(self.buf[:3], "big")
                if len(self.buf) >= 9 + n:
                    kind, flags = self.buf[3], self.buf[4]
                    stream = int.from_bytes(self.buf[5:9], "big") & 0x7fffffff
                    payload, self.buf = self.buf[9:9 + n], self.buf[9 + n:]
                    return kind, flags, stream, payload
            left = until - time.monotonic()
            if left <= 0:
                return None
            self.s.settimeout(left)
            try:
                got = self.s.recv(65536)
            except socket.timeout:
                return None
            except OSError:
                return "close"
            if not got:
                return "close"
            self.buf += got

    def word(self, f, acks=True):
        """A frame as a word; acknowledges what wants it."""
        if f in (None, "close"):
            return f
        kind, flags, stream, payload = f
        if kind == SETTINGS and not flags & ACK and acks:
            self.put(SETTINGS, ACK, 0)
        if kind == RST:
            return "rst:" + ERRORS[int.from_bytes(payload, "big")]
        if kind == GOAWAY:
            return "goaway:" + ERRORS[int.from_bytes(payload[4:8], "big")]
        if kind == HEADERS:
            try:
                return "status:%d" % status_of(payload)
            except (KeyError, ValueError, IndexError):
                return "trailers"
        return None

    def outcome(self, stream=None, seconds=30, wants=("rst", "goaway", "close", "end"), acks=True):
        """Everything until the stream has ended, or the connection: the words seen, "end" for END_STREAM."""
        seen, until = [], time.monotonic() + seconds
        while time.monotonic() < until:
            f = self.read(until - time.monotonic())
            w = self.word(f, acks)
            if w is None and f is None:
                break
            if w:
                if w.startswith("rst") and stream and f[2] != stream:
                    continue
                seen.append(w)
            if w and w.split(":")[0] in wants:
                if w.startswith("goaway"):
                    continue
                break
            if f[0] in (DATA, HEADERS) and f[1] & END_STREAM and (stream is None or f[2] == stream):
                seen.append("end")
                if "end" in wants:
                    break
        return seen

    def is_alive(self):
        """It still answers a ping."""
        self.put(PING, 0, 0, b"alive?!?")
        until = time.monotonic() + 30
        while time.monotonic() < until:
            f = self.read(30)
            if f in (None, "close"):
                return False
            self.word(f)
            if f[0] == PING and f[1] & ACK and f[3] == b"alive?!?":
                return True
        return False

    def data(self, wanted):
        """How many bytes of DATA come: those that are wanted may take their time, more would be here soon."""
        got, until = 0, time.monotonic() + 30
        while (left := until - time.monotonic()) > 0:
            f = self.read(left)
            if f in (None, "close"):
                break
            self.word(f)
            got += len(f[3]) if f[0] == DATA else 0
            if got >= wanted:
                until = min(until, time.monotonic() + 0.3)
        return got


# --- rules: name, what to do, which words are right (any of them; the connection must be fine after "ok") ---
RULES = []


def rule(*expected):
    def add(fn):
        RULES.append((fn.__name__, fn, expected))
        return fn
    return add


def simple(name, expected, *frames):
    def run(p):
        p.send(b"".join(Peer.frame(*f) for f in frames))
        return p.outcome(1)
    RULES.append((name, run, expected))


CONN = ("goaway:PROTOCOL_ERROR",)
SIZE = ("goaway:FRAME_SIZE_ERROR",)
ANY_SIZE = ("goaway:FRAME_SIZE_ERROR", "rst:FRAME_SIZE_ERROR")
G = fields(GET)
P = fields(req("/echo", "POST"))

# RFC 9113 §4: frames
simple("headers_on_stream_0", CONN, (HEADERS, 5, 0, G))
simple("data_on_stream_0", CONN, (DATA, 1, 0, b"x"))
simple("rst_on_stream_0", CONN, (RST, 0, 0, b"\0\0\0\0"))
simple("priority_on_stream_0", CONN, (PRIORITY, 0, 0, b"\0\0\0\0\x10"))
simple("continuation_on_stream_0", CONN, (CONT, 4, 0, G))
simple("settings_on_stream_1", CONN, (SETTINGS, 0, 1, b""))
simple("ping_on_stream_1", CONN, (PING, 0, 1, b"x" * 8))
simple("goaway_on_stream_1", CONN, (GOAWAY, 0, 1, b"\0" * 8))
simple("frame_above_max_size", SIZE, (DATA, 0, 1, b"x" * 16385))
simple("headers_above_max_size", SIZE, (HEADERS, 5, 1, G + b"\0" * 16384))
simple("settings_not_of_six", SIZE, (SETTINGS, 0, 0, b"\0\0\0"))
simple("settings_ack_with_payload", SIZE, (SETTINGS, ACK, 0, b"\0\3\0\0\0\1"))
simple("ping_of_seven", SIZE, (PING, 0, 0, b"1234567"))
simple("rst_of_three", SIZE, (HEADERS, 4, 1, P), (RST, 0, 1, b"\0\0\0"))
simple("window_update_of_three", SIZE, (WINDOW, 0, 0, b"\0\0\1"))
simple("priority_of_four", ANY_SIZE, (HEADERS, 4, 1, P), (PRIORITY, 0, 1, b"\0\0\0\0"))
simple("padding_longer_than_data", CONN, (HEADERS, 4, 1, P), (DATA, PADDED, 1, b"\x05abc"))
simple("padding_longer_than_headers", CONN, (HEADERS, 5 | PADDED, 1, b"\xff" + G))
# §5: streams
simple("even_stream", CONN, (HEADERS, 5, 2, G))
simple("data_on_idle", CONN, (DATA, 1, 5, b"x"))
simple("rst_on_idle", CONN, (RST, 0, 7, b"\0\0\0\x08"))
simple("window_update_on_idle", CONN, (WINDOW, 0, 9, b"\0\0\0\1"))
simple("continuation_on_idle", CONN, (CONT, 4, 1, G))
simple("push_promise_from_client", CONN, (HEADERS, 4, 1, P), (PUSH, 4, 1, b"\0\0\0\2" + G))
simple("headers_between_sections", CONN, (HEADERS, 1, 1, G[:10]), (HEADERS, 5, 3, G))
simple("data_between_sections", CONN, (HEADERS, 0, 1, G[:10]), (DATA, 0, 1, b"x"))
simple("continuation_of_another", CONN, (HEADERS, 1, 1, G[:10]), (CONT, 4, 3, G[10:]))
simple("unknown_between_sections", CONN, (HEADERS, 1, 1, G[:10]), (0x16, 0, 1, b""))
simple("continuation_after_the_end", CONN, (HEADERS, 5, 1, G), (CONT, 4, 1, G))
simple("data_after_end_stream", ("rst:STREAM_CLOSED", "goaway:STREAM_CLOSED"), (HEADERS, 5, 1, fields(req("/silent"))), (DATA, 1, 1, b"x"))
simple("headers_after_end_stream", ("rst:STREAM_CLOSED", "goaway:STREAM_CLOSED"), (HEADERS, 5, 1, fields(req("/silent"))), (HEADERS, 5, 1, G))
simple("priority_between_sections", CONN, (HEADERS, 1, 1, G[:10]), (PRIORITY, 0, 1, b"\0\0\0\0\x10"))
simple("continuation_behind_the_last", CONN, (HEADERS, 1, 1, G[:10]), (CONT, 4, 1, G[10:]), (CONT, 4, 1, G))
simple("continuation_behind_data", CONN, (HEADERS, 4, 1, P), (DATA, 0, 1, b"x"), (CONT, 4, 1, G))
simple("continuation_of_a_reset_stream", CONN, (HEADERS, 4, 1, P), (RST, 0, 1, b"\0\0\0\x08"), (CONT, 4, 1, G))
simple("padding_longer_than_the_rest", CONN, (HEADERS, 5 | PADDED | PRIO, 1, b"\x06\0\0\0\0\x10" + b"\0" * 5))
simple("padding_without_its_length", ("goaway:FRAME_SIZE_ERROR", "goaway:PROTOCOL_ERROR"), (HEADERS, 4, 1, P), (DATA, PADDED, 1, b""))
# §6.5: settings
for name, key, value, code in (("enable_push_2", 2, 2, "PROTOCOL_ERROR"), ("window_above_2_31", 4, 1 << 31, "FLOW_CONTROL_ERROR"),
                               ("frame_size_small", 5, 16383, "PROTOCOL_ERROR"), ("frame_size_large", 5, 1 << 24, "PROTOCOL_ERROR")):
    simple("settings_" + name, ("goaway:" + code,), (SETTINGS, 0, 0, struct.pack(">HI", key, value)))
# §6.9: flow control
simple("window_update_0_connection", CONN, (WINDOW, 0, 0, b"\0\0\0\0"))
simple("window_update_0_stream", ("rst:PROTOCOL_ERROR", "goaway:PROTOCOL_ERROR"), (HEADERS, 4, 1, P), (WINDOW, 0, 1, b"\0\0\0\0"))
simple("window_overflow_connection", ("goaway:FLOW_CONTROL_ERROR",), (WINDOW, 0, 0, b"\x7f\xff\xff\xff"))
simple("window_overflow_stream", ("rst:FLOW_CONTROL_ERROR", "goaway:FLOW_CONTROL_ERROR"), (HEADERS, 4, 1, P), (WINDOW, 0, 1, b"\x7f\xff\xff\xff"))
# HPACK (RFC 7541)
HPACK = ("goaway:COMPRESSION_ERROR",)
simple("index_0", HPACK, (HEADERS, 5, 1, b"\x80"))
simple("index_beyond_tables", HPACK, (HEADERS, 5, 1, b"\xff\x80\x01"))
simple("literal_index_beyond", HPACK, (HEADERS, 5, 1, b"\x7f\x80\x01\x01a"))
simple("table_size_above_limit", HPACK, (HEADERS, 5, 1, b"\x3f\xe1\xff\x03" + G))
simple("table_size_at_the_end", HPACK, (HEADERS, 5, 1, G + b"\x20"))
simple("integer_overflow", HPACK, (HEADERS, 5, 1, b"\xff" + b"\xff" * 10 + b"\x7f"))
simple("string_cut_off", HPACK, (HEADERS, 5, 1, G + b"\0\x01a\x7f\x00b"))
simple("huffman_padding_of_zeros", HPACK, (HEADERS, 5, 1, G + b"\0\x01a\x81\x00"))
simple("huffman_padding_too_long", HPACK, (HEADERS, 5, 1, G + b"\0\x01a\x82\x07\xff\xff"[:7] + b"\xff"))
simple("huffman_eos", HPACK, (HEADERS, 5, 1, G + b"\0\x01a\x84\xff\xff\xff\xff"))


@rule("close", "goaway:PROTOCOL_ERROR")
def wrong_preface(p):
    q = Peer(p.port, preface=None)
    q.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + b"\0" * 30)
    return q.outcome()


@rule("goaway:PROTOCOL_ERROR")
def preface_without_settings(p):
    q = Peer(p.port, preface=None)
    q.send(PREFACE + Peer.frame(PING, 0, 0, b"x" * 8))
    return q.outcome()


@rule("goaway:PROTOCOL_ERROR", "rst:STREAM_CLOSED", "goaway:STREAM_CLOSED")
def stream_numbers_go_up(p):
    p.ask(stream=5)
    p.outcome(5)
    p.ask(stream=3)
    return p.outcome(3)


@rule("ok")
def unknown_frames_and_settings_are_ignored(p):
    p.put(0x16, 0xff, 0, b"whatever")
    p.put(0x16, 0xff, 1, b"whatever")
    p.put(SETTINGS, 0, 0, struct.pack(">HI", 0xfa, 1))
    return ["ok"] if p.is_alive() and "status:200" in p.outcome(p.ask()) else ["broken"]


@rule("ok")
def padding_priority_and_continuation_are_understood(p):
    prio = b"\0\0\0\0\x10"
    p.put(HEADERS, END_STREAM | PADDED | PRIO, 1, b"\x04" + prio + G[:7] + b"\0" * 4)
    p.put(CONT, 0, 1, G[7:20])
    p.put(CONT, 0, 1, b"")
    p.put(CONT, END_HEADERS, 1, G[20:])
    return ["ok"] if p.outcome(1)[:1] == ["status:200"] and p.is_alive() else ["broken"]


@rule("ok")
def ping_and_settings_are_acknowledged(p):
    acks = 0
    until = time.monotonic() + 30
    while not acks and time.monotonic() < until:
        f = p.read(30)
        acks += f not in (None, "close") and f[0] == SETTINGS and bool(f[1] & ACK)
    return ["ok"] if acks and p.is_alive() else ["broken"]


@rule("ok")
def padded_empty_and_many_data_frames_are_a_body(p):
    sid = p.ask(req("/echo", "POST", ("content-length", "6")), end=False)
    p.put(DATA, PADDED, sid, b"\x03ab\0\0\0")
    p.put(DATA, 0, sid, b"")
    p.put(DATA, 0, sid, b"cd")
    p.put(DATA, END_STREAM, sid, b"ef")
    return ["ok"] if p.outcome(sid)[:1] == ["status:200"] and p.is_alive() else ["broken"]


@rule("ok")
def the_window_is_kept(p):
    """Not a byte more than the windows allow, and the rest when they open."""
    q = Peer(p.port, settings=((1, 0), (4, 10)))
    sid = q.ask(req("/bytes/100"))
    got, step = 0, []
    for grant in (0, 1, 40, 1000):
        if grant:
            q.put(WINDOW, 0, sid, struct.pack(">I", grant))
        got += q.data(min(grant or 10, 100 - got))
        step.append(got)
    return ["ok"] if step == [10, 11, 51, 100] else [str(step)]


@rule("ok")
def a_window_may_become_negative(p):
    q = Peer(p.port, settings=((1, 0), (4, 10)))
    sid = q.ask(req("/bytes/30"))
    q.outcome(sid, 0.5)
    q.put(SETTINGS, 0, 0, struct.pack(">HI", 4, 2))
    q.put(WINDOW, 0, sid, struct.pack(">I", 8))
    early = "end" in q.outcome(sid, 0.4)
    q.put(WINDOW, 0, sid, struct.pack(">I", 100))
    return ["ok"] if not early and "end" in q.outcome(sid) else ["broken"]


@rule("rst:FLOW_CONTROL_ERROR", "goaway:FLOW_CONTROL_ERROR")
def more_data_than_the_window(p):
    """Nobody takes what comes before the server's consent."""
    sid = p.ask(req("/silent", "CONNECT") + [(":protocol", "websocket")], end=False)
    for _ in range(12):
        if not p.put(DATA, 0, sid, b"x" * 16384):
            break
    return p.outcome(sid)


@rule("ok")
def a_closed_stream_may_still_get_window_updates(p):
    sid = p.ask()
    p.outcome(sid)
    p.put(WINDOW, 0, sid, b"\0\0\0\1")
    p.put(RST, 0, sid, b"\0\0\0\x08")
    p.put(PRIORITY, 0, sid, b"\0\0\0\0\x10")
    return ["ok"] if p.is_alive() and "status:200" in p.outcome(p.ask()) else ["broken"]


@rule("rst:REFUSED_STREAM", "rst:PROTOCOL_ERROR", "goaway:PROTOCOL_ERROR")
def more_streams_than_announced(p):
    p.outcome(None, 0.3)
    for _ in range(129):
        sid = p.ask(req("/silent"))
    return p.outcome(sid)


def half_closed(p):
    return p.ask(req("/silent"))


def serves(p):
    """The connection has taken no harm."""
    return ["ok"] if p.is_alive() and "status:200" in p.outcome(p.ask()) else ["broken"]


def body_of(p, sid, seconds=30):
    """What the answer's DATA has brought, and how."""
    got, sizes, until = b"", [], time.monotonic() + seconds
    while time.monotonic() < until:
        f = p.read(until - time.monotonic())
        p.word(f)
        if f in (None, "close"):
            break
        if f[0] == DATA and f[2] == sid:
            got += f[3]
            sizes.append(len(f[3]))
            p.put(WINDOW, 0, 0, struct.pack(">I", max(len(f[3]), 1)))
        if f[0] in (DATA, HEADERS) and f[2] == sid and f[1] & END_STREAM:
            return got, sizes
    return None, sizes


@rule("ok")
def half_closed_streams_take_what_is_no_request(p):
    """RFC 9113 §5.1, half-closed (remote): WINDOW_UPDATE, PRIORITY, RST_STREAM."""
    sid = half_closed(p)
    p.put(WINDOW, 0, sid, b"\0\0\0\1")
    p.put(PRIORITY, 0, sid, b"\0\0\0\0\x10")
    p.put(RST, 0, sid, b"\0\0\0\x08")
    return serves(p)


@rule("ok")
def priority_opens_no_stream(p):
    """On an idle stream; one with a lower number may still be opened."""
    p.put(PRIORITY, 0, 99, b"\x80\0\0\x03\xff")
    return serves(p)


@rule("rst:STREAM_CLOSED", "goaway:STREAM_CLOSED", "ok")
def data_after_the_client_has_reset(p):
    sid = p.ask(req("/silent", "POST"), end=False)
    p.put(RST, 0, sid, b"\0\0\0\x08")
    p.put(DATA, END_STREAM, sid, b"x")
    return serves(p)


@rule("goaway:STREAM_CLOSED", "goaway:PROTOCOL_ERROR")
def headers_after_the_client_has_reset(p):
    sid = p.ask(req("/silent", "POST"), end=False)
    p.put(RST, 0, sid, b"\0\0\0\x08")
    p.put(HEADERS, 5, sid, G)
    return p.outcome(sid)


@rule("goaway:STREAM_CLOSED", "goaway:PROTOCOL_ERROR")
def headers_for_a_stream_that_is_over(p):
    sid = p.ask()
    p.outcome(sid)
    p.put(HEADERS, 5, sid, G)
    return p.outcome(None, wants=("close",))


@rule("ok")
def reserved_bits_and_flags_are_ignored(p):
    """§4.1: the bit in front of the stream, and flags that a type does not have."""
    p.send(Peer.frame(PING, 0xfe, 0x80000000, b"reserved"))
    sid = p.next
    p.next += 2
    p.send(Peer.frame(HEADERS, 0xc0 | 5, 0x80000000 | sid, G))
    return ["ok"] if "status:200" in p.outcome(sid) and p.is_alive() else ["broken"]


@rule("ok")
def a_frame_of_the_largest_size_is_taken(p):
    sid = p.ask(req("/echo", "POST"), end=False)
    p.put(DATA, END_STREAM, sid, b"x" * 16384)
    return ["ok"] if "status:200" in p.outcome(sid) and p.is_alive() else ["broken"]


@rule("ok")
def frames_are_no_larger_than_announced(p):
    q = Peer(p.port, settings=((1, 0), (4, 1 << 30)))
    q.put(WINDOW, 0, 0, struct.pack(">I", 1 << 30))
    got, sizes = body_of(q, q.ask(req("/bytes/200000")))
    return ["ok"] if got is not None and len(got) == 200000 and max(sizes) <= 16384 else [str(sizes)]


@rule("ok")
def an_error_is_said_and_then_the_connection_ends(p):
    """§5.4.1"""
    p.put(PING, 0, 0, b"1234567")
    seen = p.outcome(None, wants=("close",))
    return ["ok"] if seen == ["goaway:FRAME_SIZE_ERROR", "close"] else seen


@rule("ok")
def unknown_error_codes_are_codes(p):
    """§7"""
    sid = p.ask(req("/silent"))
    p.put(RST, 0, sid, b"\0\0\0\xff")
    if not p.is_alive():
        return ["broken"]
    sid = p.ask(req("/delay/100"))
    p.put(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\xffwhy")
    return ["ok"] if p.outcome(sid)[:1] == ["status:200"] else ["broken"]


@rule("ok")
def what_was_asked_before_goaway_is_answered(p):
    """§6.8"""
    sid = p.ask(req("/delay/200"))
    p.put(GOAWAY, 0, 0, b"\0" * 8)
    return ["ok"] if p.outcome(sid)[:1] == ["status:200"] else ["broken"]


@rule("ok")
def an_acknowledgement_is_not_answered(p):
    """§6.7: PING with ACK that nobody had asked for."""
    p.outcome(None, 0.2)
    p.put(PING, ACK, 0, b"nobody!!")
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        f = p.read(until - time.monotonic())
        if f not in (None, "close") and f[0] == PING:
            return ["answered"]
    return serves(p)


@rule("ok")
def the_last_of_several_settings_holds(p):
    """§6.5.3"""
    q = Peer(p.port, settings=((1, 0), (4, 100), (4, 1)))
    sid = q.ask(req("/bytes/100"))
    got = q.data(1)
    return ["ok"] if got == 1 else [str(got)]


@rule("ok")
def the_window_of_the_connection_is_kept(p):
    """§6.9.1: 65535 bytes for all streams together, however large theirs are."""
    q = Peer(p.port, settings=((1, 0), (4, 1 << 20)))
    for _ in range(3):
        q.ask(req("/bytes/50000"))
    got = q.data(65535)
    return ["ok"] if got == 65535 and q.is_alive() else [str(got)]


@rule("ok")
def an_end_without_a_byte_needs_no_window(p):
    q = Peer(p.port, settings=((1, 0), (4, 0)))
    return ["ok"] if q.outcome(q.ask(req("/bytes/0"))) == ["status:200", "end"] else ["broken"]


@rule("ok")
def good_trailers_are_taken(p):
    sid = p.ask(req("/echo", "POST"), end=False)
    p.put(DATA, 0, sid, b"abc")
    p.put(HEADERS, 5, sid, fields([("x-sum", "3")]))
    got, _ = body_of(p, sid)
    return ["ok"] if got and b"x-sum" in got and p.is_alive() else [str(got)]


def reads(p, block, *wants):
    """A request with this behind its pseudo fields: what the origin says that it got."""
    got, _ = body_of(p, p.ask(block=fields(req("/echo")) + block))
    return [w for w in wants if w not in (got or b"")]


@rule("ok")
def each_representation_of_hpack_is_read(p):
    """RFC 7541 §6: indexed and literal, with and without indexing, never indexed; Huffman; sizes of the table."""
    missing = reads(p, b"\x40" + text("x-one") + text("first"), b"first")
    missing += reads(p, b"\xbe" + b"\x0f\x2f" + text("second"), b"first", b"second")
    missing += reads(p, b"\x10" + text("x-never") + text("third") + b"\x00" + text("x-not") + text("fourth"), b"third", b"fourth")
    # Huffman: "www.example.com" of RFC 7541 C.4.1, as a name's value
    missing += reads(p, b"\x00" + text("x-huff") + b"\x8c" + bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff"), b"www.example.com")
    # the table is emptied and used again
    missing += reads_raw(p, b"\x20\x3f\xe1\x1f" + fields(req("/echo")) + b"\x40" + text("x-two") + text("fifth"), b"fifth")
    missing += reads(p, b"\xbe", b"x-two", b"fifth")
    return ["ok"] if not missing and p.is_alive() else [str(missing)]


def reads_raw(p, block, *wants):
    got, _ = body_of(p, p.ask(block=block))
    return [w for w in wants if w not in (got or b"")]


@rule("ok")
def the_oldest_entries_leave_the_table(p):
    """RFC 7541 §4.4: 4096 bytes of table, entries of 32 and their text."""
    missing = []
    for i in range(12):
        missing += reads(p, b"\x40" + text("x-%02d" % i) + text("v" * 400 + "%02d" % i), b"v%02d" % i)
    # 440 bytes each: the newest nine are there
    missing += reads(p, b"\xbe\xc6", b"v11", b"v03")
    p.ask(block=fields(req("/echo")) + b"\xc7")
    seen = p.outcome(None, wants=("close",))
    return ["ok"] if not missing and "goaway:COMPRESSION_ERROR" in seen else [str(missing)] + seen


@rule("ok")
def the_size_of_our_table_is_kept(p):
    """We have announced a table of 0: the first section says so, and nothing of a table is used."""
    q = Peer(p.port, settings=((1, 0),))
    q.ask()
    until = time.monotonic() + 30
    while time.monotonic() < until:
        f = q.read(30)
        if f in (None, "close"):
            break
        q.word(f)
        if f[0] == HEADERS:
            return ["ok"] if f[3][0] == 0x20 else [f[3][:4].hex()]
    return ["nothing"]


# --- messages: what is malformed, and what HTTP/1 could read in two ways ---
def with_field(*pairs):
    return req("/smuggled", "GET", *pairs)


MALFORMED = {
    "upper_case_name": with_field(("X-Upper", "1")),
    "connection": with_field(("connection", "close")),
    "connection_names_a_field": with_field(("connection", "x-forwarded-for")),
    "keep_alive": with_field(("keep-alive", "1")),
    "proxy_connection": with_field(("proxy-connection", "keep-alive")),
    "transfer_encoding": with_field(("transfer-encoding", "chunked")),
    "upgrade": with_field(("upgrade", "websocket")),
    "te_gzip": with_field(("te", "gzip")),
    "te_trailers_and_more": with_field(("te", "trailers, chunked")),
    "cr_in_value": with_field(("x", "a\rb")),
    "lf_in_value": with_field(("x", "a\nb")),
    "crlf_in_value": with_field(("x", "a\r\nx-evil: 1")),
    "crlf_request_in_value": with_field(("x", "a\r\n\r\nGET /evil HTTP/1.1\r\nhost: x\r\n\r\n")),
    "nul_in_value": with_field(("x", "a\0b")),
    "control_in_value": with_field(("x", "a\x01b")),
    "delete_in_value": with_field(("x", "a\x7fb")),
    "space_before_value": with_field(("x", " a")),
    "space_behind_value": with_field(("x", "a ")),
    "tab_behind_value": with_field(("x", "a\t")),
    "colon_in_name": with_field(("x:y", "1")),
    "colon_behind_name": with_field(("content-length:", "1")),
    "space_in_name": with_field(("x y", "1")),
    "space_behind_name": with_field(("transfer-encoding ", "chunked")),
    "crlf_in_name": with_field(("x\r\ntransfer-encoding", "chunked")),
    "lf_in_name": with_field(("x\ny", "1")),
    "nul_in_name": with_field(("x\0", "1")),
    "empty_name": with_field(("", "1")),
    "high_byte_in_name": with_field((b"x\xff", "1")),
    "content_length_twice": with_field(("content-length", "0"), ("content-length", "0")),
    "content_length_list": with_field(("content-length", "0, 0")),
    "content_length_plus": with_field(("content-length", "+0")),
    "content_length_octal": with_field(("content-length", "00")),
    "content_length_without_body": with_field(("content-length", "5")),
    "content_length_huge": with_field(("content-length", "18446744073709551616")),
    "host_other": with_field(("host", "other.test")),
    "host_twice": with_field(("host", "h.test"), ("host", "h.test")),
    "host_junk_only": [(":method", "GET"), (":scheme", "http"), (":path", "/smuggled"), ("host", "a b")],
    "no_authority_no_host": [(":method", "GET"), (":scheme", "http"), (":path", "/smuggled")],
    "authority_empty": [(":method", "GET"), (":scheme", "http"), (":path", "/smuggled"), (":authority", "")],
    "authority_with_user": [(":method", "GET"), (":scheme", "http"), (":path", "/smuggled"), (":authority", "u@h.test")],
    "authority_with_space": [(":method", "GET"), (":scheme", "http"), (":path", "/smuggled"), (":authority", "h.test x")],
    "authority_with_crlf": [(":method", "GET"), (":scheme", "http"), (":path", "/smuggled"), (":authority", "h.test\r\nx: y")],
    "authority_with_path": [(":method", "GET"), (":scheme", "http"), (":path", "/smuggled"), (":authority", "h.test/x")],
    "method_with_space": req("/smuggled", "GET /evil HTTP/1.1"),
    "method_with_crlf": req("/smuggled", "GET\r\nx: y"),
    "method_empty": req("/smuggled", ""),
    "path_with_space": req("/smuggled HTTP/1.1"),
    "path_with_crlf": req("/smuggled\r\nx: y"),
    "path_with_lf_only": req("/smuggled\n"),
    "path_with_nul": req("/smuggled\0"),
    "path_with_tab": req("/smuggled\tx"),
    "path_with_fragment": req("/smuggled#x"),
    "path_with_high_byte": req(b"/smuggled\xff"),
    "path_empty": req(""),
    "path_without_slash": req("smuggled"),
    "path_absolute": req("http://other.test/smuggled"),
    "path_asterisk_of_get": req("*"),
    "path_bad_percent": req("/smuggled%zz"),
    "path_percent_cut_off": req("/smuggled%2"),
    "path_percent_nul": req("/smuggled%00"),
    "scheme_with_space": [(":method", "GET"), (":scheme", "http x"), (":path", "/smuggled"), (":authority", "h.test")],
    "scheme_unknown": [(":method", "GET"), (":scheme", "ftp"), (":path", "/smuggled"), (":authority", "h.test")],
    "no_method": [(":scheme", "http"), (":path", "/smuggled"), (":authority", "h.test")],
    "no_scheme": [(":method", "GET"), (":path", "/smuggled"), (":authority", "h.test")],
    "no_path": [(":method", "GET"), (":scheme", "http"), (":authority", "h.test")],
    "scheme_twice": [(":scheme", "http")] + req("/smuggled"),
    "authority_twice": req("/smuggled") + [(":authority", "h.test")],
    "method_twice": [(":method", "GET")] + req("/smuggled"),
    "path_twice": req("/smuggled") + [(":path", "/evil")],
    "pseudo_after_field": [(":method", "GET"), (":scheme", "http"), ("x", "1"), (":path", "/smuggled"), (":authority", "h.test")],
    "unknown_pseudo": [(":evil", "1")] + req("/smuggled"),
    "response_pseudo": [(":status", "200")] + req("/smuggled"),
    "protocol_of_get": req("/smuggled") + [(":protocol", "websocket")],
    "connect_with_path": [(":method", "CONNECT"), (":path", "/smuggled"), (":authority", "h.test:443")],
    "connect_without_port": [(":method", "CONNECT"), (":authority", "h.test")],
}
TRAILERS = {
    "trailer_pseudo": [(":path", "/evil")],
    "trailer_connection": [("connection", "close")],
    "trailer_transfer_encoding": [("transfer-encoding", "chunked")],
    "trailer_crlf": [("x", "a\r\n\r\nGET /evil HTTP/1.1\r\n\r\n")],
    "trailer_upper_case": [("X-Sum", "1")],
    "trailer_name_colon": [("x:y", "1")],
}


def is_refused(seen):
    """A stream error of the right kind, with 400 in front of it or nothing."""
    return "rst:PROTOCOL_ERROR" in seen and all(w in ("rst:PROTOCOL_ERROR", "status:400") for w in seen)


def judged(p, seen):
    if not is_refused(seen):
        return ["passed:"] + seen
    return ["ok"] if p.is_alive() else ["dead"]


def refused(name, pairs):
    def run(p):
        return judged(p, p.outcome(p.ask(pairs), wants=("rst", "close")))
    RULES.append((name, run, ("ok",)))


def refused_trailer(name, pairs):
    def run(p):
        sid = p.ask(req("/echo", "POST"), end=False)
        p.put(DATA, 0, sid, b"abc")
        p.put(HEADERS, 5, sid, fields(pairs))
        return judged(p, p.outcome(sid, wants=("rst", "close")))
    RULES.append((name, run, ("ok",)))


for _name, _pairs in MALFORMED.items():
    refused(_name, _pairs)
for _name, _pairs in TRAILERS.items():
    refused_trailer(_name, _pairs)
FIRST_MESSAGE_RULE = "upper_case_name"


def body_rule(name, length, chunks, trailers=None):
    def run(p):
        sid = p.ask(req("/echo", "POST", ("content-length", str(length))), end=False)
        for i, c in enumerate(chunks):
            p.put(DATA, END_STREAM if i == len(chunks) - 1 and trailers is None else 0, sid, c)
        if trailers is not None:
            p.put(HEADERS, 4 | trailers, sid, fields([("x-sum", "1")]))
        return judged(p, p.outcome(sid, wants=("rst", "close")))
    RULES.append((name, run, ("ok",)))


body_rule("body_longer_than_length", 3, [b"abcd"])
body_rule("body_longer_in_two", 3, [b"ab", b"cd"])
body_rule("body_shorter_than_length", 5, [b"abcd"])
body_rule("body_empty_of_five", 5, [b""])
body_rule("body_longer_than_zero", 0, [b"GET /evil HTTP/1.1\r\n\r\n"])
body_rule("body_shorter_with_trailers", 5, [b"abcd"], trailers=END_STREAM)
body_rule("trailers_without_end", 4, [b"abcd"], trailers=0)


@rule("ok")
def host_that_agrees_is_fine(p):
    return ["ok"] if "status:200" in p.outcome(p.ask(req("/bytes/1", "GET", ("host", "H.test"), ("te", "trailers")))) else ["broken"]


@rule("ok")
def host_instead_of_authority_is_fine(p):
    pairs = [(":method", "GET"), (":scheme", "http"), (":path", "/bytes/1"), ("host", "h.test")]
    return ["ok"] if "status:200" in p.outcome(p.ask(pairs)) else ["broken"]


@rule("status:431")
def header_section_above_the_limit(p):
    sid = p.next
    block = fields(GET + [("x-%d" % i, "y" * 1000) for i in range(40)])
    p.put(HEADERS, END_STREAM, sid, block[:16000])
    p.put(CONT, 0, sid, block[16000:32000])
    p.put(CONT, END_HEADERS, sid, block[32000:])
    return p.outcome(sid)


@rule("status:431")
def more_fields_than_the_limit(p):
    return p.outcome(p.ask(GET + [("x%d" % i, "") for i in range(129)]))


@rule("status:414")
def path_above_the_limit(p):
    return p.outcome(p.ask(req("/" + "a" * 9000)))


@rule("status:405")
def connect_is_not_for_everybody(p):
    return p.outcome(p.ask([(":method", "CONNECT"), (":authority", "h.test:443")]))


@rule("status:501")
def unknown_protocols_of_connect(p):
    return p.outcome(p.ask(req("/ws", "CONNECT", )[:4] + [(":protocol", "chat")], end=False))


# --- attacks: what the server does, as a word ---
ATTACKS = {}


def attack(fn):
    ATTACKS[fn.__name__] = fn
    return fn


def ending(p, seconds=30, acks=True):
    seen = p.outcome(None, seconds, wants=("close",), acks=acks)
    words = [w for w in seen if w.startswith("goaway")]
    return words[-1] if words else "close" if "close" in seen else "nothing"


def flood(p, frame, count=20000):
    for _ in range(count // 500):
        if not p.send(frame * 500):
            break
    return ending(p)


@attack
def rapid_reset(p):
    for _ in range(2000):
        sid = p.next
        p.next += 2
        if not p.send(Peer.frame(HEADERS, 5, sid, fields(req("/silent"))) + Peer.frame(RST, 0, sid, b"\0\0\0\x08")):
            break
    return ending(p)


@attack
def more_streams_at_once(p):
    """All of them before our settings can have been seen: those above the limit are refused, no more."""
    ids = [p.ask(req("/silent")) for _ in range(15)]
    seen = p.outcome(ids[-1], 20)
    return "+".join(sorted(set(seen))) + ("+alive" if p.is_alive() else "+dead")


@attack
def made_you_reset(p):
    """Valid requests, then a frame each that obliges the server to reset them."""
    for _ in range(2000):
        sid = p.next
        p.next += 2
        if not p.send(Peer.frame(HEADERS, 5, sid, fields(req("/silent"))) + Peer.frame(WINDOW, 0, sid, b"\x7f\xff\xff\xff")):
            break
    return ending(p)


@attack
def malformed_flood(p):
    for _ in range(2000):
        sid = p.next
        p.next += 2
        if not p.send(Peer.frame(HEADERS, 5, sid, fields(GET + [("connection", "x")]))):
            break
    return ending(p)


@attack
def continuation_flood(p):
    p.put(HEADERS, END_STREAM, 1, G)
    for _ in range(5000):
        if not p.put(CONT, 0, 1, b""):
            break
    return ending(p)


@attack
def continuation_flood_with_fields(p):
    p.put(HEADERS, END_STREAM, 1, G)
    for _ in range(2000):
        if not p.put(CONT, 0, 1, fields([("x", "y" * 8000)])):
            break
    return ending(p)


@attack
def hpack_bomb(p):
    """One field of 4 kB in the table, then a byte for each copy of it."""
    p.put(HEADERS, END_STREAM | END_HEADERS, 1, G + fields([("x", "y" * 4000)], indexed=True))
    p.outcome(1)
    p.put(HEADERS, END_STREAM | END_HEADERS, 3, G + b"\xbe" * 15000)
    return ending(p)


@attack
def hpack_bomb_small(p):
    """Above the limit, but bearable: an answer, and the connection goes on."""
    p.put(HEADERS, END_STREAM | END_HEADERS, 1, G + fields([("x", "y" * 4000)], indexed=True))
    p.outcome(1)
    p.put(HEADERS, END_STREAM | END_HEADERS, 3, G + b"\xbe" * 20)
    return "+".join(p.outcome(3)) + ("+alive" if p.is_alive() else "+dead")


@attack
def settings_flood(p):
    return flood(p, Peer.frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)))


@attack
def ping_flood(p):
    return flood(p, Peer.frame(PING, 0, 0, b"12345678"))


@attack
def ping_flood_unread(p):
    return flood(p, Peer.frame(PING, 0, 0, b"12345678"), 200000)


@attack
def empty_data_flood(p):
    p.ask(req("/silent", "POST"), end=False)
    return flood(p, Peer.frame(DATA, 0, 1, b""))


@attack
def padded_data_flood(p):
    p.ask(req("/silent", "POST"), end=False)
    return flood(p, Peer.frame(DATA, PADDED, 1, b"\0"))


@attack
def priority_flood(p):
    return flood(p, Peer.frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"))


@attack
def window_update_flood(p):
    return flood(p, Peer.frame(WINDOW, 0, 0, b"\0\0\0\1"))


@attack
def unknown_flood(p):
    return flood(p, Peer.frame(0x42, 0, 0, b""))


@attack
def unknown_flood_of_a_stream(p):
    """Behind each other with requests, and with bytes in them."""
    return flood(p, Peer.frame(0x42, 0xff, 1, b"x" * 100))


@attack
def priority_update_flood(p):
    return flood(p, Peer.frame(0x10, 0, 0, b"\0\0\0\1u=1"))


@attack
def stray_empty_data_flood(p):
    """DATA for a stream that has ended: skipped, but not for ever."""
    p.outcome(p.ask())
    return flood(p, Peer.frame(DATA, 0, 1, b""))


@attack
def stray_data_flood(p):
    sid = p.ask(req("/smuggled", "POST", ("connection", "x")), end=False)
    p.outcome(sid, wants=("rst",))
    return flood(p, Peer.frame(DATA, 0, sid, b"x"))


@attack
def stray_data_in_flight(p):
    """What a client had sent when its stream was reset costs it nothing."""
    for _ in range(20):
        sid = p.ask(req("/smuggled", "POST", ("connection", "x")), end=False)
        p.outcome(sid, wants=("rst",))
        p.send(Peer.frame(DATA, 0, sid, b"x" * 100) * 600)
    return "alive" if p.is_alive() else "dead"


@attack
def slow_header_section(p):
    """HEADERS, and the rest never comes."""
    p.put(HEADERS, END_STREAM, 1, G[:10])
    return ending(p, acks=False)


@attack
def silent_after_connect(p):
    q = Peer(p.port, preface=None)
    q.send(PREFACE)
    return ending(q, acks=False)


@attack
def no_window(p):
    """Asks for much and gives no window: the stream ends, the connection goes on."""
    q = Peer(p.port, settings=((1, 0), (4, 0)))
    sid = q.ask(req("/bytes/3000000"))
    seen = q.outcome(sid)
    return "+".join(seen) + ("+alive" if q.is_alive() else "+dead")


@attack
def no_reading(p):
    """Windows are open, but the socket is not read."""
    q = Peer(p.port, settings=((1, 0), (4, (1 << 31) - 1)), rcvbuf=4096)
    q.put(WINDOW, 0, 0, struct.pack(">I", (1 << 31) - 65536))
    for _ in range(20):
        q.ask(req("/bytes/3000000"))
    time.sleep(5)
    q.s.settimeout(30)
    try:
        while q.s.recv(1 << 20):
            pass
        return "close"
    except ConnectionError:
        return "close"
    except socket.timeout:
        return "nothing"


def read_late(port, path, n):
    """Asks n times, reads when a line comes from stdin: how each of them has ended, and of how many bytes."""
    q = Peer(port, settings=((1, 0), (4, (1 << 31) - 1)), rcvbuf=4096)
    q.put(WINDOW, 0, 0, struct.pack(">I", (1 << 31) - 65536))
    # In one segment: what comes when answers are in the way is read once they are taken.
    block = b"\x82\x86\x04" + text(path) + b"\x01" + text("h.test")
    open_ = {sid: 0 for sid in range(1, 2 * n, 2)}
    q.next = 2 * n + 1
    q.send(b"".join(q.frame(HEADERS, END_HEADERS | END_STREAM, sid, block) for sid in open_))
    sys.stdin.readline()
    while open_:
        f = q.read(60)
        if f in (None, "close"):
            print(f or "nothing")
            return 1
        word = q.word(f)
        if f[2] in open_:
            open_[f[2]] += len(f[3]) if f[0] == DATA else 0
            if f[0] == RST or f[1] & END_STREAM and f[0] in (DATA, HEADERS):
                print(word or "end", open_.pop(f[2]))
    print("alive" if q.is_alive() else "dead")
    return 0


def continue_late(port):
    """The server's consent comes while the socket takes nothing: it is there once it is read."""
    q = Peer(port, settings=((1, 0), (4, (1 << 31) - 1)), rcvbuf=4096)
    q.put(WINDOW, 0, 0, struct.pack(">I", (1 << 31) - 65536))
    sid = q.ask(req("/late-continue/700", "POST", ("expect", "100-continue"), ("content-length", "5")), end=False)
    for _ in range(10):
        q.ask(req("/bytes/3000000"))
    time.sleep(1.2)
    while True:
        f = q.read(30)
        if f in (None, "close"):
            print(f or "nothing")
            return 1
        word = q.word(f)
        if f[2] == sid and word:
            print(word)
            if word == "status:100":
                q.put(DATA, END_STREAM, sid, b"hello")
            else:
                return 0


def drained(port, path):
    """A client with no opinion of its own about GOAWAY: it reads and waits for the end."""
    p = Peer(port)
    p.outcome(p.ask(req("/local")))
    print("open", flush=True)
    sid = p.ask(req(path)) if path else None
    while True:
        f = p.read(100)
        if f in (None, "close"):
            print(f or "nothing", flush=True)
            return 0
        w = p.word(f)
        if f[0] == GOAWAY:
            w += " last:%d" % int.from_bytes(f[3][:4], "big")
        if w:
            print(w, flush=True)
        if f[2] == sid and f[1] & END_STREAM and f[0] in (DATA, HEADERS):
            print("end", flush=True)


def no_windows(port, path, n):
    """Asks n times and gives no window; when a line comes from stdin it does, and reads: bytes of each."""
    q = Peer(port, settings=((1, 0), (4, 0)))
    open_ = {q.ask(req(path)): 0 for _ in range(n)}
    sys.stdin.readline()
    q.put(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 30))
    q.put(WINDOW, 0, 0, struct.pack(">I", 1 << 30))
    while open_:
        f = q.read(60)
        if f in (None, "close"):
            print(f or "nothing")
            return 1
        q.word(f)
        if f[2] in open_:
            open_[f[2]] += len(f[3]) if f[0] == DATA else 0
            if f[0] == RST or f[1] & END_STREAM and f[0] in (DATA, HEADERS):
                print("end" if f[0] == DATA else "rst", open_.pop(f[2]))
    return 0


class Uploads:
    """Bodies without end, and their windows."""

    def __init__(self, port):
        self.q, self.initial, self.conn, self.left, self.words = Peer(port), 65535, 65535, {}, {}

    def start(self, path, size=1 << 40):
        sid = self.q.ask(req(path, "POST"), end=False)
        self.left[sid], self.words[sid] = [self.initial, size], []
        return sid

    def heard(self, f):
        kind, flags, sid, payload = f
        word = self.q.word(f)
        if word:
            self.words.setdefault(sid, []).append(word)
        if kind == SETTINGS and not flags & ACK:
            for k, v in struct.iter_unpack(">HI", payload):
                if k == 4:
                    for w in self.left.values():
                        w[0] += v - self.initial
                    self.initial = v
        elif kind == WINDOW and sid == 0:
            self.conn += int.from_bytes(payload, "big")
        elif kind == WINDOW and sid in self.left:
            self.left[sid][0] += int.from_bytes(payload, "big")
        elif kind == RST or kind in (DATA, HEADERS) and flags & END_STREAM:
            self.left.pop(sid, None)
            self.words.setdefault(sid, []).append("end" if kind != RST else "")

    def send_all(self):
        """What windows allow."""
        out = b""
        for sid, w in self.left.items():
            while (n := min(w[0], w[1], self.conn, 16384)) > 0:
                w[0], w[1], self.conn = w[0] - n, w[1] - n, self.conn - n
                out += self.q.frame(DATA, 0 if w[1] else END_STREAM, sid, bytes(n))
        return not out or self.q.send(out)

    def fill(self, quiet):
        """Until windows are full, and nothing has come for so long; for 30 s at most. False: the server has hung up."""
        until = time.monotonic() + 30
        while self.go_on(quiet):
            if not self.conn or all(w[0] == 0 for w in self.left.values()) or time.monotonic() > until:
                return True
        return False

    def go_on(self, quiet, until=lambda: False):
        """Until nothing has come for so long, or that. What still came before the last of it is seen."""
        while not until():
            if not self.send_all():
                return False
            f = self.q.read(quiet)
            if f in (None, "close"):
                return f is None
            self.heard(f)
        return True


def uploads(port, path, n, then):
    u = Uploads(port)
    ids = [u.start(path) for _ in range(n)]
    print("open" if u.fill(2) else "closed", sum(w[0] == 0 for w in u.left.values()), "stalled", flush=True)
    last = u.start(then, 200000)
    u.go_on(30, lambda: "end" in u.words[last])
    print(" ".join(u.words[last]), flush=True)
    sys.stdin.readline()
    u.go_on(1)
    print("\n".join(" ".join(u.words[i]).strip() or "waits" for i in ids), flush=True)
    return 0


def at_once(port, path, n):
    q = Peer(port)
    print(" ".join(q.outcome(q.ask(req(path)))), flush=True)
    sys.stdin.readline()
    return each(q, n, lambda sid: q.frame(HEADERS, END_HEADERS | END_STREAM, sid, fields(req(path))))


def posts(port, path, n, size):
    q = Peer(port)
    return each(q, n, lambda sid: q.frame(HEADERS, END_HEADERS, sid, fields(req(path, "POST"))) + q.frame(DATA, END_STREAM, sid, bytes(size)))


def each(q, n, frames):
    first = q.next
    words = {first + 2 * i: [] for i in range(n)}
    q.send(b"".join(frames(sid) for sid in words))
    while not all(w and w[-1] in ("end", "rst") for w in words.values()):
        f = q.read(60)
        if f in (None, "close"):
            print(f or "nothing")
            return 1
        word = q.word(f)
        if f[2] in words:
            words[f[2]] += [word] if word and f[0] == HEADERS else []
            if f[0] == RST or f[0] in (DATA, HEADERS) and f[1] & END_STREAM:
                words[f[2]].append("rst" if f[0] == RST else "end")
    print("\n".join(" ".join(w) for w in words.values()))
    return 0


def cut_between(port, path):
    """That it is asked for bodies says that somebody takes them. The second one's pieces are not small enough to be copied."""
    q = Peer(port)
    ids = [q.ask(req(path, "POST", ("expect", "100-continue")), end=False) for _ in range(2)]
    for _ in ids:
        if q.outcome(wants=("status",), seconds=60) != ["status:100"]:
            print("nothing")
            return 1
    q.send(q.frame(DATA, 0, ids[0], b"x") * 4 + q.frame(RST, 0, ids[0], b"\0\0\0\x08") +
           q.frame(DATA, 0, ids[1], b"y" * 1100) * 40 + q.frame(DATA, END_STREAM, ids[1]))
    print(" ".join(q.outcome(ids[1], 60)), flush=True)
    return 0


def half_section(port):
    q = Peer(port)
    block = fields(GET) + fields([("x-late", "1")])
    half = len(fields(GET)) - 3
    q.send(q.frame(PING, 0, 0, b"half way") + q.frame(HEADERS, END_STREAM, 1, block[:half]))
    while (f := q.read(60)) not in (None, "close") and (f[0] != PING or not f[1] & ACK):
        q.word(f, acks=False)
    print("half", flush=True)
    sys.stdin.readline()
    q.put(CONT, END_HEADERS, 1, block[half:])
    print(" ".join(q.outcome(1, 60)), flush=True)
    return 0


def left_body(port, path):
    q = Peer(port)
    q.send(q.frame(HEADERS, END_HEADERS, 1, fields(req(path, "POST", ("content-length", "20000")))) +
           q.frame(HEADERS, END_HEADERS | END_STREAM, 3, fields(req("/local"))))
    print(" ".join(sorted(q.outcome(1, 30, wants=("rst", "goaway", "close")))))
    return 0


def conform(port, names):
    bad = 0
    for name, fn, expected in RULES:
        if names and name not in names:
            continue
        p = Peer(port)
        p.port = port
        seen = fn(p)
        good = any(w in expected for w in seen)
        bad += not good
        print("%s %s: %s" % ("ok  " if good else "FAIL", name, " ".join(seen) or "nothing"), flush=True)
        p.s.close()
    print("%d rules, %d broken" % (len([r for r in RULES if not names or r[0] in names]), bad))
    return 1 if bad else 0


def main(argv):
    if argv == ["--list"]:
        print("\n".join(list(ATTACKS) + [r[0] for r in RULES]))
        return 0
    port, word, rest = int(argv[0]), argv[1], argv[2:]
    if word == "conform":
        return conform(port, rest)
    if word == "smuggle":
        return conform(port, list(MALFORMED) + list(TRAILERS) + [r[0] for r in RULES if r[0].startswith(("body_", "trailers_"))])
    p = Peer(port)
    p.port = port
    if word == "attack":
        print(ATTACKS[rest[0]](p))
        return 0
    if word == "late":
        return read_late(port, rest[0], int(rest[1]))
    if word == "continue_late":
        return continue_late(port)
    if word == "drained":
        return drained(port, rest[0] if rest else None)
    if word == "no_windows":
        return no_windows(port, rest[0], int(rest[1]))
    if word == "uploads":
        return uploads(port, rest[0], int(rest[1]), rest[2])
    if word == "posts":
        return posts(port, rest[0], int(rest[1]), int(rest[2]))
    if word == "cut_between":
        return cut_between(port, rest[0])
    if word == "half_section":
        return half_section(port)
    if word == "left_body":
        return left_body(port, rest[0])
    if word == "at_once":
        return at_once(port, rest[0], int(rest[1]))
    if word == "get":
        ids = [p.ask(req(rest[0])) for _ in range(int(rest[1]) if len(rest) > 1 else 1)]
        for sid in ids:
            print(" ".join(p.outcome(sid)))
        return 0
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
