#!/usr/bin/env bats
# TLS to servers: requests over it, what is checked of servers, and what becomes of requests when it fails.

load uptls_helper

@test "requests go over TLS, verified, and the connection is used again" {
	origin a --tls good.pem
	tls_site '' '' "$(server_of a)"
	both
	for i in 1 2 3; do [ "$(get | jq -r .conn)" = 1 ]; done
	[ "$(get /bytes/5 | wc -c)" = 5 ]
	[ "$(opens a | wc -l)" = 1 ]
	opens a | jq -e '.version == "TLSv1.3" and .alpn == "http/1.1" and .sni == null and .client == []'
	[ "$(tls_count handshakes)" = 1 ]
	[ "$(tls_count tls13)" = 1 ]
	[ "$(counter upstream_tls_handshakes)" = 1 ]
	[ "$(counter upstream_reused)" = 3 ]
	[ "$(ctl routerd.0 json status | jq -c '.pools[0].servers[0] | [.requests, .errors]')" = '[4,0]' ]
}

@test "a server is named by its host: SNI, and what its certificate must say" {
	leaf other DNS:other.example
	origin a --tls good.pem
	origin b --tls other.pem
	tls_site 'retries: 0' '' "name: a, address: \"localhost:$(port_of a)\", weight: 1" "name: b, address: \"localhost:$(port_of b)\", weight: 0"
	both
	[ "$(code)" = 200 ]
	opens a | jq -e '.sni == "localhost"'
	tls_site 'retries: 0' '' "name: b, address: \"localhost:$(port_of b)\""
	ctl routerd.0 reload
	ctl tlsd.connect reload
	[ "$(code)" = 502 ]
	[ "$(reason)" = tls_verify_failed ]
	until_ok grep -q 'upstream_tls_failed.*server=b reason=tls_verify_failed detail=name_mismatch' proc/routerd.0.log
	[ "$(tls_failed name_mismatch)" = 1 ]
	# `name` says otherwise
	tls_site 'retries: 0' 'ca: ca.crt, name: other.example' "name: b, address: \"localhost:$(port_of b)\""
	ctl routerd.0 reload
	ctl tlsd.connect reload
	[ "$(code)" = 200 ]
	opens b | tail -1 | jq -e '.sni == "other.example"'
	tls_site 'retries: 0' 'ca: ca.crt, name: other.example, sni: off' "name: b, address: \"localhost:$(port_of b)\""
	ctl routerd.0 reload
	ctl tlsd.connect reload
	[ "$(code)" = 200 ]
	opens b | tail -1 | jq -e '.sni == null'
}

@test "a certificate's CN is no name, whether it has other names or none" {
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout cn.key -out cn.csr -subj /CN=localhost 2>/dev/null
	openssl x509 -req -in cn.csr -CA ca.crt -CAkey ca.key -days 30 -out cn.crt 2>/dev/null
	cat cn.crt cn.key >cn.pem
	refute grep -q 'Subject Alternative Name' <(openssl x509 -in cn.crt -noout -text)
	leaf localhost email:root@example.org
	for pem in cn.pem localhost.pem; do
		origin "$pem" --tls "$pem"
		tls_site $'retries: 0\n    check: { http: { path: /health }, interval: 100ms, fall: 1 }' '' "name: a, address: \"localhost:$(port_of "$pem")\""
		as_it_is
		[ "$(code)" = 502 ]
		[ "$(reason)" = tls_verify_failed ]
		start healthd
		wait_for 'ctl healthd.0 json show probes | jq -e "[.. | objects | select(.state? == \"down\" and .reason? == \"tls_name_mismatch\")] | length == 1"'
		stop healthd.0
		[ "$(requests "$pem" | grep -c '"request"')" = 0 ]
	done
	[ "$(tls_failed name_mismatch)" -ge 2 ]
	until_ok grep -q 'upstream_tls_failed.*reason=tls_verify_failed detail=name_mismatch' proc/routerd.0.log
}

