#!/usr/bin/env bats
# Where one side stalls, leaves, or says too much: who is blamed, what the log says, and that nothing stays behind.

load helper

# One worker in front of the scripted origin o1; an argument: further keys of http.
proxy() {
	origin o1
	PORT=$(free_port)
	config <<X
run_dir: run
http:
  workers: 1
  listen: [ { name: http, address: "127.0.0.1:$PORT" } ]
  access_log: { path: access.log, format: json }
  timeouts: { head: 1s, body: 1s, send: 1s, connect: 1s, response: 10s, read: 1s, keepalive: 5s, tunnel: 1m }
  limits: { body: 1m }
${1:-}
  hosts:
    - names: ["*"]
      routes:
        - { path: /, pool: app }
        - { path: /local, respond: "from weir" }
        - { path: /big, strip: /big, pool: app, max_body: 500m, timeouts: { read: 1m } }
        - { path: /slow, strip: /slow, pool: app, max_body: 500m, timeouts: { send: 1m } }
        - { path: /patient, strip: /patient, pool: app, timeouts: { response: 1m, read: 1m, body: 1m, send: 1m } }
        - { path: /slow-server, strip: /slow-server, pool: app, timeouts: { response: 2500ms } }
pools:
  app:
    servers: [ { name: o1, address: "127.0.0.1:$(port_of o1)" } ]
X
	start routerd
	URL=http://127.0.0.1:$PORT
}

lines() { wait_for "[ \$(wc -l <access.log) -ge $1 ]" 30; }
# What a time-out of a second comes to at most; slow machines and sanitizers move megabytes slowly before it begins.
SOON=20000
case ${BUILD:-} in *san*) SOON=40000 ;; esac
# jq over the N-th line of the access log.
logged() { jq -e -s ".[$1] | $2" access.log; }
EMPTY_TUNNEL='GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'

@test "a client that does not read its answer is cut off after the send timeout, whatever the answer's size" {
	proxy
	for n in 12000000 16000000 20000000 50000000; do
		raw --small --read-after 60000 --timeout 50 "GET /big/bytes/$n HTTP/1.1\r\nHost: a\r\n\r\n" >/dev/null 3>&- &
		echo $! >>pids
	done
	lines 4
	kill $(cat pids) 2>/dev/null || true
	jq -e -s --argjson soon $SOON 'all(.reason == "client_send_timeout" and .termination == "cD" and .status == 200 and .ms.end < $soon)' access.log
	wait_for all_is_quiet
}

@test "a client that stalls in its upload gets 408, also when the server was the slower one before" {
	proxy
	for n in 1000000 3000000 4500000 6000000 8000000; do
		raw --timeout 60 "POST /slow/slow-read/700 HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n" "@repeat:$((n / 100)):$(printf 'x%.0s' {1..100})" >"$T/out.$n" 3>&- &
	done
	lines 5
	jq -e -s --argjson soon $SOON 'all(.reason == "body_timeout" and .status == 408 and .termination[0:1] == "c" and .ms.end < $soon)' access.log
	wait_for all_is_quiet
}

@test "a server that stalls in its answer is given up, also when the client was the slower one before" {
	proxy
	for n in 500000 2000000 4000000 8000000; do
		raw --read-after 700 --timeout 60 "GET /slow/stall/$n HTTP/1.1\r\nHost: a\r\n\r\n" >/dev/null 3>&- &
	done
	lines 4
	jq -e -s --argjson soon $SOON 'all(.reason == "read_timeout" and .termination == "sD" and .ms.end < $soon)' access.log
	wait_for all_is_quiet
}

@test "a server that does not read the request: 504 and send_timeout" {
	proxy
	head -c 30000000 /dev/zero >"$T/big"
	[ "$(http -o /dev/null -w '%{http_code}' -H Expect: --data-binary @"$T/big" "$URL/big/slow-read/9000")" = 504 ]
	lines 1
	logged 0 '.reason == "send_timeout" and .termination[0:1] == "s"'
	wait_for all_is_quiet
}

@test "a server that answers an expectation with silence is to blame, not the client that waits" {
	proxy
	run raw --timeout 30 'POST /slow-server/late-continue/9000 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n'
	assert_output --partial 'HTTP/1.1 504 '
	lines 1
	logged 0 '.reason == "response_timeout" and .termination == "sH"'
	# One that was told to go on and does not is to blame itself.
	run raw --timeout 30 'POST /slow-server/continue HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n'
	assert_output --partial '100 Continue'
	assert_output --partial 'HTTP/1.1 408 '
}

