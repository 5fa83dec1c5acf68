#!/usr/bin/python3
"""grpc_peer.py server [tls=PEM] | client PORT [tls=CA] WHAT..: both ends of gRPC by Debian's python3-grpcio, messages as plain bytes.

server: prints "port N" and "ready". Methods of /t.T: Unary (echo), Sum (client stream: bytes in all), Count (server
stream: N messages), Chat (both ways, echo), Fail (status 9 with a message and a trailer), Slow (1 s), Time (the time
left of the caller's deadline, in ms), Hang (until its caller has left; then the server prints "left Hang"), Ticks
(a message each 50 ms, until "left Ticks"). And grpc.health.v1: the whole server is SERVING, the service "resting" is
NOT_SERVING, "shaky" changes with each call, "broken" fails, "long" answers too much, all others are NOT_FOUND; "health"
and the service, host and fields of each probe are printed.
client WHAT: one line each; ends with 1 when something is not as it should be.
"""
import re, sys, threading, time
from concurrent import futures

import grpc

same = lambda b: b


def unary(q, c):
    c.set_trailing_metadata((("x-trailer", "t"),))
    return q


def fail(q, c):
    c.set_trailing_metadata((("x-why", "because"),))
    c.abort(grpc.StatusCode.FAILED_PRECONDITION, "no way")


def slow(q, c):
    time.sleep(1)
    return q


def until_left(name, c):
    gone = threading.Event()
    c.add_callback(lambda: (print("left", name, flush=True), gone.set()))
    return gone


def hang(q, c):
    until_left("Hang", c).wait(20)
    return q


def ticks(q, c):
    gone = until_left("Ticks", c)
    while not gone.wait(0.05):
        yield q


def chat(qs, c):
    for q in qs:
        yield q


SHAKY = [0]


def health(q, c):
    name = q[2:].decode()
    print("health", name or "-", sorted(k for k, _ in c.invocation_metadata()), flush=True)
    if name == "broken":
        c.abort(grpc.StatusCode.INTERNAL, "no")
    if name == "long":
        return b"\x08\x01" + b"\x12\xe8\x07" + b"x" * 1000
    SHAKY[0] ^= 1
    state = {"": 1, "resting": 2, "shaky": 1 + SHAKY[0]}.get(name)
    if state is None:
        c.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return b"\x08" + bytes([state])


class Handler(grpc.GenericRpcHandler):
    def service(self, call):
        name = call.method.rsplit("/", 1)[1]
        if call.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(health)
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(unary),
            "Sum": grpc.stream_unary_rpc_method_handler(lambda qs, c: str(sum(len(q) for q in qs)).encode()),
            "Count": grpc.unary_stream_rpc_method_handler(lambda q, c: (b"%d" % i for i in range(int(q)))),
            "Chat": grpc.stream_stream_rpc_method_handler(chat),
            "Fail": grpc.unary_unary_rpc_method_handler(fail),
            "Slow": grpc.unary_unary_rpc_method_handler(slow),
            "Hang": grpc.unary_unary_rpc_method_handler(hang),
            "Ticks": grpc.unary_stream_rpc_method_handler(ticks),
            "Time": grpc.unary_unary_rpc_method_handler(lambda q, c: b"%d" % (c.time_remaining() * 1000)),
        }.get(name)


def blocks(path, what):
    return b"".join(re.findall(b"-----BEGIN [A-Z ]*%s-----.*?-----END [^\n]*\n" % what, open(path, "rb").read(), re.S))


def server(tls):
    s = grpc.server(futures.ThreadPoolExecutor(16), handlers=(Handler(),))
    if tls:
        port = s.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(blocks(tls, b"KEY"), blocks(tls, b"CERTIFICATE"))]))
    else:
        port = s.add_insecure_port("127.0.0.1:0")
    s.start()
    print("port", port, flush=True)
    print("ready", flush=True)
    s.wait_for_termination()


def client(port, tls, what):
    if tls:
        channel = grpc.secure_channel("localhost:%s" % port, grpc.ssl_channel_credentials(blocks(tls, b"CERTIFICATE")))
    else:
        channel = grpc.insecure_channel("127.0.0.1:%s" % port)
    m = "/t.T/"
    big = bytes(range(256)) * 4000
    ok = True

    def check(name, good, seen=""):
        nonlocal ok
        ok = ok and good
        print(name, "ok" if good else "WRONG: %r" % (seen,), flush=True)

    def status(name, want, method, **kw):
        try:
            r = channel.unary_unary(m + method)(b"x", **kw)
            check(name, False, r)
        except grpc.RpcError as e:
            check(name, e.code().name == want, (e.code().name, e.details()))
            return e

    for w in what:
        if w == "unary":
            r, call = channel.unary_unary(m + "Unary").with_call(b"hello", timeout=10)
            check(w, r == b"hello" and ("x-trailer", "t") in [tuple(t) for t in call.trailing_metadata()], (r, call.trailing_metadata()))
        elif w == "big":
            r = channel.unary_unary(m + "Unary")(big, timeout=20)
            check(w, r == big, len(r))
        elif w == "sum":
            r = channel.stream_unary(m + "Sum")((b"x" * 1000 for _ in range(500)), timeout=20)
            check(w, r == b"500000", r)
        elif w == "count":
            r = list(channel.unary_stream(m + "Count")(b"1000", timeout=20))
            check(w, len(r) == 1000 and r[-1] == b"999", len(r))
        elif w == "chat":
            # Each message goes out when the answer to the one before is here: nothing on the way may collect.
            import queue
            q = queue.Queue()
            answers = channel.stream_stream(m + "Chat")(iter(q.get, None), timeout=20)
            seen = []
            for i in range(50):
                q.put(b"%d" % i)
                seen.append(next(answers))
            q.put(None)
            check(w, seen == [b"%d" % i for i in range(50)] and list(answers) == [], seen)
        elif w == "fail":
            e = status(w, "FAILED_PRECONDITION", "Fail", timeout=10)
            check("fail-trailer", ("x-why", "because") in [tuple(t) for t in e.trailing_metadata()], e.trailing_metadata())
        elif w == "deadline":
            status(w, "DEADLINE_EXCEEDED", "Slow", timeout=0.2)
        elif w == "hang":
            # The server hears of the deadline from whoever is in between, not only from its own clock.
            status(w, "DEADLINE_EXCEEDED", "Hang", timeout=0.5)
        elif w == "cancel":
            call = channel.unary_unary(m + "Hang").future(b"x")
            time.sleep(0.3)
            check(w, call.cancel() and call.cancelled())
        elif w == "cancel-stream":
            answers = channel.unary_stream(m + "Ticks")(b"x", timeout=20)
            seen = [next(answers) for _ in range(3)]
            answers.cancel()
            check(w, seen == [b"x"] * 3)
        elif w == "time":
            r = int(channel.unary_unary(m + "Time")(b"x", timeout=7))
            check(w, 5000 < r <= 7500, r)
        elif w == "unimplemented":
            status(w, "UNIMPLEMENTED", "Nothing", timeout=10)
        elif w == "many":
            calls = [channel.unary_unary(m + "Unary").future(b"%d" % i, timeout=20) for i in range(500)]
            check(w, [c.result() for c in calls] == [b"%d" % i for i in range(500)])
        elif w.startswith("status="):
            status(w, w[7:], "Unary", timeout=10)
    return 0 if ok else 1


words = [a for a in sys.argv[1:] if not a.startswith("tls=")]
files = [a[4:] for a in sys.argv[1:] if a.startswith("tls=")]
if words[0] == "server":
    server(files and files[0])
sys.exit(client(words[1], files and files[0], words[2:]))
