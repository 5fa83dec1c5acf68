#!/usr/bin/env bats
# HTTP/2 towards servers: what passes, and what a server may do; what it may not is in h2_server_hostile.bats.

load helper
load h2_helper

logged() { jq -r -s "[.[] | select(.path == \"$1\" or (.target // \"\") == \"$1\")][0] | $2" access.log; }
# patient MODE..: with deadlines that none of them meets
patient() { TIMEOUTS='send: 1m, connect: 1m, response: 1m, read: 1m' modes "$@"; }
# misbehaving MODE..: with those of somebody impatient
misbehaving() { TIMEOUTS="send: 1s, connect: 2s, response: 2s, read: 2s" modes "$@"; }

# node_server: node_h2.js behind /; an argument: further keys of the pool
node_server() {
	NODE_PORT=$(free_port)
	spawn node node "$TOOLS/node_h2.js" "$NODE_PORT"
	wait_for "grep -qs '^ready' '$T/proc/node.log'"
	app_behind "protocol: h2, ${1:-}servers: [ { name: node, address: \"127.0.0.1:$NODE_PORT\" } ]"
}

@test "heads, bodies of all sizes, interim answers, trailers and uploads pass between HTTP/1 and a server of HTTP/2" {
	node_server
	[ "$(http "$URL/hello")" = hello ]
	for n in 0 1 1000 65535 65536 300000 5000000; do
		[ "$(http "$URL/size/$n" | wc -c)" = "$n" ]
	done
	http -i "$URL/early" >early
	grep -q '^HTTP/1.1 103' early
	grep -qi '^link: </a.css>' early
	grep -q '^ok' early
	http -I "$URL/hello" | grep -q '^HTTP/1.1 200'
	http -i "$URL/204" | grep -q '^HTTP/1.1 204'
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/nothing")" = 404 ]
	head -c 3000000 /dev/urandom >up
	http -H Expect: --data-binary @up "$URL/echo" | cmp - up
	http -H Expect: -H 'Transfer-Encoding: chunked' --data-binary @up "$URL/echo" | cmp - up
	http --raw --data-binary abc "$URL/echo" | grep -q '^x-sum: 3'
	wait_for all_is_quiet
	# All of that on one connection, kept for the next.
	[ "$(counter h2_upstream_connections)" = 1 ]
	[ "$(counter upstream_idle)" = 1 ]
}

@test "a server gets the request as HTTP/2 has it: authority, path, crumbs joined, and nothing that speaks of a connection" {
	node_server
	http -H 'Host: a.example:81' -H 'Connection: x-hop, keep-alive' -H 'X-Hop: 1' -H 'Keep-Alive: 5' -H 'Proxy-Connection: x' \
		-H 'Cookie: a=1; b=2' -H 'X-MixedCase: Value' -H 'TE: trailers' -H 'Upgrade: other' "$URL/head?q=%20x" -D got >/dev/null
	sed -n 's/^x-h: //p' got >h.json
	jq -e '.[":authority"] == "a.example:81" and .[":path"] == "/head?q=%20x" and .[":scheme"] == "http" and .[":method"] == "GET"' h.json
	jq -e '.cookie == "a=1; b=2" and .["x-mixedcase"] == "Value" and .["x-forwarded-for"] == "127.0.0.1"' h.json
	jq -e 'has("host") or has("connection") or has("keep-alive") or has("proxy-connection") or has("x-hop") or has("upgrade") | not' h.json
}

@test "what a server earned by answering is no more than a full budget: it cannot flood with what it saved up" {
	patient saved_up priority_flood
	h2load -n 601 -c 1 -m 1 "$URL/saved_up" >load.log
	grep -q 'status codes: 600 2xx' load.log
	wait_for "grep -q 'upstream_h2_error .*reason=window_update_flood' '$(log_of routerd.0)'"
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/priority_flood")" = 502 ]
	wait_for "grep -q 'upstream_h2_error pool=priority_flood .*reason=priority_flood' '$(log_of routerd.0)'"
}

