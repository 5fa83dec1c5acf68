#!/usr/bin/env bats
# Who owns a connection while it changes hands: routerd and tlsd are killed at each step, under load, and
# no connection is lost that was not acknowledged, and none is served by two.

load tls_helper

setup() {
	tls_setup
	cert site ec 30 DNS:localhost
	origin o
}

# site TLSD_WORKERS ROUTERD_WORKERS
site() {
	config <<X
run_dir: run
state_dir: state
tls:
  workers: $1
  handoff_timeout: 10s
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
http:
  workers: $2
  timeouts: { keepalive: 60s }
  listen: [{ name: web, from: tlsd }]
  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
pools:
  app: { servers: [{ address: "127.0.0.1:$(port_of o)" }] }
X
}

# A client per connection, each asks once for a path of its own; exit codes and answers to out.N
clients() { # NAME PARALLEL EACH
	for ((c = 0; c < $2; c++)); do
		spawn "$1$c" bash -c "for ((i = 0; i < $3; i++)); do
			curl -q -sS -k -m 60 --noproxy '*' -o /dev/null -w '%{http_code}\n' 'https://localhost:$PORT/status/204?$1-$c-'\$i >>'$T/$1.$c.out' 2>>'$T/$1.$c.err' || echo failed >>'$T/$1.$c.out'
		done"
	done
}
wait_clients() { # NAME PARALLEL
	for ((c = 0; c < $2; c++)); do _reap "$1$c" 60 || { echo "a client hangs"; return 1; }; done
	cat $1.*.out >$1.all
}

# die_at SYSCALL N: routerd.0 is killed as it begins its Nth such call from now on; while it lives, a
# second one is there. Tells by `failed` how many clients were not served.
die_at() {
	local name="at_$1_$2"
	start routerd
	start routerd -i b
	tlsd_start
	PORT=$(tls_port 0)
	spawn strace strace -f -qq -o /dev/null -e trace="$1" -e inject="$1:signal=SIGKILL:when=$2" -p "$(pid_of routerd.0)"
	# Each of its threads.
	wait_for '! grep -q "TracerPid:.0" /proc/$(pid_of routerd.0)/task/*/status'
	clients "$name" 4 6
	wait_clients "$name" 4
	! is_alive routerd.0 || { echo "routerd.0 was not killed"; return 1; }
	failed=$(grep -cvx 204 "$name.all" || true)
	# every connection was handed over once, or is a failure
	[ "$(wc -l <"$name.all")" -ge 24 ]
	rm -f proc/routerd.0.pid
	_reap strace 5
	stop tlsd.0
	stop routerd.b
}

@test "killed before it has acknowledged: no connection is lost, at whichever step" {
	needs_root "trace daemons"
	command -v strace >/dev/null || skip "strace is not installed"
	site 1 1
	for step in "accept4 1" "recvmsg 1" "fcntl 2" "sendto 1"; do
		die_at $step
		[ "$failed" = 0 ] || { echo "at $step: $failed lost"; cat at_*.err; false; }
	done
	# nobody was served twice
	[ "$(requests o | jq -r 'select(.target).target' | sort | uniq -d | wc -l)" = 0 ]
}

@test "killed after it has acknowledged: only what it had taken is lost, and none is served by two" {
	needs_root "trace daemons"
	command -v strace >/dev/null || skip "strace is not installed"
	site 1 1
	for step in "recvmsg 2" "epoll_ctl 3" "connect 1" "sendto 2" "sendto 3" "sendto 5" "recvfrom 4"; do
		die_at $step
		# one event loop holds at most what four clients have under way
		[ "$failed" -le 4 ] || { echo "at $step: $failed lost"; cat at_*.err; false; }
	done
	[ "$(requests o | jq -r 'select(.target).target' | sort | uniq -d | wc -l)" = 0 ]
	# what a client sees of records that two had sealed
	! grep -qi 'bad record mac\|decryption failed' ./*.err
}

@test "tlsd is killed and replaced while hundreds of connections that it has handed over go on" {
	site 2 2
	start routerd
	tlsd_start
	PORT=$(tls_port 0)
	cat >many.py <<'P'
import os, signal, socket, ssl, sys, time
port, n = int(sys.argv[1]), 400
def context(v):
    c = ssl._create_unverified_context()
    c.minimum_version = c.maximum_version = v
    return c
contexts = [context(ssl.TLSVersion.TLSv1_2), context(ssl.TLSVersion.TLSv1_3)]
def ask(s, path):
    s.sendall(("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path).encode())
    got = b""
    while len(got) < 300 and b"\r\n\r\n" not in got: got += s.recv(4096)
    assert b" 204 " in got, got
all = [contexts[i % 2].wrap_socket(socket.create_connection(("127.0.0.1", port), 20)) for i in range(n)]
for s in all: ask(s, "/status/204")
for round in range(2):
    print("round", flush=True)
    assert sys.stdin.readline()
    for s in all: ask(s, "/status/204")
print("done", flush=True)
P
	mkfifo go
	spawn many bash -c "exec python3 many.py $PORT <go"
	exec 8>go
	wait_for 'grep -q round proc/many.log' 60
	[ "$(handed 0)" = 400 ]
	kill_hard tlsd.0
	echo >&8
	wait_for '[ "$(grep -c round proc/many.log)" = 2 ]' 60
	tlsd_start
	PORT=$(tls_port 0)
	http -k -f -o /dev/null "https://localhost:$PORT/bytes/5"
	echo >&8
	local status=0
	_reap many 60
	exec 8>&-
	[ "$status" = 0 ]
	until_ok grep -q done proc/many.log
	[ "$(handed 0)" = 401 ]
}

@test "several tlsd and several routerd: connections are spread over all of them and their workers" {
	site 2 2
	start routerd
	start routerd -i b
	tlsd_start
	start tlsd -i b
	cat >spread.py <<'P'
import socket, ssl, sys
c = ssl._create_unverified_context()
all = []
for i in range(120):
    s = c.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1 + i % 2])), 20))
    s.sendall(b"GET /status/204 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b" 204 " in s.recv(4096)
    all.append(s)
print("held", flush=True)
sys.stdin.readline()
P
	mkfifo go
	spawn hold bash -c "exec python3 spread.py $(tls_port 0) $(ctl tlsd.b json status | jq -r '.listeners[0].bound' | sed 's/.*://') <go"
	exec 8>go
	wait_for 'grep -q held proc/hold.log' 60
	for i in 0 b; do
		n=$(handed $i)
		[ "$n" -ge 40 ] && [ "$n" -le 80 ] || { echo "routerd.$i has $n of 120"; false; }
		wait_for "[ \"\$(ctl tlsd.$i json status | jq .counters.handed_over)\" = 60 ]"
		# each worker has about half of them
		ctl routerd.$i json status | jq -e '.worker_connections | length == 2 and (max - min) <= 4'
	done
	exec 8>&-
}