@test "a client's rate does not count while the server has not said 100 Continue" {
	proxy
	run raw --timeout 40 'POST /patient/late-continue/10500 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n' '@wait:100 Continue' abc @200 def
	assert_output --partial '"body": "abcdef"'
}

@test "HTTP/1.0 has no expectations: none is passed on" {
	proxy
	run raw 'POST /echo HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc'
	assert_output --partial '"body": "abc"'
	refute_output --partial 'Expect'
}

@test "a large upload that is answered early: the client reads the answer" {
	proxy
	head -c 40000000 /dev/zero >"$T/big"
	for i in 1 2 3; do
		run python3 - "$PORT" <<'X'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"POST /local HTTP/1.1\r\nHost: a\r\nContent-Length: 40000000\r\n\r\n")
s.sendall(bytes(40000000))  # all of it, before the answer is looked at
print(s.recv(100000).decode())
X
		assert_success
		assert_output --partial 'HTTP/1.1 413 '
	done
}

@test "an early answer that keeps the connection does not cut the upload off" {
	proxy
	head -c 900000 /dev/urandom >"$T/big"
	run python3 - "$PORT" "$T/big" <<'X'
import socket, sys, time
body = open(sys.argv[2], "rb").read()
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"POST /early-keep/200 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:1000])
got = b""
while b"early\n" not in got:
    got += s.recv(1000)
time.sleep(0.2)
s.sendall(body[1000:])
s.sendall(b"GET /local HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
while True:
    more = s.recv(1000)
    if not more:
        break
    got += more
print(got.decode())
X
	assert_success
	assert_output --partial 'from weir'
	lines 2
	logged 0 '.status == 200 and .termination == "--" and .request_bytes == 900000'
	# The server got all of it, and its connection is used again.
	http -o /dev/null "$URL/bytes/1"
	requests o1 | jq -e -s '[.[] | select(.event == "request")] | map(.conn) | unique | length == 1'
	wait_for all_is_quiet
}

@test "a body that can be sent once only does not go on an idle connection that may be closing" {
	proxy
	head -c 200000 /dev/zero >"$T/big"
	http -o /dev/null "$URL/drop-next"
	sleep 1.2 # the connection is not just-used any more
	[ "$(http -o /dev/null -w '%{http_code}' -H Expect: -T "$T/big" "$URL/echo")" = 200 ]
	# What can be repeated is, unseen.
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/drop-next")" = 200 ]
	[ "$(http -o /dev/null -w '%{http_code}' -X PUT -d abc "$URL/echo")" = 200 ]
	# That is no retry that the operator counts.
	sed -i 's/^  app:/  app:\n    retries: 0/' weir.yaml
	ctl routerd.0 reload
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/drop-next")" = 200 ]
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/echo")" = 200 ]
}

@test "what is left of the idle race is a 502 with its own reason, and no failure of the server's" {
	proxy
	# Only one that was just used is taken for it: whoever comes later than that gets another one, and his answer.
	local i
	for i in 1 2 3 4 5 6 7 8; do
		http -o /dev/null "$URL/drop-next"
		code=$(http -o /dev/null -w '%{http_code}' -d abc "$URL/echo")
		[ "$code" = 200 ] || break
	done
	[ "$code" = 502 ]
	lines $((2 * i))
	logged $((2 * i - 1)) '.reason == "idle_close_race" and .termination == "SH" and .reused'
	[ "$(counter upstream_broken)" = 0 ]
}

@test "a client that asks and leaves at once is noticed" {
	proxy
	raw 'GET /patient/silent HTTP/1.1\r\nHost: a\r\n\r\n' @close || true
	wait_for 'requests o1 | grep -q "\"gone\""'
	lines 1
	logged 0 '.reason == "client_left" and .status == 499 and .termination == "CH"'
	wait_for all_is_quiet
}

@test "a quick answer to a half-closed client has nothing in front of it" {
	proxy
	run raw 'GET /bytes/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' @half
	assert_success
	refute_output --partial '100 Continue'
}

@test "a tunnel may carry more than a body may have" {
	proxy
	run raw --timeout 60 "$EMPTY_TUNNEL" '@wait:101' '@repeat:30000:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef' '@half'
	assert_success
	[ "${#output}" -gt 2400000 ]
	lines 1
	logged 0 '.status == 101 and .reason == null and .bytes == 2400000 and .request_bytes == 2400000'
}

