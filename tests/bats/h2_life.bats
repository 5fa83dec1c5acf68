#!/usr/bin/env bats
# Connections to servers of HTTP/2: how long they live, how they end, what becomes of the requests on them; and WebSockets.

load helper

# server NAME [OPTIONS..]: tests/tools/h2life.js
server() {
	local name=$1
	shift
	spawn "$name" node "$TOOLS/h2life.js" "$@"
	wait_for "grep -qs '^ready' '$T/proc/$name.log'"
}
said() { grep '^{' "$T/proc/$1.log" | jq -s -c "$2"; }
# site POOL-KEYS SERVER..: routerd in front of these servers
site() {
	local keys=$1
	shift
	[ -n "${PORT:-}" ] || PORT=$(free_port)
	config <<X
run_dir: run
state_dir: state
http:
  workers: 1
  listen: [ { name: http, address: "127.0.0.1:$PORT", h2c: on } ]
  access_log: { path: access.log, format: json }
  timeouts: { response: 20s, read: 20s, tunnel: ${TUNNEL:-20s} }
  hosts: [ { names: ["*"], routes: [ { path: /, pool: app } ] } ]
pools:
  app:
    protocol: h2
$([ -z "$keys" ] || printf '    %s\n' "$keys")
    servers:
$(for s in "$@"; do echo "      - { name: $s, address: \"127.0.0.1:$(port_of "$s")\" }"; done)
X
	URL=http://127.0.0.1:$PORT
}
session_of() { http "$URL/${1:-who}" | jq .session; }
idle() { wait_for 'ctl routerd.0 json status | jq -e "[.. | objects | select(has(\"counters\"))][0].counters | .requests_active == 0 and .tunnels == 0"'; }

@test "an idle connection ends after idle_timeout, with GOAWAY; those that are used stay" {
	server a
	site 'idle_timeout: 1s' a
	start routerd
	http "$URL/drip/45/100" | wc -c >dripped &
	local dripping=$!
	wait_for '[ "$(said a "map(select(.event == \"stream\")) | length")" = 1 ]'
	[ "$(session_of)" = 1 ]
	wait $dripping
	[ "$(cat dripped)" = 45000 ]
	wait_for "[ \"\$(said a 'map(select(.event == \"closed\")) | map(.code)')\" = '[0]' ]"
	# Not while it was used.
	[ "$(said a 'map(select(.event == "end" or .event == "closed")) | map(.event)')" = '["end","end","closed"]' ]
	wait_for '[ "$(counter upstream_idle)" = 0 ] && [ "$(counter h2_upstream_connections)" = 0 ]'
	[ "$(session_of)" = 2 ]
}

@test "keepalive_requests: a connection takes so many, one after the other and at once, and nobody notices" {
	server a
	site 'keepalive_requests: 3' a
	start routerd
	[ "$(for i in 1 2 3 4 5 6 7; do session_of; done | tr -d '\n')" = 1112223 ]
	http -Z --parallel-immediate --parallel-max 20 "$URL/wait/200?[1-20]" >got
	[ "$(wc -l <got)" = 20 ]
	[ "$(jq -s 'group_by(.session) | map(length) | max' got)" -le 3 ]
	# each is told that it ends, and without an error
	idle
	wait_for '[ "$(counter h2_upstream_connections)" -le 1 ]'
	[ "$(said a 'map(select(.event == "closed" and .code != 0)) | length')" = 0 ]
}

@test "GOAWAY in the midst: what the server has taken is finished there, what comes goes on another connection" {
	server a
	site '' a
	start routerd
	spawn drip curl -q -sS -m 60 --noproxy '*' -o dripped "$URL/drip/15/100"
	wait_for '[ "$(counter requests_active)" = 1 ]'
	[ "$(session_of goaway)" = 1 ]
	for i in 1 2 3; do [ "$(session_of)" = 2 ]; done
	_reap drip 60
	[ "$status" = 0 ]
	[ "$(wc -c <dripped)" = 15000 ]
	# the old connection ends with its last stream
	wait_for '[ "$(counter h2_upstream_connections)" = 1 ]'
	wait_for '[ "$(wc -l <access.log)" = 5 ]'
	until_ok jq -e -s 'all(.status == 200 and .reason == null)' access.log
	[ "$(counter h2_upstream_goaways)" = 1 ]
}