# refused DETAIL POLICY PEM [ORIGIN ARGS..]: a server with that certificate is not spoken to
refused() {
	local detail=$1 policy=$2 pem=$3
	shift 3
	origin "$detail" --tls "$pem" "$@"
	tls_site 'retries: 0' "$policy" "$(server_of "$detail")"
	as_it_is
	[ "$(code)" = 502 ]
	[ "$(reason)" = tls_verify_failed ]
	[ "$(tls_failed "$detail")" = 1 ]
	until_ok grep -q "upstream_tls_failed.*server=$detail reason=tls_verify_failed detail=$detail" proc/routerd.0.log
	[ "$(requests "$detail" | grep -c '"request"')" = 0 ]
	ctl routerd.0 json status | jq -e --arg s "$detail" '.pools[0].servers[] | select(.name == $s) | .errors == 1'
}

@test "certificates that prove nothing: expired, not yet valid, self-signed, of nobody known, revoked" {
	leaf old IP:127.0.0.1 ca 20200101000000Z 20200201000000Z
	leaf young IP:127.0.0.1 ca 20900101000000Z 20910101000000Z
	authority stranger
	leaf strange IP:127.0.0.1 stranger
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout self.key -out self.crt -days 30 \
		-subj /CN=self -addext subjectAltName=IP:127.0.0.1 2>/dev/null
	cat self.crt self.key >self.pem
	refused expired 'ca: ca.crt' old.pem
	refused not_yet_valid 'ca: ca.crt' young.pem
	refused unknown_ca 'ca: ca.crt' strange.pem
	refused self_signed 'ca: ca.crt' self.pem
	leaf gone IP:127.0.0.1
	openssl ca -batch -config ca.d/ca.cnf -revoke gone.crt 2>/dev/null
	openssl ca -batch -config ca.d/ca.cnf -gencrl -out ca.crl 2>/dev/null
	refused revoked 'ca: ca.crt, crl: ca.crl' gone.pem
	until_ok grep -q 'detail=revoked.*text="certificate 0 (/CN=gone)' proc/routerd.0.log
	# and one that is fine passes beside the same list
	origin fine --tls good.pem
	tls_site '' 'ca: ca.crt, crl: ca.crl' "$(server_of fine)"
	ctl routerd.0 reload && ctl tlsd.connect reload
	[ "$(code)" = 200 ]
	# none of them is asked when nothing is to be checked
	tls_site '' 'verify: off' "$(server_of unknown_ca)"
	ctl routerd.0 reload && ctl tlsd.connect reload
	[ "$(code)" = 200 ]
	[ "$(counter upstream_tls_failures)" = 5 ]
}

@test "a server that shows its client no reason to trust it is passed over for another one" {
	leaf old IP:127.0.0.1 ca 20200101000000Z 20200201000000Z
	origin bad --tls old.pem
	origin good --name good --tls good.pem
	tls_site 'passive: { max_fails: 1000 }' '' "$(server_of bad)" "$(server_of good)"
	both
	# also what may not be done twice: nothing of it was sent
	for i in 1 2 3 4; do [ "$(http -d x "http://127.0.0.1:$PORT/echo" | jq -r .name)" = good ]; done
	[ "$(counter retries)" -ge 1 ]
	[ "$(requests bad | grep -c '"request"')" = 0 ]
}

@test "a server whose certificate or key share is none is to blame, and another one is asked" {
	cat >odd.py <<'X'
import socket, ssl, sys
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain("good.pem")
if sys.argv[1] == "times": # of a certificate: in 1.2 it can be seen on the way
    c.maximum_version = ssl.TLSVersion.TLSv1_2
def spoil(b):
    if sys.argv[1] == "times":
        return b.replace(bytes([23, 13]), bytes([5, 13]))
    at = b.find(bytes([0, 29, 0, 32])) + 4 # X25519, 32 bytes: all zeros make no secret (RFC 7748 6.1)
    return b if at == 3 else b[:at] + bytes(32) + b[at + 32:]
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(9); print("port", s.getsockname()[1])
while True:
    d, _ = s.accept()
    i, o = ssl.MemoryBIO(), ssl.MemoryBIO()
    t = c.wrap_bio(i, o, server_side=True)
    try:
        while True:
            i.write(d.recv(9999) or b"")
            try: t.do_handshake()
            except ssl.SSLWantReadError: pass
            d.sendall(spoil(o.read()))
            if not d.recv(1, socket.MSG_PEEK): break
    except OSError: pass
    d.close()
X
	origin good --name good --tls good.pem
	for odd in times share; do
		spawn $odd python3 -u odd.py $odd
		wait_for "[ -n \"\$(port_of $odd)\" ]"
		tls_site 'passive: { max_fails: 1000 }' '' "$(server_of $odd)" "$(server_of good)"
		as_it_is
		for i in 1 2 3 4; do [ "$(get | jq -r .name)" = good ]; done
		ctl routerd.0 json status | jq -e --arg s $odd '.pools[0].servers[] | select(.name == $s) | .errors >= 1'
	done
	[ "$(tls_failed protocol_error)" -ge 2 ]
	[ "$(tls_failed internal)" = 0 ]
}

@test "client certificates: shown to who asks, and only then" {
	leaf me DNS:proxy.example
	origin a --tls good.pem --tls-client-ca ca.crt
	origin b --tls good.pem
	tls_site 'retries: 0' 'ca: ca.crt, cert: me.pem' "$(server_of a)" "$(server_of b)"
	both
	[ "$(code)" = 200 ]
	[ "$(code)" = 200 ]
	opens a | jq -e '.client == ["me"]'
	opens b | jq -e '.client == []'
	# without one: TLS 1.3 says so behind the handshake, 1.2 in it
	for v in 1.2 1.3; do
		origin need$v --tls good.pem --tls-client-ca ca.crt --tls-only $v
		tls_site 'retries: 0' 'ca: ca.crt' "$(server_of need$v)"
		ctl routerd.0 reload && ctl tlsd.connect reload
		[ "$(code)" = 502 ]
		case $v in
		1.2) [ "$(reason)" = tls_handshake_failed ] ;;
		1.3) [ "$(reason)" = tls_alert ] ;;
		esac
		[ "$(requests need$v | grep -c '"request"')" = 0 ]
	done
}