@test "a refused stream goes to another server whatever its method, a reset one does not" {
	spawn h2 python3 "$TOOLS/h2server.py" refused reset goaway ok
	wait_for "grep -qs '^ready' '$T/proc/h2.log'"
	PORT=$(free_port)
	config <<X
run_dir: run
http:
  workers: 1
  listen: [ { name: http, address: "127.0.0.1:$PORT" } ]
  access_log: { path: access.log, format: json }
  hosts: [ { names: ["*"], routes: [ { path: /refused, pool: refused }, { path: /reset, pool: reset }, { path: /goaway, pool: goaway } ] } ]
pools:
$(for m in refused reset goaway; do
		echo "  $m: { protocol: h2, servers: [ { name: bad, address: \"127.0.0.1:$(mode_port $m)\" }, { name: ok, address: \"127.0.0.1:$(mode_port ok)\" } ], passive: { max_fails: 0 }, retry_budget: { min: 100 } }"
	done)
X
	start routerd
	URL=http://127.0.0.1:$PORT
	# They take turns: each request meets the bad one first.
	for m in refused goaway; do
		for i in 1 2 3 4; do
			[ "$(http -X POST --data-binary abc "$URL/$m")" = ok ]
			[ "$(http -X POST -H 'Transfer-Encoding: chunked' -H 'Content-Type: application/grpc' --data-binary abc "$URL/$m")" = ok ]
		done
		[ "$(seen "$m request")" = 8 ]
	done
	for i in 1 2 3 4; do http -o /dev/null -w '%{http_code}\n' -X POST --data-binary abc "$URL/reset"; done >codes
	[ "$(sort codes | uniq -c | tr -s ' \n' ' ')" = " 2 200 2 502 " ]
	[ "$(seen 'reset request')" = 2 ]
	[ "$(counter h2_upstream_refused)" = 16 ]
	[ "$(counter h2_upstream_resets)" = 2 ]
	[ "$(counter h2_upstream_goaways)" = 8 ]
}

@test "a server that takes one stream at a time gets as many connections as there are requests, and no more streams" {
	patient one_at_a_time
	clients=
	for i in 1 2 3 4 5 6; do
		http -o "got$i" "$URL/one_at_a_time" 3>&- &
		clients+=" $!"
	done
	wait $clients
	for i in 1 2 3 4 5 6; do [ "$(cat "got$i")" = ok ]; done
	[ "$(counter h2_upstream_refused)" = 0 ]
	[ "$(seen 'one_at_a_time request')" = 6 ]
	[ "$(seen 'one_at_a_time connection')" -le 6 ]
	wait_for all_is_quiet
}

@test "a server that is silent, keeps its window shut, resets late, or drops the connection: who is blamed, and when" {
	misbehaving silent small_window reset_later drop interims trailers
	[ "$(http -o got -w '%{http_code}' "$URL/silent")" = 504 ]
	wait_for "grep -q '^silent reset 1 8' '$T/proc/h2.log'"
	head -c 100000 /dev/zero >up
	[ "$(http -o got -w '%{http_code}' -H Expect: --data-binary @up "$URL/small_window")" = 504 ]
	run http -o got "$URL/reset_later"
	[ "$status" != 0 ]
	[ "$(cat got)" = part ]
	[ "$(http -o got -w '%{http_code}' -X POST -d x "$URL/drop")" = 502 ]
	[ "$(http -o got -w '%{http_code}' "$URL/interims")" = 502 ]
	http --raw "$URL/trailers" >got
	grep -q '^x-sum: 1' got
	refute grep -qi 'content-length\|forwarded' got
	wait_for all_is_quiet
	# Who closes with our bytes unread sends a reset.
	wait_for '[ "$(wc -l <access.log)" = 6 ]'
	until_ok jq -e -s 'any((.target == "/drop") and (.reason == "closed_early" or .reason == "reset_by_server"))' access.log
	for r in response_timeout send_timeout reset_by_server too_many_interim_responses; do
		jq -e -s "any(.reason == \"$r\")" access.log || { echo "no $r"; false; }
	done
}

