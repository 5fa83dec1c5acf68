# proxyctl up: the whole set in the foreground.
load up_helper

names() { pctl status -j | jq -r '[.daemons[] | select(.answer == "ok") | .name] | join(" ")'; }

@test "the demo passes check" {
	demo
	run pctl check
	assert_success
	assert_line ok
}

@test "the demo comes up: HTTPS in, three servers behind, an address and a curl line to try" {
	demo
	up
	[ "$(names)" = "healthd.0 routerd.0 routerd.app1 routerd.app2 routerd.app3 tlsd.0" ]
	until_ok grep -q "^ready: 6 processes, https://127.0.0.1:$HTTPS/ http://127.0.0.1:$HTTP/$" "$(log_of up)"
	until_ok grep -q "^try:   curl -k https://127.0.0.1:$HTTPS/$" "$(log_of up)"
	local i
	for i in 1 2 3; do http -k "https://127.0.0.1:$HTTPS/"; done >seen
	[ "$(sort seen)" = $'hello from app1\nhello from app2\nhello from app3' ]
	[ "$(http "http://127.0.0.1:$HTTP/health")" = ok ]
	[ "$(http -k "https://127.0.0.1:$HTTPS/echo" | jq -r '.headers | .. | strings' | grep -ci '^https$')" -ge 1 ]
	stop up
	[ "$status" -eq 0 ]
	[ "$(names)" = "" ]
}

@test "what dies is started again, and traffic goes on" {
	demo
	up
	local name pid fails=0 i
	spawn load bash -c "while :; do
		curl -q -sS -f -m 60 --noproxy '*' http://127.0.0.1:$HTTP/ >/dev/null || echo failed; done"
	for name in routerd.app1 healthd.0 tlsd.0 routerd.app3; do
		pid=$(pid_by_name "$name")
		kill -KILL "$pid"
		wait_for "[ -n \"\$(pid_by_name $name)\" ] && [ \"\$(pid_by_name $name)\" != $pid ]"
		until_ok grep -q "up warn died name=$name signal=9" "$(log_of up)"
	done
	kill_hard load
	[ ! -s "$(log_of load)" ]
	# Requests failed there and went elsewhere: one more request finds out that it is well again.
	wait_for "http http://127.0.0.1:$HTTP/ && [ \"\$(verdicts)\" = 'up up up' ]"
	http -k "https://127.0.0.1:$HTTPS/"
	# routerd itself: requests fail meanwhile, but it comes back.
	pid=$(pid_by_name routerd.0)
	kill -KILL "$pid"
	wait_for "http -f http://127.0.0.1:$HTTP/"
}

@test "signals to all while daemons are starting end none of them" {
	demo
	spawn up "$BIN/proxyctl" -c demo.yaml up
	local up
	up=$(pid_of up)
	# No pause: all of it happens within some 50 ms.
	until [ -n "$(<"/proc/$up/task/$up/children")" ]; do is_alive up; done
	until grep -q "^ready: " "$(log_of up)"; do kill -USR1 "$up"; done
	is_alive up
	wait_for '[ "$(verdicts)" = "up up up" ]'
	run ! grep -E ' (died|start_failed) ' "$(log_of up)"
}

@test "who reads what up says may leave: it goes on" {
	demo
	mkfifo said
	spawn reader head -n 3 said
	spawn up bash -c 'exec "$0" -c demo.yaml up >said 2>&1' "$BIN/proxyctl"
	_reap reader 60
	wait_for '[ "$(verdicts)" = "up up up" ]'
	local pid
	pid=$(pid_by_name routerd.app3)
	kill -KILL "$pid"
	wait_for "[ -n \"\$(pid_by_name routerd.app3)\" ] && [ \"\$(pid_by_name routerd.app3)\" != $pid ]"
	stop up
	[ "$status" -eq 0 ]
}

@test "who has stopped reading what up says holds nobody up" {
	demo
	mkfifo said
	# Open, and full.
	exec 8<>said
	python3 -c 'import os; os.set_blocking(8, False); [os.write(8, b"x" * 4096) for _ in iter(int, 1)]' 2>/dev/null || true
	spawn up bash -c 'exec "$0" -c demo.yaml up >said' "$BIN/proxyctl"
	wait_for '[ "$(ctl up.0 json status | jq -r .state)" = running ]'
	stop up
	[ "$status" -eq 0 ]
	exec 8>&-
}

@test "up killed with -9 takes its children along" {
	demo
	up
	local pids
	pids=$(pctl status -j | jq -r '.daemons[].pid')
	[ "$(wc -w <<<"$pids")" = 6 ]
	kill_hard up
	for pid in $pids; do
		wait_for "! kill -0 $pid 2>/dev/null || grep -q ') Z' /proc/$pid/stat"
	done
}

@test "proxyctl stop ends up, too; HUP reloads all; USR1 reopens logs" {
	demo
	up
	kill -HUP "$(pid_of up)"
	wait_for '[ "$(pctl status -j | jq "[.daemons[].generation] | unique | .[]")" = 2 ]'
	http "http://127.0.0.1:$HTTP/before"
	wait_for 'grep -q /before run/access.log'
	mv run/access.log run/access.log.1
	kill -USR1 "$(pid_of up)"
	wait_for "http http://127.0.0.1:$HTTP/after >/dev/null; grep -qs /after run/access.log"
	run pctl stop
	assert_success
	_reap up 30
	[ "$status" -eq 0 ]
}

@test "proxyctl stop ends also what up was about to start again; one that ended by itself is left alone" {
	demo
	up
	kill -TERM "$(pid_by_name routerd.app1)"
	until_ok grep -q "up info left name=routerd.app1" "$(log_of up)"
	# It dies again and again, and cannot be asked.
	mv run/access.log moved
	mkdir run/access.log
	kill -KILL "$(pid_by_name routerd.0)"
	wait_for 'grep -q "died name=routerd.0 exit=1" "$(log_of up)"'
	run pctl stop
	assert_success
	_reap up 30
	[ "$status" -eq 0 ]
	[ "$(names)" = "" ]
}

@test "an invalid configuration ends up with 2, a port in use with 1, and nothing stays" {
	demo
	# Errors of several programs, all at once, and nothing has been started.
	sed -i 's/^pools:/nonsense: 1\npools:/; s/pool: app/pool: ap/; s/to: https/to: htps/' demo.yaml
	run timeout 60 "$BIN/proxyctl" -c demo.yaml up
	[ "$status" -eq 2 ]
	assert_output --partial nonsense
	assert_output --partial 'no pool is called "ap", did you mean "app"?'
	assert_output --partial 'htps'
	refute_output --partial ' started '
	[ ! -e run ]
	[ "$(names)" = "" ]
	demo
	spawn holder python3 -c "
import socket, time
s = socket.socket(); s.bind(('127.0.0.1', $HTTP)); s.listen(); print('port 1', flush=True); time.sleep(100)"
	wait_for 'grep -q port "$(log_of holder)"'
	run timeout 60 "$BIN/proxyctl" -c demo.yaml up
	[ "$status" -eq 1 ]
	assert_output --partial "127.0.0.1:$HTTP"
	[ "$(names)" = "" ]
	echo "run_dir: run" >demo.yaml
	run "$BIN/proxyctl" -c demo.yaml up
	[ "$status" -eq 2 ]
	assert_output --partial "there is nothing to start"
}

@test "started by root, each daemon has its own user; they meet by the common group, and an operator needs no root" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	demo
	local open
	open=$(mktemp -d /tmp/weir.XXXXXX) # others may reach what stands here
	chmod 755 "$open"
	sed -e "s#^run_dir: run#run_dir: $open/run#; s#^state_dir: state#state_dir: $open/state#" \
		-e "s#run/access.log#$open/run/access.log#" \
		-e 's/^tls:/control_group: users\nhealth: { user: games }\ntls:\n  user: daemon/' \
		-e 's/^http:/http:\n  user: nobody/' demo.yaml >"$open/demo.yaml"
	cp demo-app.yaml "$open"
	chmod 644 "$open"/*.yaml
	cp "$open/demo.yaml" .
	up
	user_of() { ps -o user= -p "$(pid_by_name "$1")"; }
	[ "$(user_of tlsd.0) $(user_of routerd.0) $(user_of healthd.0)" = "daemon nobody games" ]
	[ "$(http -k "https://127.0.0.1:$HTTPS/health")" = ok ]
	[ "$(stat -c %a:%U:%G "$open/run")" = 2750:root:users ]
	# A member of the group: decides, and sees it adopted.
	local operator=(setpriv --reuid sync --regid nogroup --groups users "$BIN/proxyctl" -c "$open/demo.yaml")
	setpriv --reuid sync --regid nogroup --clear-groups test -x "$BIN/proxyctl" ||
		skip "the programs stand where only root may go"
	run "${operator[@]}" drain app/app1 --wait
	assert_success
	[ "$(stat -c %G "$open/state/overrides.yaml")" = users ]
	run "${operator[@]}" undrain app/app1 --wait
	assert_success
	# Nobody else.
	run setpriv --reuid sync --regid nogroup --clear-groups "$BIN/proxyctl" -c "$open/demo.yaml" drain app/app1
	[ "$status" -eq 1 ]
	# Root's reload hands over what they may not read.
	chmod 600 demo.yaml
	run pctl reload
	assert_success
	# They die with up, though they changed their user since.
	local pids pid
	pids=$(pctl status -j | jq -r '.daemons[].pid')
	kill_hard up
	for pid in $pids; do
		wait_for "! kill -0 $pid 2>/dev/null || grep -q ') Z' /proc/$pid/stat"
	done
	rm -rf "$open"
}

@test "a reload starts instances that are new, ends those that are gone, replaces those whose environment changed" {
	demo
	up
	A4=$(free_port)
	local pid2 pid3
	pid2=$(pid_by_name routerd.app2)
	pid3=$(pid_by_name routerd.app3)
	# One more, of the instance and of the server.
	sed -i -E "/name: app3,? *config|name: app3, .*env|app3.*address/{p; s/app3/app4/g; s/$A3/$A4/}" demo.yaml
	run pctl reload
	assert_success
	assert_line "up.0: generation 2"
	[ "$(names)" = "healthd.0 routerd.0 routerd.app1 routerd.app2 routerd.app3 routerd.app4 tlsd.0" ]
	wait_for '[ "$(verdicts)" = "up up up up" ]'
	local i
	for i in 1 2 3 4; do http "http://127.0.0.1:$HTTP/"; done >seen
	grep -q "hello from app4" seen
	# Who stayed was not touched.
	[ "$(pid_by_name routerd.app3)" = "$pid3" ]
	# app1 goes, app2 moves to another port; HUP is as good as the command.
	local moved
	moved=$(free_port)
	sed -i -E "/app1/d; s/$A2/$moved/" demo.yaml
	kill -HUP "$(pid_of up)"
	wait_for '[ "$(names)" = "healthd.0 routerd.0 routerd.app2 routerd.app3 routerd.app4 tlsd.0" ]'
	wait_for '[ -n "$(pid_by_name routerd.app2)" ] && [ "$(pid_by_name routerd.app2)" != '"$pid2"' ]'
	wait_for '[ "$(verdicts)" = "up up up" ]'
	[ "$(http "http://127.0.0.1:$moved/")" = "hello from app2" ]
	[ "$(pid_by_name routerd.app3)" = "$pid3" ]
	until_ok grep -q "up info removed name=routerd.app1" "$(log_of up)"
	# A killed one comes back with what it has by now.
	kill -KILL "$(pid_by_name routerd.app2)"
	wait_for "[ \"\$(http http://127.0.0.1:$moved/)\" = 'hello from app2' ]"
	is_alive up
}

@test "a reload that up refuses changes nothing; an instance that cannot be started is named, and the others live" {
	demo
	up
	local before
	before=$(pctl status -j | jq -c '[.daemons[] | [.name, .pid]]')
	cp demo.yaml good.yaml
	# Its file is wrong.
	echo 'http: { nonsense: 1 }' >bad.yaml
	sed -i -E '/name: app3,/{p; s/app3/app4/; s/config: [^,}]*/config: bad.yaml/}' demo.yaml
	run pctl reload
	[ "$status" -eq 2 ]
	assert_output --partial "bad.yaml:1:"
	assert_output --partial "nothing was changed"
	# Twice the same name.
	cp good.yaml demo.yaml
	sed -i -E '/name: app3,/p' demo.yaml
	run pctl reload
	[ "$status" -eq 2 ]
	assert_output --partial "routerd.app3 is there twice"
	[ "$(pctl status -j | jq -c '[.daemons[] | [.name, .pid]]')" = "$before" ]
	# Its port is taken: that shows when it is started.
	cp good.yaml demo.yaml
	sed -i -E '/name: app3,/{p; s/app3/app4/g}' demo.yaml
	run pctl reload
	[ "$status" -eq 1 ]
	assert_output --partial "up.0: could not be started"
	assert_output --partial "routerd.app4"
	[ "$(pctl status -j | jq -c '[.daemons[] | [.name, .pid]]')" = "$before" ]
	is_alive up
	# The next one tries again.
	A4=$(free_port)
	sed -i -E "/app4/s/$A3/$A4/" demo.yaml
	run pctl reload
	assert_success
	[ "$(http "http://127.0.0.1:$A4/")" = "hello from app4" ]
}

@test "a section that is new starts its daemon, one that is gone ends it" {
	demo
	up
	sed '/^tls:/,/^http:/{/^http:/!d}; /from: tlsd/d; s/, https\]/]/' demo.yaml >less.yaml
	cp demo.yaml full.yaml
	cp less.yaml demo.yaml
	run pctl check
	assert_success
	run pctl reload
	assert_success
	wait_for '[ "$(names)" = "healthd.0 routerd.0 routerd.app1 routerd.app2 routerd.app3" ]'
	[ "$(http "http://127.0.0.1:$HTTP/health")" = ok ]
	cp full.yaml demo.yaml
	run pctl reload
	assert_success
	[ "$(http -k "https://127.0.0.1:$HTTPS/health")" = ok ]
}

@test "a second up of the same name is refused before it starts anything; another name is another" {
	demo
	up
	run timeout 60 "$BIN/proxyctl" -c demo.yaml up
	[ "$status" -eq 1 ]
	assert_output --partial "in use by pid $(pid_of up) (proxyctl)"
	refute_output --partial "routerd."
	run timeout 60 "$BIN/proxyctl" -c demo.yaml up -i 'a b'
	[ "$status" -eq 2 ]
	# Its children fail as their sockets are taken; it is not refused itself.
	run timeout 60 "$BIN/proxyctl" -c demo.yaml up -i two
	[ "$status" -eq 1 ]
	assert_output --partial "it is in use by pid"
	[ -S run/up.0.sock ]
	[ ! -e run/up.two.sock ]
	[ "$(verdicts)" = "up up up" ]
	# A stale socket stops nobody.
	kill_hard up
	wait_for '[ "$(names)" = "" ]'
	[ -S run/up.0.sock ]
	up
}

@test "what dies and comes back is an event, too" {
	demo
	up
	spawn watch "$BIN/proxyctl" -c demo.yaml events --until died --type died --timeout 60s
	wait_for '[ "$(socat -t 5 stdio UNIX-CONNECT:run/up.0.sock <<<"json status" | jq ".processes | length")" = 6 ]'
	wait_for 'pctl events --recent --until started --timeout 1s'
	kill -KILL "$(pid_by_name healthd.0)"
	wait_for '! is_alive watch'
	wait "$(pid_of watch)"
	[ "$(jq -r '.daemon + " " + .name' "$(log_of watch)")" = "up.0 healthd.0" ]
}

@test "TERM ends all gracefully, a second one at once" {
	demo
	# A server that takes its time: the demo's answer at once.
	origin slow
	sed -i "s/127.0.0.1:$A1/127.0.0.1:$(port_of slow)/; s/127.0.0.1:$A2/127.0.0.1:$(port_of slow)/; s/127.0.0.1:$A3/127.0.0.1:$(port_of slow)/" demo.yaml
	sed -i '/name: app[23],* address/d' demo.yaml
	spawn up "$BIN/proxyctl" -c demo.yaml up
	wait_for 'grep -q "^ready: " "$(log_of up)"'
	wait_for '[ "$(verdicts)" = up ]'
	spawn waiting curl -q -sS -f -m 100 --noproxy '*' -o answer "http://127.0.0.1:$HTTP/held/one"
	wait_for '[ "$(pctl status -j | jq ".pools[0].servers[0].inflight")" = 1 ]'
	kill -TERM "$(pid_of up)"
	wait_for '[ "$(names)" = routerd.0 ]'
	release slow one
	_reap up 60
	[ "$status" -eq 0 ]
	_reap waiting 60
	[ "$status" -eq 0 ]
	[ -s answer ]
	# And one that takes too long.
	spawn up "$BIN/proxyctl" -c demo.yaml up
	wait_for '[ "$(grep -c "^ready: " "$(log_of up)")" = 2 ]'
	wait_for '[ "$(verdicts)" = up ]'
	spawn waiting curl -q -sS -f -m 200 --noproxy '*' "http://127.0.0.1:$HTTP/delay/100000"
	wait_for '[ "$(pctl status -j | jq ".pools[0].servers[0].inflight")" = 1 ]'
	kill -TERM "$(pid_of up)"
	wait_for '[ "$(names)" = routerd.0 ]'
	is_alive up
	local began=$SECONDS
	stop up
	[ $((SECONDS - began)) -le 15 ]
	[ "$(names)" = "" ]
}

@test "who has been told to end takes no new configuration any more, and finishes what is in flight" {
	demo
	origin slow
	sed -i "s/127.0.0.1:$A1/127.0.0.1:$(port_of slow)/; /name: app[23], address/d; / check: /d" demo.yaml
	spawn up "$BIN/proxyctl" -c demo.yaml up
	wait_for 'grep -q "^ready: " "$(log_of up)"'
	spawn waiting curl -q -sS -f -m 100 --noproxy '*' -o answer "http://127.0.0.1:$HTTP/held/one"
	wait_for '[ "$(counter requests_active)" = 1 ]'
	# A listener more, and no instances.
	local new hash
	new=$(free_port)
	sed -i "s/- { name: http, address.*/&\n    - { name: more, address: \"127.0.0.1:$new\" }/; /^up:/,\$d" demo.yaml
	run pctl check
	assert_output ok
	hash=$(pctl status -j | jq -r '.daemons[] | select(.name == "routerd.0") | .on_disk')
	ctl up.0 prepare "$hash" "$T/demo.yaml" | grep -q prepared
	ctl routerd.0 prepare "$hash" "$T/demo.yaml" | grep -q prepared
	kill -TERM "$(pid_of up)"
	wait_for '[ "$(ctl routerd.0 json status | jq -r .state)" = draining ]'
	[ "$(ctl up.0 commit)" = "error: all processes are ending" ]
	[ "$(ctl routerd.0 commit)" = "error: this daemon is ending" ]
	run http "http://127.0.0.1:$new/"
	assert_failure 7
	release slow one
	_reap waiting 60
	[ "$status" -eq 0 ]
	_reap up 60
	[ "$status" -eq 0 ]
}

@test "a signal that comes between fork and exec is the child's" {
	needs_root "trace daemons"
	command -v strace >/dev/null || skip "strace is not installed"
	demo
	up
	spawn strace strace -f -qq -o trace -e trace=setpgid -e inject=setpgid:signal=SIGTERM -p "$(pid_of up)"
	wait_for 'grep -q "^TracerPid:[[:space:]]*[1-9]" "/proc/$(pid_of up)/status"'
	kill -KILL "$(pid_by_name routerd.app3)"
	wait_for 'grep -q "up warn died name=routerd.app3 signal=15" "$(log_of up)" || ! is_alive up'
	stop strace
	wait_for '[ "$(verdicts)" = "up up up" ]'
	run ! grep -q " signal name=TERM" "$(log_of up)"
}

@test "who dies again and again is started again with growing pauses" {
	demo
	up
	local i pid
	for i in 1 2 3; do
		pid=$(pid_by_name routerd.app1)
		kill -KILL "$pid"
		wait_for "[ -n \"\$(pid_by_name routerd.app1)\" ] && [ \"\$(pid_by_name routerd.app1)\" != $pid ]"
	done
	[ "$(sed -n 's/.* died name=routerd.app1 .*restart_in_ms=\([0-9]*\).*/\1/p' "$(log_of up)" | tr '\n' ' ')" = "100 200 400 " ]
	[ "$(grep -c 'died name=routerd.app2' "$(log_of up)")" = 0 ]
}

@test "a command that up cannot run by itself is told" {
	demo
	mkdir bin
	cp "$BIN"/{proxyctl,routerd,tlsd,healthd} bin
	PATH=/usr/bin:/bin spawn up bin/proxyctl -c demo.yaml up
	wait_for 'grep -q "^ready: " "$(log_of up)" || ! is_alive up'
	wait_for '[ "$(names)" = "healthd.0 routerd.0 routerd.app1 routerd.app2 routerd.app3 tlsd.0" ]'
	rm bin/proxyctl
	kill -HUP "$(pid_of up)"
	wait_for 'grep -q "up error command_failed pid=[0-9]* reason=\"the program cannot be run\"" "$(log_of up)"'
	cp "$BIN/proxyctl" bin
	command -v strace >/dev/null || skip "strace is not installed"
	spawn strace strace -qq -o trace -e trace=clone,clone3,fork,vfork -e inject=clone,clone3,fork,vfork:error=EAGAIN -p "$(pid_of up)"
	wait_for 'grep -q "^TracerPid:[[:space:]]*[1-9]" "/proc/$(pid_of up)/status"'
	kill -HUP "$(pid_of up)"
	wait_for 'grep -q "up error command_failed command=reload reason=\"Resource temporarily unavailable\"" "$(log_of up)"'
	stop strace
	is_alive up
}
