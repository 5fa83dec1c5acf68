#!/usr/bin/env bats
# HTTP/1 through routerd, as clients and servers see it: framing, early ends, retries, tunnels, time-outs.

load helper

# One listener, one pool of one scripted origin; more servers as an argument.
proxy() {
	origin o1
	PORT=$(free_port)
	config <<EOF
run_dir: run
http:
  workers: 2
  listen: [ { name: http, address: "127.0.0.1:$PORT" } ]
  timeouts: { head: 1s, body: 1s, send: 2s, connect: 1s, response: 1s, read: 1s, keepalive: 2s, tunnel: 3s }
  limits: { body: 1m }
  hosts:
    - names: ["*"]
      routes:
        - { path: /, pool: app }
        - { path: /local, respond: { status: 200, body: "from weir" } }
        - { path: /long, strip: /long, pool: app, timeouts: { tunnel: 1m, response: 1m, body: 1m }, max_body: 200m }
pools:
  app:
    servers: [ { name: o1, address: "127.0.0.1:$(port_of o1)" } ${1:-} ]
EOF
	start routerd
	URL=http://127.0.0.1:$PORT
}

log_has() { grep -q "$1" "$(log_of routerd.0)"; }

@test "a request and its answer pass, fields and body as they were" {
	proxy
	run http -d 'hello there' -H 'X-One: 1' "$URL/echo?q=a%20b"
	assert_success
	[ "$(jq -r .method <<<"$output")" = POST ]
	[ "$(jq -r .target <<<"$output")" = '/echo?q=a%20b' ]
	[ "$(jq -r .body <<<"$output")" = 'hello there' ]
	[ "$(jq -r '.headers[] | select(.[0] == "X-One") | .[1]' <<<"$output")" = 1 ]
	[ "$(jq -r '.headers[] | select((.[0] | ascii_downcase) == "host") | .[1]' <<<"$output")" = "127.0.0.1:$PORT" ]
}

@test "bodies of every framing and size arrive whole, both ways" {
	proxy
	for n in 0 1 100 16000 16384 65536 100000 3000000; do
		want=$(http "http://127.0.0.1:$(port_of o1)/bytes/$n" | sha256sum)
		[ "$(http "$URL/bytes/$n" | sha256sum)" = "$want" ] || fail "bytes $n"
		[ "$(http "$URL/chunked/$n/777" | sha256sum)" = "$want" ] || fail "chunked $n"
		[ "$(http "$URL/until-close/$n" | sha256sum)" = "$want" ] || fail "until-close $n"
	done
	for n in 1 1000 65536 65537 900000; do
		head -c $n /dev/urandom >"$T/body"
		sum=$(sha256sum <"$T/body" | cut -d' ' -f1)
		[ "$(http --data-binary @"$T/body" "$URL/echo" | jq -r .body_sha256)" = "$sum" ] || fail "length $n"
		[ "$(http -H 'Transfer-Encoding: chunked' --data-binary @"$T/body" "$URL/echo" | jq -r .body_sha256)" = "$sum" ] ||
			fail "chunked upload $n"
	done
}

@test "a client connection carries many requests, pipelined ones in order" {
	proxy
	run raw 'GET /bytes/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /status/404 HTTP/1.1\r\nHost: a\r\n\r\nGET /local HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	assert_success
	[ "$(grep -a -o 'HTTP/1.1 [0-9]*' <<<"$output" | xargs)" = 'HTTP/1.1 200 HTTP/1.1 404 HTTP/1.1 200' ]
}

@test "a request may come in any pieces" {
	proxy
	run raw --split 1 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n'
	assert_success
	assert_output --partial '"body": "hello"'
}