@test "the end of a tunnel is no failure of the server's" {
	proxy
	raw "$EMPTY_TUNNEL" '@wait:101' hello '@wait:hello' @reset >/dev/null || true
	lines 1
	logged 0 '.reason == "client_left" and .status == 101 and .termination == "CD" and .route == "*/" and .pool == "app" and .server == "o1" and .client == "127.0.0.1" and .bytes == 5'
	run raw "$EMPTY_TUNNEL" '@wait:101' hello '@wait:hello' @half
	assert_success
	lines 2
	logged 1 '.reason == null and .termination == "--"'
	sed -i 's/tunnel: 1m/tunnel: 300ms/' weir.yaml
	ctl routerd.0 reload
	run raw --timeout 30 "$EMPTY_TUNNEL" '@wait:101'
	lines 3
	logged 2 '.reason == "tunnel_timeout" and .status == 101'
	[ "$(counter upstream_broken)" = 0 ]
	ctl routerd.0 json status | jq -e '[.. | objects | select(has("inflight"))] | all(.errors == 0 and .inflight == 0)'
	refute grep -q upstream_error "$(log_of routerd.0)"
	wait_for all_is_quiet
}

@test "a side of a tunnel that is cut off is no clean end for the other" {
	proxy
	run raw --timeout 30 'GET /upgrade-reset HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n' '@wait:cut' x
	assert_equal "$status" 4
	lines 1
	logged 0 '.reason == "tunnel_reset" and .termination == "SD" and .status == 101'
	raw "$EMPTY_TUNNEL" '@wait:101' hello '@wait:hello' @reset >/dev/null || true
	wait_for 'requests o1 | grep -q "\"reset\""'
	run raw "$EMPTY_TUNNEL" '@wait:101' hello '@wait:hello' @half
	assert_success
	[ "$(requests o1 | grep -c "\"reset\"")" = 1 ]
}

@test "what a client sends last through a tunnel arrives, though the server has ended its side" {
	proxy
	for ms in 0 1500; do
		run python3 - "$PORT" $ms <<'X'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"GET /upgrade-half/%d HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n" % int(sys.argv[2]))
got = b""
while True:
    more = s.recv(1000)
    if not more:
        break
    got += more
assert got.endswith(b"\r\n\r\nend"), got
s.sendall(bytes(9000000))
s.close()
X
		assert_success
	done
	lines 2
	until_ok jq -e -s 'all(.reason == null and .status == 101 and .request_bytes == 9000000 and .bytes == 3)' access.log
	requests o1 | jq -e -s '[.[] | select(.event == "tunnel") | .bytes] == [9000000, 9000000]'
}

@test "a tunnel keeps no generation of the configuration alive, and ends well though its pool has gone" {
	proxy
	generations() { ctl routerd.0 json status | jq -c '[.. | objects | select(has("generation"))][0] | [.generation, .oldest_generation]'; }
	for i in 1 2 3; do
		raw --timeout 60 "$EMPTY_TUNNEL" '@wait:101' "one$i" "@wait:one$i" '@wait:go' "two$i" "@wait:two$i" @half >"$T/tunnel.$i" 3>&- &
		wait_for "grep -aqs one$i '$T/tunnel.$i'"
		for _ in $(seq 20); do ctl routerd.0 reload >/dev/null; done
	done
	wait_for '[ "$(generations)" = "[61,61]" ]'
	# The server's old life is over: another address, another name.
	origin o2
	sed -i "s/name: o1, address: \"127.0.0.1:$(port_of o1)\"/name: o2, address: \"127.0.0.1:$(port_of o2)\"/" weir.yaml
	ctl routerd.0 reload
	http -o /dev/null "$URL/bytes/1"
	wait_for '[ "$(generations)" = "[62,62]" ]'
	kill -TERM "$(pid_of o1)"
	lines 4
	jq -e -s 'map(select(.status == 101)) | length == 3 and all(.server == "o1" and .pool == "app" and .route == "*/")' access.log
	wait_for all_is_quiet
}

@test "a tunnel's line has the scheme of a listener whose configuration has gone" {
	proxy
	sed -i 's/head: 1s/head: 1m/; s/name: http, address/name: http, scheme: https, address/; s/format: json/format: "${status} ${scheme} ${port}"/' weir.yaml
	ctl routerd.0 reload
	generations() { ctl routerd.0 json status | jq -c '[.. | objects | select(has("generation"))][0] | [.generation, .oldest_generation]'; }
	raw --timeout 60 "$EMPTY_TUNNEL" '@wait:101' "one" "@wait:one" '@wait:go' >"$T/tunnel" 3>&- &
	wait_for "grep -aqs one '$T/tunnel'"
	# What the first memory held is somebody else's by then.
	for _ in $(seq 20); do ctl routerd.0 reload >/dev/null; done
	wait_for '[ "$(generations)" = "[22,22]" ]'
	kill -TERM "$(pid_of o1)"
	lines 1
	[ "$(cat access.log)" = "101 https 443" ]
}

