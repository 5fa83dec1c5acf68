#!/usr/bin/env bats
# What failing requests themselves say of a server.

load pools_helper

@test "max_fails takes a server out; after fail_timeout one trial request, which fails, then one that succeeds" {
	origins b
	local dead
	dead=$(free_port)
	pool 'passive: { max_fails: 2, fail_timeout: 5s }' <<-X
		a 127.0.0.1:$dead
		b $(at b)
	X
	start routerd
	# Each pass over the two servers fails once at a, unseen.
	[ "$(codes 8)" = "$(printf '200 %.0s' {1..8})" ]
	[ "$(field a errors)" = 2 ]
	[ "$(field a fails)" = 2 ]
	[ "$(field a blocked_ms)" -gt 0 ]
	wait_for '[ "$(field a verdict) $(field a reason)" = "down passive" ]'
	[ "$(names 4)" = bbbb ]
	# The block ends: of many requests one is the trial.
	wait_for '[ "$(field a blocked_ms)" = 0 ]'
	[ "$(codes 8)" = "$(printf '200 %.0s' {1..8})" ]
	[ "$(field a errors)" = 3 ]
	# The server comes back: the next trial brings it in.
	spawn back python3 "$TOOLS/origin.py" --name a --port "$dead" --log "$T/proc/a.requests"
	wait_for "grep -qs ^ready '$T/proc/back.log'"
	wait_for '[ "$(field a blocked_ms)" = 0 ]'
	for _ in 1 2 3 4; do [ "$(code)" = 200 ]; done
	wait_for '[ "$(field a verdict)" = up ]'
	[ "$(field a errors)" = 3 ]
	[ "$(field a fails)" = 0 ]
	case $(names 4) in abab | baba) ;; *) return 1 ;; esac
	until_ok grep -q 'warn server_down pool=app server=a reason=passive by=passive' "$(log_of routerd.0)"
	until_ok grep -q 'info server_up pool=app server=a' "$(log_of routerd.0)"
}

@test "a trial whose answer has begun has succeeded, however long the answer lasts" {
	origins b
	local dead
	dead=$(free_port)
	pool 'passive: { max_fails: 1, fail_timeout: 2s }' <<-X
		a 127.0.0.1:$dead
		b $(at b)
	X
	start routerd
	[ "$(codes 4)" = "200 200 200 200 " ]
	wait_for '[ "$(field a verdict) $(field a reason)" = "down passive" ]'
	spawn back python3 "$TOOLS/origin.py" --name a --port "$dead"
	wait_for "grep -qs ^ready '$T/proc/back.log'"
	wait_for '[ "$(field a blocked_ms)" = 0 ]'
	# Of two one is the trial; neither answer ends.
	for i in 1 2; do
		spawn "stream$i" curl -q -sS -N --noproxy '*' -o "stream$i.body" "http://127.0.0.1:$PORT/open/10"
		wait_for "[ -s stream$i.body ]"
	done
	[ "$(field a inflight)" = 1 ]
	wait_for '[ "$(field a verdict)" = up ]'
	case $(names 4) in abab | baba) ;; *) return 1 ;; esac
	[ "$(field a inflight)" = 1 ]
}

@test "a server that accepts and closes is taken out too, and no client sees it" {
	origins b
	spawn a python3 -c '
import socket, sys
s = socket.create_server(("127.0.0.1", 0))
print("port", s.getsockname()[1], flush=True)
while True:
    s.accept()[0].close()
'
	wait_for '[ -n "$(port_of a)" ]'
	pool 'passive: { max_fails: 3, fail_timeout: 30s }' <<-X
		a $(at a)
		b $(at b)
	X
	start routerd
	for _ in $(seq 12); do [ "$(code)" = 200 ]; done
	[ "$(field a errors)" = 3 ]
	[ "$(field a requests)" = 3 ]
}

@test "the only member of a pool stays in service, and status says why" {
	local dead
	dead=$(free_port)
	pool 'passive: { max_fails: 1, fail_timeout: 30s }' <<<"a 127.0.0.1:$dead"
	start routerd
	for _ in 1 2 3; do [ "$(code)" = 502 ]; done
	wait_for '[ "$(field a reason)" = only_member ]'
	[ "$(field a verdict)" = up ]
	spawn back python3 "$TOOLS/origin.py" --name a --port "$dead"
	wait_for "grep -qs ^ready '$T/proc/back.log'"
	[ "$(code)" = 200 ]
}

@test "a pool that is out as a whole recovers by fail_timeout" {
	local dead
	dead=$(free_port)
	pool 'passive: { max_fails: 1, fail_timeout: 4s }' <<-X
		a 127.0.0.1:$dead
		b 127.0.0.1:$(free_port)
	X
	start routerd
	[ "$(code)" = 502 ]
	[ "$(code)" = 503 ]
	spawn back python3 "$TOOLS/origin.py" --name a --port "$dead"
	wait_for "grep -qs ^ready '$T/proc/back.log'"
	wait_for '[ "$(code)" = 200 ]'
	[ "$(names 3)" = aaa ]
	until_ok grep -q 'info pool_recovered pool=app' "$(log_of routerd.0)"
}

@test "max_fails: 0 switches it off" {
	origins b
	pool 'passive: { max_fails: 0 }' <<-X
		a 127.0.0.1:$(free_port)
		b $(at b)
	X
	start routerd
	for _ in $(seq 10); do [ "$(code)" = 200 ]; done
	[ "$(field a errors)" -ge 5 ]
	[ "$(field a blocked_ms)" = 0 ]
}

@test "a failing request makes healthd probe at once" {
	origins a b
	pool 'check: { http: { path: /health }, interval: 60s, fall: 1, rise: 1 }' <<-X
		a $(at a)
		b $(at b)
	X
	start healthd
	start routerd
	wait_for '[ "$(field a verdict) $(field b verdict)" = "up up" ]'
	kill_hard a
	for _ in 1 2; do [ "$(code)" = 200 ]; done
	# 60 s till the next probe: only the evidence can have called it.
	wait_for '[ "$(field a verdict) $(field a reason)" = "down connect_refused" ]'
	[ "$(names 4)" = bbbb ]
}
