#!/usr/bin/env bats
# HTTP/2 over TLS, at both ends: servers by ALPN, clients through tlsd by either seam, and gRPC all the way.

load uptls_helper

# nghttpd NAME ARGS..: it says its port nowhere
nghttpd_start() {
	local name=$1 port
	shift
	port=$(free_port)
	echo "port $port" >"$T/proc/$name.log"
	mkdir -p docs
	spawn "$name" nghttpd -a 127.0.0.1 -d docs "$@" "$port" good.key good.crt
	wait_for "nghttp -n https://127.0.0.1:$port/ 2>/dev/null"
}

@test "nghttpd over TLS: bodies both ways, trailers, many at once, on one connection" {
	mkdir docs
	head -c 3000000 /dev/urandom >docs/large
	echo hello >docs/small
	nghttpd_start a --echo-upload --trailer 'x-sum: 1'
	tls_site 'protocol: h2' '' "$(server_of a)"
	both
	[ "$(get /small)" = hello ]
	get /large | cmp - docs/large
	nghttp -v "http://127.0.0.1:$PORT/small" >got
	grep -q 'x-sum: 1' got
	http -H Expect: --data-binary @docs/large "http://127.0.0.1:$PORT/up" | cmp - docs/large
	http -H Expect: -H 'Transfer-Encoding: chunked' --data-binary @docs/large "http://127.0.0.1:$PORT/up" | cmp - docs/large
	run h2load --h1 -n 400 -c 16 "http://127.0.0.1:$PORT/small"
	assert_output --partial '400 succeeded, 0 failed, 0 errored'
	[ "$(counter h2_upstream_connections)" = 1 ]
	[ "$(counter upstream_tls_handshakes)" = 1 ]
}

