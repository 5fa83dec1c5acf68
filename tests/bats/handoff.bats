#!/usr/bin/env bats
# Connections that tlsd hands over to routerd after the handshake: what clients and operators see.

load tls_helper

# both SEAM [LINES]: an origin, routerd and tlsd, with the given extra keys of tls.listen
both() {
	cert site ec 30 DNS:localhost
	[ -e proc/o.pid ] || origin o
	config <<X
run_dir: run
state_dir: state
tls:
  workers: 2
  handoff_timeout: 5s
  listen:
    - { address: "127.0.0.1:0", to: web, seam: $1, certificates: [{ cert: site.pem }]${2:+, $2} }
http:
  workers: 2
  timeouts: { keepalive: 30s }
  access_log: { path: access.log, format: json }
  listen:
    - { name: web, from: tlsd }
  hosts:
    - { names: ["*"], routes: [{ path: /, pool: app }] }
pools:
  app: { servers: [{ address: "127.0.0.1:$(port_of o)" }] }
X
	start routerd
	tlsd_start
	PORT=$(tls_port 0)
}

web() { http -k --cacert site.crt "$@"; }

@test "requests of a handed over connection are served, and both daemons count it" {
	both handoff
	for v in 1.2 1.3; do
		web --tlsv$v --tls-max $v -o got -w '%{http_code} %{num_connects}\n' "https://localhost:$PORT/" >said
		grep -q '^200 1' said
	done
	# tlsd hears of it while the answer is on its way.
	until_ok reached handed_over 2
	[ "$(counter handed_over)" = 2 ]
	[ "$(handed)" = 2 ]
}

@test "servers and the access log hear the same over both seams" {
	for seam in handoff relay; do
		both $seam 'alpn: [http/1.1]'
		for v in 1.2 1.3; do
			web --tlsv$v --tls-max $v -H 'X-Forwarded-For: 6.6.6.6' "https://localhost:$PORT/echo" |
				jq -cS '.headers | map(select(.[0] | ascii_downcase | test("request-id") | not))' >>$seam.seen
		done
		stop routerd.0
		stop tlsd.0
		jq -cS 'with_entries(.value |= (if type == "number" then 0 else . end))
			| del(.ms, .reused, .time, .id, .request_id, .tls_id, .started)' access.log >$seam.log
		rm access.log
	done
	[ "$(wc -l <handoff.seen)" = 2 ]
	grep -q '"X-Forwarded-Proto","https"' handoff.seen
	sed "s/localhost:[0-9]*/localhost/g" handoff.seen >a
	sed "s/localhost:[0-9]*/localhost/g" relay.seen >b
	diff a b
	sed "s/localhost:[0-9]*/localhost/g" handoff.log >a
	sed "s/localhost:[0-9]*/localhost/g" relay.log >b
	diff a b
}

@test "every suite of 1.2 and 1.3; one whose records routerd does not know is relayed" {
	both handoff 'ciphers: [TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-ECDSA-CHACHA20-POLY1305, ECDHE-ECDSA-AES128-CCM]'
	local n=0
	for suite in TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; do
		printf 'GET /bytes/70000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
			openssl s_client -quiet -ign_eof -connect "127.0.0.1:$PORT" -tls1_3 -ciphersuites $suite >got 2>/dev/null
		[ "$(wc -c <got)" -gt 70000 ]
		n=$((n + 1))
		[ "$(handed)" = $n ]
	done
	for suite in ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305; do
		printf 'GET /bytes/70000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
			openssl s_client -quiet -ign_eof -connect "127.0.0.1:$PORT" -tls1_2 -cipher $suite >got 2>/dev/null
		[ "$(wc -c <got)" -gt 70000 ]
		n=$((n + 1))
		[ "$(handed)" = $n ]
	done
	printf 'GET /bytes/70000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
		openssl s_client -quiet -ign_eof -connect "127.0.0.1:$PORT" -tls1_2 -cipher ECDHE-ECDSA-AES128-CCM >got 2>/dev/null
	[ "$(wc -c <got)" -gt 70000 ]
	[ "$(handed)" = $n ]
	[ "$(counter relayed)" = 1 ]
	[ "$(counter handoff_refused)" = 1 ]
}

