#!/usr/bin/env python3
"""freeport.py FILE: a port that nobody has, and that nobody gets meanwhile.

What the kernel gives to those who ask for any port stands aside: it could give it to somebody else before the one it
was asked for binds it. FILE remembers the last one, for all who name the same file: none is given twice in a run.
"""
import fcntl, random, socket, sys

FIRST = 11000  # above those that are known, browsers' forbidden ones among them


def is_free(port):
    for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM)):
        with socket.socket(family, kind) as s:
            try:
                s.bind(("", port))
            except OSError:
                return False
    return True


def ports():
    """The larger part of what the kernel leaves alone."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        first, last = map(int, f.read().split())
    return max(range(FIRST, first), range(max(FIRST, last + 1), 65536), key=len)


def main():
    mine = ports()
    if len(mine) < 1000:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]
    with open(sys.argv[1], "a+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        at = int(f.read() or random.choice(mine))
        for _ in mine:
            at = at + 1 if at + 1 in mine else mine[0]
            if is_free(at):
                f.truncate(0)
                f.write(str(at))
                return at
    sys.exit("freeport.py: none is left")


print(main())
