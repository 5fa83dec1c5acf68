#!/usr/bin/env bats
# What clients see when shutdown_timeout is over and they are not done.

load tls_helper

# ending SEAM [SECONDS]: everything between tests/tools/ends.py and an origin
ending() {
	cert site ec 30 DNS:localhost
	origin o
	HTTP=$(free_port)
	config <<X
run_dir: run
state_dir: state
shutdown_timeout: ${2:-300ms}
tls:
  workers: 1
  listen:
    - { address: "127.0.0.1:0", to: web, seam: $1, alpn: [h2, http/1.1], certificates: [{ cert: site.pem }] }
http:
  workers: 1
  access_log: { path: access.log, format: json }
  listen: [{ name: plain, address: "127.0.0.1:$HTTP" }, { name: web, from: tlsd }]
  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
pools:
  app: { retries: 0, servers: [{ address: "127.0.0.1:$(port_of o)" }] }
X
	start routerd
	tlsd_start
	PORT=$(tls_port 0)
}

# clients PORT plain|tls KIND..: they are there; they_see: what comes of them from now on
clients() {
	rm -f ends.in ends.out
	mkfifo ends.in
	exec 6<>ends.in
	spawn ends bash -c 'exec python3 "$@" <ends.in >ends.out 6>&-' - "$TOOLS/ends.py" "$@"
	wait_for 'grep -qs open ends.out || ! is_alive ends'
	is_alive ends
}
they_see() {
	echo >&6
	_reap ends 60
	exec 6>&-
	sed 1d ends.out
}

KINDS='head waiting length chunked old upload stuffed tunnel flooded unread h2 windowless'

# What they see of a routerd that ends, where a connection's clean end is END
ended_by_routerd() { # END
	cat <<X
head $1 - 0
waiting $1 503 49
length $1 200 1000
chunked $1 200 1007
old reset 200 1000
upload $1 503 49
stuffed $1 503 49
tunnel $1 101 5
unread $1 200 50000
h2 $1 3:200 5:200 goaway:soon 5:INTERNAL_ERROR 3:INTERNAL_ERROR 1:503 goaway:5
windowless $1 goaway:soon 1:503 goaway:1 1:INTERNAL_ERROR
X
}

# How much of the flood has come says nothing; that it was cut off does.
compare() { # EXPECTED
	they_see >saw
	sed '/^flooded/d' saw | diff <("${@}") -
}

@test "routerd: whoever is not done when shutdown_timeout is over is told so, and nothing sent before is lost" {
	ending handoff
	clients $HTTP plain $KINDS
	stop routerd.0
	compare ended_by_routerd fin
	grep -q '^flooded reset 101' saw
	# Servers of tunnels hear an end, too: that of the client's side.
	[ "$(requests o | grep -c '"reset"')" = 0 ]
	start routerd
	clients $PORT tls $KINDS
	stop routerd.0
	compare ended_by_routerd close_notify
	grep -q '^flooded reset 101' saw
	jq -s -e '(map(select(.reason == "shutdown")) | length == 24 and all(.[]; .termination[:1] == "P") and
		(map(select(.status == 503)) | length == 10)) and (map(select(.reason == null)) | length == 2)' access.log
}

@test "routerd told twice to end does the same at once" {
	ending handoff 1h
	clients $HTTP plain ${KINDS/stuffed /}
	kill "$(pid_of routerd.0)"
	wait_for '[ "$(ctl routerd.0 json status | jq -r .state)" = draining ]'
	stop routerd.0
	compare eval 'ended_by_routerd fin | grep -v stuffed'
}

@test "curl and openssl tell what was cut from what has ended" {
	ending handoff
	spawn old curl -q -NsSk0 --no-alpn -m 100 --noproxy '*' -o old.got "https://localhost:$PORT/open/1000"
	spawn h1 curl -q -NsSk --http1.1 -m 100 --noproxy '*' -o h1.got "https://localhost:$PORT/open/1000"
	spawn h2 curl -q -NsSk --http2 -m 100 --noproxy '*' -o h2.got "https://localhost:$PORT/open/1000"
	spawn none curl -q -NsSkf -m 100 --noproxy '*' "https://localhost:$PORT/delay/60000"
	chat -alpn http/1.1 -quiet -ign_eof -servername localhost
	say 'GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r'
	say 'through'
	hear through
	wait_for '[ "$(requests o | grep -c "\"request\"")" = 5 ] && [ -s old.got ] && [ -s h1.got ] && [ -s h2.got ]'
	stop routerd.0
	_reap old 30; [ "$status" -eq 56 ]
	_reap h1 30; [ "$status" -eq 18 ]
	_reap h2 30; [ "$status" -eq 18 ]
	_reap none 30; [ "$status" -eq 22 ]
	_reap chat 30; [ "$status" -eq 0 ]
	refute grep -E 'read:errno|unexpected eof' proc/chat.log
}

# tlsd sees bytes, not messages.
ended_by_tlsd() {
	cat <<X
head truncated - 0
waiting truncated - 0
length truncated 200 1000
chunked truncated 200 1007
old truncated 200 1000
upload truncated - 0
stuffed truncated - 0
tunnel truncated 101 5
unread close_notify 200 50000
h2 truncated 3:200 5:200
windowless truncated
X
}

@test "tlsd: relays that are not done are truncated, without a reset; those that nobody took end well" {
	ending relay
	clients $PORT tls $KINDS
	stop tlsd.0
	compare ended_by_tlsd
	grep -q '^flooded truncated 101' saw
	stop routerd.0
	sed -i '/^tls:/a\  handoff_timeout: 1m' weir.yaml
	for seam in relay handoff; do
		sed -i "s/seam: [a-z]*/seam: $seam/" weir.yaml
		tlsd_start
		PORT=$(tls_port 0)
		clients $PORT tls head waiting
		wait_for '[ "$(tlsctl json status | jq .connections.waiting)" = 2 ]'
		stop tlsd.0
		compare printf '%s close_notify - 0\n' head waiting
	done
}

@test "tlsd: what passes through untouched ends with a FIN on both sides" {
	cert site ec 30 DNS:localhost
	origin o --tls site.pem
	config <<X
run_dir: run
shutdown_timeout: 300ms
tls:
  workers: 1
  listen:
    - address: "127.0.0.1:0"
      to: web
      certificates: [{ cert: site.pem }]
      passthrough: [{ names: [localhost], to: ["127.0.0.1:$(port_of o)"] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	clients $PORT tls length old stuffed tunnel
	stop tlsd.0
	compare printf '%s\n' 'length truncated 200 1000' 'old truncated 200 1000' \
		'stuffed truncated - 0' 'tunnel truncated 101 5'
}