@test "check says which suites are relayed; what routerd cannot take over may not be handed over" {
	both handoff 'ciphers: [TLS_AES_128_GCM_SHA256, ECDHE-RSA-CHACHA20-POLY1305, ECDHE-ECDSA-AES128-CCM, AES128-GCM-SHA256]'
	run "$BIN/proxyctl" -c weir.yaml check
	assert_success
	assert_line --regexp 'weir.yaml:.*warning: .*tls.listen\[0\].ciphers: connections with `ECDHE-ECDSA-AES128-CCM` cannot be handed over and are relayed'
	assert_line --regexp '`AES128-GCM-SHA256` cannot'
	refute_output --partial CHACHA20
	sed -i 's/seam: handoff/seam: relay/' weir.yaml
	run "$BIN/proxyctl" -c weir.yaml check
	refute_output --partial 'handed over'
	sed -i 's/to: web, seam: relay/to: "127.0.0.1:99", seam: handoff/' weir.yaml
	run "$BIN/proxyctl" -c weir.yaml check
	assert_failure 2
	assert_output --partial 'only routerd takes connections over'
}

@test "large bodies both ways, byte for byte" {
	both handoff
	head -c 20000000 /dev/urandom >body
	for v in 1.2 1.3; do
		web --tlsv$v --tls-max $v -T body "https://localhost:$PORT/echo" >said
		[ "$(jq -r .body_sha256 said)" = "$(sha256sum <body | cut -d' ' -f1)" ]
		web --tlsv$v --tls-max $v "https://localhost:$PORT/bytes/30000000" | sha256sum >got
		http "http://127.0.0.1:$(port_of o)/bytes/30000000" | sha256sum >want
		diff got want
		web --tlsv$v --tls-max $v "https://localhost:$PORT/chunked/3000000" | sha256sum >got
		http "http://127.0.0.1:$(port_of o)/chunked/3000000" | sha256sum >want
		diff got want
	done
}

@test "sessions resume, with tickets and in both versions" {
	both handoff
	for v in 2 3; do
		printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
			openssl s_client -quiet -ign_eof -connect "127.0.0.1:$PORT" -tls1_$v -sess_out sess >/dev/null 2>&1
		printf 'GET /bytes/9 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
			openssl s_client -ign_eof -connect "127.0.0.1:$PORT" -tls1_$v -sess_in sess >got 2>&1
		grep -q Reused got
		grep -q '200 OK' got
	done
	[ "$(handed)" = 4 ]
}

@test "sessions resume from the cache, too: without tickets in both versions, and after the client was cut off" {
	both handoff
	sed -i 's/^  workers: 2$/  workers: 2\n  tickets: { enabled: off }\n  session_cache: { size: 1m }/' weir.yaml
	stop tlsd.0
	tlsd_start
	PORT=$(tls_port 0)
	ask() { # ARGS..: one request, then cut off without close_notify
		printf 'GET /bytes/9 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
			openssl s_client -ign_eof -connect "127.0.0.1:$PORT" "$@" 2>&1
	}
	for v in 2 3; do
		ask -tls1_$v -sess_out sess >/dev/null
		# a session of TLS 1.3 is good for one use: each answer brings the next
		for i in 1 2 3; do
			ask -tls1_$v -sess_in sess -sess_out sess >got
			grep -q Reused got
			grep -q '200 OK' got
		done
	done
	[ "$(handed)" = 8 ]
	[ "$(counter resumed)" = 6 ]
	[ "$(tlsctl json status | jq .session_cache.hits)" = 6 ]
	# a reload keeps them, another certificate's names do not resume, and what is over does not
	tlsctl reload
	ask -tls1_2 -sess_out sess >/dev/null
	ask -tls1_2 -sess_in sess | grep -q Reused
	cert site ec 30 DNS:localhost,DNS:other
	tlsctl reload
	ask -tls1_2 -sess_in sess | grep -q 'New, '
	ask -tls1_2 -sess_out sess >/dev/null
	sed -i 's/session_cache: { size: 1m }/session_cache: { size: 1m, timeout: 1s }/' weir.yaml
	tlsctl reload
	ask -tls1_2 -sess_out sess >/dev/null
	sleep 1.2
	ask -tls1_2 -sess_in sess | grep -q 'New, '
	# with tickets they are for those who know none
	sed -i 's/enabled: off/enabled: on/; s/, timeout: 1s//' weir.yaml
	tlsctl reload
	before=$(tlsctl json status | jq .session_cache.sessions)
	ask -tls1_3 -sess_out sess >/dev/null
	ask -tls1_3 -sess_in sess | grep -q Reused
	[ "$(tlsctl json status | jq .session_cache.sessions)" -le "$before" ]
	ask -tls1_2 -no_ticket -sess_out sess >/dev/null
	ask -tls1_2 -no_ticket -sess_in sess | grep -q Reused
}