@test "a server that is drained finishes its streams and gets no new ones" {
	server a
	server b
	site '' a b
	start routerd
	spawn drip curl -q -sS -m 60 --noproxy '*' -o dripped "$URL/drip/80/100"
	wait_for '[ "$(said a "map(select(.event == \"stream\")) | length")$(said b "map(select(.event == \"stream\")) | length")" != 00 ]'
	on=a
	[ "$(said a 'map(select(.event == "stream")) | length')" = 1 ] || on=b
	still() { [[ $(pctl drain app/$on --wait --timeout 2s 2>&1) == *"1 still in flight"* ]]; }
	wait_for still
	for i in 1 2 3 4 5 6; do http -o /dev/null "$URL/who"; done
	[ "$(said $on 'map(select(.event == "stream")) | length')" = 1 ]
	_reap drip 60
	[ "$status" = 0 ]
	[ "$(wc -c <dripped)" = 80000 ]
	pctl drain app/$on --wait --timeout 30s
	wait_for "[ \"\$(said $on 'map(select(.event == \"closed\")) | map(.code)')\" = '[0]' ]"
}

@test "reloads under load: no request fails, and a server that is taken out keeps what it has begun" {
	server a
	server b
	site '' a b
	start routerd
	# one long answer on each
	for i in 1 2; do spawn drip$i curl -q -sS -m 60 --noproxy '*' -o dripped$i "$URL/drip/30/100"; done
	wait_for '[ "$(counter requests_active)" = 2 ]'
	spawn load h2load -n 3000 -c 4 -m 8 -W 1 "$URL/who"
	cp weir.yaml both.yaml
	for i in 1 2 3; do
		site '' b
		ctl routerd.0 reload
		cp both.yaml weir.yaml
		ctl routerd.0 reload
	done
	site '' b
	ctl routerd.0 reload
	_reap load 60
	until_ok grep -q '3000 succeeded, 0 failed, 0 errored' proc/load.log
	n=$(said a 'map(select(.event == "stream")) | length')
	for i in 1 2 3 4; do http -o /dev/null "$URL/who"; done
	[ "$(said a 'map(select(.event == "stream")) | length')" = "$n" ]
	for i in 1 2; do
		_reap drip$i 60
		[ "$status" = 0 ]
		[ "$(wc -c <dripped$i)" = 30000 ]
	done
	wait_for "[ \"\$(said a '(map(select(.event == \"session\")) | length) == (map(select(.event == \"closed\")) | length)')\" = true ]"
}

@test "a server killed with 50 streams in flight: safe ones are repeated elsewhere, the others end with a reason" {
	server a hold
	server b
	site 'retry_budget: { percent: 100, min: 100 }' a
	start routerd
	for i in 1 2 3 4 5; do
		for method in GET POST; do
			spawn c$method$i curl -q -sS -m 60 --noproxy '*' -Z --parallel-immediate --parallel-max 5 -X $method -w '%{http_code}\n' "$URL/x?[1-5]"
		done
	done
	wait_for '[ "$(counter requests_active)" = 50 ]'
	wait_for '[ "$(said a "map(select(.event == \"stream\")) | length")" = 50 ]'
	[ "$(said a 'map(select(.event == "session")) | length')" = 1 ]
	cp weir.yaml one.yaml
	sed -i "s/^      - { name: a, .*/&\n      - { name: b, address: \"127.0.0.1:$(port_of b)\" }/" weir.yaml
	ctl routerd.0 reload
	kill_hard a
	for i in 1 2 3 4 5; do _reap cGET$i 60; _reap cPOST$i 60; done
	idle
	wait_for '[ "$(wc -l <access.log)" = 50 ]'
	jq -e -s 'map(select(.method == "POST")) | length == 25 and all(.status == 502 and (.reason == "closed_early" or .reason == "reset_by_server"))' access.log
	jq -s -c 'map(select(.method == "GET")) | group_by([.status, .reason, .server]) | map({n: length, is: .[0] | [.status, .reason, .server]})' access.log
	[ "$(counter h2_upstream_connections)" = 0 ] || [ "$(counter h2_upstream_connections)" = 1 ]
}