@test "HEAD, 204 and 304 have no body and the connection goes on" {
	proxy
	run raw 'HEAD /bytes/100 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /chunked/10 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /until-close/5 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /local HTTP/1.1\r\nHost: a\r\n\r\nGET /status/204 HTTP/1.1\r\nHost: a\r\n\r\nGET /status/304 HTTP/1.1\r\nHost: a\r\n\r\nGET /bytes/3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	assert_success
	[ "$(grep -a -o 'HTTP/1.1 [0-9]*' <<<"$output" | xargs)" = 'HTTP/1.1 200 HTTP/1.1 200 HTTP/1.1 200 HTTP/1.1 200 HTTP/1.1 204 HTTP/1.1 304 HTTP/1.1 200' ]
	assert_output --partial 'Content-Length: 100'
	# Behind each head without a body stands the next head, and nothing else.
	[ "$(tr -d '\r' <<<"$output" | grep -a -A1 -x '' | grep -a -c '^HTTP/1.1 ')" = 6 ]
}

@test "HTTP/1.0 clients get no chunks and no interim responses" {
	proxy
	run raw 'GET /chunked/10 HTTP/1.0\r\n\r\n'
	assert_success
	refute_output --partial 'chunked'
	assert_output --partial 'Connection: close'
	run raw 'GET /info/103 HTTP/1.0\r\n\r\n'
	[[ $output == 'HTTP/1.1 200 OK'* ]]
	refute_output --partial ' 103 '
}

@test "interim responses pass, several before the final one" {
	proxy
	run raw 'GET /info/103 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	assert_success
	assert_output --partial 'HTTP/1.1 103'
	assert_output --partial 'X-Interim: 1'
	assert_output --partial 'HTTP/1.1 200'
}

@test "100-continue is the server's to say, end to end" {
	proxy
	run raw 'POST /continue HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n' '@wait:100 Continue' hello
	assert_success
	assert_output --partial '"body": "hello"'
	run raw 'POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n'
	assert_output --partial 'HTTP/1.1 417'
	refute_output --partial '100 Continue'
}

@test "trailers pass both ways" {
	proxy
	run raw 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\nX-T: last\r\nHost: evil\r\nX_Forwarded_For: evil\r\nX-Forwarded-User: evil\r\nContent_Length: 666\r\n\r\n'
	# The field Trailer is echoed, too: what counts is the trailer itself.
	assert_output --partial '"trailers": [["X-T", "last"]]'
	refute_output --partial 'evil'
	refute_output --partial '666'
	run raw 'GET /trailers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	# Behind the last chunk, where trailers stand.
	[[ $output == *$'\r\n0\r\nX-Sum: 11\r\nX-Last: yes\r\n\r'* ]]
}

@test "what HTTP could read in two ways is refused and never forwarded" {
	proxy
	local bad
	for bad in 'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n' 'Content-Length: 3\r\nContent-Length: 3\r\n' \
		'Content-Length: +3\r\n' 'Content-Length: \r\n' 'Transfer-Encoding: chunked, chunked\r\n' 'X: a\r\n b\r\n' \
		'X : a\r\n' 'X: a\nY: b\r\n' 'X: a\x00b\r\n' ': a\r\n' 'Host: b\r\n' 'X: a\rb\r\n'; do
		run raw "POST /smuggled HTTP/1.1\r\nHost: a\r\n$bad\r\nabc"
		assert_output --partial 'HTTP/1.1 400 '
	done
	run raw 'GET / HTTP/1.1\r\n\r\n'
	assert_output --partial 'HTTP/1.1 400 '
	run raw 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n'
	assert_output --partial 'HTTP/1.1 400 '
	run requests o1
	refute_output --partial smuggled
}

@test "a chunked body that breaks its framing ends in 400 and is not passed on as whole" {
	proxy
	run raw 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n'
	assert_output --partial 'HTTP/1.1 400 '
	run raw 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n'
	assert_output --partial 'HTTP/1.1 400 '
	# The origin notes a request when it has read the body to its end.
	wait_for 'requests o1 | jq -e -s "map(.event) | index(\"open\") and (map(select(. == \"open\")) | length) == (map(select(. == \"close\")) | length)"'
	[ "$(requests o1 | grep -c '"request"')" = 0 ]
}