@test "nobody renegotiates, and nothing is taken before the handshake" {
	both handoff
	chat -tls1_2
	say 'GET /bytes/5 HTTP/1.1\r\nHost: localhost\r\n\r'
	hear ' 200 OK'
	say R
	hear RENEGOTIATING
	hear 'no renegotiation'
	printf 'GET /bytes/7 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >request
	openssl s_client -ign_eof -connect "127.0.0.1:$PORT" -tls1_3 <request >got 2>&1
	grep -q 'Max Early Data: 0' got
	# A client that sends some all the same: it is skipped, and the connection goes on.
	run python3 - "$PORT" <<'P'
import ctypes as c, socket, sys
L = c.CDLL("libssl.so.3")
for f in ("TLS_client_method", "SSL_CTX_new", "SSL_new", "SSL_get1_session"): getattr(L, f).restype = c.c_void_p
ctx = c.c_void_p(L.SSL_CTX_new(c.c_void_p(L.TLS_client_method())))
def client():
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    ssl = c.c_void_p(L.SSL_new(ctx))
    L.SSL_set_fd(ssl, s.fileno())
    return s, ssl
def ask(ssl):
    r, b = b"GET /bytes/7 HTTP/1.1\r\nHost: localhost\r\n\r\n", c.create_string_buffer(10000)
    L.SSL_write(ssl, r, len(r))
    n = L.SSL_read(ssl, b, 10000)
    assert n > 0 and b.raw.startswith(b"HTTP/1.1 200"), n
one, ssl = client()
assert L.SSL_connect(ssl) == 1
ask(ssl)
session = c.c_void_p(L.SSL_get1_session(ssl))
assert L.SSL_SESSION_set_max_early_data(session, 10000) == 1
two, ssl = client()
assert L.SSL_set_session(ssl, session) == 1
early, n = b"GET /early HTTP/1.1\r\nHost: localhost\r\n\r\n", c.c_size_t()
for _ in range(2): assert L.SSL_write_early_data(ssl, early, c.c_size_t(len(early)), c.byref(n)) == 1
assert L.SSL_connect(ssl) == 1
ask(ssl)
print("reused", L.SSL_session_reused(ssl), "early data", ("not sent", "rejected", "accepted")[L.SSL_get_early_data_status(ssl)])
P
	[ "$output" = "reused 1 early data rejected" ] || { echo "$output"; false; }
	[ "$(requests o | jq -r 'select(.target).target' | grep -c early)" = 0 ]
}

@test "another round for the key share, padded records, small fragments" {
	both handoff
	local n=0
	printf 'POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\nConnection: close\r\n\r\n%050000d' 7 >request
	for how in "-tls1_3 -groups P-384:P-256" "-tls1_3 -record_padding 512" "-tls1_3 -maxfraglen 512" "-tls1_2 -maxfraglen 1024" \
		"-tls1_3 -max_send_frag 600" "-tls1_2 -max_send_frag 600" "-tls1_3 -enable_pha"; do
		openssl s_client -quiet -ign_eof -connect "127.0.0.1:$PORT" $how <request >got 2>/dev/null
		grep -q '"body_len": 50000' got || { echo "$how"; false; }
		n=$((n + 1))
		[ "$(handed)" = $n ]
	done
}

