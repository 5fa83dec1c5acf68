#!/usr/bin/env python3
"""
A process behind a control socket that says what it likes: what may `proxyctl` believe?

    liar.py SOCKET FILE [UID]

listens on SOCKET and becomes the user UID, as daemons do. FILE has a JSON object: to a line whose
first words (after "json") are one of its keys, its value is the answer; to all else {"error": ..}.
Each line that came is printed, and behind it how many descriptors came along and what is in them.
"""
import array
import json
import os
import socket
import sys

path, answers = sys.argv[1], json.load(open(sys.argv[2]))
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.bind(path)
os.chmod(path, 0o666)
s.listen(16)
if len(sys.argv) > 3:
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
print("ready")
while True:
    c, _ = s.accept()
    line, fds = b"", array.array("i")
    while not line.endswith(b"\n"):
        data, extra, _, _ = c.recvmsg(65536, socket.CMSG_SPACE(256 * fds.itemsize))
        for level, kind, bytes_ in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(bytes_[: len(bytes_) - len(bytes_) % fds.itemsize])
        if not data:
            break
        line += data
    words = line.decode(errors="replace").strip().removeprefix("json ")
    print("line", words)
    for fd in fds:
        print("descriptor", os.pread(fd, 1000, 0))
        os.close(fd)
    answer = next((answers[k] for k in answers if words.startswith(k)), {"error": "no"})
    try:
        c.sendall((answer if isinstance(answer, str) else json.dumps(answer)).encode())
    except BrokenPipeError:
        pass  # who asked has left
    c.close()
