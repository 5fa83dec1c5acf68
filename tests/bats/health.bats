# healthd as users see it: real daemons, real servers, the bus read as a router reads it.
load helper

# dump ARGS..: busdump; what is to be ended in the background is "$DUMP" itself

setup() {
	weir_setup
	BUILD_DIR=${BUILD:-build/release}
	export BUILD_DIR
	DUMP=$ROOT/$BUILD_DIR/tools/busdump
}
dump() { "$DUMP" "$@"; }

# one pool `app` with one server `a`: pool_of PORT [MORE KEYS OF THE CHECK]
pool_of() {
	config <<-YAML
	run_dir: run
	state_dir: state
	pools:
	  app:
	    servers: [ { name: a, address: "127.0.0.1:$1" } ]
	    check: { http: { path: /health, status: 200 }, interval: 100ms, timeout: 5s, fall: 3, rise: 2${2:+, $2} }
	YAML
}

# a member of the first server in `show probes`: probe MEMBER [INDEX]
probe() { ctl healthd.0 json show probes | jq -r ".[${2:-0}].$1"; }
state_is() { [ "$(probe state "${2:-0}")" = "$1" ]; }
reason_is() { [ "$(probe reason "${2:-0}")" = "$1" ]; }
set_health() { http -X PUT "http://127.0.0.1:$(port_of o)/set-health/$1" >/dev/null; }
health_requests() { requests o | grep -c '"event": "request".*"/health"'; }

@test "the first probe is made at once, not after an interval" {
	origin o
	pool_of "$(port_of o)" "interval: 1h" 2>/dev/null || true
	sed -i 's/interval: 100ms/interval: 1h/; s/, interval: 1h }/ }/' weir.yaml
	start healthd
	wait_for 'state_is up'
	[ "$(health_requests)" -eq 1 ]
}

@test "fall failures in a row make a server down, rise good probes make it up, each with an event" {
	origin o
	pool_of "$(port_of o)"
	start healthd
	wait_for 'state_is up'
	set_health 503
	wait_for 'state_is down'
	reason_is http_503
	until_ok grep -q 'server_down pool=app server=a .*reason=http_503 fall=3 ' "$(log_of healthd.0)"
	set_health 200
	wait_for 'state_is up'
	until_ok grep -q 'server_up pool=app server=a .*rise=2 ' "$(log_of healthd.0)"
	reason_is ""
}

@test "one failed probe among good ones changes nothing" {
	origin o
	pool_of "$(port_of o)" "fast_interval: 10s"
	start healthd
	wait_for 'state_is up'
	set_health 500
	# the next probe is ten seconds away: time to be well again
	wait_for '[ "$(probe fall)" = 1 ]'
	state_is up
	set_health 200
	ctl healthd.0 reload
	state_is up
	! grep -q server_down "$(log_of healthd.0)"
}

@test "while a state is about to change, probes come at the fast interval" {
	origin o
	pool_of "$(port_of o)" "fast_interval: 50ms"
	sed -i 's/interval: 100ms/interval: 5s/; s/fall: 3/fall: 10/' weir.yaml
	start healthd
	wait_for 'state_is up'
	set_health 500
	# ten failures at the plain interval would take fifty seconds
	wait_for 'state_is down'
}

@test "the status list decides what is good: ranges and single codes" {
	origin o
	pool_of "$(port_of o)"
	sed -i 's/status: 200/status: [204, "300-399", 418]/' weir.yaml
	set_health 418
	start healthd
	wait_for 'state_is up'
	set_health 200
	wait_for 'state_is down'
	reason_is http_200
	set_health 302
	wait_for 'state_is up'
	set_health 400
	wait_for 'state_is down'
	set_health 204
	wait_for 'state_is up'
}

@test "the request has the method, path, host and fields that were asked for" {
	origin o
	pool_of "$(port_of o)"
	sed -i 's|http: {[^}]*}|http: { method: OPTIONS, path: "/bytes/10?x=1", host: "www.example.com", headers: { X-Probe: "one two", User-Agent: me } }|' weir.yaml
	start healthd
	wait_for 'state_is up'
	requests o | grep '"event": "request"' | head -1 >got
	[ "$(jq -r .method got)" = OPTIONS ]
	[ "$(jq -r .target got)" = "/bytes/10?x=1" ]
	[ "$(jq -r '.headers[] | select((.[0]|ascii_downcase) == "host") | .[1]' got)" = www.example.com ]
	[ "$(jq -r '.headers[] | select((.[0]|ascii_downcase) == "x-probe") | .[1]' got)" = "one two" ]
	[ "$(jq -r '[.headers[] | select((.[0]|ascii_downcase) == "user-agent")] | length' got)" = 1 ]
	[ "$(jq -r '[.headers[] | select((.[0]|ascii_downcase) == "connection")] | .[0][1]' got)" = close ]
}