@test "clients as they are: pipelined, slow, half-closed, gone, with new keys" {
	both handoff
	python3 - "$PORT" <<'P'
import socket, ssl, struct, sys, threading, time
port = int(sys.argv[1])
def client(version=None, rcvbuf=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    if version: c.minimum_version = c.maximum_version = version
    s = socket.socket()
    if rcvbuf: s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.settimeout(60)
    s.connect(("127.0.0.1", port))
    return c.wrap_socket(s, server_hostname="localhost")
def request(path, more=""):
    return ("GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (path, more)).encode()
def until_end(s):
    out = b""
    while True:
        d = s.recv(65536)
        if not d: return out
        out += d
for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    s = client(v)                            # pipelined
    s.sendall(request("/bytes/100") * 199 + request("/bytes/100", "Connection: close\r\n"))
    assert until_end(s).count(b"HTTP/1.1 200") == 200
    s = client(v, 4096)                      # slow
    s.sendall(request("/bytes/2000000", "Connection: close\r\n"))
    time.sleep(1)
    n = len(until_end(s))
    assert n > 2000000, n
    s = client(v)                            # close_notify from both sides
    s.sendall(request("/"))
    assert b"200" in s.recv(65536)
    s.unwrap().close()
    s = client(v)                            # reset while an answer is on its way
    s.sendall(request("/drip/1000/100"))
    s.recv(100)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
P
	wait_for '[ "$(ctl routerd.0 json status | jq .connections)" = 0 ]'
	# A new key in the middle; K is a command only where a piece of input begins with it.
	chat -tls1_3
	say 'GET /bytes/5 HTTP/1.1\r\nHost: localhost\r\n\r'
	hear ' 200 OK'
	say K
	hear KEYUPDATE
	say 'GET /status/204 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r'
	hear 'HTTP/1.1 204'
}

@test "tlsd may die and come back: what it has handed over goes on" {
	both handoff
	spawn slow curl -q -sS -k -m 100 --noproxy '*' -o got "https://localhost:$PORT/drip/30/100"
	wait_for '[ "$(handed)" = 1 ]'
	kill_hard tlsd.0
	local status=0
	_reap slow 60
	[ "$status" = 0 ]
	[ "$(wc -c <got)" = 30 ]
	tlsd_start
	PORT=$(tls_port 0)
	web -f -o got "https://localhost:$PORT/"
}

@test "reloads of either daemon under load: nothing fails" {
	both handoff
	spawn load bash -c "while [ ! -e enough ]; do curl -q -sS -k -f -m 60 --noproxy '*' -o /dev/null -o /dev/null 'https://localhost:$PORT/bytes/3000' 'https://localhost:$PORT/bytes/30' || exit 1; echo asked; done"
	asked() { grep -c asked "$(log_of load)"; }
	for i in 1 2 3 4 5 6; do
		wait_for "[ \"\$(asked)\" -ge $((20 * i)) ]"
		ctl routerd.0 reload >/dev/null
		tlsctl reload >/dev/null
	done
	touch enough
	local status=0
	_reap load 60
	[ "$status" = 0 ]
	wait_for '[ "$(handed)" = "$(asked)" ]'
}

@test "a listener that goes by reload leaves its connections alone, and its socket is gone" {
	both handoff
	[ -S run/web/0.handoff ]
	spawn slow curl -q -sS -k -m 100 --noproxy '*' -o got "https://localhost:$PORT/drip/20/100"
	wait_for '[ "$(handed)" = 1 ]'
	cp weir.yaml before.yaml
	sed -i 's/name: web, from: tlsd/name: other, from: tlsd/' weir.yaml
	ctl routerd.0 reload
	wait_for '[ ! -e run/web/0.handoff ]'
	[ -S run/other/0.handoff ]
	cp before.yaml weir.yaml
	ctl routerd.0 reload
	[ -S run/web/0.handoff ]
	wait_for 'web -f -o new "https://localhost:$PORT/"'
	local status=0
	_reap slow 60
	[ "$status" = 0 ]
	[ "$(wc -c <got)" = 20 ]
}

@test "routerd killed under load: who was not taken yet is served by the next, nobody hangs" {
	both handoff
	for n in 1 2 3 4; do
		spawn load$n bash -c "for i in {1..60}; do curl -q -sS -k -m 60 --noproxy '*' -o /dev/null 'https://localhost:$PORT/bytes/3000'; echo \$?; done >codes.$n 2>/dev/null"
	done
	for i in 1 2 3; do
		wait_for "[ \$(cat codes.* | wc -l) -ge $((i * 40)) ]"
		kill_hard routerd.0
		start routerd
	done
	for n in 1 2 3 4; do _reap load$n 60; done
	[ "$(cat codes.* | wc -l)" = 240 ]
	refute grep -qx 28 codes.* # none timed out
	# what was cut are those that had been taken: a few per death, never many
	[ "$(cat codes.* | grep -cvx 0)" -le 24 ]
}

@test "offered to a routerd that dies before it has taken them, and no other comes: they end with close_notify" {
	both handoff
	sed -i 's/handoff_timeout: 5s/handoff_timeout: 4s/' weir.yaml
	tlsctl reload
	kill -STOP "$(pid_of routerd.0)"
	for v in 1.2 1.3; do spawn "client$v" python3 "$RELAY" nobody "$PORT" "version=$v" more=100000; done
	until_ok reached handshakes 2
	until_ok eval '[ "$(tlsctl json status | jq .connections.waiting)" = 0 ]' # on their way
	kill_hard routerd.0
	for v in 1.2 1.3; do until_ok grep -q closed_after_ms "proc/client$v.log"; done
	[ "$(counter wait_timeout)" = 2 ]
	until_ok none_open
}

@test "without descriptors routerd lets channels wait, costs nothing, and goes on" {
	both handoff
	web -f -o got "https://localhost:$PORT/"
	stop tlsd.0
	prlimit --pid "$(pid_of routerd.0)" --nofile=3:1000 # not one more
	tlsd_start
	PORT=$(tls_port 0)
	spawn late curl -q -sS -k -f -m 60 --noproxy '*' -o late.got "https://localhost:$PORT/bytes/7"
	wait_for '[ "$(open_now)" = 1 ]'
	ticks() { awk '{ print $14 + $15 }' "/proc/$(pid_of routerd.0)/stat"; }
	local before
	before=$(ticks)
	sleep 1
	[ $(($(ticks) - before)) -lt 20 ]
	prlimit --pid "$(pid_of routerd.0)" --nofile=1000:1000
	wait_for '[ -s late.got ]'
	[ "$(handed)" -ge 2 ]
	[ "$(ctl routerd.0 json status | jq .counters.accept_pauses)" -ge 1 ]
}

@test "a WebSocket goes on across reloads of both" {
	both handoff
	python3 - "$PORT" "$T/run" <<'P'
import os, socket, ssl, sys
c = ssl._create_unverified_context()
s = c.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10), server_hostname="localhost")
s.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
head = b""
while b"\r\n\r\n" not in head: head += s.recv(1000)
assert b" 101 " in head, head
def ask(word):
    s.sendall(bytes([0x81, 0x80 | len(word), 0, 0, 0, 0]) + word)
    got = b""
    while len(got) < 2 + len(word):
        d = s.recv(1000)
        assert d, "ended"
        got += d
    assert got == bytes([0x81, len(word)]) + word, got
def reload(who):
    u = socket.socket(socket.AF_UNIX)
    u.connect("%s/%s.sock" % (sys.argv[2], who))
    u.sendall(b"reload\n")
    assert u.recv(1000)
ask(b"one")
for i in range(3):
    reload("routerd.0")
    ask(b"two")
    reload("tlsd.0")
    ask(b"three")
P
	[ "$(handed)" = 1 ]
}

