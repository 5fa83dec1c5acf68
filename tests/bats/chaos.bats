# kill -9 of any daemon, in any order, while traffic flows: what may be lost, what may not.
load up_helper

# Kill these at the same moment, and wait until they are back and all is well.
kill_all() {
	local name pid at gone pids=()
	for name in "$@"; do pids+=("$(pid_by_name "$name")"); done
	at=$EPOCHREALTIME
	kill -KILL "${pids[@]}"
	for pid in "${pids[@]}"; do wait_for "! _is_running $pid"; done
	gone=$EPOCHREALTIME
	for name in "$@"; do
		pid=${pids[0]}
		pids=("${pids[@]:1}")
		wait_for "[ -n \"\$(pid_by_name $name)\" ] && [ \"\$(pid_by_name $name)\" != $pid ]"
	done
	wait_for "http -f http://127.0.0.1:$HTTP/"
	wait_for "http -kf https://127.0.0.1:$HTTPS/"
	for name in "$@"; do echo "$name $at $gone $EPOCHREALTIME" >>kills; done
	wait_for '[ "$(verdicts)" = "up up up" ]'
}

@test "each daemon killed in an order of chance: nothing is lost but what stood on the one that died" {
	demo
	up
	spawn load python3 "$TOOLS/steadyload.py" run "$HTTP" "$HTTPS" requests.log
	wait_for 'grep -q running "$(log_of load)"'
	local name
	for name in $(printf '%s\n' tlsd.0 routerd.0 healthd.0 routerd.app1 routerd.app2 routerd.app3 | shuf); do
		echo "killing $name"
		kill_all "$name"
	done
	stop load
	run python3 "$TOOLS/steadyload.py" judge requests.log kills
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "several killed at once come back together, and what is no longer needed to come back is not missed" {
	demo
	up
	spawn load python3 "$TOOLS/steadyload.py" run "$HTTP" "$HTTPS" requests.log
	wait_for 'grep -q running "$(log_of load)"'
	kill_all healthd.0 routerd.app1
	kill_all tlsd.0 routerd.0
	kill_all tlsd.0 routerd.0 healthd.0 routerd.app2
	stop load
	run python3 "$TOOLS/steadyload.py" judge requests.log kills
	echo "$output"
	[ "$status" -eq 0 ]
	# Without the supervisor the daemons end; the next one starts on what it left.
	kill_hard up
	wait_for '[ "$(pctl status -j | jq "[.daemons[] | select(.answer == \"ok\")] | length")" = 0 ]'
	spawn up "$BIN/proxyctl" -c demo.yaml up
	wait_for "http -kf https://127.0.0.1:$HTTPS/"
}

@test "the bus folder is taken away: traffic flows on the last verdicts, and is heard again when it is back" {
	demo
	up
	kill -KILL "$(pid_by_name routerd.app2)"
	wait_for '[ "$(verdicts)" = "up up up" ]'
	rm -rf run/bus
	local i
	for i in 1 2 3 4 5 6; do http -f "http://127.0.0.1:$HTTP/" >/dev/null; done
	http -kf "https://127.0.0.1:$HTTPS/" >/dev/null
	kill -KILL "$(pid_by_name healthd.0)"
	wait_for '[ -S run/bus/healthd.0.pub ]'
	wait_for '[ "$(pctl status -j | jq -c "[.pools[0].servers[].stale] | unique")" = "[false]" ]'
	for i in 1 2 3 4 5 6; do http -f "http://127.0.0.1:$HTTP/" >/dev/null; done
}

# Two routers behind one tlsd; an argument: more keys of its listener.
two_routers() {
	origin app --name app
	HTTPS=$(free_port)
	local file
	for file in weir.yaml b.yaml; do
		cat >$file <<-X
		run_dir: run
		state_dir: state
		tls: { listen: [{ address: "127.0.0.1:$HTTPS", to: https, certificates: [{ self_signed: [localhost] }]${1:-} }] }
		http:
		  listen: [{ name: https, from: tlsd }, { name: http, address: "127.0.0.1:$(free_port)" }]
		  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
		pools: { app: { servers: ["127.0.0.1:$(port_of app)"] } }
		X
	done
	start routerd
	start routerd -i b -c "$T/b.yaml"
	start tlsd
}

@test "routers are replaced one after the other: no request fails, by either seam" {
	local seam i n
	for seam in handoff relay; do
		two_routers ", seam: $seam"
		for n in 1 2 3; do
			# Slow enough that some are always under way.
			spawn load$n bash -c "while [ ! -e over ]; do curl -q -sSk -f -m 60 --noproxy '*' -o /dev/null https://127.0.0.1:$HTTPS/delay/20 || echo lost; echo asked; done"
		done
		for i in 1 2 3; do
			stop routerd.0
			[ "$status" -eq 0 ]
			start routerd
			wait_for "[ \$(grep -c asked '$(log_of load1)') -ge $((2 * i - 1)) ]"
			stop routerd.b
			[ "$status" -eq 0 ]
			start routerd -i b -c "$T/b.yaml"
			wait_for "[ \$(grep -c asked '$(log_of load1)') -ge $((2 * i)) ]"
		done
		touch over
		for n in 1 2 3; do
			_reap load$n 60
			refute grep lost "$(log_of load$n)"
		done
		[ "$(grep -hc asked "$(log_of load1)")" -ge 5 ]
		stop tlsd.0
		stop routerd.0
		stop routerd.b
		stop app
		rm -f over proc/load?.log proc/app.*
	done
}

@test "one of two routers is killed: TLS connections that come afterwards go to the other, at once" {
	two_routers
	local i round victim
	for round in 1 2 3; do
		victim=routerd.0
		[ $round != 2 ] || victim=routerd.b
		for i in 1 2 3 4; do http -kf -o /dev/null "https://127.0.0.1:$HTTPS/"; done
		kill_hard $victim
		# Nobody starts it again: one that is kept for it would be closed after handoff_timeout.
		for i in 1 2 3 4 5 6; do
			http -kf -o /dev/null "https://127.0.0.1:$HTTPS/"
		done
		if [ $victim = routerd.0 ]; then start routerd; else start routerd -i b -c "$T/b.yaml"; fi
	done
}