@test "a HEAD probe does not wait for a body" {
	origin o
	pool_of "$(port_of o)"
	sed -i 's|http: {[^}]*}|http: { method: HEAD, path: "/bytes/100000" }|' weir.yaml
	start healthd
	wait_for 'state_is up'
}

@test "answers that are no good HTTP are failed probes, each with its reason" {
	origin o
	local P
	P=$(port_of o)
	config <<-YAML
	run_dir: run
	pools:
	  garbage: { servers: [ { address: "127.0.0.1:$P" } ], check: { http: { path: "/raw?GARBAGE%0a%0a" }, interval: 100ms } }
	  smuggle: { servers: [ { address: "127.0.0.1:$P" } ], check: { http: { path: "/raw?HTTP/1.1%20200%20OK%0d%0aContent-Length:%201%0d%0aTransfer-Encoding:%20chunked%0d%0a%0d%0a" }, interval: 100ms } }
	  endless: { servers: [ { address: "127.0.0.1:$P" } ], check: { http: { path: "/headers?$(printf 'X%s=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy&' $(seq 1 120))" }, interval: 100ms } }
	  closes:  { servers: [ { address: "127.0.0.1:$P" } ], check: { http: { path: "/close" }, interval: 100ms } }
	  resets:  { servers: [ { address: "127.0.0.1:$P" } ], check: { http: { path: "/reset" }, interval: 100ms } }
	  silent:  { servers: [ { address: "127.0.0.1:$P" } ], check: { http: { path: "/silent" }, interval: 100ms, timeout: 200ms } }
	  slow:    { servers: [ { address: "127.0.0.1:$P" } ], check: { http: { path: "/delay/60000" }, interval: 100ms, timeout: 200ms } }
	YAML
	start healthd
	# Each time for its own reason; where it is slow, one may be out of time in between.
	as_expected() {
		ctl healthd.0 json show probes | jq -r '.[] | select(.state == "down") | "\(.pool) \(.reason)"' | sed 's/ bad_.*/ bad/' | sort >got
		diff got <(printf '%s\n' 'closes closed' 'endless bad' 'garbage bad' 'resets reset' 'silent timeout' 'slow timeout' 'smuggle bad')
	}
	wait_for as_expected || { cat got; false; }
}

@test "interim answers are passed over, and the body of a good answer is not needed" {
	origin o
	pool_of "$(port_of o)"
	sed -i 's|path: /health|path: /info/103|' weir.yaml
	start healthd
	wait_for 'state_is up'
	sed -i 's|path: /info/103|path: /stall/10|' weir.yaml
	ctl healthd.0 reload
	wait_for '[ "$(probe rise)" -ge 5 ]'
	state_is up
}

@test "tcp probes: accepting is enough, refusing is down" {
	origin o
	config <<-YAML
	run_dir: run
	pools:
	  app:
	    servers:
	      - { name: a, address: "127.0.0.1:$(port_of o)" }
	      - { name: b, address: "127.0.0.1:$(free_port)" }
	      - { name: c, address: "unix:nosuch.sock" }
	    check: { tcp: on, interval: 100ms }
	YAML
	start healthd
	wait_for 'state_is up 0 && state_is down 1 && state_is down 2'
	reason_is connect_refused 1
	reason_is connect_no_socket 2
	! requests o | grep -q '"event": "request"'
}

@test "servers on Unix sockets, and a check on a port of its own" {
	origin o
	origin u --unix "$T/u.sock"
	config <<-YAML
	run_dir: run
	pools:
	  app:
	    servers: [ { name: a, address: "127.0.0.1:1" } ]
	    check: { http: { path: /health }, port: $(port_of o), interval: 100ms }
	  unix:
	    servers: [ { name: u, address: "unix:u.sock" } ]
	    check: { http: { path: /health }, interval: 100ms }
	YAML
	start healthd
	wait_for 'state_is up 0 && state_is up 1'
	[ "$(probe probed_address 0)" = "127.0.0.1:$(port_of o)" ]
}

