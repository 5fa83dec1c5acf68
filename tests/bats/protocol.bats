#!/usr/bin/env bats
# What HTTP/1 promises between two parties that may be of any age and any temper: nothing of one exchange gets into
# another, and what is refused is refused with the right word.

load helper

proxy() {
	origin o1
	PORT=$(free_port)
	TLSISH=$(free_port)
	config <<X
run_dir: run
http:
  workers: 1
  listen:
    - { name: http, address: "127.0.0.1:$PORT" }
    - { name: pp, address: "127.0.0.1:$TLSISH", scheme: https, accept_proxy: [127.0.0.1] }
  access_log: { path: access.log, format: json }
  timeouts: { head: 1s, body: 3s, response: 5s, tunnel: 1m }
  hosts:
    - names: ["*.local"]
      listen: [pp]
      routes: [ { path: /, respond: "tied" } ]
    - names: ["*"]
      listen: [http]
      routes:
        - { path: /, pool: app }
        - { path: /local, respond: "from weir" }
        - { path: /v6, strip: /v6, pool: v6 }
pools:
  app: { servers: [ { name: o1, address: "127.0.0.1:$(port_of o1)" } ] }
  v6: { servers: [ { name: o6, address: "[::1]:${1:-9}" } ] }
X
	start routerd
	URL=http://127.0.0.1:$PORT
}

statuses() { grep -a -o '^HTTP/1.1 [0-9]*' | cut -d' ' -f2 | xargs; }
lines() { wait_for "[ \$(wc -l <access.log) -ge $1 ]"; }

@test "bytes behind an answer are nobody's: not one of them reaches the next request" {
	proxy
	sed -i 's/head: 1s/head: 1m/' weir.yaml
	ctl routerd.0 reload
	evil='HTTP/1.1%20200%20OK%0d%0aX-Evil:%201%0d%0aContent-Length:%204%0d%0a%0d%0aevil'
	local code ms n=0
	# Those that come later come before the next request: who says them then answers it, as far as anybody can see.
	for ms in 0 30; do
		for code in 200 204 304; do
			mkfifo asks
			raw --timeout 60 <asks >out 3>&- &
			exec 5>asks
			for ask in "GET /behind/$code/$ms?$evil" "HEAD /behind/200/$ms?$evil"; do
				printf '%s HTTP/1.1\r\nHost: a\r\n\r\n' "$ask" >&5
				n=$((n + 1))
				wait_for "[ \$(requests o1 | grep -c '\"event\": \"close\"') = $n ]"
			done
			printf 'GET /bytes/3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >&5
			exec 5>&-
			wait $!
			run cat out
			rm asks
			[ "$(statuses <<<"$output")" = "$code 200 200" ] || fail "$code $ms: $output"
			[[ $output != *vil* ]] || fail "$code $ms: evil"
			[ "$(http -o /dev/null -w '%{size_download}' "$URL/bytes/7")" = 7 ]
		done
	done
}

@test "no byte of one client reaches another, whatever others do" {
	proxy
	# Servers that break all the time stay in use, and their connections are used again.
	sed -i 's/app: {/app: { passive: { max_fails: 0 },/; s/workers: 1/workers: 2/; s/response: 5s/response: 1s/' weir.yaml
	stop routerd.0
	start routerd
	python3 "$TOOLS/h1chaos.py" "$PORT" 6 >chaos 3>&- &
	chaos=$!
	run python3 "$TOOLS/honest.py" "$PORT" 6
	assert_success
	[ "$(sed 's/requests //' <<<"$output")" -gt 60 ]
	[ "$(counter upstream_reused)" -gt 20 ]
	wait $chaos
}

@test "a request behind a body, and one inside of it, are told apart" {
	proxy
	run raw 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 46\r\n\r\nGET /inside HTTP/1.1\r\nHost: inside.example\r\n\r\nGET /bytes/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	[ "$(statuses <<<"$output")" = "200 200" ]
	run raw 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2e;x="GET / HTTP/1.1"\r\nGET /inside HTTP/1.1\r\nHost: inside.example\r\n\r\n\r\n0\r\n\r\nGET /bytes/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	[ "$(statuses <<<"$output")" = "200 200" ]
	requests o1 | jq -e -s '[.[] | select(.event == "request") | .target] == ["/echo", "/bytes/1", "/echo", "/bytes/1"]'
	# Chunk extensions were for us: they end here.
	[ "$(requests o1 | grep -c 'x=')" = 0 ]
	run raw 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n' '@repeat:300:1;aaaaaaaaaaaaaaaa\r\nx\r\n'
	assert_output --partial 'HTTP/1.1 400 '
	lines 5
	until_ok jq -e -s '.[4].reason == "chunk_extensions"' access.log
}

