# What probes say, and what routers make of it: healthd and routerd together, healthd killed, restarted,
# and a bus that lies.
load pools_helper

CHECK='check: { http: { path: /health, status: 200 }, interval: 100ms, timeout: 5s, fall: 2, rise: 2 }'
is() { [ "$(field "$1" verdict)" = "$2" ]; }

@test "a server whose health check fails gets no more requests, though it still answers" {
	origins a b
	pool "$CHECK" <<-X
	a $(at a)
	b $(at b)
	X
	start healthd
	start routerd
	wait_for 'is a up && is b up'
	set_health a 503
	wait_for 'is a down'
	[ "$(field a reason)" = http_503 ]
	[ "$(names 20)" = bbbbbbbbbbbbbbbbbbbb ]
	set_health a 200
	wait_for 'is a up'
	names 4 | grep -q a
}

@test "routerd obeys within one heartbeat of healthd's knowing" {
	origins a b
	pool "$CHECK" <<-X
	a $(at a)
	b $(at b)
	X
	start healthd
	start routerd
	wait_for 'is a up && is b up'
	set_health a 503
	wait_for 'is a down'
	# both logs carry wall-clock times
	local knew obeyed
	knew=$(grep -m1 'server_down .*server=a' "$(log_of healthd.0)" | cut -d' ' -f1)
	obeyed=$(grep 'server_down .*server=a .*by=probe' "$(log_of routerd.0)" | tail -1 | cut -d' ' -f1)
	python3 - "$knew" "$obeyed" <<-'PY'
	import sys, datetime
	k, o = (datetime.datetime.fromisoformat(t.rstrip("Z")) for t in sys.argv[1:])
	assert (o - k).total_seconds() < 3, (k, o)  # of a machine that may stand still
	PY
}

@test "healthd killed: verdicts stand and show their age, a down server gets a trial and comes back" {
	origins a b
	pool "$CHECK
    passive: { max_fails: 3, fail_timeout: 2s }" <<-X
	a $(at a)
	b $(at b)
	X
	start healthd
	start routerd
	wait_for 'is a up && is b up'
	set_health a 503
	wait_for 'is a down'
	kill_hard healthd.0
	# past the time to live the facts are stale, and up stands
	wait_for '[ "$(field b stale)" = true ]'
	is b up
	[ "$(field b age_ms)" -ge 4000 ]
	# a answers requests: the trial brings it back without any probe
	wait_for 'names 4 | grep -q a'
	[ "$(code)" = 200 ]
}

@test "a new healthd's ignorance overwrites nothing: no request to a down server while it learns" {
	origins a b
	pool "$CHECK" <<-X
	a $(at a)
	b $(at b)
	X
	start healthd
	start routerd
	wait_for 'is a up && is b up'
	set_health a 503
	wait_for 'is a down'
	local before i
	before=$(count a)
	for i in 1 2 3; do
		kill_hard healthd.0
		start healthd
		[ "$(names 10)" = bbbbbbbbbb ]
	done
	[ "$(count a)" -eq "$before" ]
	is a down
}

@test "no healthd from the start: servers are unknown and used" {
	origins a b
	pool "$CHECK" <<-X
	a $(at a)
	b $(at b)
	X
	start routerd
	is a unknown
	[ "$(names 4 | fold -w1 | sort | tr -d '\n')" = aabb ]
	# and when one comes, it is heard without a restart
	start healthd
	wait_for 'is a up && is b up'
}

@test "two routerd fed by one healthd: the number of probes does not double" {
	origins a
	pool "check: { http: { path: /health, status: 200 }, interval: 200ms, jitter: 0 }" <<-X
	a $(at a)
	X
	probes() { requests a | grep -c '"event": "request".*"/health"'; }
	start healthd
	start routerd
	wait_for 'is a up'
	local before one two
	before=$(probes)
	wait_for "[ \$(probes) -ge $((before + 15)) ]"
	before=$(ctl healthd.0 json status | jq -c '[.uptime_ms, .probes.started]')
	sed "s/127.0.0.1:$PORT/127.0.0.1:$(free_port)/" weir.yaml >two.yaml
	start routerd -i two -c "$T/two.yaml"
	wait_for '[ "$(ctl routerd.two json status | jq -r ".pools[0].servers[0].verdict")" = up ]'
	wait_for "[ \"\$(ctl healthd.0 json status | jq '.probes.started - ($before)[1]')\" -ge 15 ]"
	# fifteen probes at one each 200 ms take three seconds, whoever listens
	ctl healthd.0 json status | jq -e "(.uptime_ms - ($before)[0]) / (.probes.started - ($before)[1]) > 180"
	[ "$(ctl healthd.0 json status | jq .bus.subscribers)" = 2 ]
}