@test "a client that leaves has its stream cancelled, its neighbours and the connection go on" {
	patient long_stream ok
	local i
	for i in 1 3; do
		raw --timeout 60 'GET /long_stream HTTP/1.1\r\nHost: a\r\n\r\n' '@wait:part' @reset >/dev/null
		wait_for "grep -q '^long_stream reset $i 8' '$T/proc/h2.log'"
	done
	[ "$(seen 'long_stream connection')" = 1 ]
	wait_for all_is_quiet
}

@test "what was on its way to a stream that we have reset, and frames that nobody knows, cost no connection" {
	patient in_flight grease ok
	for i in 1 2 3 4 5 6; do
		raw --timeout 60 'GET /in_flight HTTP/1.1\r\nHost: a\r\n\r\n' '@wait:part' @reset >/dev/null
		wait_for "[ \"\$(grep -c '^in_flight reset' '$T/proc/h2.log')\" = $i ]"
		[ "$(http "$URL/grease")" = ok ]
	done
	[ "$(seen 'in_flight connection')" = 1 ]
	[ "$(seen 'grease connection')" = 1 ]
	[ "$(counter h2_upstream_floods)" = 0 ]
	wait_for all_is_quiet
}

@test "an early answer whose server wants no more of the upload is passed on" {
	patient early
	head -c 3000000 /dev/zero >up
	[ "$(http -H Expect: --data-binary @up "$URL/early")" = early ]
	wait_for all_is_quiet
}

# gRPC's own stack at both ends, routerd between them
grpc() {
	spawn grpc /usr/bin/python3 "$TOOLS/grpc_peer.py" server
	wait_for "grep -qs '^ready' '$T/proc/grpc.log'"
	PORT=$(free_port)
	config <<X
run_dir: run
http:
  workers: 1
  listen: [ { name: http, address: "127.0.0.1:$PORT", h2c: on } ]
  access_log: { path: access.log, format: json }
  timeouts: { connect: 10s, response: 30s }
  limits: { body: 1m }
  hosts:
    - names: ["*"]
      routes:
        - { path: /, pool: app, ${1:-max_body: 100m} }
        - { path: /nothing.else, respond: { status: 403 } }
pools:
  app: { protocol: h2, servers: [ { name: g, address: "127.0.0.1:$(sed -n 's/^port //p' "$T/proc/grpc.log")" } ] }
X
	start routerd
	GRPC=(timeout 60 /usr/bin/python3 "$TOOLS/grpc_peer.py" client "$PORT")
}

@test "gRPC: unary, both kinds of streams, both ways at once, trailers, deadlines and many calls at a time" {
	grpc
	"${GRPC[@]}" unary big sum count chat fail deadline time unimplemented many
	wait_for all_is_quiet
	jq -e -s 'all(.version == "2.0") and (map(select(.status == 200)) | length) > 500' access.log
}