@test "names are resolved; one that does not resolve stays unknown and holds up nobody" {
	origin o
	config <<-YAML
	run_dir: run
	pools:
	  app:
	    servers:
	      - { name: a, address: "localhost:$(port_of o)" }
	      - { name: b, address: "no-such-name.invalid:80" }
	    check: { http: { path: /health }, interval: 100ms }
	YAML
	start healthd
	wait_for 'state_is up 0 && reason_is no_address 1'
	state_is unknown 1
	wait_for '[ "$(ctl healthd.0 json status | jq ".checks[0].first_round_done")" = true ]'
}

@test "a reload that takes away who was waited for ends the first round" {
	origin o
	full_queue full
	servers() { config <<-YAML
	run_dir: run
	pools:
	  app:
	    servers:
	      - { name: a, address: "localhost:$(port_of o)" }
	      - { name: b, address: "no-such-name.invalid:80" }
	      $1
	    check: { http: { path: /health }, interval: 10m, timeout: 10m }
	YAML
	}
	servers "- { name: c, address: \"127.0.0.1:$(port_of full)\" }"
	start healthd
	wait_for 'state_is up 0 && reason_is no_address 1'
	[ "$(ctl healthd.0 json status | jq ".checks[0].first_round_done")" = false ]
	servers ""
	ctl healthd.0 reload
	[ "$(ctl healthd.0 json status | jq ".checks[0].first_round_done")" = true ]
	grep -q "info first_round_done pool=app servers=2 up=1" "$(log_of healthd.0)"
}

@test "the bus carries facts as state: a late subscriber is right within a heartbeat" {
	origin o
	pool_of "$(port_of o)"
	set_health 503
	start healthd
	wait_for 'state_is down'
	dump -n 1 -t 30 run/bus "health.app " >got
	grep -q '^health.app {' got
	sed 's/^[^ ]* //' got | jq -e '
		.v == 1 and .who == "healthd.0" and .ttl_ms == 5000 and .shard == 0 and .shards == 1
		and .round_done and (.servers | length) == 1
		and .servers[0].name == "a" and .servers[0].state == "down"
		and .servers[0].reason == "http_503" and .servers[0].fall >= 1'
	dump -n 1 -t 30 run/bus hello.healthd | sed 's/^[^ ]* //' |
		jq -e --arg h "$(ctl healthd.0 json status | jq -r .hash)" '.config == $h'
}

# of what `dump` heard: each state that a message was the first to tell, and for how long it had been so
changes() { sed -n 's/^health.app //p' got | jq -r '.servers[0] | "\(.state) \(.since_ms)"' 2>/dev/null | awk '$1 != was; { was = $1 }'; }

@test "a change is on the bus at once, not only with the next heartbeat" {
	origin o
	pool_of "$(port_of o)"
	sed -i 's/fall: 3/fall: 1/' weir.yaml
	sed -i 's/rise: 2/rise: 1/' weir.yaml
	start healthd
	wait_for 'state_is up'
	"$DUMP" -t 100 run/bus "health.app " >got 3>&- &
	local pid=$! i
	wait_for 'grep -q up got'
	for i in 1 2 3 4 5; do
		set_health 503
		wait_for "[ \"\$(changes | grep -c down)\" = $i ]"
		set_health 200
		wait_for "[ \"\$(changes | grep -c up)\" = $((i + 1)) ]"
	done
	kill $pid
	wait $pid || true
	# Each time the first message that says so was sent when it was news: with heartbeats of a second it would be by
	# chance. One may have been when the machine stood still.
	changes
	[ "$(changes | tail -n +2 | awk '$2 < 300' | wc -l)" -ge 9 ]
}