@test "a hostile bus: listeners that lie, flood or talk garbage end nothing and stop no request" {
	origins a b
	pool "$CHECK" <<-X
	a $(at a)
	b $(at b)
	X
	start healthd
	start routerd
	wait_for 'is a up && is b up'
	cat >evil.py <<-'PY'
	import os, select, socket, struct, sys
	SP = lambda p: b"\0SP\0\0" + p + b"\0\0"
	msg = lambda b: b"\x01" + struct.pack(">Q", len(b)) + b
	what = {
	    "abort": lambda p: SP(p) + b"\x07" * 64,
	    "text": lambda p: b"HTTP/1.1 400 Bad Request\r\n\r\n",
	    "huge": lambda p: SP(p) + b"\x01" + b"\xff" * 8,
	    "deep": lambda p: SP(p) + msg(b"health.app " + b"[" * 60000),
	    "lies": lambda p: SP(p) + msg(b'health.app {"v":1,"who":"x","epoch":"e","seq":-1}') * 2000,
	    "none": lambda p: b"",
	    "gone": lambda p: None,
	}
	ls = {}
	for name in what:
	    for end, proto in (("pub", b"\x20"), ("sub", b"\x21")):
	        l = socket.socket(socket.AF_UNIX); l.bind(f"run/bus/{name}.0.{end}"); l.listen(9); ls[l] = what[name](proto)
	held, n = [], 0
	while True:
	    for l in select.select(list(ls), [], [])[0]:
	        c, _ = l.accept(); n += 1
	        if n == 30: print("thirty", flush=True)
	        if ls[l] is None: c.close(); continue
	        held.append(c)
	        try: c.sendall(ls[l])
	        except OSError: pass
	PY
	spawn evil python3 evil.py
	wait_for 'grep -q thirty "$(log_of evil)"'
	is_alive routerd.0
	is_alive healthd.0
	[ "$(names 4 | fold -w1 | sort | tr -d '\n')" = aabb ]
	wait_for "ctl routerd.0 json status | jq -e '.bus.malformed > 0'"
	# and the true voice is still heard
	set_health a 503
	wait_for 'is a down'
	[ "$(names 5)" = bbbbb ]
}

@test "bytes that end healthd end no router: it is started again and heard again" {
	origins a b
	pool "$CHECK" <<-X
	a $(at a)
	b $(at b)
	X
	start healthd
	start routerd
	wait_for 'is a up && is b up'
	python3 - <<-'PY'
	import socket
	for end, proto in (("pub", b"\x21"), ("sub", b"\x20")):
	    for data in (b"G" * 20, b"\0SP\0\0" + proto + b"\0\0" + b"\x07" * 20):
	        try:
	            s = socket.socket(socket.AF_UNIX); s.settimeout(1); s.connect(f"run/bus/healthd.0.{end}")
	            s.sendall(data); s.recv(8); s.recv(8)
	        except OSError: pass
	PY
	[ "$(code)" = 200 ]
	is_alive routerd.0
	if ! is_alive healthd.0; then
		rm -f proc/healthd.0.pid
		: >"$(log_of healthd.0)"
		start healthd
	fi
	set_health b 503
	wait_for 'is b down'
	[ "$(names 5)" = aaaaa ]
}

@test "5,000 servers in one pool: routed to, judged, shown; a sick one is left out" {
	touch sick
	spawn many python3 "$TOOLS/manyports.py" --sick-file sick
	wait_for 'grep -q ready "$(log_of many)"'
	local P i
	P=$(port_of many)
	PORT=$(free_port)
	{
		printf 'run_dir: run\nstate_dir: state\nhttp:\n  workers: 2\n  listen: [{ name: http, address: "127.0.0.1:%s" }]\n' "$PORT"
		printf '  hosts: [{ names: ["*"], routes: [{ path: /, pool: big }] }]\n'
		printf 'pools:\n  big:\n    check: { http: { path: /health, status: 200 }, interval: 10s, timeout: 15s, fall: 1 }\n    servers:\n'
		seq 0 4999 | awk -v port="$P" '{
			printf "      - { name: s%d, address: \"127.1.%d.%d:%s\" }\n", $1, int($1 / 250), $1 % 250 + 1, port
		}'
	} >weir.yaml
	start healthd
	start routerd
	state_of() { ctl routerd.0 json status | jq -c "[.pools[0].servers[] | select(.verdict == \"$1\")] | length"; }
	# Logs are asked first: a whole status takes a sanitizer's build seconds.
	wait_for 'grep -q " first_round_done pool=big .*up=5000" "$(log_of healthd.0)"' 60
	wait_for '[ "$(state_of up)" = 5000 ]'
	# Each gets its turn.
	changes() { grep -cE ' (health_stale|server_down|server_up) ' "$(log_of routerd.0)" || true; }
	before=$(changes)
	seq 5000 | xargs -P 4 -n 500 bash -c 'for i in "$@"; do echo "url = http://127.0.0.1:'"$PORT"'/"; echo "output = /dev/null"; done | curl -q -sS -m 60 --noproxy "*" -K -' -
	ctl routerd.0 json status | jq -c '[.pools[0].servers[].requests] | [add, min, max]' >turns
	[ "$(jq '.[0]' turns)" -ge 5000 ]
	# Where it is so slow that probes go stale in between, the turns begin anew.
	[ "$(changes)" != "$before" ] || [ "$(jq -c '.[1:]' turns)" = "[1,1]" ]
	# Three fall ill; nobody is sent there any more.
	for i in 1 2500 4999; do echo "127.1.$((i / 250)).$((i % 250 + 1))"; done >sick.new
	mv sick.new sick
	wait_for '[ "$(ctl healthd.0 json status | jq ".checks[0].down")" = 3 ]'
	wait_for '[ "$(state_of up) $(state_of down)" = "4997 3" ]'
	[ "$(ctl routerd.0 json status | jq -r '[.pools[0].servers[] | select(.verdict == "down").name] | join(" ")')" = "s1 s2500 s4999" ]
	[ "$(ctl routerd.0 show servers state big | awk 'NR > 2' | wc -l)" = 5000 ]
	# (by grep: assert_line goes through 5,000 lines one by one)
	# Where all this is slow, proxyctl may lose its patience.
	wait_for '"$BIN/proxyctl" -c weir.yaml status >shown'
	grep -q "POOL big  4997 of 5000 servers up" shown
	wait_for '"$BIN/proxyctl" -c weir.yaml drain big/s77 --wait'
	# A reload is taken up, and forgets nothing.
	wait_for '"$BIN/proxyctl" -c weir.yaml reload'
	[ "$(state_of up) $(state_of down) $(state_of drain)" = "4996 3 1" ]
}