@test "after a refusal nothing more of the connection is taken for a request" {
	proxy
	run raw 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
	[ "$(statuses <<<"$output")" = 400 ]
	run raw 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
	[ "$(statuses <<<"$output")" = 400 ]
	run raw 'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 45\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
	[ "$(statuses <<<"$output")" = 405 ]
	! requests o1 | grep -q smuggled
}

@test "servers that speak HTTP/1.0: with a length and kept, and until the close" {
	proxy
	for _ in 1 2 3; do [ "$(http "$URL/old/keep")" = old ]; done
	[ "$(requests o1 | jq -s '[.[] | select(.event == "request") | .conn] | unique | length')" = 1 ]
	run raw 'GET /old/close HTTP/1.1\r\nHost: a\r\n\r\nGET /bytes/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	[ "$(statuses <<<"$output")" = "200 200" ]
	assert_output --partial 'Transfer-Encoding: chunked'
	# The server was asked in HTTP/1.1, whatever the client speaks.
	http -0 -o /dev/null "$URL/bytes/1"
	requests o1 | jq -e -s 'map(select(.event == "request")) | all(.version == "HTTP/1.1")'
}

@test "WebSocket frames pass, those that come early too, across reloads" {
	proxy
	run python3 - "$PORT" "$T/run/routerd.0.sock" <<'X'
import os, socket, struct, sys
def frame(op, data):
    mask = os.urandom(4)
    size = bytes([128 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data)) if len(data) < 65536 else b"\xff" + struct.pack(">Q", len(data))
    return bytes([128 | op]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data))
def reload():
    c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[2]); c.sendall(b"reload\n")
    while c.recv(1000): pass
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
f = s.makefile("rb")
def echoed(data):
    op, n = f.read(2)
    n = struct.unpack(">H", f.read(2))[0] if n == 126 else struct.unpack(">Q", f.read(8))[0] if n == 127 else n
    assert f.read(n) == data and op == 130, (op, n)
s.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
          b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + frame(2, b"early"))
head = b""
while not head.endswith(b"\r\n\r\n"):
    head += f.read(1)
assert head.startswith(b"HTTP/1.1 101 ") and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, head
echoed(b"early")
for n in (0, 1, 125, 126, 65535, 65536, 300000):
    reload()
    s.sendall(frame(2, b"x" * n))
    echoed(b"x" * n)
s.sendall(frame(8, b"\x03\xe8"))
assert f.read() == b"\x88\x02\x03\xe8"
X
	assert_success
	lines 1
	jq -e -s '.[0] | .status == 101 and .reason == null' access.log
}

@test "a server that switches protocols unasked is refused" {
	proxy
	run raw 'GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	assert_output --partial 'HTTP/1.1 502 '
	run raw 'GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket, h2c\r\n\r\n'
	assert_output --partial 'HTTP/1.1 502 '
	# An upgrade with a body is none.
	run raw 'POST /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 1\r\n\r\nx' --until '"nth"'
	refute_output --partial 'pgrade'
	lines 3
	until_ok jq -e -s '.[0].reason == "unexpected_101" and .[1].reason == "unexpected_101"' access.log
}

@test "417 for an expectation that is none, 421 for a foreign host over TLS, 404 for it in the clear" {
	proxy
	run raw 'GET /echo HTTP/1.1\r\nHost: a\r\nExpect: gold\r\nConnection: close\r\n\r\n'
	assert_output --partial 'HTTP/1.1 417 '
	assert_output --partial 'request '
	pp() { python3 "$TOOLS/rawclient.py" "$TLSISH" --proxy2 192.0.2.1:1 "GET / HTTP/1.1\r\nHost: $1\r\nConnection: close\r\n\r\n"; }
	run pp other.example
	assert_output --partial 'HTTP/1.1 421 '
	assert_line --regexp '^request [0-9a-f]{16}$'
	# A host that is tied to a listener is there alone.
	run pp b.local
	assert_output --partial tied
	run raw 'GET /local HTTP/1.1\r\nHost: b.local\r\nConnection: close\r\n\r\n'
	refute_output --partial tied
	lines 4
	until_ok jq -e -s '.[0].reason == "bad_expect" and .[1].reason == "unknown_host"' access.log
}