@test "two subscribers: the number of probes does not double" {
	origin o
	pool_of "$(port_of o)"
	sed -i 's/interval: 100ms/interval: 200ms, jitter: 0/' weir.yaml
	start healthd
	wait_for 'state_is up'
	# probes in a hundred seconds of healthd's clock, while these run
	rate() {
		local before
		before=$(ctl healthd.0 json status | jq -c '[.uptime_ms, .probes.started]')
		"$@"
		ctl healthd.0 json status | jq "((.probes.started - ($before)[1]) * 100000 / (.uptime_ms - ($before)[0])) | floor"
	}
	both() {
		dump -q -t 3 run/bus >a &
		local first=$!
		dump -q -t 3 run/bus >b
		wait $first
	}
	local one two
	one=$(rate dump -q -t 3 run/bus | tail -1)
	two=$(rate both)
	[ "$(sed 's/messages //' a)" -ge 1 ]
	[ "$(sed 's/messages //' b)" -ge 1 ]
	echo "one $one two $two"
	# 500 are what the interval makes of one; where it is busy, fewer.
	[ "$one" -gt 0 ] && [ "$one" -le 750 ] && [ "$two" -le 750 ]
}

@test "evidence from a router leads to an early probe, but not to a storm" {
	origin o
	pool_of "$(port_of o)"
	sed -i 's/interval: 100ms/interval: 1h/' weir.yaml
	start healthd
	wait_for 'state_is up'
	[ "$(health_requests)" -eq 1 ]
	dump -q -t 3 -p 'evidence.app {"v":1,"who":"routerd.0","epoch":"e","seq":1,"ttl_ms":5000,"shard":0,"shards":1,"servers":[{"name":"a","address":"127.0.0.1:'"$(port_of o)"'","reason":"timeout","fails":1},{"name":"stranger","address":"x:1","reason":"timeout","fails":1}]}' run/bus
	# published five times a second for three seconds; one probe a second follows
	wait_for '[ "$(health_requests)" -ge 2 ]'
	[ "$(health_requests)" -le 8 ]
	[ "$(ctl healthd.0 json status | jq .probes.early)" -ge 1 ]
	[ "$(ctl healthd.0 json status | jq .bus.evidence_unknown_server)" -ge 1 ]
}

@test "messages that are nonsense are counted and hurt nobody" {
	origin o
	pool_of "$(port_of o)"
	start healthd
	wait_for 'state_is up'
	dump -q -t 2 -p 'evidence.app {' -p 'evidence.app {"v":99}' -p 'evidence.%% x' -p 'weather.x y' -p 'no-topic' run/bus
	[ "$(ctl healthd.0 json status | jq .bus.evidence_malformed)" -ge 3 ]
	is_alive healthd.0
	# forty were published
	[ "$(grep -c bus_message_malformed "$(log_of healthd.0)")" -le 20 ]
}

@test "kill -9 and a new start: subscribers come back by themselves, stale sockets stop nobody" {
	origin o
	pool_of "$(port_of o)"
	start healthd
	wait_for 'state_is up'
	"$DUMP" -t 200 run/bus health. >got 3>&- &
	local pid=$!
	wait_for 'grep -q up got'
	local epoch
	epoch=$(head -1 got | sed 's/^[^ ]* //' | jq -r .epoch)
	kill_hard healthd.0
	[ -S run/bus/healthd.0.pub ]
	start healthd
	wait_for "grep health.app got | grep -v '$epoch' | grep -q '\"state\":\"up\"'"
	kill $pid
	wait $pid || true
}

@test "malformed bytes on the bus sockets may end healthd, never a subscriber" {
	origin o
	pool_of "$(port_of o)"
	start healthd
	wait_for 'state_is up'
	"$DUMP" -t 200 run/bus health. >got 3>&- &
	local pid=$! name
	wait_for 'grep -q up got'
	for name in pub sub; do
		python3 - "run/bus/healthd.0.$name" "$name" <<-'PY'
		import socket, sys
		for bytes_ in (b"G" * 20, b"\0SP\0\0" + (b"\x21" if sys.argv[2] == "pub" else b"\x20") + b"\0\0" + b"\x07" * 20):
		    try:
		        s = socket.socket(socket.AF_UNIX); s.settimeout(1); s.connect(sys.argv[1]); s.sendall(bytes_); s.recv(8)
		    except OSError: pass
		PY
	done
	kill -0 $pid
	# a listener in the bus folder that answers what ends a nanomsg process
	python3 - run/bus/evil.0.pub 20 run/bus/evil.0.sub 21 <<-'PY' &
	import select, socket, sys
	ls = {}
	for path, proto in zip(sys.argv[1::2], sys.argv[2::2]):
	    l = socket.socket(socket.AF_UNIX); l.bind(path); l.listen(9); ls[l] = proto
	held, n = [], 0
	while n < 6:
	    for l in select.select(list(ls), [], [], 20)[0]:
	        c, _ = l.accept(); held.append(c); n += 1
	        c.sendall(b"\0SP\0\0" + bytes.fromhex(ls[l]) + b"\0\0" + b"\x07" * 64)
	PY
	local evil=$!
	wait $evil
	kill -0 $pid
	if ! is_alive healthd.0; then
		rm -f "$T/proc/healthd.0.pid"
		sed -i '/Assertion/d; /nanomsg/d' "$(log_of healthd.0)"
		start healthd
	fi
	# and it still hears those who behave
	: >got
	wait_for 'grep -q "\"state\":\"up\"" got'
	kill $pid
	wait $pid || true
}