@test "TLS 1.2 with each suite, 1.3 with each, and nothing older or weaker" {
	local n=0
	for suite in ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305; do
		n=$((n + 1))
		origin s$n --tls good.pem --tls-only 1.2 --tls-ciphers $suite
		tls_site 'retries: 0' '' "$(server_of s$n)"
		if [ $n = 1 ]; then both; else ctl routerd.0 reload && ctl tlsd.connect reload; fi
		[ "$(get /bytes/300000 | sha256sum)" = "$(python3 -c 'import sys; p = bytes((i * 7 + i // 251) % 256 for i in range(65536)); sys.stdout.buffer.write((p * 5)[:300000])' | sha256sum)" ]
		opens s$n | jq -e --arg c $suite '.cipher == $c and .version == "TLSv1.2"'
	done
	for suite in TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; do
		n=$((n + 1))
		origin s$n --tls good.pem
		tls_site 'retries: 0' "ca: ca.crt, ciphers: [$suite]" "$(server_of s$n)"
		ctl routerd.0 reload && ctl tlsd.connect reload
		[ "$(get /bytes/300000 | wc -c)" = 300000 ]
		opens s$n | jq -e --arg c $suite '.cipher == $c and .version == "TLSv1.3"'
	done
	origin old --tls good.pem --tls-only 1.2 --tls-ciphers ECDHE-ECDSA-AES128-SHA
	tls_site 'retries: 0' '' "$(server_of old)"
	ctl routerd.0 reload && ctl tlsd.connect reload
	[ "$(code)" = 502 ]
	[ "$(reason)" = tls_handshake_failed ]
	tls_site 'retries: 0' 'ca: ca.crt, min_version: 1.3' "$(server_of s1)"
	ctl routerd.0 reload && ctl tlsd.connect reload
	[ "$(code)" = 502 ]
	[ "$(reason)" = tls_handshake_failed ]
	[ "$(tls_failed wrong_version)" = 1 ]
}

@test "no TLS at the server: clear text, silence, an end, a reset" {
	spawn odd python3 -c '
import socket, struct, threading, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(9); print("port", s.getsockname()[1], flush=True)
kinds = iter(["end", "reset", "talk", "hang"])
keep = []
while True:
    c, _ = s.accept(); keep.append(c); kind = next(kinds)
    if kind == "talk": c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
    if kind == "reset": c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if kind in ("end", "reset"): c.recv(5); keep.pop(); c.close()
'
	wait_for '[ -n "$(port_of odd)" ]'
	TLS_TIMEOUT=2s
	tls_site 'retries: 0' '' "$(server_of odd)"
	both
	for want in closed reset not_tls; do
		[ "$(code)" = 502 ]
		[ "$(reason)" = tls_handshake_failed ]
	done
	until_ok grep -q 'server=odd .*detail=not_tls' proc/routerd.0.log
	# it takes the connection and says nothing: a deadline of its own
	local before=$SECONDS
	[ "$(code)" = 504 ]
	[ "$(reason)" = tls_timeout ]
	[ $((SECONDS - before)) -le 15 ]
	wait_for '[ "$(ctl tlsd.connect json status | jq .handshaking)" = 0 ]'
	[ "$(ctl routerd.0 json status | jq '.counters.upstream_tls_failures')" = 4 ]
}