@test "a PROXY header is for those who are asked for one: missing it is as wrong as sending it" {
	proxy
	run raw 'PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nGET /local HTTP/1.1\r\nHost: a\r\n\r\n'
	assert_output --partial 'HTTP/1.1 400 '
	run raw --proxy2 192.0.2.7:1 'GET /local HTTP/1.1\r\nHost: a\r\n\r\n'
	refute_output --partial 'from weir'
	run python3 "$TOOLS/rawclient.py" "$TLSISH" 'GET / HTTP/1.1\r\nHost: b.local\r\n\r\n'
	assert_equal "$status" 4
	run python3 "$TOOLS/rawclient.py" "$TLSISH" 'PROXY TCP4 192.0.2.7 192.0.2.8 1\r\nGET / HTTP/1.1\r\nHost: b.local\r\n\r\n'
	assert_equal "$status" 4
	[ "$(counter proxy_headers_refused)" = 2 ]
	run python3 "$TOOLS/rawclient.py" "$TLSISH" --split 1 'PROXY TCP6 2001:db8::7 2001:db8::8 1 2\r\nGET / HTTP/1.1\r\nHost: b.local\r\nConnection: close\r\n\r\n'
	assert_output --partial tied
	wait_for 'jq -e -s "any(.client == \"2001:db8::7\" and .status == 200)" access.log'
	# A peer that is not listed is nobody's proxy, on the same listener.
	run python3 - "$TLSISH" <<'X'
import socket, sys
for header in (b"PROXY TCP4 192.0.2.9 192.0.2.8 1 2\r\n", b""):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5, ("127.0.0.2", 0))
    s.sendall(header + b"GET / HTTP/1.1\r\nHost: b.local\r\nConnection: close\r\n\r\n")
    print(s.recv(1000).split(b"\r\n")[0].decode())
X
	assert_line --index 0 'HTTP/1.1 400 Bad Request'
	assert_line --index 1 'HTTP/1.1 200 OK'
	wait_for 'jq -e -s "any(.client == \"127.0.0.2\" and .status == 200) and all(.client != \"192.0.2.9\")" access.log'
}

@test "a server by IPv6 address" {
	python3 -c 'import socket; socket.socket(socket.AF_INET6).bind(("::1", 0))' || skip "no IPv6 here"
	origin o6 --host ::1
	proxy "$(port_of o6)"
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/v6/bytes/5")" = 200 ]
	requests o6 | grep -q /bytes/5
}

@test "a head that dribbles in has the time of one head, however often a byte comes" {
	proxy
	run raw --split 1 --slow 100 --timeout 30 'GET /local HTTP/1.1\r\nHost: a\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n'
	assert_output --partial 'HTTP/1.1 408 '
	lines 1
	jq -e -s '.[0] | .reason == "head_timeout" and .ms.end < 6000' access.log
}

@test "a body that dribbles in below body_rate is given up after its first ten seconds" {
	proxy
	run timeout 100 python3 - "$PORT" <<'X'
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n")
s.settimeout(0.5)
start = time.time()
while True:
    s.sendall(b"x")
    try:
        print(s.recv(1000), time.time() - start)
        break
    except socket.timeout:
        pass
X
	assert_output --partial 'HTTP/1.1 408 '
}

@test "at the descriptor limit clients wait, nothing spins, and nobody is refused for good" {
	proxy
	sed -i 's/head: 1s/head: 20s/' weir.yaml
	ctl routerd.0 reload
	prlimit --pid "$(pid_of routerd.0)" --nofile=120:120 # fewer than it has planned with
	run python3 - "$PORT" "$(pid_of routerd.0)" <<'X'
import socket, sys, time
pid = sys.argv[2]
def cpu():
    f = open("/proc/%s/stat" % pid).read().rsplit(")", 1)[1].split()
    return int(f[11]) + int(f[12])
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(300)]
time.sleep(0.5)
before = cpu()
time.sleep(1.5)
assert cpu() - before < 20, cpu() - before
for s in held[:280]:
    s.close()
