#!/usr/bin/env python3
"""ocsptimes.py FILE KEY NEXT [THIS]: move nextUpdate (and thisUpdate) of the OCSP response in FILE to so many seconds
from now, and sign it anew with KEY, which is RSA of the length it was signed with: so every length stays."""
import subprocess, sys, time

b = bytearray(open(sys.argv[1], "rb").read())


def tlv(at):
    n, size = b[at + 1], 0
    if n & 0x80:
        size = n & 0x7f
        n = int.from_bytes(b[at + 2:at + 2 + size], "big")
    start = at + 2 + size
    return start, start + n


def put(at, seconds):
    b[at:at + 15] = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + int(seconds))).encode()


at = tlv(0)[0]  # OCSPResponse
at = tlv(at)[1]  # behind the status
at = tlv(tlv(at)[0])[0]  # [0], ResponseBytes
at = tlv(at)[1]  # behind the type
at = tlv(tlv(at)[0])[0]  # OCTET STRING, BasicOCSPResponse: tbs
end = tlv(at)[1]
when = b.rindex(b"\x18\x0f", at, end)
put(when + 2, sys.argv[3])
if len(sys.argv) > 4:
    put(b.rindex(b"\x18\x0f", at, when) + 2, sys.argv[4])
signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", sys.argv[2]], input=bytes(b[at:end]),
                           capture_output=True).stdout
first, last = tlv(tlv(end)[1])
assert last - first == len(signature) + 1
b[first + 1:last] = signature
open(sys.argv[1], "wb").write(b)