@test "too large: 413 for bodies, 414 for targets, 431 for heads" {
	proxy
	run raw 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n'
	assert_output --partial 'HTTP/1.1 413 '
	run raw 'GET /' '@repeat:9000:x' ' HTTP/1.1\r\nHost: a\r\n\r\n'
	assert_output --partial 'HTTP/1.1 414 '
	run raw 'GET / HTTP/1.1\r\nHost: a\r\nX: ' '@repeat:40000:x' '\r\n\r\n'
	assert_output --partial 'HTTP/1.1 431 '
	run raw 'GET / HTTP/1.1\r\nHost: a\r\n' '@repeat:200:X: y\r\n' '\r\n'
	assert_output --partial 'HTTP/1.1 431 '
	head -c 1500000 /dev/zero >"$T/big"
	run http -o /dev/null -w '%{http_code}' -H 'Expect:' -H 'Transfer-Encoding: chunked' --data-binary @"$T/big" "$URL/echo"
	assert_output 413
}

@test "an early answer reaches a client that is still sending" {
	proxy
	head -c 900000 /dev/zero >"$T/big"
	run http -o /dev/null -w '%{http_code}' -H 'Expect:' --data-binary @"$T/big" "$URL/early/413"
	assert_output 413
}

@test "slow clients: 408 for a head and for a body that stop" {
	proxy
	run raw 'GET / HTTP/1.1\r\nHos'
	assert_output --partial 'HTTP/1.1 408 '
	run raw 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc'
	assert_output --partial 'HTTP/1.1 408 '
}

@test "slow and broken servers: 504 and 502, each with its reason" {
	proxy
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/silent")" = 504 ]
	wait_for 'log_has reason=response_timeout'
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/close")" = 502 ]
	wait_for 'log_has reason=closed_early'
	[ "$(http -o /dev/null -w '%{http_code}' -d x "$URL/reset")" = 502 ]
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/raw?garbage%0d%0a%0d%0a")" = 502 ]
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/raw?HTTP/1.1%20200%20OK%0d%0aContent-Length:%205%0d%0aTransfer-Encoding:%20chunked%0d%0a%0d%0a0%0d%0a%0d%0a")" = 502 ]
	run http "$URL/half/1000"
	assert_failure
	run http "$URL/half-chunk"
	assert_failure
	run http "$URL/stall/1000"
	assert_failure
}

@test "the error answer carries the request's id" {
	proxy
	run http "$URL/close"
	assert_output --regexp '[0-9a-f]{16}'
}

@test "a server that cannot be connected: the next one is asked, unseen" {
	proxy ", { name: dead, address: \"127.0.0.1:$(free_port)\" }"
	for _ in 1 2 3 4 5 6; do
		[ "$(http -o /dev/null -w '%{http_code}' -d x "$URL/echo")" = 200 ]
	done
}

@test "a server that closes idle connections at the moment of reuse is not seen" {
	proxy
	for i in 1 2 3 4 5 6 7 8; do
		[ "$(http -o /dev/null -w '%{http_code}' "$URL/drop-after")" = 200 ]
		[ "$(http -o /dev/null -w '%{http_code}' "$URL/bytes/$i")" = 200 ]
	done
}

@test "a half-closed client gets its answer, a client that has gone is noticed" {
	proxy
	run raw 'GET /delay/300 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' @half
	assert_success
	assert_output --partial 'HTTP/1.1 200'
	run raw 'GET /delay/300 HTTP/1.0\r\n\r\n' @half
	assert_output --partial '200 OK'
	raw 'GET /long/silent HTTP/1.1\r\nHost: a\r\n\r\n' @300 @close || true
	wait_for 'requests o1 | grep -q "\"gone\""'
}