@test "gRPC: what the proxy answers itself has a grpc-status of its own" {
	grpc 'max_body: 1k'
	run "${GRPC[@]}" big
	echo "$output" | grep -q 'RESOURCE_EXHAUSTED'
	kill_hard grpc
	"${GRPC[@]}" status=UNAVAILABLE
	# what a route says by itself, too
	sed -i 's/path: \/nothing.else,/path: \/t.T\/Unary,/' weir.yaml
	ctl routerd.0 reload
	"${GRPC[@]}" status=PERMISSION_DENIED
	http -i -X POST -H 'Content-Type: application/grpc' -d x "http://127.0.0.1:$PORT/t.T/Unary" >got
	grep -q '^HTTP/1.1 200' got
	grep -q '^grpc-status: 7' got
	[ "$(http -o got -w '%{http_code}' -d x "http://127.0.0.1:$PORT/t.T/Unary")" = 403 ]
	sed -i 's/path: \/t.T\/Unary,/path: \/nothing.else,/' weir.yaml
	ctl routerd.0 reload
	for x in 'reason == "connect_refused"' 'reason == "body_too_large"'; do
		wait_for "jq -e -s 'any(.$x and .status == 200)' access.log" || { echo "no $x"; false; }
	done
	# By HTTP/1, to see the bytes of it.
	http -i -X POST -H 'Content-Type: application/grpc+proto' -H 'TE: trailers' -d x "http://127.0.0.1:$PORT/t.T/Unary" >got
	grep -q '^HTTP/1.1 200' got
	grep -q '^grpc-status: 14' got
	grep -q '^grpc-message: 502 Bad Gateway: connect_refused, request ' got
	[ "$(http -o got -w '%{http_code}' -X POST -H 'Content-Type: application/grpc-web' -d x "http://127.0.0.1:$PORT/t.T/Unary")" = 502 ]
}

@test "from HTTP/2 to HTTP/2: bodies both ways, a slow client stops nobody else" {
	node_server
	sed -i 's/\(address: "127.0.0.1:'"$PORT"'"\)/\1, h2c: on/' weir.yaml
	stop routerd.0
	start routerd
	head -c 3000000 /dev/urandom >up
	http --http2-prior-knowledge --data-binary @up "$URL/echo" | cmp - up
	[ "$(http --http2-prior-knowledge "$URL/size/5000000" | wc -c)" = 5000000 ]
	nghttp -v "$URL/early" | sed -n 's/.*recv (stream_id=[0-9]*) \(:status\|link\): /\1 /p' >heads
	[ "$(tr '\n' ' ' <heads)" = ':status 103 link </a.css>; rel=preload :status 200 ' ]
	run http --http2-prior-knowledge -I "$URL/size/300"
	[[ "$output" == *'HTTP/2 200'*'content-length: 300'* ]]
	# It asks for 50 MB and reads next to nothing.
	curl -q -s --noproxy '*' --limit-rate 1k -m 60 -o slow "$URL/size/50000000" 3>&- &
	slow=$!
	wait_for '[ "$(counter requests_active)" = 1 ]'
	for i in 1 2 3; do [ "$(http --http2-prior-knowledge "$URL/size/2000000" | wc -c)" = 2000000 ]; done
	[ "$(counter h2_upstream_connections)" = 1 ]
	kill $slow
	wait_for all_is_quiet
}

@test "probes of a pool speak its protocol, and find a server of HTTP/1 down" {
	spawn h2 python3 "$TOOLS/h2server.py" ok refused silent
	wait_for "grep -qs '^ready' '$T/proc/h2.log'"
	origin o1
	sed -n 's/^port \([0-9]*\)$/\1/p' "$T/proc/o1.log" | head -1 >h1port
	config <<X
run_dir: run
state_dir: state
pools:
  app:
    protocol: h2
    servers:
      - { name: ok, address: "127.0.0.1:$(mode_port ok)" }
      - { name: refused, address: "127.0.0.1:$(mode_port refused)" }
      - { name: silent, address: "127.0.0.1:$(mode_port silent)" }
      - { name: old, address: "127.0.0.1:$(cat h1port)" }
    check: { http: { status: 200 }, interval: 100ms, timeout: 500ms, fall: 2, rise: 1 }
X
	start healthd
	probes() { ctl healthd.0 json show probes | jq -c '[.[] | [.server, .state, .reason]]'; }
	wait_for "probes | jq -e 'any(. == [\"ok\", \"up\", \"\"]) and any(. == [\"refused\", \"down\", \"stream_refused\"]) and any(. == [\"silent\", \"down\", \"timeout\"])
		and any(.[0:2] == [\"old\", \"down\"])'" || { probes; false; }
}