@test "disabled servers are not probed, drained ones are; a bad file changes nothing and says so" {
	origin o
	pool_of "$(port_of o)"
	mkdir -p state
	printf 'overrides:\n  - { pool: app, server: a, action: drain }\n  - { pool: app, server: ghost, action: drain }\n' >state/overrides.yaml
	start healthd
	wait_for 'state_is up'
	[ "$(ctl healthd.0 json status | jq .overrides.entries)" = 2 ]
	[ "$(ctl healthd.0 json status | jq .overrides.unmatched)" = 1 ]
	printf 'overrides:\n  - { pool: app, server: a, action: disable }\n' >state/overrides.yaml
	ctl healthd.0 overrides reload | grep '1 entries in force'
	[ "$(probe paused)" = disabled ]
	local n
	n=$(health_requests)
	printf 'overrides: [' >state/overrides.yaml
	ctl healthd.0 overrides reload | grep '^error: .*overrides.yaml'
	until_ok grep -q 'error overrides_unreadable' "$(log_of healthd.0)"
	[ "$(probe paused)" = disabled ]
	# six intervals without a probe
	wait_for '[ "$(ctl healthd.0 json status | jq .uptime_ms)" -gt 2500 ]'
	[ "$(health_requests)" -le $((n + 1)) ]
	rm state/overrides.yaml
	ctl healthd.0 overrides reload
	wait_for '[ "$(health_requests)" -gt $((n + 2)) ]'
}

@test "an override that expires is gone by itself" {
	origin o
	pool_of "$(port_of o)"
	mkdir -p state
	printf 'overrides:\n  - { pool: app, server: a, action: disable, expires: "%s" }\n' \
		"$(date -u -d '+6 seconds' +%Y-%m-%dT%H:%M:%SZ)" >state/overrides.yaml
	start healthd
	[ "$(probe paused)" = disabled ]
	wait_for 'state_is up'
}

@test "a reload keeps what is known, probes what is new, forgets what is gone" {
	origin o
	pool_of "$(port_of o)"
	start healthd
	wait_for '[ "$(probe rise)" -ge 4 ]'
	local rise
	rise=$(probe rise)
	config <<-YAML
	run_dir: run
	state_dir: state
	pools:
	  app:
	    servers:
	      - { name: b, address: "127.0.0.1:$(free_port)" }
	      - { name: a, address: "127.0.0.1:$(port_of o)", weight: 5 }
	    check: { http: { path: /health, status: 200 }, interval: 100ms }
	YAML
	ctl healthd.0 reload
	[ "$(probe server 1)" = a ]
	[ "$(probe rise 1)" -ge "$rise" ]
	wait_for 'state_is down 0'
	# 100 reloads: no leak of descriptors, probing goes on
	local fds i
	fds=$(ls "/proc/$(pid_of healthd.0)/fd" | wc -l)
	for i in $(seq 100); do ctl healthd.0 reload >/dev/null; done
	rise=$(probe rise 1)
	wait_for "[ \"\$(probe rise 1)\" -gt $rise ]"
	[ "$(ls "/proc/$(pid_of healthd.0)/fd" | wc -l)" -le $((fds + 4)) ]
	# a file that is not right: nothing changes
	echo "nonsense: 1" >>weir.yaml
	ctl healthd.0 reload | grep -q error
	state_is up 1
}

