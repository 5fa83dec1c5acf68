#!/usr/bin/env python3
"""manyports.py: one listener on all of 127.0.0.0/8 that stands for thousands of servers.

usage: manyports.py [--sick-file FILE]

Prints "port N" and "ready". Each connection gets one answer by the address that it came to: 200, or
503 for those in FILE (one address a line, read again when it
changes). SIGUSR1 prints "connections N addresses M" (so far) to stdout.
"""
import argparse, asyncio, os, resource, signal, socket

ap = argparse.ArgumentParser()
ap.add_argument("--sick-file")
opt = ap.parse_args()
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
seen, count, sick, mtime = set(), 0, set(), 0


def look():
    global sick, mtime
    if not opt.sick_file or not os.path.exists(opt.sick_file):
        return
    at = os.stat(opt.sick_file).st_mtime_ns
    if at != mtime:
        mtime = at
        sick = set(open(opt.sick_file).read().split())


async def serve(reader, writer):
    global count
    to = writer.get_extra_info("sockname")[0]
    seen.add(to)
    count += 1
    try:
        await reader.readuntil(b"\r\n\r\n")
        look()
        code = b"503 Sick" if to in sick else b"200 OK"
        writer.write(b"HTTP/1.1 " + code + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    writer.close()


async def main():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", 0))
    s.listen(4096)
    await asyncio.start_server(serve, sock=s, backlog=4096)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(
        signal.SIGUSR1, lambda: print(f"connections {count} addresses {len(seen)}", flush=True))
    print(f"port {s.getsockname()[1]}\nready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
