#!/usr/bin/env bats
# HTTP/2 from clients: real ones, frame by frame, and attacks.

load helper

TIMEOUTS='head: 1s, body: 2s, send: 2s, response: 5s, keepalive: 20s'
LIMITS='body: 4m'
LOG=json

h2_config() {
	cat <<X
run_dir: run
http:
  workers: 2
  listen:
    - { name: web, address: "127.0.0.1:$PORT" }
    - { name: old, address: "127.0.0.1:$OLD", h2c: off }
  timeouts: { $TIMEOUTS }
  access_log: { path: access.log, format: $LOG }
  limits: { $LIMITS }
  hosts:
    - names: ["*"]
      routes:
        - { path: /, pool: app }
        - { path: /local, respond: { body: "from weir" } }
        - { path: /gone, redirect: { path: /new } }
        - { path: /asked, echo: true }
        - { path: /small, pool: app, max_body: 10k }
        - { path: /tunnel, strip: /tunnel, pool: app, timeouts: { tunnel: 1s } }
pools:
  app:
    servers: [ { name: o1, address: "127.0.0.1:$(port_of o1)" } ]
X
}

proxy() {
	origin o1
	PORT=$(free_port)
	OLD=$(free_port)
	h2_config | config
	start routerd
	URL=http://127.0.0.1:$PORT
}

h2() { http --http2-prior-knowledge "$@"; }
raw() { python3 "$TOOLS/h2raw.py" "$PORT" "$@"; }
node2() { node "$TOOLS/h2client.js" "$URL" "$@"; }
reason() { ctl routerd.0 json status | jq ".reasons.$1 // 0"; }
recent() { echo "events recent" | timeout 0.5 socat -t 5 - UNIX-CONNECT:run/routerd.0.sock; }
event() { recent | grep -q "$1"; }
# An event that is there already, or comes
told() { wait_for "event '$1'"; }
log_has() { grep -q "$1" "$(log_of routerd.0)"; }
served() { requests o1 | grep -c . || true; }

@test "a request is the same for its server in both versions" {
	LOG=combined
	proxy
	for how in --http1.1 --http2-prior-knowledge; do
		run http $how -d 'hello there' -H 'X-One: 1' -H 'Cookie: a=1; b=2' -A me "$URL/echo?q=a%20b"
		assert_success
		jq -cS '{method, target, body, h: [.headers[] | (.[0] |= ascii_downcase)] | sort}' <<<"$output" >"$how.json"
	done
	diff ./--http1.1.json ./--http2-prior-knowledge.json
	# one of the crumbs of a cookie each
	run nghttp -H 'cookie: a=1' -H 'cookie: b=2' "$URL/echo"
	[ "$(jq -c '[.headers[] | select(.[0] | ascii_downcase == "cookie") | .[1]]' <<<"$output")" = '["a=1; b=2"]' ]
	[ "$(h2 -w '%{http_version} %{http_code}' "$URL/local")" = "from weir2 200" ]
	[ "$(h2 -o /dev/null -w '%{http_code} %{redirect_url}' "$URL/gone")" = "308 $URL/new" ]
	[ "$(h2 "$URL/asked" | jq -r .version)" = 2.0 ]
	[ "$(h2 -o /dev/null -w '%{http_code}' "$URL/status/404")" = 404 ]
	wait_for "grep -q '\"GET /status/404 HTTP/2.0\" 404' access.log"
}