@test "SETTINGS that change midway: streams at a time, and windows" {
	server a streams=1
	site '' a
	start routerd
	http -Z --parallel-immediate --parallel-max 8 "$URL/wait/100?[1-8]" >got
	[ "$(jq -s 'length' got)" = 8 ]
	# one connection takes more from now on, and then fewer again
	[ "$(session_of streams/50)" -ge 1 ]
	http -Z --parallel-immediate --parallel-max 8 "$URL/wait/100?[1-8]" >got
	[ "$(jq -s 'length' got)" = 8 ]
	http -o /dev/null "$URL/streams/2"
	http -Z --parallel-immediate --parallel-max 8 "$URL/wait/100?[1-8]" >got
	[ "$(jq -s 'length' got)" = 8 ]
	[ "$(counter h2_upstream_refused)" = 0 ]
	head -c 1000000 /dev/urandom >up
	for v in --http1.1 --http2-prior-knowledge; do http $v -H Expect: --data-binary @up "$URL/windows" | cmp - up; done
}

@test "a client that does not read stops its own server's stream alone, and costs no memory to speak of" {
	server a
	site '' a
	start routerd
	http -o /dev/null "$URL/size/3000000"
	before=$(awk '/VmRSS/ {print $2}' "/proc/$(pid_of routerd.0)/status")
	for i in 1 2 3 4; do
		spawn slow$i curl -q -sS -m 200 --noproxy '*' --limit-rate 1k -o /dev/null "$URL/endless"
		spawn slow2$i curl -q -sS -m 200 --noproxy '*' --limit-rate 1k --http2-prior-knowledge -o /dev/null "$URL/endless"
	done
	wait_for '[ "$(counter requests_active)" = 8 ]'
	# what they have read, in sockets and windows, stands still
	wait_for '[ "$(said a "map(select(.event == \"sent\"))[-8:] | map(.bytes) | sort")" = "$(said a "map(select(.event == \"sent\"))[-16:-8] | map(.bytes) | sort")" ]'
	said a 'map(select(.event == "sent"))[-8:] | map(.bytes)'
	for i in 1 2 3; do [ "$(http --http2-prior-knowledge "$URL/size/2000000" | wc -c)" = 2000000 ]; done
	[ "$(said a 'map(select(.event == "session")) | length')" = 1 ]
	after=$(awk '/VmRSS/ {print $2}' "/proc/$(pid_of routerd.0)/status")
	echo "RSS $before -> $after kB"
	# 8 windows of 256 kB, and what waits for the clients
	case ${BUILD:-} in *san*) ;; *) [ $((after - before)) -lt 8000 ] ;; esac
	for i in 1 2 3 4; do kill_hard slow$i; kill_hard slow2$i; done
	idle
	wait_for "[ \"\$(said a 'map(select(.event == \"end\" and .path == \"/endless\")) | map(.code) | unique')\" = '[8]' ]"
}