for s in held[280:]:
    s.sendall(b"GET /local HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b" 200 " in s.recv(1000)
X
	assert_success
	[ "$(counter accept_pauses)" -gt 0 ]
}

@test "no connection to a server can be opened here: 500, no server is blamed, and it passes" {
	proxy
	sed -i 's/^pools:/&\n  two: { protocol: h2, servers: [ { name: h, address: "127.0.0.1:9" } ] }/; s/- { path: \/local,.*/&\n        - { path: \/two, pool: two }/' weir.yaml
	ctl routerd.0 reload
	run python3 - "$PORT" "$(pid_of routerd.0)" <<'X'
import resource, socket, sys
port, pid = int(sys.argv[1]), int(sys.argv[2])
client = socket.create_connection(("127.0.0.1", port))
def ask(path):
    client.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    got = b""
    while b"\r\n\r\n" not in got or (len(got.partition(b"\r\n\r\n")[2]) <
            int(got.lower().partition(b"content-length:")[2].split(b"\r\n")[0])):
        got += client.recv(4000)
    print(got.decode())
ask(b"/local")
was = resource.prlimit(pid, resource.RLIMIT_NOFILE)
resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, was[1]))
ask(b"/bytes/3")
ask(b"/two/")
resource.prlimit(pid, resource.RLIMIT_NOFILE, was)
ask(b"/bytes/3")
X
	assert_success
	[ "$(statuses <<<"$output")" = "200 500 500 200" ]
	assert_line --partial '500 Internal Server Error'
	lines 4
	[ "$(jq -r 'select(.status == 500) | "\(.reason) \(.termination)"' access.log | sort | uniq -c | xargs)" = '2 no_descriptors RC' ]
	assert_output --partial "$(jq -r 'select(.status == 500).request_id' access.log | head -1)"
	[ "$(ctl routerd.0 json status | jq -c '[.pools[].servers[].errors] | unique')" = '[0]' ]
}

@test "the system has no buffers for a connection: 500 and why, and it passes" {
	needs_root "trace daemons"
	command -v strace >/dev/null || skip "strace is not installed"
	proxy
	spawn strace strace -f -qq -o /dev/null -e trace=socket -e inject=socket:error=ENOBUFS -p "$(pid_of routerd.0)"
	wait_for '! grep -q "TracerPid:.0" /proc/$(pid_of routerd.0)/task/*/status' # each of its threads
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/bytes/3")" = 500 ]
	stop strace
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/bytes/3")" = 200 ]
	lines 2
	[ "$(jq -r 'select(.status == 500) | "\(.reason) \(.termination)"' access.log)" = 'no_buffers RC' ]
}

@test "clients cannot take the descriptors that servers and operators need" {
	proxy
	stop routerd.0
	sed -i 's/workers: 1/workers: 1\n  limits: { connections: 100000 }/; s/head: 1s/head: 20s/' weir.yaml
	(ulimit -n 128; start routerd) || fail "no start"
	until_ok grep -q 'warn connections_lowered asked=100000 now=[34][0-9] ' "$(log_of routerd.0)"
	[ "$(ctl routerd.0 json status | jq .limits.connections)" -lt 50 ]
	spawn crowd python3 -c '
import socket, sys, time
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(10)]
asks = held[0]
time.sleep(0.3)  # it is accepted
held += [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(200)]
print("held", flush=True)
for _ in range(3):
    asks.sendall(b"GET /bytes/5 HTTP/1.1\r\nHost: a\r\n\r\n")
    print(asks.recv(1000).split(b"\r\n")[0].decode(), flush=True)
time.sleep(600)' "$PORT"
	wait_for '[ "$(grep -c "HTTP/1.1 200" "$(log_of crowd)")" = 3 ]'
	[ "$(ctl routerd.0 version)" = "$("$BIN/routerd" -v)" ]
	ctl routerd.0 reload | grep -q '^generation 2'
	[ "$(counter accept_pauses)" -gt 0 ]
}