@test "bodies of every size arrive whole, both ways, also side by side" {
	proxy
	for n in 0 1 100 16384 100000 3000000; do
		want=$(http "http://127.0.0.1:$(port_of o1)/bytes/$n" | sha256sum)
		[ "$(h2 "$URL/bytes/$n" | sha256sum)" = "$want" ] || fail "bytes $n"
		[ "$(h2 "$URL/chunked/$n/777" | sha256sum)" = "$want" ] || fail "chunked $n"
		[ "$(h2 "$URL/until-close/$n" | sha256sum)" = "$want" ] || fail "until-close $n"
	done
	for n in 1 65536 65537 3000000; do
		head -c $n /dev/urandom >body
		sum=$(sha256sum <body | cut -d' ' -f1)
		[ "$(h2 --data-binary @body "$URL/echo" | jq -r .body_sha256)" = "$sum" ] || fail "length $n"
		[ "$(h2 -X POST -T - "$URL/echo" <body | jq -r .body_sha256)" = "$sum" ] || fail "unknown length $n"
	done
	run h2load -n 500 -c 4 -m 32 "$URL/bytes/20000"
	assert_output --partial '500 succeeded, 0 failed, 0 errored'
}

@test "Node sees trailers, interim answers, HEAD, early answers, and its uploads arrive" {
	proxy
	run node2 get /trailers /info/103 /bytes/10
	[ "$(jq -r '.trailers["x-sum"] // empty' <<<"$output")" = 11 ]
	[ "$(jq -c 'select(.interims != []) | [.interims, .status]' <<<"$output")" = '[[103],200]' ]
	run node2 post /echo 300000
	[ "$(jq -r '.headers[":status"]' <<<"$output")" = 200 ]
	[ "$(jq -r .body <<<"$output" | jq -c '[.body_len, .trailers]')" = '[300000,[["x-sum","42"]]]' ]
	run node2 expect /continue
	[ "$(jq -c '[.interims, (.body | fromjson | .body)]' <<<"$output")" = '[[100],"hello"]' ]
	run node2 early /early/403
	[ "$(jq -c '[.status, .then]' <<<"$output")" = '[403,200]' ]
	[ "$(h2 -I -o /dev/null -w '%{http_code} %header{content-length}' "$URL/bytes/77")" = "200 77" ]
	head -c 3000000 /dev/zero >body
	[ "$(h2 -o /dev/null -w '%{http_code}' --data-binary @body "$URL/small/echo")" = 413 ]
	run node2 post /small/echo 200000
	[ "$(jq .status <<<"$output")" = 413 ]
}

@test "a WebSocket opens by extended CONNECT, and only when the server really switches" {
	proxy
	[ "$(node2 ws /ws)" = '{"status":200,"text":"hello","rst":0}' ]
	[ "$(node2 ws-refused /bytes/5 | jq .status)" = 502 ]
	[ "$(node2 ws-refused /status/403 | jq .status)" = 403 ]
	run node2 ws /raw?HTTP/1.1%20101%20x%0d%0aupgrade:%20websocket%0d%0aconnection:%20upgrade%0d%0asec-websocket-accept:%20no%0d%0a%0d%0a
	[ "$(jq -c '[.status, .rst == 0]' <<<"$output")" = '[null,false]' ]
	wait_for "grep -q bad_websocket_accept access.log"
	wait_for '[ "$(counter tunnels)" = 0 ]'
}

@test "an answer that is refused because it does not switch leaves its body to nobody behind it" {
	TIMEOUTS='head: 1m, response: 1m'
	proxy
	[ "$(node2 ws-refused /stall/0/50 | jq .status)" = 502 ]
	[ "$(h2 -m 30 "$URL/bytes/5" | wc -c)" = 5 ]
	[ "$(requests o1 | jq -s -c 'map(select(.event == "request") | .conn)')" = '[1,2]' ]
}

@test "no random bytes for a WebSocket's key: 500, and the connection lives on" {
	needs_root "trace daemons"
	command -v strace >/dev/null || skip "strace is not installed"
	proxy
	spawn strace strace -f -qq -o /dev/null -e trace=getrandom -e inject=getrandom:error=ENOSYS -p "$(pid_of routerd.0)"
	wait_for '! grep -q "TracerPid:.0" /proc/$(pid_of routerd.0)/task/*/status' # each of its threads
	[ "$(node2 ws-refused /ws | jq .status)" = 500 ]
	[ "$(h2 "$URL/local")" = "from weir" ]
	stop strace
	[ "$(node2 ws /ws)" = '{"status":200,"text":"hello","rst":0}' ]
	wait_for "grep -q no_randomness access.log"
}