@test "bytes that a server sends before the handshake has ended are never an answer" {
	spawn o python3 -c '
import ctypes as c, socket, threading, time
L = c.CDLL("libssl.so.3")
for f in ("TLS_server_method", "SSL_CTX_new", "SSL_new"): getattr(L, f).restype = c.c_void_p
ctx = c.c_void_p(L.SSL_CTX_new(c.c_void_p(L.TLS_server_method())))
assert L.SSL_CTX_use_certificate_chain_file(ctx, b"good.pem") == 1
assert L.SSL_CTX_use_PrivateKey_file(ctx, b"good.pem", 1) == 1
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(9); print("port", s.getsockname()[1], flush=True)
def pump(a, b, wait):
    while True:
        d = a.recv(65536)
        if not d: break
        if wait:
            time.sleep(0.2)            # what was written in pieces arrives in one
            a.setblocking(False)
            try: d += a.recv(65536)
            except BlockingIOError: pass
            a.setblocking(True)
        b.sendall(d)
    b.shutdown(socket.SHUT_WR)
while True:
    client, _ = s.accept()
    mine, its = socket.socketpair()
    threading.Thread(target=pump, args=(client, mine, False), daemon=True).start()
    threading.Thread(target=pump, args=(mine, client, True), daemon=True).start()
    ssl = c.c_void_p(L.SSL_new(ctx))
    L.SSL_set_fd(ssl, its.fileno())
    n = c.c_size_t()
    buf = c.create_string_buffer(65536)
    assert L.SSL_read_early_data(ssl, buf, c.c_size_t(65536), c.byref(n)) == 2
    early = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nearly!"
    assert L.SSL_write_early_data(ssl, early, c.c_size_t(len(early)), c.byref(n)) == 1
    print("early", n.value, flush=True)
    L.SSL_accept(ssl)
    L.SSL_read(ssl, buf, 65536)
    its.close()
'
	wait_for '[ -n "$(port_of o)" ]'
	tls_site 'retries: 0' '' "$(server_of o)"
	both
	[ "$(code)" = 502 ]
	[ "$(reason)" = tls_early_bytes ]
	[ "$(cat body)" != early! ]
	until_ok grep -q '^early 4' proc/o.log
}

@test "large bodies both ways, byte for byte" {
	head -c 20000000 /dev/urandom >up
	for v in 1.2 1.3; do
		origin o$v --tls good.pem --tls-only $v
		tls_site '' '' "$(server_of o$v)"
		as_it_is
		[ "$(http -T up "http://127.0.0.1:$PORT/echo" | jq -r .body_sha256)" = "$(sha256sum <up | cut -d' ' -f1)" ]
		[ "$(get /bytes/30000000 | sha256sum)" = "$(get /bytes/30000000 | sha256sum)" ]
		[ "$(get /bytes/30000000 | wc -c)" = 30000000 ]
		get /chunked/3000000 | cmp - <(get /bytes/3000000)
		[ "$(opens o$v | wc -l)" -le 2 ]
	done
}

@test "an answer that ends with the connection is whole only after close_notify" {
	for v in 1.2 1.3; do
		origin o$v --tls good.pem --tls-only $v
		tls_site 'retries: 0' '' "$(server_of o$v)"
		as_it_is
		[ "$(get /until-close/100000 | wc -c)" = 100000 ]
		run http -o body "http://127.0.0.1:$PORT/cut/100000"
		[ "$status" != 0 ]
	done
}

@test "new keys, tickets and goodbyes of a server between requests" {
	spawn o python3 -c '
import ctypes, socket, ssl, threading
ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
ctx.load_cert_chain("good.pem"); ctx.num_tickets = 4
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(9); print("port", s.getsockname()[1], flush=True)
while True:
    c, _ = s.accept()
    t = ctx.wrap_socket(c, server_side=True)
    for n in range(3):
        head = b""
        while b"\r\n\r\n" not in head:
            d = t.recv(4096)
            if not d: break
            head += d
        if not head: break
        t.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + str(n).encode() + b"\n")
    try: t.unwrap()
    except OSError: pass
    t.close()
'
	wait_for '[ -n "$(port_of o)" ]'
	tls_site '' '' "$(server_of o)"
	both
	[ "$(get /)$(get /)$(get /)" = 012 ]
	# it has said goodbye: nobody tries that one
	wait_for '[ "$(counter upstream_idle)" = 0 ]'
	[ "$(get /)" = 0 ]
	[ "$(counter retries)" = 0 ]
}