@test "who serves connections comes before who makes handshakes, where the kernel lets us say so" {
	both handoff
	run python3 - "$(pid_of routerd.0)" "$(pid_of tlsd.0)" <<'P'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def slices(pid):
    out = []
    for tid in os.listdir("/proc/%s/task" % pid):
        b = ctypes.create_string_buffer(struct.pack("=I", 48) + bytes(44), 48)
        assert libc.syscall(315 if os.uname().machine == "x86_64" else 275, int(tid), b, 48, 0) == 0
        out.append(struct.unpack("=IIQiIQ", b.raw[:32])[5] // 1000)
    return sorted(out)
print(slices(sys.argv[1]).count(100), slices(sys.argv[2]).count(5000))
P
	case $(uname -r) in [1-5].* | 6.[0-9].* | 6.1[01].*) skip "Linux before 6.12 knows no slices" ;; esac
	[ "$output" = "2 2" ]
}

@test "private keys and ticket keys are in the memory of tlsd alone, also when all run under up" {
	needs_root "look into daemons"
	case ${BUILD:-} in *san*) skip "a sanitizer's own memory is too much to search" ;; esac
	cert site ec 30 DNS:localhost
	cert rsa rsa 30 DNS:rsa.test
	cert origin ec 30 DNS:localhost,IP:127.0.0.1
	cert me ec 30 DNS:proxy.example
	origin o --tls origin.pem --tls-client-ca me.crt
	PORT=$(free_port)
	config <<X