@test "what is left of a body that was refused ends soon, also when another request has ended meanwhile" {
	TIMEOUTS='keepalive: 100s'
	proxy
	[ "$(raw left_body /small)" = "end rst:NO_ERROR status:200 status:413" ]
}

@test "a client may have as many streams as it was told, also when a reload would give it fewer" {
	LIMITS='h2_streams: 20, h2_resets: 5'
	TIMEOUTS='head: 1m, response: 1m'
	proxy
	mkfifo go
	raw at_once /bytes/5 12 <go >got 3>&- &
	client=$!
	exec 5>go
	wait_for 'grep -q "status:200 end" got'
	sed -i 's/h2_streams: 20/h2_streams: 2/' weir.yaml
	ctl routerd.0 reload
	echo >&5
	wait $client
	exec 5>&-
	[ "$(sort got | uniq -c | tr -s ' ')" = " 13 status:200 end" ]
	[ "$(counter h2_refused)" = 0 ]
}

@test "a client that resets its stream cancels the work for it, one that leaves all of it" {
	proxy
	[ "$(node2 cancel /silent 300)" = '{"then":200}' ]
	wait_for '[ "$(counter requests_active)" = 0 ]'
	[ "$(counter h2_cancelled)" = 1 ]
	spawn leaver nghttp -n "$URL/silent" "$URL/silent" "$URL/silent"
	wait_for '[ "$(counter requests_active)" -ge 1 ]'
	kill_hard leaver
	wait_for '[ "$(counter requests_active)" = 0 ] && [ "$(counter h2_connections_open)" = 0 ]'
	wait_for '[ "$(counter buffered)" = 0 ]'
}

@test "a stream whose server does not read stops alone, and memory stays" {
	TIMEOUTS='read: 1s'
	proxy
	# 3 MB that nobody reads yet beside a body that flows
	head -c 3000000 /dev/zero >body
	before=$(awk '/VmRSS/ {print $2}' "/proc/$(pid_of routerd.0)/status")
	run h2load -n 8 -c 1 -m 8 -d body "$URL/slow-read/700/echo"
	assert_output --partial '8 succeeded'
	after=$(awk '/VmRSS/ {print $2}' "/proc/$(pid_of routerd.0)/status")
	[ $((after - before)) -lt 40000 ]
	run node2 get /stall/1000 /bytes/100000 /bytes/3
	[ "$(jq -s -c '[.[] | .length]' <<<"$output")" = '[1000,100000,3]' ]
}

