#!/usr/bin/env python3
"""fullqueue.py: a server that takes no connection: its queue is full, and SYNs get no answer. Prints "port N"."""
import socket, time

s = socket.create_server(("127.0.0.1", 0), backlog=0)
full = [socket.socket() for _ in range(4)]
for c in full:
    c.setblocking(False)
    c.connect_ex(s.getsockname())
print("port", s.getsockname()[1], flush=True)
time.sleep(600)
