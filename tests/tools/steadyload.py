#!/usr/bin/env python3
"""steadyload.py run HTTP_PORT HTTPS_PORT LOG     ask without pause until SIGTERM, one line of LOG for each request
steadyload.py judge LOG KILLS                  were only those requests lost that a kill may cost?

Four loops: plain and TLS, each with a connection per request and with one that is kept. A line of LOG is
KIND START END RESULT (seconds; `ok` or what went wrong). A line of KILLS is NAME KILLED GONE BACK.

What a kill may cost (design: static stability), under `proxyctl up`, which keeps the listeners of those that it runs:
  routerd   requests that were under way. Not a connection that was begun afterwards: it waits for the next routerd.
  tlsd      handshakes that were under way, likewise; never plain HTTP.
  others    nothing: healthd is not on the path, and a server's requests go to another one.
Nobody is ever refused.
"""
import http.client, signal, ssl, sys, threading, time

TRUSTING = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE


def one(kind, port, kept):
    conn = kept.get(kind)
    if conn is None:
        if kind.startswith("https"):
            conn = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=TRUSTING)
        else:
            conn = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        conn.request("GET", "/")
        answer = conn.getresponse()
        body = answer.read()
        if answer.status != 200 or not body.startswith(b"hello from "):
            raise OSError("status-%d" % answer.status)
    except Exception:
        kept.pop(kind, None)
        conn.close()
        raise
    if kind.endswith("keep") and not answer.will_close:
        kept[kind] = conn
    else:
        kept.pop(kind, None)
        conn.close()


def loop(kind, port, log, stop):
    kept = {}
    while not stop.is_set():
        start = time.time()
        try:
            one(kind, port, kept)
            result = "ok"
        except Exception as e:
            result = ("%s-%s" % (type(e).__name__, e)).replace(" ", "_")
        log.write("%s %.3f %.3f %s\n" % (kind, start, time.time(), result))
        log.flush()
        stop.wait(0.004 if result == "ok" else 0.02)


def run(http_port, https_port, path):
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    log = open(path, "a")
    threads = [threading.Thread(target=loop, args=(kind, https_port if "https" in kind else http_port, log, stop))
               for kind in ("http-new", "http-keep", "https-new", "https-keep")]
    for t in threads:
        t.start()
    print("running", flush=True)
    while not stop.is_set():
        time.sleep(0.05)
    for t in threads:
        t.join()


def may_fail(kind, before, start, end, kill):
    """before: when the request before it began."""
    name, killed, gone, back = kill
    if end < killed:
        return False
    if name.startswith("tlsd"):
        return kind.startswith("https") and start < gone
    # One that is kept finds out by its next request that it is no more, whenever that comes.
    return name == "routerd.0" and (start < gone or kind.endswith("keep") and (before < gone or start <= back))


def judge(path, kills_path):
    kills = [(n, *map(float, times)) for n, *times in (line.split() for line in open(kills_path))]
    seen, lost, bad, last = {}, {}, 0, {}
    for line in open(path):
        kind, start, end, result = line.split()
        start, end = float(start), float(end)
        seen[kind] = seen.get(kind, 0) + 1
        before, last[kind] = last.get(kind, start), start
        if result == "ok":
            continue
        lost[kind] = lost.get(kind, 0) + 1
        if "Refused" in result or not any(may_fail(kind, before, start, end, k) for k in kills):
            near = [k for k in kills if k[1] - 1 < end and start < k[2] + 1]
            print("lost without a reason: %s near %s" % (line.strip(), near))
            bad += 1
    print("requests", seen, "lost", lost, "kills", len(kills))
    if len(seen) < 4 or min(seen.values()) < 20:
        print("too few requests to say anything")
        bad += 1
    return 1 if bad else 0


if sys.argv[1] == "run":
    run(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
else:
    sys.exit(judge(sys.argv[2], sys.argv[3]))