@test "openssl s_server renews its keys in the middle of an answer" {
	mkfifo cmd
	exec 8<>cmd
	PP=$(free_port)
	stdbuf -oL openssl s_server -accept "$PP" -cert good.crt -key good.key -naccept 1 <&8 >s.log 2>&1 3>&- 9>&- &
	echo $! >proc/sserver.pid
	wait_for 'grep -q ACCEPT s.log'
	tls_site 'retries: 0' '' "name: s, address: \"127.0.0.1:$PP\""
	both
	http -m 100 -N -o got "http://127.0.0.1:$PORT/" &
	wait_for 'grep -q "GET / HTTP" s.log'
	printf 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n' >&8
	printf 'abcd\n' >&8
	wait_for 'grep -qs abcd got'
	printf 'K\n' >&8 # a command where a piece of input begins with it
	wait_for 'grep -q SSL_do_handshake s.log'
	printf 'efgh\n' >&8
	wait_for '[ "$(cat got 2>/dev/null)" = "$(printf "abcd\nefgh")" ]'
	exec 8>&-
}

@test "WebSocket over TLS, in both directions" {
	origin a --tls good.pem
	tls_site '' '' "$(server_of a)"
	both
	python3 - "$PORT" <<'P'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
s.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
head = b""
while b"\r\n\r\n" not in head: head += s.recv(1000)
assert b" 101 " in head, head
for word in (b"one", b"two" * 20, b"three"):
    s.sendall(bytes([0x81, 0x80 | len(word), 0, 0, 0, 0]) + word)
    got = b""
    while len(got) < 2 + len(word):
        d = s.recv(1000)
        assert d
        got += d
    assert got == bytes([0x81, len(word)]) + word
P
}

@test "nginx, Node and openssl as servers" {
	leaf rsa DNS:localhost,IP:127.0.0.1
	chmod 755 "$T" "$BATS_RUN_TMPDIR" "$(dirname "$T")" 2>/dev/null || true
	local np hp sp
	np=$(free_port)
	cat >nginx.conf <<X
daemon off; pid $T/nginx.pid; error_log $T/nginx-error.log; worker_processes 1; user root;
events { }
http { access_log off; client_body_temp_path $T/cb; proxy_temp_path $T/pt; fastcgi_temp_path $T/ft; uwsgi_temp_path $T/ut; scgi_temp_path $T/st;
  server { listen 127.0.0.1:$np ssl; ssl_certificate $T/good.crt; ssl_certificate_key $T/good.key;
    location / { return 200 "nginx \$ssl_protocol \$ssl_server_name\n"; } } }
X
	spawn nginx nginx -e "$T/nginx-error.log" -c "$T/nginx.conf" -p "$T"
	spawn node node -e '
const fs = require("fs");
const s = require("https").createServer({ cert: fs.readFileSync("good.crt"), key: fs.readFileSync("good.key") },
  (q, r) => r.end("node " + q.socket.getProtocol() + " " + q.socket.servername + "\n"));
s.listen(0, "127.0.0.1", () => console.log("port " + s.address().port));'
	sp=$(free_port)
	spawn sserver openssl s_server -accept "$sp" -cert good.crt -key good.key -www -quiet
	wait_for '[ -n "$(port_of node)" ]'
	hp=$(port_of node)
	wait_for "openssl s_client -connect 127.0.0.1:$np </dev/null"
	wait_for "openssl s_client -connect 127.0.0.1:$sp </dev/null"
	tls_site '' 'ca: ca.crt, name: localhost' "name: n, address: \"127.0.0.1:$np\"" "name: h, address: \"127.0.0.1:$hp\"" "name: s, address: \"127.0.0.1:$sp\""
	both
	for i in 1 2 3 4 5 6; do get / >>got; done
	cat got
	[ "$(grep -c '^nginx TLSv1.[23] localhost' got)" = 2 ]
	[ "$(grep -c '^node TLSv1.3 localhost' got)" = 2 ]
	[ "$(grep -c 'Protocol *: TLSv1.3\|New, TLSv1.3' got)" -ge 2 ]
}