# by_h1 PATH: a WebSocket by HTTP/1.1, with words that go and come
by_h1() {
	python3 - "$PORT" "$@" <<'P'
import base64, hashlib, socket, sys
port, path = int(sys.argv[1]), sys.argv[2]
s = socket.create_connection(("127.0.0.1", port))
s.settimeout(30)
key = base64.b64encode(b"0123456789abcdef").decode()
s.sendall(("GET %s HTTP/1.1\r\nHost: h.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Key: %s\r\n\r\n" % (path, key)).encode())
got = b""
while b"\r\n\r\n" not in got:
    part = s.recv(65536)
    if not part: break
    got += part
head = got.split(b"\r\n\r\n")[0].decode().lower()
print(head.split("\r\n")[0])
if " 101 " not in head: sys.exit()
accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
assert "sec-websocket-accept: " + accept.lower() in head, head
assert "upgrade: websocket" in head and "sec-websocket-protocol: chat" in head, head
def echo(b):
    s.sendall(b)
    back = b""
    while len(back) < len(b):
        part = s.recv(65536)
        assert part, "ended"
        back += part
    assert back == b
for word in (b"hello", b"x" * 100000, b"again"): echo(word)
for last in sys.argv[3:]:
    s.sendall(last.encode())
    try:
        while s.recv(65536): pass
        print("end")
    except ConnectionError:
        print("reset")
P
}

@test "WebSockets go to servers by extended CONNECT, from clients of both versions, and end as they should" {
	server a ws
	site '' a
	start routerd
	[ "$(by_h1 /chat bye | tr -d '\r')" = $'http/1.1 101 switching protocols\nend' ]
	said a 'map(select(.method == "CONNECT"))[0]' | jq -e '.protocol == "websocket" and .path == "/chat" and .scheme == "http" and .version == "13" and .key == null'
	# nobody looks into it: the frame comes back masked
	[ "$(node "$TOOLS/h2client.js" "$URL" ws /chat)" = '{"status":200,"text":"\u0000\u0000\u0000\u0000h","rst":0}' ]
	wait_for "[ \"\$(said a 'map(select(.event == \"end\")) | map(.code)')\" = '[0,0]' ]"
	# what the server refuses is refused; a client that leaves cancels; a server that dies is no clean end
	[ "$(by_h1 /no | head -1)" = 'http/1.1 403 forbidden' ]
	[ "$(node "$TOOLS/h2client.js" "$URL" ws-refused /no | jq .status)" = 403 ]
	by_h1 /left
	wait_for "[ \"\$(said a 'map(select(.event == \"end\" and .path == \"/left\")) | length')\" = 1 ]"
	idle
	[ "$(said a 'map(select(.event == "session")) | length')" = 1 ]
	[ "$(session_of)" = 1 ]
	[ "$(by_h1 /chat die | tail -1)" = reset ]
	idle
	wait_for 'grep -q tunnel_reset access.log'
}

@test "a server that takes no extended CONNECT is not asked for a WebSocket, and that is said" {
	server a
	site '' a
	start routerd
	[ "$(by_h1 /first | head -1)" = 'http/1.1 502 bad gateway' ]
	[ "$(session_of)" = 1 ]
	[ "$(by_h1 /second | head -1)" = 'http/1.1 502 bad gateway' ]
	[ "$(node "$TOOLS/h2client.js" "$URL" ws-refused /third | jq .status)" = 502 ]
	wait_for '[ "$(wc -l <access.log)" = 4 ]'
	jq -e -s 'map(select(.status == 502)) | length == 3 and all(.reason == "no_extended_connect")' access.log
	[ "$(said a 'map(select(.event == "stream" and .method != "GET")) | length')" = 0 ]
	# no evidence against it
	[ "$(ctl routerd.0 json status | jq '[.. | objects | select(has("pools"))][0].pools[0].servers[0].errors')" = 0 ]
	[ "$(session_of)" = 1 ]
}

@test "a tunnel that is quiet for too long ends, its connection and its neighbours go on" {
	TUNNEL=3s # and between two words of an echo there is no second
	server a ws
	site '' a
	start routerd
	[ "$(session_of)" = 1 ]
	[ "$(by_h1 /quiet '' | tail -1)" = reset ] || [ "$(by_h1 /quiet '' | tail -1)" = end ]
	wait_for 'grep -q tunnel_timeout access.log'
	[ "$(session_of)" = 1 ]
	idle
}