@test "the log counts what was sent, also when the client leaves in the middle" {
	proxy
	raw --timeout 30 'GET /patient/stall/100000 HTTP/1.1\r\nHost: a\r\n\r\n' @body:100000 @reset >/dev/null || true
	lines 1
	logged 0 '.reason == "client_left" and .bytes == 100000'
	raw --timeout 30 'POST /patient/slow-read/60000 HTTP/1.1\r\nHost: a\r\nContent-Length: 700000\r\n\r\n' '@repeat:100000:x' @2000 @reset >/dev/null || true
	lines 2
	logged 1 '.reason == "client_left" and .request_bytes == 100000'
	run http -I "$URL/bytes/77" -o /dev/null
	lines 3
	logged 2 '.bytes == 0'
}

@test "phases are counted from the request's first byte, pipelined or behind a PROXY header" {
	proxy '  trusted_proxies: ["192.0.2.0/24"]'
	raw 'GET /local HTTP/1.1\r\nHost: a\r\n\r\nGET /delay/4500 HTTP/1.1\r\nHost: a\r\n\r\nGET /local HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' --timeout 30 >/dev/null
	lines 3
	until_ok jq -e -s 'all(.ms.head < 4000) and .[0].ms.end < 4000 and .[2].ms.end < 4000' access.log
	sed -i 's/{ name: http, /{ name: http, accept_proxy: ["127.0.0.0\/8"], /' weir.yaml
	stop routerd.0
	start routerd
	raw --proxy2 192.0.2.7:1 'GET /local HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >/dev/null
	lines 4
	logged 3 '.client == "192.0.2.7" and .ms.head < 4000 and .ms.end < 4000'
}

@test "a PROXY header, a request and the end of both in one piece" {
	proxy
	sed -i 's/{ name: http, /{ name: http, accept_proxy: ["127.0.0.0\/8"], /' weir.yaml
	ctl routerd.0 reload
	run python3 - "$PORT" <<'X'
import socket, sys, time
for delay in (0, 0.1):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    time.sleep(delay)
    s.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nGET /bytes/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    s.shutdown(socket.SHUT_WR)
    got = b""
    while True:
        more = s.recv(1000)
        if not more:
            break
        got += more
    assert got.startswith(b"HTTP/1.1 200"), got
X
	assert_success
}

@test "interim answers that the client does not read are not heaped up" {
	proxy
	cat >unread.py <<'X'
import socket, sys
held = []
for _ in range(8):
    s = socket.socket(socket.AF_UNIX)
    s.connect("local.sock")
    s.sendall(b"GET /patient/interims/32/60000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    held.append(s)
sys.stdin.readline()
for s in held:
    got = b""
    while more := s.recv(1 << 20):
        got += more
    print(got.count(b"HTTP/1.1 103"), got.count(b"HTTP/1.1 200"))
X
	# A socket that holds a tenth of it, whatever the machine.
	sed -i 's/listen: \[ /&{ name: local, address: "unix:local.sock" }, /' weir.yaml
	ctl routerd.0 reload
	mkfifo go
	python3 unread.py <go >got 3>&- &
	client=$!
	exec 5>go
	# The server has said it all, and each client has its final head coming, behind what it does not read.
	wait_for '[ "$(counter responses_1xx)" = 256 ] && [ "$(counter requests_active)" = 8 ]'
	held=$(counter buffered)
	echo "8 clients: $held bytes"
	# Eight pieces of 64 kB each, a head, what is read: and not the 1.9 MB that were sent.
	[ "$held" -ge $((8 * 200000)) ]
	[ "$held" -le $((8 * (8 * 65536 + 4 * 16384))) ]
	echo >&5
	wait $client
	exec 5>&-
	cat got
	[ "$(cut -d' ' -f2 got | sort | uniq -c | tr -s ' ')" = " 8 1" ]
	# Some had room in the sockets, the others were left out.
	awk '$1 < 8 || $1 >= 32 { bad = 1 } END { exit bad }' got
	wait_for all_is_quiet
	run raw 'GET /interims/30/10 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	[ "$(grep -a -c 'HTTP/1.1 103' <<<"$output")" = 30 ]
	# More than 32 are a server gone wild.
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/interims/33/10")" = 502 ]
}

