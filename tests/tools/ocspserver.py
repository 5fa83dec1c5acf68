#!/usr/bin/env python3
"""ocspserver.py FOLDER: a responder that answers POST /NAME with the file FOLDER/NAME, or misbehaves as its name says.

Prints "port N" and "ready"; each request is a line "POST /NAME BYTES TYPE uid N" in FOLDER/log: the user of the
process that asks, if it is on this machine.
  /redirect 302   /missing 404   /html another type   /huge 1 MB   /endless chunks without end
  /slow a byte a second   /silent nothing   /cut half of what it promises   /chunked-NAME the file in chunks
  /close-NAME the file, no length, until the end
"""
import http.server, os, sys, time

FOLDER = sys.argv[1]
TYPE = "application/ocsp-response"


def uid_of(client, server_port):
    """Whose socket it is, as the kernel's table says: read more than once, because it moves under the reader."""
    ends = ":%04X" % client[1], ":%04X" % server_port
    for _ in range(20):
        with open("/proc/net/tcp") as f:
            for line in f.readlines()[1:]:
                part = line.split()
                if part[1].endswith(ends[0]) and part[2].endswith(ends[1]) and part[3] == "01":
                    return part[7]
        time.sleep(0.01)
    return "-"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def head(self, status=200, type=TYPE, **fields):
        self.send_response(status)
        self.send_header("Content-Type", type)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def file(self, name):
        with open(os.path.join(FOLDER, name), "rb") as f:
            return f.read()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(os.path.join(FOLDER, "log"), "a") as log:
            log.write("POST %s %d %s uid %s\n" % (self.path, len(body), self.headers["Content-Type"], uid_of(self.client_address, self.server.server_port)))
        try:
            self.answer(self.path.lstrip("/"))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, name):
        w = self.wfile.write
        if name == "redirect":
            self.head(302, Location="http://127.0.0.1:%d/good" % self.server.server_port, Content_Length="0")
        elif name == "missing":
            self.head(404, "text/plain", Content_Length="0")
        elif name == "html":
            self.head(200, "text/html", Content_Length="5")
            w(b"hello")
        elif name == "huge":
            self.head(Content_Length=str(1 << 20))
            w(bytes(1 << 20))
        elif name == "endless":
            self.head(Transfer_Encoding="chunked")
            while True:
                w(b"1000\r\n" + bytes(4096) + b"\r\n")
        elif name == "slow":
            self.head(Content_Length="1000")
            for _ in range(30):
                w(b"x")
                time.sleep(0.2)
        elif name == "silent":
            time.sleep(6)
        elif name == "cut":
            self.head(Content_Length="1000")
            w(bytes(500))
        elif name.startswith("chunked-"):
            data = self.file(name[8:])
            self.head(Transfer_Encoding="chunked")
            for i in range(0, len(data), 100):
                w(b"%x\r\n%s\r\n" % (len(data[i:i + 100]), data[i:i + 100]))
            w(b"0\r\n\r\n")
        elif name.startswith("close-"):
            self.head()
            w(self.file(name[6:]))
        else:
            data = self.file(name)
            self.head(Content_Length=str(len(data)))
            w(data)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print("port %d" % server.server_port)
print("ready", flush=True)
server.serve_forever()