@test "WebSocket passes as a tunnel with a timeout of its own, and h2c never does" {
	proxy
	local up='GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'
	run raw "$up" '@wait:101' 'ping pong' '@wait:ping pong' @half
	assert_success
	assert_output --partial 'HTTP/1.1 101'
	assert_output --partial 'ping pong'
	run raw --timeout 30 "$up" '@wait:101' 'x'
	assert_success
	run raw 'GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n' --until '"body"'
	refute_output --partial 'h2c'
	refute_output --partial 'HTTP2-Settings'
}

@test "an idle client connection is closed after keep-alive's time" {
	proxy
	local began=${EPOCHREALTIME/./}
	run raw --timeout 30 'GET /local HTTP/1.1\r\nHost: a\r\n\r\n'
	assert_success
	assert_output --partial 'from weir'
	[ $((${EPOCHREALTIME/./} - began)) -ge 1900000 ] # and not sooner
}

@test "a slow reader holds its own answer back and nobody else's" {
	proxy
	rss() { awk '/VmRSS/ {print $2}' "/proc/$(pid_of routerd.0)/status"; }
	http -o /dev/null "$URL/bytes/1000"
	before=$(rss)
	spawn slow python3 "$TOOLS/rawclient.py" "$PORT" --small --read-rate 100000 --timeout 100 'GET /long/bytes/30000000 HTTP/1.1\r\nHost: a\r\n\r\n'
	wait_for '[ "$(wc -c <"$(log_of slow)")" -gt 50000 ]'
	for _ in 1 2 3 4 5; do
		[ "$(http -o /dev/null -w '%{http_code}' "$URL/bytes/1000")" = 200 ]
	done
	# The answer has 30 MB: what is read too late stays with the server.
	is_alive slow
	[[ ${BUILD:-} == *san ]] || [ $(($(rss) - before)) -lt 8000 ]
}

# Pipes that routerd holds, both ends counted.
pipes() { find "/proc/$(pid_of routerd.0)/fd" -lname 'pipe:*' 2>/dev/null | wc -l; }

@test "large bodies are whole for slow readers, and leave no pipe behind when a side breaks off" {
	proxy
	want=$(http "http://127.0.0.1:$(port_of o1)/bytes/20000000" | sha256sum)
	http -m 100 --limit-rate 15M "$URL/long/bytes/20000000" | sha256sum >"$T/slow" 3>&- &
	slow=$!
	[ "$(http "$URL/long/bytes/20000000" | sha256sum)" = "$want" ]
	wait "$slow"
	[ "$(cat "$T/slow")" = "$want" ]
	for _ in $(seq 40); do
		raw --timeout 30 'GET /long/bytes/20000000 HTTP/1.1\r\nHost: a\r\n\r\n' @wait @reset >/dev/null 3>&- || true
	done
	run http -o /dev/null "$URL/long/half/20000000"
	assert_failure
	head -c 20000000 /dev/zero >"$T/zeros"
	run http -o /dev/null -w '%{http_code}' --data-binary @"$T/zeros" "$URL/long/early/403"
	assert_output 403
	[ "$(http --data-binary @"$T/zeros" "$URL/long/echo" | jq -r .body_sha256)" = "$(sha256sum <"$T/zeros" | cut -d' ' -f1)" ]
	# Two workers keep 16 idle ones each; every one left behind would stand out.
	few_pipes() { [ "$(pipes)" -le 70 ]; }
	wait_for few_pipes
}

# A socket that ends with a reset while routerd stands still: bytes and reset are seen in one turn.
last_bytes_and_reset='
import os, signal, socket, struct, sys
def last(s, router, data):
    os.kill(router, signal.SIGSTOP)
    s.sendall(data)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    os.kill(router, signal.SIGCONT)
port, router = int(sys.argv[1]), int(sys.argv[2])
'