@test "an upload to a server that does not read stays in bounds" {
	proxy
	before=$(awk '/VmRSS/ {print $2}' "/proc/$(pid_of routerd.0)/status")
	for i in 1 2 3 4; do
		python3 "$TOOLS/rawclient.py" "$PORT" --timeout 3 'POST /slow-read/2000 HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n' '@repeat:9000:0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789' >/dev/null 3>&- &
		echo $! >"proc/up$i.pid"
	done
	wait_for '[ "$(requests o1 | grep -c slow-read)" = 4 ]'
	sleep 1
	after=$(awk '/VmRSS/ {print $2}' "/proc/$(pid_of routerd.0)/status")
	[[ ${BUILD:-} == *san ]] || [ $((after - before)) -lt 8000 ]
}

@test "a listener that goes by reload ends the connections that wait there" {
	proxy
	run python3 - "$PORT" "$T" "$(free_port)" <<'X'
import os, re, socket, sys
port, folder, other = int(sys.argv[1]), sys.argv[2], sys.argv[3]
idle, busy = socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port))
idle.sendall(b"GET /local HTTP/1.1\r\nHost: a\r\n\r\n")
assert b"from weir" in idle.recv(1000)
busy.sendall(b"GET /delay/600 HTTP/1.1\r\nHost: a\r\n\r\n")
text = open(folder + "/weir.yaml").read().replace('name: http, address: "127.0.0.1:%d"' % port, 'name: web, address: "127.0.0.1:%s"' % other)
open(folder + "/weir.yaml", "w").write(text.replace("listen: [http]", "listen: [web]"))
c = socket.socket(socket.AF_UNIX); c.connect(folder + "/run/routerd.0.sock"); c.sendall(b"reload\n")
while c.recv(1000): pass
idle.settimeout(30)
assert idle.recv(10) == b""
assert b"late" in busy.recv(1000)
X
	assert_success
}

@test "clients that were queued when draining or a reload began are served" {
	proxy
	for how in reload TERM; do
		run python3 - "$PORT" "$(pid_of routerd.0)" $how "$T" "$(free_port)" <<'X'
import os, signal, socket, sys, threading, time
port, pid, how, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
text = open(folder + "/weir.yaml").read()
if how == "reload":  # the listener they wait at goes
    open(folder + "/weir.yaml", "w").write(text.replace('address: "127.0.0.1:%d"' % port, 'address: "127.0.0.1:%s"' % sys.argv[5]))
os.kill(pid, signal.SIGSTOP)
clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
for s in clients[:20]:
    s.sendall(b"GET /local HTTP/1.1\r\nHost: a\r\n\r\n")
os.kill(pid, signal.SIGHUP if how == "reload" else signal.SIGTERM)
os.kill(pid, signal.SIGCONT)
time.sleep(0.1)
for s in clients[20:]:  # those that speak only now
    s.sendall(b"GET /local HTTP/1.1\r\nHost: a\r\n\r\n")
ok = sum(b"from weir" in s.recv(1000) for s in clients)
open(folder + "/weir.yaml", "w").write(text)
assert ok == 30, ok
X
		assert_success
		[ $how = TERM ] || ctl routerd.0 reload
	done
}

@test "while draining, answers say that the connection ends" {
	proxy
	raw --timeout 60 'GET /held/one HTTP/1.1\r\nHost: a\r\n\r\n' >out 3>&- &
	client=$!
	wait_for 'requests o1 | grep -q held'
	kill -TERM "$(pid_of routerd.0)"
	wait_for 'grep -q draining "$(log_of routerd.0)"'
	release o1 one
	wait $client
	grep -q '^HTTP/1.1 200' out
	grep -q '^Connection: close' out
}

@test "OPTIONS and TRACE that may go no further do not (Max-Forwards)" {
	proxy
	for method in OPTIONS TRACE; do
		run raw "$method / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n"
		assert_output --partial 'HTTP/1.1 405'
		assert_output --partial 'Allow: GET'
	done
	run raw 'OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\nConnection: close\r\n\r\n'
	assert_output --partial 'HTTP/1.1 200'
	run raw 'GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n'
	assert_output --partial 'HTTP/1.1 200'
	[ "$(requests o1 | grep -c OPTIONS)" -eq 1 ]
	[ "$(requests o1 | grep -c TRACE)" -eq 0 ]
	until_ok grep -q '"reason":"max_forwards"' access.log
}
