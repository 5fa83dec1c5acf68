#!/usr/bin/env python3
"""nameserver.py FILE [ADDRESS [PORT]]: a name server for A records, by default at 127.0.0.99, port 53.

FILE is read for each question; a line is NAME TTL ADDRESS..; what it does not have does not exist. A line
"slow MS" holds each answer back, a line "silent" all of them. Prints "ready", then each name asked for.
"""
import socket, struct, sys, time


def read(path):
    names, slow, silent = {}, 0, False
    for line in open(path):
        word, *rest = line.split()
        if word == "slow":
            slow = int(rest[0]) / 1000
        elif word == "silent":
            silent = True
        else:
            names[word.lower()] = int(rest[0]), rest[1:]
    return names, slow, silent


def question(data):
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels).lower(), struct.unpack(">H", data[at + 1:at + 3])[0], data[12:at + 5]


s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[2] if len(sys.argv) > 2 else "127.0.0.99", int(sys.argv[3]) if len(sys.argv) > 3 else 53))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(2000)
    name, kind, asked = question(data)
    names, slow, silent = read(sys.argv[1])
    print(name, kind, flush=True)
    if silent:
        continue
    time.sleep(slow)
    ttl, addresses = names.get(name, (0, None))
    found = addresses if addresses and kind == 1 else []
    answers = b"".join(struct.pack(">HHHIH", 0xC00C, 1, 1, ttl, 4) + socket.inet_aton(a) for a in found)
    flags = 0x8180 if addresses is not None else 0x8183
    s.sendto(data[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0) + asked + answers, peer)