@test "connecting that takes too long: 504, and the log blames time" {
	full_queue dead
	proxy
	sed -i "s/head: 1s/head: 1m/; s/127.0.0.1:$(port_of o1)/127.0.0.1:$(port_of dead)/" weir.yaml
	ctl routerd.0 reload
	[ "$(http -o /dev/null -w '%{http_code}' "$URL/x")" = 504 ]
	lines 1
	logged 0 '.reason == "connect_timeout" and .termination == "sC"'
	wait_for all_is_quiet
}

@test "however requests end, nothing stays counted" {
	proxy
	local pids
	for path in bytes/10 status/204 close reset half/1000 half-chunk silent stall/1000 raw?garbage early/413 last drop-after info/103 interims/40/5; do
		pids=
		raw --timeout 20 "GET /$path HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" >/dev/null 3>&- & pids+=" $!"
		raw --timeout 20 "POST /$path HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789" >/dev/null 3>&- & pids+=" $!"
		raw --timeout 20 "POST /$path HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" @100 @reset >/dev/null 3>&- & pids+=" $!"
		raw --timeout 20 "POST /$path HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloBAD" >/dev/null 3>&- & pids+=" $!"
		raw --timeout 20 "POST /$path HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nfew" @50 @reset >/dev/null 3>&- & pids+=" $!"
		wait $pids || true
	done
	wait_for all_is_quiet
	wait_for '[ "$(counter requests)" = "$(wc -l <access.log)" ]'
	wait_for '[ "$(counter connections)" = 0 ]'
}

@test "whatever clients do, in whatever order, across reloads: nothing stays behind" {
	proxy
	# A server that fails all the time stays in use, so that the ways to fail go on being used.
	sed -i 's/^  app:/  app:\n    passive: { max_fails: 0 }/; s/tunnel: 1m/tunnel: 500ms/; s/response: 10s/response: 1s/; s/keepalive: 5s/keepalive: 1s/' weir.yaml
	ctl routerd.0 reload
	python3 "$TOOLS/h1chaos.py" "$PORT" 8 >chaos.out 3>&- &
	chaos=$!
	for _ in 1 2 3 4 5 6 7 8; do
		sleep 1
		ctl routerd.0 reload >/dev/null
	done
	wait $chaos
	cat chaos.out
	wait_for all_is_quiet 30
	wait_for '[ "$(counter connections)" = 0 ]' 40
	wait_for '[ "$(counter requests)" = "$(wc -l <access.log)" ]'
	wait_for "ctl routerd.0 json status | jq -e '[.. | objects | select(has(\"generation\"))][0] | .generation == 10 and .oldest_generation == 10'"
	[ "$(http "$URL/local")" = "from weir" ]
	until_ok jq -e -s 'all(.ms.end != null and (.reason != null or .termination == "--" or .termination == "LR"))' access.log
}

@test "an idle connection holds no buffer: two thousand cost less than 2 kB each" {
	needs_root "look into daemons"
	proxy
	sed -i 's/keepalive: 5s/keepalive: 1m/' weir.yaml
	ctl routerd.0 reload
	run python3 - "$PORT" "$(pid_of routerd.0)" <<'X'
import os, re, resource, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
port, pid = int(sys.argv[1]), sys.argv[2]
def kb(): return int(re.search(r"VmRSS:\s+(\d+)", open("/proc/%s/status" % pid).read()).group(1))
def ask(s):
    s.sendall(b"GET /bytes/20000 HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * 3000 + b"\r\n\r\n")
    n = 0
    while n < 20000:
        got = s.recv(65536)
        assert got
        n += len(got)
def idle(count):
    all = []
    for _ in range(count):
        all.append(socket.create_connection(("127.0.0.1", port)))
        ask(all[-1])
    return all
held = idle(200)  # what the first ones need is there for all
before = kb()
held += idle(2000)
assert len(os.listdir("/proc/%s/fd" % pid)) > 2200
print(round((kb() - before) / 2000, 2))
X
	assert_success
	echo "kB for each: $output"
	[[ ${BUILD:-} == *san* ]] || awk -v kb="$output" 'BEGIN { exit !(kb < 2) }'
}

@test "threads that cannot be started: no start, one line, exit code 1" {
	[[ ${BUILD:-} == *san ]] && skip "sanitizers need the address space"
	proxy
	stop routerd.0
	sed -i 's/workers: 1/workers: 200/' weir.yaml
	run bash -c "ulimit -v 600000; exec '$BIN/routerd' -c weir.yaml"
	assert_failure 1
	assert_output --partial 'thread cannot be started'
}
