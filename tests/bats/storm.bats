# Everything at once: mixed traffic, reloads, decisions, servers and daemons that die. Nothing of it may
# stay behind in the daemons, and a sanitizer gets to see what single tests do not bring together.
load helper

# The load generator and the fast origin of the benchmark.
tools() {
	local b=$ROOT/tests/bench
	cc -O2 -w -D_GNU_SOURCE -o load "$b/load.c" "$b/meter.c" -lssl -lcrypto -lm
	cc -O2 -w -D_GNU_SOURCE -o fast "$b/origin.c"
}

# again NAME COMMAND..: run it again and again until the storm ends
again() {
	local name=$1
	shift
	spawn "$name" bash -c 'while [ ! -e "$0/over" ]; do "$@"; done' "$T" "$@"
}

# What must be zero when nobody is there.
left() {
	jq -n --argjson r "$(ctl routerd.0 json status)" --argjson t "$(ctl tlsd.0 json status)" -c '
		[$r.counters | .connections, .requests_active, .tunnels] +
		[$r.pools[] | .active, .retrying, (.servers[] | .inflight)] +
		[$t.connections | .open, .handshaking, .waiting, .relaying] | unique'
}

@test "after a storm nothing is left: no connection, no request in flight, no daemon lost" {
	tools
	local name
	for name in a b c; do
		spawn "$name" ./fast
		wait_for "[ -n \"\$(port_of $name)\" ]"
	done
	HTTP=$(free_port)
	HTTPS=$(free_port)
	config <<-X
		run_dir: run
		state_dir: state
		tls:
		  workers: 2
		  listen:
		    - { address: "127.0.0.1:$HTTPS", to: https, certificates: [{ self_signed: [localhost] }] }
		http:
		  workers: 2
		  listen: [{ name: http, address: "127.0.0.1:$HTTP" }, { name: https, from: tlsd }]
		  access_log: { path: access.log, format: json }
		  timeouts: { response: 2s, connect: 1s }
		  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
		pools:
		  app:
		    servers:
		      - { name: a, address: "127.0.0.1:$(port_of a)" }
		      - { name: b, address: "127.0.0.1:$(port_of b)", weight: 2 }
		      - { name: c, address: "localhost:$(port_of c)" }
		    check: { tcp: on, interval: 200ms, fall: 1, rise: 1 }
		    passive: { max_fails: 2, fail_timeout: 500ms }
	X
	spawn up "$BIN/proxyctl" -c weir.yaml up
	wait_for 'grep -q "^ready: " "$(log_of up)"'
	local plain="./load -p $HTTP -w 0 -d 2" tls="./load -p $HTTPS -T -w 0 -d 2"
	again small $plain -c 16 -u /128 -n 128
	again large $plain -c 4 -u /1000000 -n 1000000
	again chunked $plain -c 4 -u /chunked/10240 -n 10240
	again short $plain -c 4 -k -u /128 -n 128
	again posts $plain -c 4 -P 300000 -u /x -n 128
	again tunnels $plain -c 4 -W 500 -u /ws
	again tls $tls -c 4 -u /20000 -n 20000
	again tls_short $tls -c 2 -k -u /128 -n 128
	# Clients that leave in the middle.
	again leaves timeout 0.3 $plain -c 4 -u /1000000 -n 1000000
	again slow timeout 0.4 curl -q -s --limit-rate 100k "http://127.0.0.1:$HTTP/3000000" -o /dev/null
	again tls_slow timeout 0.4 curl -q -s -k --limit-rate 100k "https://127.0.0.1:$HTTPS/3000000" -o /dev/null
	# Operators.
	again reloads "$BIN/proxyctl" -c weir.yaml reload
	again looks "$BIN/proxyctl" -c weir.yaml status -j
	again drains bash -c "'$BIN/proxyctl' -c weir.yaml drain app/a; '$BIN/proxyctl' -c weir.yaml weight app/b 7
		'$BIN/proxyctl' -c weir.yaml undrain app/a; '$BIN/proxyctl' -c weir.yaml weight app/b default
		kill -USR1 $(pid_of up)"
	# Servers that hang and die, and a healthd that dies.
	local round pid
	for round in 1 2 3 4; do
		kill -STOP "$(pid_of a)"
		sleep 0.5
		kill_hard b
		kill -CONT "$(pid_of a)"
		pid=$(pctl status -j | jq -r '.daemons[] | select(.name == "healthd.0").pid')
		[ $((round % 2)) = 0 ] && kill -KILL "$pid"
		sleep 0.7
		spawn b ./fast
		wait_for '[ "$(grep -c ^port "$(log_of b)")" = $((round + 1)) ]'
		sed -i "/name: b,/s/127.0.0.1:[0-9]*/127.0.0.1:$(sed -n 's/^port //p' "$(log_of b)" | tail -1)/" weir.yaml
	done
	touch over
	for name in small large chunked short posts tunnels tls tls_short leaves slow tls_slow reloads looks drains; do
		wait_for "! is_alive $name"
	done
	wait_for '[ "$(left)" = "[0]" ]'
	# It was a storm, and the only one who died is who was killed.
	[ "$(ctl routerd.0 json status | jq .counters.requests)" -gt 1000 ]
	[ "$(ctl routerd.0 json status | jq .generation)" -gt 5 ]
	run grep -E ' up (warn|error) ' "$(log_of up)"
	refute_line --regexp 'name=(routerd|tlsd)'
	pctl reload
	# Who failed requests is back once a request has succeeded there.
	wait_for 'http "http://127.0.0.1:$HTTP/128" && [ "$(pctl status -j | jq "[.pools[0].servers[].verdict] | unique == [\"up\"]")" = true ]'
}