@test "nobody who makes handshakes: requests wait for it, then say so, and no server is blamed" {
	origin a --tls good.pem
	TLS_TIMEOUT=2s
	tls_site 'passive: { max_fails: 1 }' '' "$(server_of a)" 'name: never, address: "127.0.0.1:1", down: on'
	start routerd
	local before=$SECONDS
	[ "$(code)" = 504 ]
	[ "$(reason)" = tls_unavailable ]
	[ $((SECONDS - before)) -le 15 ]
	[ "$(counter upstream_tls_unavailable)" = 1 ]
	[ "$(counter retries)" = 0 ]
	ctl routerd.0 json status | jq -e '.pools[0].servers[0] | .errors == 0 and .verdict == "up"'
	# one that comes while a request waits serves it
	sed -i 's/: 2s/: 20s/g' weir.yaml
	ctl routerd.0 reload
	spawn waiting curl -q -sS -m 60 --noproxy '*' -o got "http://127.0.0.1:$PORT/bytes/7"
	wait_for '[ "$(counter requests_active)" = 1 ]'
	connect_start
	status=1
	_reap waiting 60
	[ "$status" = 0 ] && [ "$(wc -c <got)" = 7 ]
}

@test "killed at any moment: open connections go on, new ones wait for its return" {
	origin a --tls good.pem
	tls_site 'keepalive: 0' '' "$(server_of a)"
	both
	spawn slow curl -q -sS -m 100 --noproxy '*' -o slow.got "http://127.0.0.1:$PORT/drip/40/100"
	wait_for '[ "$(tls_count handshakes)" = 1 ]'
	spawn load bash -c "for i in {1..120}; do curl -q -sS -m 60 --noproxy '*' -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$PORT/bytes/300; done >codes"
	for i in 1 2 3 4; do
		wait_for "[ \$(cat codes | wc -l) -ge $((i * 15)) ]"
		kill_hard tlsd.connect
		connect_start
	done
	_reap load 100
	[ "$(sort codes | uniq -c | tr -s ' ')" = ' 120 200' ]
	_reap slow 100
	[ "$(wc -c <slow.got)" = 40 ]
}

@test "two that make handshakes share the work, and one that ends well loses nothing" {
	origin a --tls good.pem
	tls_site 'keepalive: 0' '' "$(server_of a)"
	both
	start tlsd -i second --role connect
	spawn load bash -c "for i in {1..100}; do curl -q -sS -m 60 --noproxy '*' -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$PORT/bytes/300; done >codes"
	wait_for '[ $(cat codes | wc -l) -ge 30 ]'
	stop tlsd.connect
	_reap load 100
	[ "$(sort codes | uniq -c | tr -s ' ')" = ' 100 200' ]
	[ "$(ctl tlsd.second json status | jq .counters.handshakes)" -gt 0 ]
}

@test "a policy that changes by reload: connections of the old one are not used again" {
	leaf me DNS:proxy.example
	origin a --tls good.pem
	tls_site '' '' "$(server_of a)"
	both
	[ "$(get | jq .conn)" = 1 ]
	[ "$(get | jq .conn)" = 1 ]
	# without a change the connection stays
	ctl routerd.0 reload && ctl tlsd.connect reload
	[ "$(get | jq .conn)" = 1 ]
	tls_site '' 'ca: ca.crt, min_version: 1.3' "$(server_of a)"
	ctl routerd.0 reload && ctl tlsd.connect reload
	[ "$(get | jq .conn)" = 2 ]
	# in the clear it is no TLS connection's place either
	origin b
	sed -i "s/^    tls: p$//; s/{ name: a, .*/{ name: a, address: \"127.0.0.1:$(port_of b)\" }/" weir.yaml
	ctl routerd.0 reload
	[ "$(get | jq .conn)" = 1 ]
}