@test "on clear text the first bytes decide; a listener may refuse" {
	proxy
	[ "$(http --http1.1 -o /dev/null -w '%{http_version}' "$URL/local")" = 1.1 ]
	[ "$(h2 -o /dev/null -w '%{http_version}' "$URL/local")" = 2 ]
	run python3 - "$PORT" <<'X'
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for c in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0":
    s.sendall(bytes([c]))
    time.sleep(0.002)
s.settimeout(30)
got = s.recv(9)
print(got[3])
X
	assert_output 4
	run http --http2-prior-knowledge "http://127.0.0.1:$OLD/local"
	assert_failure
	[ "$(http "http://127.0.0.1:$OLD/local")" = "from weir" ]
	run http -H 'Connection: upgrade, http2-settings' -H 'Upgrade: h2c' -H 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA' -w '%{http_version}' "$URL/local"
	assert_output 'from weir1.1'
}

@test "a listener behind tlsd has no h2c: ALPN decides" {
	PORT=1 OLD=2
	spawn o1 echo 'port 1'
	h2_config | sed 's/name: old, address: .*h2c: off/name: old, from: tlsd, h2c: on/' | config
	run "$BIN/routerd" -t -c weir.yaml
	assert_failure 2
	assert_output --partial 'ALPN decides'
}

@test "framing, HPACK, flow control and header rules hold, one by one" {
	proxy
	run raw conform
	assert_success
	refute_output --partial FAIL
	assert_output --partial ', 0 broken'
	[ "$(counter h2_errors)" -gt 20 ]
	# nothing of what was refused got through
	refute grep -E 'evil|smuggled' <(requests o1)
	wait_for "grep -q connection_field access.log && grep -q content_length_mismatch access.log"
}

is_told() { # ATTACK REASON
	event "\"h2_abuse\".*\"reason\":\"$2" || { raw attack "$1" >/dev/null; false; }
}

@test "floods, bombs and resets end the connection, with a word and a counter" {
	proxy
	for a in rapid_reset made_you_reset malformed_flood continuation_flood continuation_flood_with_fields hpack_bomb \
		settings_flood ping_flood ping_flood_unread empty_data_flood padded_data_flood priority_flood window_update_flood \
		unknown_flood unknown_flood_of_a_stream priority_update_flood stray_empty_data_flood stray_data_flood; do
		run raw attack $a
		[[ "$output" == goaway:ENHANCE_YOUR_CALM || "$output" == close ]] || fail "$a: $output"
	done
	[ "$(raw attack hpack_bomb_small)" = status:431+end+alive ]
	[ "$(raw attack stray_data_in_flight)" = alive ]
	[ "$(reason head_too_long)" = 1 ]
	# Requests that were in progress there did not leave by themselves.
	[ "$(reason empty_frames)" = 2 ]
	[ "$(counter h2_rapid_resets)" = 3 ]
	[ "$(counter h2_continuation_floods)" = 2 ]
	[ "$(counter h2_header_bombs)" = 1 ]
	[ "$(counter h2_frame_floods)" = 12 ]
	# Events are told at a limited pace: one that was held back has another chance.
	local told
	for told in rapid_reset:rapid_reset continuation_flood:continuation_flood hpack_bomb:header_bomb settings_flood:settings_flood \
		'ping_flood:\(ping_flood\|answers_unread\)' empty_data_flood:empty_frames padded_data_flood:empty_frames \
		priority_flood:priority_flood window_update_flood:window_update_flood unknown_flood:unknown_frames \
		stray_data_flood:stray_frames; do
		wait_for "is_told ${told%%:*} '${told#*:}'" || fail "no event of $told"
	done
	wait_for "event '\"request_refused\".*\"reason\":\"head_too_long\",\"status\":431' || { raw attack hpack_bomb_small >/dev/null; false; }" ||
		fail "no event of too large a head"
	wait_for '[ "$(counter requests_active)" = 0 ] && [ "$(counter h2_connections_open)" = 0 ]'
	[ "$(h2 "$URL/local")" = "from weir" ]
}

@test "slow header sections, closed windows and unread answers time out" {
	proxy
	[ "$(raw attack slow_header_section)" = goaway:ENHANCE_YOUR_CALM ]
	[ "$(raw attack silent_after_connect)" = goaway:ENHANCE_YOUR_CALM ]
	wait_for "log_has 'h2_closed.*reason=head_timeout'"
	[ "$(raw attack no_window)" = status:200+rst:CANCEL+alive ]
	[ "$(counter h2_stalls)" = 1 ]
	told '"request_refused".*"reason":"client_send_timeout","status":200' || fail "no event of a stalled window"
	[ "$(raw attack no_reading)" = close ]
	wait_for '[ "$(counter requests_active)" = 0 ]'
	# The connection; and of its streams those whose time was over a moment before.
	[ "$(counter h2_stalls)" -ge 2 ]
	told '"h2_closed".*"reason":"send_timeout"' || fail "no event of a client that does not read"
	# Whose requests they were is told too, and that it was not they who left.
	[ "$(reason client_send_timeout)" = 21 ]
	[ "$(reason client_left)" = 0 ]
	# It is gone, and no deadline of it comes afterwards.
	wait_for '[ "$(counter connections)" = 0 ]'
	sleep 1.2
	[ "$(counter connections)" = 0 ]
	run ! log_has proxy_header_refused
}

@test "streams above the limit are refused, and the limits are the operator's" {
	LIMITS='h2_streams: 3, h2_resets: 20, h2_frames: 100'
	proxy
	run node2 get /delay/300 /delay/300 /delay/300
	[ "$(grep -c '"status":200' <<<"$output")" = 3 ]
	run raw conform more_streams_than_announced
	told '"h2_error".*max concurrent streams exceeded' || fail "no event of a client that goes beyond the limit"
	run raw attack more_streams_at_once
	[[ "$output" == *rst:REFUSED_STREAM*alive ]] || fail "$output"
	[ "$(counter h2_refused)" -gt 0 ]
	told '"h2_stream_refused".*"limit":3' || fail "no event of refused streams"
	[ "$(raw attack rapid_reset)" = goaway:ENHANCE_YOUR_CALM ]
	[ "$(counter h2_cancelled)" -le 30 ]
}

@test "draining names the last stream in two steps and finishes what is in progress" {
	TIMEOUTS='head: 1m, response: 1m'
	proxy
	spawn stay node "$TOOLS/h2client.js" "$URL" stay /local 60000
	spawn slow node "$TOOLS/h2client.js" "$URL" get /held/one
	spawn plain python3 "$TOOLS/h2raw.py" "$PORT" drained
	wait_for "grep -q open '$T/proc/plain.log' && grep -q status '$T/proc/stay.log' && [ \"\$(counter requests_active)\" = 1 ]"
	kill -TERM "$(pid_of routerd.0)"
	wait_for "grep -q goaway '$T/proc/plain.log'"
	release o1 one
	_reap routerd.0 30
	[ "$status" -eq 0 ]
	wait_for "grep -q closed '$T/proc/stay.log'"
	[ "$(grep -c '"goaway":0' "$T/proc/stay.log")" -ge 1 ]
	until_ok grep -q '"last":2147483647' "$T/proc/stay.log"
	[ "$(jq .status "$T/proc/slow.log")" = 200 ]
	diff - "$T/proc/plain.log" <<<"open
goaway:NO_ERROR last:2147483647
goaway:NO_ERROR last:1
close"
}

@test "a reload that takes the listener away names the last stream in two steps and finishes what is in progress" {
	origin o1
	PORT=$(free_port)
	OLD=$(free_port)
	URL=http://127.0.0.1:$PORT
	TIMEOUTS='head: 1m, response: 1m'
	h2_config | sed 's/, h2c: off//' | config
	start routerd
	spawn stay python3 "$TOOLS/h2raw.py" "$OLD" drained
	spawn idle python3 "$TOOLS/h2raw.py" "$PORT" drained
	spawn slow python3 "$TOOLS/h2raw.py" "$PORT" drained /held/one
	wait_for "grep -q open '$T/proc/stay.log' && grep -q open '$T/proc/idle.log' && [ \"\$(counter requests_active)\" = 1 ]"
	# What stays is not disturbed.
	ctl routerd.0 reload
	sed -i "/name: web/d" weir.yaml
	ctl routerd.0 reload
	release o1 one
	wait_for "grep -q close '$T/proc/idle.log' && grep -q close '$T/proc/slow.log'"
	diff - "$T/proc/idle.log" <<<"open
goaway:NO_ERROR last:2147483647
goaway:NO_ERROR last:1
close"
	[ "$(grep goaway "$T/proc/slow.log" | tr '\n' ' ')" = "goaway:NO_ERROR last:2147483647 goaway:NO_ERROR last:3 " ]
	[ "$(grep -v goaway "$T/proc/slow.log" | tr '\n' ' ')" = "open status:200 end close " ]
	[ "$(cat "$T/proc/stay.log")" = open ]
}

@test "an idle connection is closed after keepalive, politely" {
	TIMEOUTS='keepalive: 1s'
	proxy
	run node2 stay /local 30000
	assert_line --partial '"goaway":0'
	assert_line '{"closed":true}'
}