@test "a server that does not agree to h2 in ALPN is not spoken to, and that is said; nor is one that cannot be verified" {
	local np
	origin h1 --tls good.pem
	np=$(free_port)
	spawn silent openssl s_server -accept "$np" -cert good.crt -key good.key -www -quiet
	wait_for "openssl s_client -connect 127.0.0.1:$np </dev/null"
	authority stranger
	leaf strange IP:127.0.0.1 stranger
	spawn strange node "$TOOLS/h2life.js" pem=strange.pem
	wait_for "grep -qs '^ready' proc/strange.log"
	tls_site "$(printf 'protocol: h2\n    retries: 0')" '' "$(server_of h1)"
	both
	[ "$(code)" = 502 ]
	[ "$(reason)" = tls_no_protocol ]
	[ "$(tls_failed no_protocol)" = 1 ]
	wait_for "grep -q 'upstream_tls_failed.*server=h1 reason=tls_no_protocol detail=no_protocol' proc/routerd.0.log"
	[ "$(requests h1 | grep -c '"request"')" = 0 ]
	tls_site "$(printf 'protocol: h2\n    retries: 0')" '' "name: silent, address: \"127.0.0.1:$np\""
	ctl routerd.0 reload && ctl tlsd.connect reload
	[ "$(code)" = 502 ]
	[ "$(reason)" = tls_no_protocol ]
	tls_site "$(printf 'protocol: h2\n    retries: 0')" '' "$(server_of strange)"
	ctl routerd.0 reload && ctl tlsd.connect reload
	[ "$(code)" = 502 ]
	[ "$(reason)" = tls_verify_failed ]
	refute grep -q '"stream"' proc/strange.log
	# clear text where TLS is expected, and the other way round
	spawn clear node "$TOOLS/h2life.js"
	wait_for "grep -qs '^ready' proc/clear.log"
	tls_site "$(printf 'protocol: h2\n    retries: 0')" '' "$(server_of clear)"
	ctl routerd.0 reload && ctl tlsd.connect reload
	[ "$(code)" = 502 ]
	[ "$(reason)" = tls_handshake_failed ]
	# another server of the pool is asked instead
	spawn fine node "$TOOLS/h2life.js" pem=good.pem
	wait_for "grep -qs '^ready' proc/fine.log"
	tls_site "$(printf 'protocol: h2\n    passive: { max_fails: 0 }')" '' "$(server_of h1)" "$(server_of fine)"
	ctl routerd.0 reload && ctl tlsd.connect reload
	for i in 1 2 3; do [ "$(http -d x "http://127.0.0.1:$PORT/who" | jq .session)" = 1 ]; done
	# and the one of HTTP/1.1 serves when the pool says so
	tls_site '' '' "$(server_of h1)"
	ctl routerd.0 reload && ctl tlsd.connect reload
	[ "$(code)" = 200 ] || { tail -1 access.log; false; }
}

@test "WebSockets over TLS to a server of HTTP/2" {
	spawn a node "$TOOLS/h2life.js" pem=good.pem ws
	wait_for "grep -qs '^ready' proc/a.log"
	tls_site 'protocol: h2' '' "$(server_of a)"
	both
	python3 - "$PORT" <<'P'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.settimeout(30)
s.sendall(b"GET /chat HTTP/1.1\r\nHost: h.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
          b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n")
got = b""
while b"\r\n\r\n" not in got: got += s.recv(1000)
assert b" 101 " in got
for word in (b"hello", b"x" * 200000):
    s.sendall(word)
    back = b""
    while len(back) < len(word): back += s.recv(65536)
    assert back == word
s.sendall(b"bye")
assert s.recv(10) == b"bye" and s.recv(10) == b""
P
	grep '"CONNECT"' proc/a.log | jq -e '.protocol == "websocket" and .scheme == "https"'
}

# front SEAM ROUTES..: tlsd in front of routerd; $FRONT is its port
front() {
	local seam=$1
	shift
	config <<X
run_dir: run
state_dir: state
tls:
  listen: [ { address: "127.0.0.1:0", to: web, seam: $seam, alpn: [h2, http/1.1], certificates: [{ cert: good.pem }] } ]
upstream_tls:
  policies: { p: { ca: ca.crt } }
http:
  workers: 2
  access_log: { path: access.log, format: json }
  timeouts: { response: 20s, read: 20s }
  listen: [ { name: web, from: tlsd } ]
  hosts: [ { names: ["*"], routes: [ { path: /, pool: app } ] } ]
pools:
$(printf '  %s\n' "$@")
X
	start routerd
	start tlsd
	FRONT=$(ctl tlsd.0 json status | jq -r '.listeners[0].bound' | sed 's/.*://')
}
web() { http --cacert ca.crt "$@"; }
front_count() { ctl tlsd.0 json status | jq ".counters.$1"; }

real_clients() { # SEAM COUNTER
	origin o
	mkdir docs
	front "$1" "app: { servers: [ { address: \"127.0.0.1:$(port_of o)\" } ] }"
	local url=https://127.0.0.1:$FRONT
	[ "$(web --http2 -o /dev/null -w '%{http_version}' "$url/echo")" = 2 ]
	[ "$(web --http1.1 -o /dev/null -w '%{http_version}' "$url/echo")" = 1.1 ]
	for n in 0 1 16384 3000000; do
		[ "$(web --http2 "$url/bytes/$n" | sha256sum)" = "$(http "http://127.0.0.1:$(port_of o)/bytes/$n" | sha256sum)" ]
	done
	head -c 3000000 /dev/urandom >up
	[ "$(web --http2 --data-binary @up "$url/echo" | jq -r .body_sha256)" = "$(sha256sum <up | cut -d' ' -f1)" ]
	[ "$(web --http2 -X POST -T - "$url/echo" <up | jq -r .body_sha256)" = "$(sha256sum <up | cut -d' ' -f1)" ]
	nghttp -v "$url/bytes/100000" "$url/trailers" "$url/info/103" >nghttp.log 2>&1
	grep -q 'x-sum: 11' nghttp.log
	grep -q ':status: 103' nghttp.log
	run h2load -n 600 -c 4 -m 32 "$url/bytes/20000"
	assert_output --partial '600 succeeded, 0 failed, 0 errored'
	run node "$TOOLS/h2client.js" "$url" get /trailers /bytes/100000 /delay/200 /bytes/3
	[ "$(jq -s -c 'map(.status) | unique' <<<"$output")" = '[200]' ]
	[ "$(node "$TOOLS/h2client.js" "$url" post /echo 300000 | jq .status)" = 200 ]
	[ "$(node "$TOOLS/h2client.js" "$url" ws /ws)" = '{"status":200,"text":"hello","rst":0}' ]
	[ "$(node "$TOOLS/h2client.js" "$url" cancel /silent 200)" = '{"then":200}' ]
	[ "$(front_count "$2")" -gt 10 ]
	[ "$(ctl routerd.0 json status | jq .counters.h2_connections)" -gt 10 ]
	[ "$(ctl routerd.0 json status | jq .counters.h2_errors)" = 0 ]
}

@test "clients through the handoff: curl, nghttp, h2load, Node" { real_clients handoff handed_over; }
@test "clients through the relay: curl, nghttp, h2load, Node" { real_clients relay relayed; }

# A page whose script fetches 60 things and 3 MB, and then writes what it got into the page.
@test "Chromium loads a page of many parts and a large body by HTTP/2, through either seam" {
	browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || skip "chromium is not installed"
	mkdir docs
	for i in $(seq 60); do head -c $((i * 300)) /dev/zero | tr '\0' x >docs/$i.txt; done
	head -c 3000000 /dev/urandom >docs/large.bin
	cat >docs/index.html <<'X'
<!doctype html><body><p id=out>none</p><script>
(async () => {
	const names = [...Array(60).keys()].map((i) => (i + 1) + '.txt').concat('large.bin');
	const sizes = await Promise.all(names.map(async (n) => (await (await fetch(n)).arrayBuffer()).byteLength));
	const protocols = new Set(performance.getEntriesByType('resource').map((e) => e.nextHopProtocol));
	document.getElementById('out').textContent = 'sum ' + sizes.reduce((a, b) => a + b, 0) + ' by ' + [...protocols].join();
})();
</script>
X
	for seam in handoff relay; do
		nghttpd_start $seam
		front $seam "app: { protocol: h2, tls: p, servers: [ { address: \"127.0.0.1:$(port_of $seam)\" } ] }"
		is_alive tlsd.connect || connect_start
		timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --ignore-certificate-errors \
			--virtual-time-budget=20000 --user-data-dir="$T/profile.$seam" --dump-dom "https://localhost:$FRONT/index.html" >got 2>err || { tail -5 err; false; }
		grep -q 'sum 3549000 by h2' got || { cat got; false; }
		wait_for '[ "$(wc -l <access.log)" -ge 62 ]'
		jq -e -s 'map(select(.target | test("txt$|bin$"))) | length == 61 and all(.status == 200 and .version == "2.0")' access.log
		stop tlsd.0
		stop routerd.0
		rm access.log
	done
}

# gRPC's own stack at both ends, TLS on both sides
grpc() {
	spawn grpc /usr/bin/python3 "$TOOLS/grpc_peer.py" server "$@"
	wait_for "grep -qs '^ready' '$T/proc/grpc.log'"
}

@test "gRPC over TLS from end to end: unary, streams of each kind, deadlines, and cancelling reaches the server" {
	grpc tls=good.pem
	front handoff "app: { protocol: h2, tls: p, servers: [ { address: \"127.0.0.1:$(port_of grpc)\" } ] }"
	connect_start
	client=(timeout 60 /usr/bin/python3 "$TOOLS/grpc_peer.py" client "$FRONT" tls=ca.crt)
	"${client[@]}" unary big sum count chat fail deadline time unimplemented many
	"${client[@]}" cancel
	wait_for "[ \"\$(grep -c '^left Hang' proc/grpc.log)\" = 1 ]"
	"${client[@]}" cancel-stream
	wait_for "grep -q '^left Ticks' proc/grpc.log"
	"${client[@]}" hang
	wait_for "[ \"\$(grep -c '^left Hang' proc/grpc.log)\" = 2 ]"
	# its neighbours did not notice, nor did the connection
	"${client[@]}" unary
	wait_for '[ "$(ctl routerd.0 json status | jq .counters.requests_active)" = 0 ]'
	# two workers, and 128 calls of one client at a time take two connections of 100 streams
	[ "$(ctl routerd.0 json status | jq .counters.h2_upstream_connections)" -le 4 ]
	until_ok jq -e -s 'all(.version == "2.0" and .tls != false)' access.log
}

@test "grpc-timeout is passed on, and the server is told by RST_STREAM when the caller gives up" {
	spawn a node "$TOOLS/h2life.js" pem=good.pem hold
	wait_for "grep -qs '^ready' proc/a.log"
	front relay "app: { protocol: h2, tls: p, servers: [ { address: \"127.0.0.1:$(port_of a)\" } ] }"
	connect_start
	timeout 60 /usr/bin/python3 "$TOOLS/grpc_peer.py" client "$FRONT" tls=ca.crt hang cancel
	grep '"stream"' proc/a.log | jq -s -e '.[0].timeout != null and all(.te == "trailers" and .method == "POST" and .path == "/t.T/Hang")'
	wait_for "[ \"\$(grep '\"end\"' proc/a.log | jq -s -c 'map(.code)')\" = '[8,8]' ]"
}