run_dir: run
state_dir: state
tls:
  workers: 2
  listen:
    - { address: "127.0.0.1:$PORT", to: web, certificates: [{ cert: site.pem }, { cert: rsa.pem }] }
upstream_tls:
  policies: { p: { ca: origin.crt, cert: me.pem } }
http:
  workers: 2
  listen: [{ name: web, from: tlsd }]
  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
pools:
  app: { tls: p, check: { http: { path: /health }, interval: 100ms }, servers: [{ address: "127.0.0.1:$(port_of o)" }] }
X
	spawn up "$BIN/proxyctl" -c weir.yaml up
	wait_for 'grep -q ^ready: proc/up.log'
	spawn looker "$BIN/proxyctl" -c weir.yaml events
	printf 'GET /bytes/9 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >request
	for v in 1.2 1.3; do
		http -k -f --tls-max $v -o got "https://localhost:$PORT/bytes/100000"
		http -k -f --tls-max $v --resolve "rsa.test:$PORT:127.0.0.1" -o got "https://rsa.test:$PORT/bytes/100000"
		openssl s_client -ign_eof -connect "127.0.0.1:$PORT" -tls${v/./_} -sess_out sess <request >got 2>&1
		openssl s_client -ign_eof -connect "127.0.0.1:$PORT" -tls${v/./_} -sess_in sess <request >got 2>&1
		grep -q Reused got
	done
	for word in check reload "cert reload"; do "$BIN/proxyctl" -c weir.yaml $word; done
	wait_for 'grep -q config_reloaded proc/looker.log'
	[ "$(handed)" = 8 ]
	wait_for "ctl healthd.0 json show probes | jq -e 'any(.. | objects; .state? == \"up\")'"
	run python3 "$TOOLS/memsearch.py" up="$(pid_of up)" looker="$(pid_of looker)" \
		$(for d in routerd.0 healthd.0 tlsd.0 tlsd.connect; do echo "$d=$(ctl $d json status | jq .pid)"; done) \
		-- ec=site.key rsa=rsa.key tickets=state/tickets/keys me=me.key
	# that it finds them where they are shows that it can
	[ "$output" = "tlsd.0 ec
tlsd.0 rsa
tlsd.0 tickets
tlsd.connect me" ]
}
