#!/usr/bin/env python3
"""memsearch.py NAME=PID.. -- NEEDLE=FILE..: which secrets are in the memory of which process?

A FILE is a private key (PEM, EC or RSA) or a file of ticket keys. Pieces of it are looked for as they
stand, and backwards, as big numbers lie in memory. Prints `NAME NEEDLE` for each that is there.
Needs to be allowed to read /proc/PID/mem.
"""
import re, subprocess, sys

split = sys.argv.index("--")
programs = [a.split("=", 1) for a in sys.argv[1:split]]
files = [a.split("=", 1) for a in sys.argv[split + 1:]]


def pieces(path):
    raw = open(path, "rb").read()
    if b"PRIVATE KEY" not in raw:
        # A key has 32 random bytes: one of these lies within it. Those of names and times are left out.
        return [raw[i:i + 16] for i in range(0, len(raw) - 15, 8) if len(set(raw[i:i + 16])) > 12]
    text = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"], stdout=subprocess.PIPE, check=True).stdout.decode()
    out = []
    for label in ("priv", "privateExponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient"):
        m = re.search(r"^%s:\n((?:\s+[0-9a-f:]+\n)+)" % label, text, re.M)
        if m:
            number = bytes.fromhex(re.sub(r"[\s:]", "", m.group(1))).lstrip(b"\0")
            number = number[:len(number) // 8 * 8]
            out += [number[i:i + 32] for i in range(0, len(number) - 31, 32)]
    assert out, "no private number in " + path
    return out + [p[::-1] for p in out]


needles = [(name, pieces(path)) for name, path in files]


def memory(pid):
    with open("/proc/%s/mem" % pid, "rb", 0) as mem:
        for line in open("/proc/%s/maps" % pid):
            m = re.match(r"(\w+)-(\w+) r", line)
            a, b = (int(x, 16) for x in m.groups()) if m else (0, 0)
            if b == a or b - a > 1 << 30 or "[v" in line:
                continue
            try:
                mem.seek(a)
                yield mem.read(b - a)
            except OSError:
                pass


for program, pid in programs:
    found, read = set(), 0
    for area in memory(pid):
        read += len(area)
        for name, list_ in needles:
            if name not in found and any(p in area for p in list_):
                found.add(name)
    if read < 100000:
        sys.exit("%s: its memory cannot be read" % program)
    for name in sorted(found):
        print(program, name)