@test "a connection is used for its own policy only, whoever else asks the same server" {
	leaf me DNS:proxy.example
	origin one --tls good.pem --tls-client-ca ca.crt
	spawn two node "$TOOLS/h2life.js" pem=good.pem
	wait_for "grep -qs '^ready' proc/two.log"
	PORT=$(free_port)
	pool() { echo "  $1: { tls: $2, protocol: $3, retries: 0, servers: [{ address: \"127.0.0.1:$4\" }] }"; }
	cat >weir.yaml <<X
run_dir: run
http:
  workers: 1
  listen: [{ name: http, address: "127.0.0.1:$PORT" }]
  access_log: { path: access.log, format: json }
  hosts: [{ names: ["*"], routes: [$(for p in me1 plain1 strict1 lax2 strict2; do printf '{ path: /%s, pool: %s }, ' $p $p; done)] }]
upstream_tls:
  policies:
    me: { ca: ca.crt, cert: me.pem }
    plain: { ca: ca.crt }
    lax: { verify: off }
    strict: { ca: ca.crt, name: nobody.example }
pools:
$(pool me1 me http/1.1 "$(port_of one)"; pool plain1 plain http/1.1 "$(port_of one)"; pool strict1 strict http/1.1 "$(port_of one)")
$(pool lax2 lax h2 "$(port_of two)"; pool strict2 strict h2 "$(port_of two)")
X
	both
	for i in 1 2; do
		[ "$(code /me1)" = 200 ] # and its connection stays
		[ -z "$(reason)" ]
		[ "$(counter upstream_idle)" -ge 1 ]
		[ "$(code /plain1)" = 502 ]
		[ "$(reason)" = tls_alert ]
		[ "$(code /strict1)" = 502 ]
		[ "$(reason)" = tls_verify_failed ]
		[ "$(code /lax2)" = 200 ]
		[ -z "$(reason)" ]
		[ "$(code /strict2)" = 502 ]
		[ "$(reason)" = tls_verify_failed ]
	done
	[ "$(opens one | jq -c .client)" = '["me"]' ]
}

@test "routerd may be reloaded first: what it asks for is waited for" {
	origin a --tls good.pem
	tls_site '' '' "$(server_of a)"
	both
	sed -i 's/tls: p$/tls: q/; s/^    p: /    q: /' weir.yaml
	ctl routerd.0 reload
	spawn waiting curl -q -sS -m 60 --noproxy '*' -o got "http://127.0.0.1:$PORT/bytes/7"
	wait_for '[ "$(tls_failed unknown_policy)" -ge 2 ]'
	ctl tlsd.connect reload
	status=1
	_reap waiting 60
	[ "$status" = 0 ]
	[ "$(wc -c <got)" = 7 ]
	[ "$(tls_failed unknown_policy)" -lt 60 ]
}

@test "a policy that stays unknown to who makes handshakes ends requests in time, by either protocol" {
	origin a --tls good.pem
	TLS_TIMEOUT=2s
	tls_site 'protocol: http/1.1' '' "$(server_of a)"
	connect_start
	sed -i 's/tls: p$/tls: q/; s/^    p: /    q: /' weir.yaml
	start routerd
	[ "$(code)" = 504 ]
	[ "$(reason)" = tls_unavailable ]
	sed -i 's|protocol: http/1.1|protocol: h2|' weir.yaml
	ctl routerd.0 reload
	[ "$(code)" = 504 ]
	[ "$(reason)" = tls_unavailable ]
	wait_for '[ "$(tls_failed unknown_policy)" -ge 2 ]'
	[ "$(counter upstream_tls_unavailable)" = 2 ]
}

@test "files that change are used from then on, and bad ones are not" {
	authority stranger
	origin a --tls good.pem
	cp stranger.crt trust.crt
	tls_site 'retries: 0' 'ca: trust.crt' "$(server_of a)"
	both
	[ "$(code)" = 502 ]
	cp ca.crt trust.new && mv trust.new trust.crt
	wait_for '[ "$(code)" = 200 ]'
	echo nonsense >trust.new && mv trust.new trust.crt
	wait_for 'grep -q policy_reload_failed proc/tlsd.connect.log'
	[ "$(code)" = 200 ]
}