@test "5,000 servers in one pool: all known in seconds, changes are heard, memory is small" {
	touch sick
	spawn many python3 "$TOOLS/manyports.py" --sick-file sick
	wait_for 'grep -q ready "$(log_of many)"'
	local P i
	P=$(port_of many)
	{
		printf 'run_dir: run\npools:\n  big:\n    check: { http: { path: /health, status: 200 }, interval: 4s, timeout: 15s, fall: 1 }\n    servers:\n'
		for i in $(seq 0 4999); do
			echo "      - { name: s$i, address: \"127.1.$((i / 250)).$((i % 250 + 1)):$P\" }"
		done
	} >weir.yaml
	start healthd
	wait_for '[ "$(ctl healthd.0 json status | jq ".checks[0].up")" = 5000 ]' 40
	ctl healthd.0 json status | jq -e '.checks[0].first_round_done and .bus.refused == 0 and .probes.not_made == 0'
	# every shard once a heartbeat, no server missing
	local shards
	shards=$(ctl healthd.0 json status | jq .bus.shards)
	[ "$shards" -ge 20 ]
	"$DUMP" -t 100 run/bus health.big >got 3>&- &
	local pid=$!
	wait_for '[ "$(sed "s/^[^ ]* //" got | jq -r ".servers[].name" | sort -u | wc -l)" = 5000 ]'
	kill $pid
	wait $pid || true
	[ "$(awk 'length > 65536' got | wc -l)" = 0 ]
	for i in 1 2500 4999; do echo "127.1.$((i / 250)).$((i % 250 + 1))"; done >sick.new
	mv sick.new sick
	"$DUMP" -t 100 run/bus health.big >got 3>&- &
	pid=$!
	wait_for '[ "$(ctl healthd.0 json status | jq ".checks[0].down")" = 3 ]'
	wait_for 'for s in s1 s2500 s4999; do sed "s/^[^ ]* //" got | jq -e --arg s $s "[.servers[] | select(.name == \$s and .state == \"down\")] | length > 0" | grep -q true || exit 1; done'
	kill $pid 2>/dev/null || true # it may have ended by itself
	wait $pid || true
	# one thread of ours and nanomsg's, under 64 MB (sanitizers aside)
	[ "$(awk '/^Threads/ { print $2 }' "/proc/$(pid_of healthd.0)/status")" -le 6 ]
	if [[ $(readlink -f "$BIN/healthd") == */release/* ]]; then
		[ "$(awk '/^VmRSS/ { print $2 }' "/proc/$(pid_of healthd.0)/status")" -lt 65536 ]
	fi
}

@test "long names make smaller messages, and no server is left out" {
	local i long
	long=$(printf 'x%.0s' $(seq 110))
	{
		printf 'run_dir: run\npools:\n  big:\n    check: { tcp: on, interval: 1s }\n    servers:\n'
		for i in $(seq 600); do echo "      - { name: $long$i, address: \"127.0.0.1:1\" }"; done
	} >weir.yaml
	start healthd
	wait_for '[ "$(ctl healthd.0 json status | jq ".checks[0].down")" = 600 ]'
	"$DUMP" -t 100 run/bus health.big >got 3>&- &
	local pid=$!
	wait_for '[ "$(sed "s/^[^ ]* //" got | jq -r ".servers[].name" | sort -u | wc -l)" = 600 ]'
	kill $pid
	wait $pid || true
	[ "$(awk 'length > 65536' got | wc -l)" = 0 ]
	ctl healthd.0 json status | jq -e '.bus.refused == 0 and .bus.shards > 3'
}

@test "a second healthd of the same name is refused and names the holder" {
	origin o
	pool_of "$(port_of o)"
	start healthd
	run "$BIN/healthd" -c weir.yaml
	[ "$status" -eq 1 ]
	[[ "$output" == *"$(pid_of healthd.0)"* ]]
	is_alive healthd.0
	start healthd -i two
	wait_for "dump -n 4 -t 5 run/bus 'health.app ' | grep -q '\"who\":\"healthd.two\"'"
}

@test "a rate that cannot carry the pools is warned of" {
	pool_of 1
	echo 'health: { probe_rate: 2 }' >>weir.yaml
	run "$BIN/healthd" -t -c weir.yaml
	[ "$status" -eq 0 ]
	[[ "$output" == *"probes will be late"* ]]
}

@test "unknown keys and wrong values of the section are refused" {
	pool_of 1
	echo 'health: { max_probes: 0, prob_rate: 5, early_interval: 5 }' >>weir.yaml
	run "$BIN/healthd" -t -c weir.yaml
	[ "$status" -eq 2 ]
	[[ "$output" == *"health.max_probes"* && "$output" == *"did you mean"* && "$output" == *"health.early_interval"* ]]
}

@test "a server that flaps sends at most ten messages a second, and the last word is heard" {
	origin o
	pool_of "$(port_of o)"
	# Every probe changes the state: 100 servers on one origin, and it says something else each time.
	local i P
	P=$(port_of o)
	{
		printf 'run_dir: run\nstate_dir: state\npools:\n  app:\n    check: { http: { path: /health, status: 200 }, interval: 100ms, timeout: 500ms, fall: 1, rise: 1 }\n    servers:\n'
		for i in $(seq 100); do echo "      - { name: s$i, address: \"127.0.0.1:$P\" }"; done
	} >weir.yaml
	start healthd
	wait_for 'state_is up'
	spawn flip bash -c "while :; do
		curl -q -sS -X PUT http://127.0.0.1:$P/set-health/503 >/dev/null; sleep 0.05
		curl -q -sS -X PUT http://127.0.0.1:$P/set-health/200 >/dev/null; sleep 0.05; done"
	wait_for '[ "$(grep -c server_down "$(log_of healthd.0)")" -ge 20 ]'
	local from_ms
	from_ms=$(ctl healthd.0 json status | jq .uptime_ms)
	dump -n 20 -t 100 run/bus health.app >got
	# and not 1,000: those of one second more, as its seconds begin elsewhere than ours
	ctl healthd.0 json status | jq -e "(.uptime_ms - $from_ms) / 100 + 10 >= 20"
	[ "$(jq -s 'length' <(sed 's/^[^ ]* //' got))" = 20 ]
	kill_hard flip
	set_health 503
	wait_for '[ "$(ctl healthd.0 json status | jq ".checks[0].down")" = 100 ]'
	dump -n 3 -t 30 run/bus health.app | tail -1 | sed 's/^[^ ]* //' | jq -e '[.servers[].state] | unique == ["down"]'
}

@test "who lives says hello: program, version, configuration" {
	origin o
	local port
	port=$(free_port)
	pool_of "$(port_of o)"
	cat >>weir.yaml <<-YAML
	tls: { listen: [{ address: "127.0.0.1:$(free_port)", to: "127.0.0.1:1", certificates: [{ self_signed: [localhost] }] }] }
	http:
	  listen: [{ name: http, address: "127.0.0.1:$port" }]
	  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
	YAML
	start healthd
	start routerd
	start tlsd
	wait_for '[ "$(ctl healthd.0 json status | jq ".bus.subscribers")" -ge 1 ]'
	local hash
	hash=$(ctl healthd.0 json status | jq -r .hash)
	dump -n 1 -t 30 run/bus 'hello.healthd ' >got
	grep '^hello.healthd ' got | head -1 | sed 's/^[^ ]* //' | jq -e --arg h "$hash" '.config == $h and (.version | length > 0)'
	# routerd and tlsd say it to whoever listens as healthd does: nanomsg's bytes by hand.
	cat >ear.py <<-'PY'
	import socket, struct, sys, threading
	l = socket.socket(socket.AF_UNIX); l.bind("run/bus/ear.0.sub"); l.listen(8)
	def hear(c):
	    c.sendall(b"\0SP\0\0\x21\0\0")
	    f = c.makefile("rb")
	    assert f.read(8)[:4] == b"\0SP\0"
	    while True:
	        head = f.read(9)
	        print(f.read(struct.unpack(">Q", head[1:])[0]).decode(), flush=True)
	while True:
	    threading.Thread(target=hear, args=(l.accept()[0],), daemon=True).start()
	PY
	spawn ear python3 ear.py
	local who
	for who in routerd tlsd; do
		wait_for "grep -q '^hello.$who ' '$(log_of ear)'"
		grep "^hello.$who " "$(log_of ear)" | head -1 | sed 's/^[^ ]* //' |
			jq -e --arg h "$hash" --arg w "$who.0" '.config == $h and (.version | length > 0) and .who == $w'
	done
}