@test "a peer whose reset comes together with its last bytes is missed at once, not at the time-out" {
	proxy
	router=$(pid_of routerd.0)
	# The client, in the middle of a body: what it had asked for is given up.
	python3 -c "$last_bytes_and_reset"'
c = socket.create_connection(("127.0.0.1", port))
c.sendall(b"GET /local HTTP/1.1\r\nHost: a\r\n\r\n")
while b"from weir" not in c.recv(65536):
    pass
last(c, router, b"POST /long/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome of it")
' "$PORT" "$router"
	wait_for 'ctl routerd.0 json status | jq -e ".counters.requests == 2 and .pools[0].active == 0"'
	# The server, in the middle of an answer that may take a minute.
	port=$(free_port)
	python3 -c "$last_bytes_and_reset"'
l = socket.create_server(("127.0.0.1", port))
print("listening", flush=True)
c, _ = l.accept()
c.recv(65536)
last(c, router, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome of it")
' "$port" "$router" >"$T/server" 3>&- &
	wait_for 'grep -q listening "$T/server"'
	sed -i "s/address: \"127.0.0.1:$(port_of o1)\"/address: \"127.0.0.1:$port\"/" "$T/weir.yaml"
	run "$BIN/proxyctl" -c "$T/weir.yaml" reload
	assert_success
	run http -o /dev/null "$URL/long/x"
	[ "$status" -eq 18 ]
}

@test "OPTIONS *, absolute-form and CONNECT" {
	proxy
	run raw 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	assert_output --partial 'HTTP/1.1 200'
	run raw 'GET http://a/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	assert_output --partial '"target": "/echo"'
	run raw 'GET http://b/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	assert_output --partial 'HTTP/1.1 400'
	run raw 'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n'
	assert_output --partial 'HTTP/1.1 405'
}

@test "connections beyond the limit wait, nothing spins, and all are served" {
	proxy
	sed -i 's/limits: {/limits: { connections: 4,/; s/head: 1s/head: 1m/' weir.yaml
	stop routerd.0
	start routerd
	for i in 1 2 3 4; do spawn held$i python3 "$TOOLS/rawclient.py" "$PORT" '@100000'; done
	# Those that the kernel has, too: there are two workers, and the fifth might be taken before them.
	wait_for '[ "$(ctl routerd.0 json status | jq .connections)" = 4 ]'
	spawn fifth curl -q -sS -m 100 --noproxy '*' -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/local"
	wait_for "ctl routerd.0 json status | jq -e '.counters.accept_pauses > 0 and .limits.connections == 4'"
	before=$(awk '{print $14 + $15}' "/proc/$(pid_of routerd.0)/stat")
	sleep 1
	after=$(awk '{print $14 + $15}' "/proc/$(pid_of routerd.0)/stat")
	[ $((after - before)) -lt 20 ]
	is_alive fifth
	for i in 1 2 3 4; do kill_hard held$i; done
	_reap fifth 60
	[ "$(cat "$(log_of fifth)")" = 200 ]
}

@test "reloads under load: not one failed request, and a tunnel lives on" {
	proxy
	python3 "$TOOLS/rawclient.py" "$PORT" --timeout 60 'GET /long/upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n' '@wait:101' one '@wait:one' @4000 two '@wait:two' @half >"$T/tunnel" 3>&- &
	tunnel=$!
	(for i in $(seq 400); do curl -s -m 60 -o /dev/null -w '%{http_code}\n' "$URL/bytes/2000"; done >"$T/codes") 3>&- &
	load=$!
	for i in $(seq 30); do
		ctl routerd.0 reload >/dev/null
	done
	wait $load
	[ "$(sort "$T/codes" | uniq -c | xargs)" = '400 200' ]
	wait $tunnel
	grep -q two "$T/tunnel"
}

@test "TERM finishes what is in flight, a second one does not wait" {
	proxy
	curl -s -m 60 -o "$T/out" -w '%{http_code}' "$URL/drip/10/80" >"$T/code" 3>&- &
	wait_for 'requests o1 | grep -q drip'
	kill -TERM "$(pid_of routerd.0)"
	wait $!
	[ "$(cat "$T/code")" = 200 ]
	wait_for '! is_alive routerd.0'
}