@test "only those who may ask are heard, and what is no question ends its channel alone" {
	needs_root "look into daemons"
	origin a --tls good.pem
	tls_site '' '' "$(server_of a)"
	both
	[ "$(code)" = 200 ]
	python3 - "$T/run/upstream_tls/connect.ask" "$(port_of a)" "$(pid_of tlsd.connect)" <<'P'
import array, os, socket, struct, sys, random, time
path, port = sys.argv[1], int(sys.argv[2])
def channel():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(30)
    s.connect(path)
    return s
def ask(s, serial=1, protocols=1, policy=b"p", host=b"127.0.0.1", fds=1, flags=0, version=1, more=b""):
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(fds)]
    m = b"WA" + bytes([version, serial, protocols, flags, len(policy), len(host)]) + policy + host + more
    s.sendmsg([m], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [x.fileno() for x in socks]))] if fds else [])
    return socks
def gone(s):
    assert s.recv(100) == b"", "still there"
# a packet without bytes has descriptors all the same: none of them stays
fds = lambda: len(os.listdir("/proc/%s/fd" % sys.argv[3]))
before = fds()
for i in range(40):
    s = channel()
    s.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2, 0]))])
    gone(s)
    s.close()
assert fds() < before + 40, (before, fds())
# who asks and does not listen is not heard any more, until it does
s = channel(); s.setblocking(False)
sock = socket.create_connection(("127.0.0.1", port))
m, sent, quiet = b"WA" + bytes([1, 1, 1, 0, 1, 0]) + b"q", 0, 0
while quiet < 20 and sent < 20000:
    try:
        s.sendmsg([m], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))])
        sent, quiet = sent + 1, 0
    except OSError: # no room; too many descriptors on their way
        quiet += 1
        time.sleep(0.05)
assert sent < 20000
s.settimeout(30)
for i in range(sent): assert s.recv(100)[:4] == b"WR\x01\x01"
# what is right is answered, with keys
s = channel(); ask(s, 7); got = s.recv(70000); assert got[:4] == b"WH\x01\x01" and got[4] == 7 and got[5] == 2, got[:8]
# not its policy, not its server: refused
for kw in ({"policy": b"q"}, {"host": b"127.0.0.2"}, {"host": b""}, {"policy": b"p\x00127.0.0.1", "host": b""}):
    s = channel(); ask(s, 9, **kw)
    try: got = s.recv(70000)
    except ConnectionResetError: got = b""
    assert got[:4] == b"WR\x01\x09" or got == b"", got[:8]
for kw in ({"fds": 0}, {"fds": 2}, {"protocols": 0}, {"protocols": 4}, {"flags": 1}, {"version": 2}, {"more": b"x"}, {"policy": b""}):
    s = channel(); ask(s, **kw); gone(s)
s = channel(); ask(s, 3, host=b"127.0.0.1"); 
rng = random.Random(1)
for i in range(200):
    s = channel()
    m = bytearray(b"WA" + bytes([1, 1, 1, 0, 1, 9]) + b"p127.0.0.1")
    for _ in range(rng.randrange(1, 5)): m[rng.randrange(len(m))] = rng.randrange(256)
    try:
        s.send(bytes(m[:rng.randrange(len(m) + 1)]))
        s.send(bytes(m))
    except OSError: pass
    s.close()
P
	[ "$(code)" = 200 ]
	is_alive tlsd.connect
	[ "$(tls_count bad_messages)" -ge 8 ]
}

@test "the key of a client certificate is not in the memory of routerd" {
	needs_root "look into daemons"
	leaf me DNS:proxy.example
	origin a --tls good.pem --tls-client-ca ca.crt
	tls_site '' 'ca: ca.crt, cert: me.crt, key: me.key' "$(server_of a)"
	both
	[ "$(code)" = 200 ]
	openssl ec -in me.key -outform DER 2>/dev/null | python3 -c '
import re, sys
der = sys.stdin.buffer.read()
at = der.index(b"\x04\x20")
key = der[at + 2 : at + 34]
def has(pid):
    mem = open("/proc/%d/mem" % pid, "rb", 0)
    for line in open("/proc/%d/maps" % pid):
        m = re.match(r"(\w+)-(\w+) r", line)
        if not m or "[v" in line: continue
        a, b = (int(x, 16) for x in m.groups())
        if b - a > 1 << 31: continue
        try:
            mem.seek(a)
            data = mem.read(b - a)
        except OSError: continue
        if key in data or key[::-1] in data: return True
    return False
assert has(int(sys.argv[1])), "the search does not find it where it is"
assert not has(int(sys.argv[2])), "routerd has the key"
' "$(pid_of tlsd.connect)" "$(pid_of routerd.0)"
}
