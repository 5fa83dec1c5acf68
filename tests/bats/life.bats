# From start to end: sockets that are inherited, stale or taken, signals, what stands where.
load helper

# A tlsd in front of a routerd with two workers, an origin, and healthd.
site() {
	origin app
	PORT=$(free_port)
	HTTPS=$(free_port)
	config <<-EOF
	run_dir: run
	state_dir: state
	tls:
	  listen: [{ address: "127.0.0.1:$HTTPS", to: https, certificates: [{ self_signed: [localhost] }] }]
	http:
	  workers: 2
	  listen: [{ name: http, address: "127.0.0.1:$PORT" }, { name: https, from: tlsd }, { name: local, address: "unix:$T/local.sock" }]
	  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
	pools:
	  app:
	    servers: [{ name: app, address: "127.0.0.1:$(port_of app)" }]
	    check: { http: { path: /health }, interval: 200ms }
	EOF
}
all() { for d in routerd healthd tlsd; do start $d; done; }
serves() { http -f -o /dev/null "http://127.0.0.1:$PORT/" && http -kf -o /dev/null "https://127.0.0.1:$HTTPS/" &&
	http -f -o /dev/null --unix-socket local.sock http://x/; }

# pass.py N [reuseport] PORT PROGRAM ARGS..: start PROGRAM with N listening sockets from descriptor 3 on.
pass_py() {
	cat >pass.py <<-'EOF'
	import os, socket, sys
	n, port = int(sys.argv[1]), int(sys.argv[2])
	for fd in range(3, 3 + n):
	    s = socket.socket()
	    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
	    if n > 1:
	        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
	    s.bind(("127.0.0.1", port))
	    s.listen(64)
	    if s.fileno() != fd:
	        os.dup2(s.fileno(), fd)
	    else:
	        s.detach()
	    os.set_inheritable(fd, True)
	os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(n))
	os.execv(sys.argv[3], sys.argv[3:])
	EOF
}

@test "routerd takes its listeners from LISTEN_FDS: one socket for all workers" {
	site
	pass_py
	spawn routerd.0 python3 pass.py 1 "$PORT" "$BIN/routerd" -c weir.yaml
	wait_for 'grep -q " started " "$(log_of routerd.0)"'
	seq 40 | xargs -P 8 -I{} curl -q -sSf -m 60 --noproxy '*' -o /dev/null "http://127.0.0.1:$PORT/"
	[ "$(ctl routerd.0 json status | jq '.listeners[] | select(.name == "http").accepted')" = 40 ]
	! grep -q inherited_unused "$(log_of routerd.0)"
}

@test "routerd takes its listeners from LISTEN_FDS: one socket for each worker, and each is served" {
	site
	pass_py
	spawn routerd.0 python3 pass.py 2 "$PORT" "$BIN/routerd" -c weir.yaml
	wait_for 'grep -q " started " "$(log_of routerd.0)"'
	seq 40 | xargs -P 8 -I{} curl -q -sSf -m 60 --noproxy '*' -o /dev/null "http://127.0.0.1:$PORT/"
	[ "$(ctl routerd.0 json status | jq '.listeners[] | select(.name == "http").accepted')" = 40 ]
	! grep -q inherited_unused "$(log_of routerd.0)"
}

@test "a socket from LISTEN_FDS that no listener has is told and closed: nobody waits there" {
	site
	pass_py
	local other d
	for d in routerd healthd tlsd; do
		other=$(free_port)
		spawn $d.0 python3 pass.py 1 "$other" "$BIN/$d" -c weir.yaml
		wait_for "grep -q ' started ' '$(log_of $d.0)'"
		until_ok grep -q "warn inherited_unused address=127.0.0.1:$other" "$(log_of $d.0)"
		run http "http://127.0.0.1:$other/"
		assert_failure 7
	done
	serves
}

@test "killed daemons leave stale sockets of every kind; none stops a start" {
	site
	all
	wait_for serves
	local d
	for d in tlsd routerd healthd; do kill_hard $d.0; done
	for f in run/tlsd.0.sock run/routerd.0.sock run/healthd.0.sock run/https/0.sock run/bus/healthd.0.pub local.sock; do
		[ -S $f ]
	done
	all
	wait_for serves
	wait_for '[ "$(ctl routerd.0 json status | jq -r ".pools[0].servers[0].verdict")" = up ]'
}

@test "live sockets stop a start, and the message names who has them" {
	site
	all
	local d
	for d in routerd healthd tlsd; do
		run timeout 60 "$BIN/$d" -c weir.yaml
		[ "$status" -eq 1 ]
		assert_output --partial "run/$d.0.sock: it is in use by pid $(pid_of $d.0) ($d)"
	done
	# Another instance has a control socket of its own, but wants the same listener.
	sed "s/127.0.0.1:$PORT/127.0.0.1:$(free_port)/" weir.yaml >two.yaml
	run timeout 60 "$BIN/routerd" -c two.yaml -i two
	[ "$status" -eq 1 ]
	assert_output --partial "local.sock: it is in use by pid $(pid_of routerd.0) (routerd)"
	# What is there and is no socket is never taken away.
	stop routerd.0
	rm -f local.sock
	echo precious >local.sock
	run timeout 60 "$BIN/routerd" -c weir.yaml
	[ "$status" -eq 1 ]
	assert_output --partial "local.sock: it exists and is not a socket"
	[ "$(cat local.sock)" = precious ]
	# A start that failed leaves no socket of its own behind.
	[ ! -e run/routerd.0.sock ]
}

@test "NOTIFY_SOCKET hears of each daemon: ready, reloading and ready again, stopping" {
	site
	cat >notified.py <<-'EOF'
	import socket, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind(sys.argv[1])
	print("ready", flush=True)
	while True:
	    print(" ".join(s.recv(4096).decode().split("\n")), flush=True)
	EOF
	local d
	for d in tlsd routerd healthd; do
		spawn "to_$d" python3 notified.py "$T/notify.$d"
		wait_for "grep -q ready '$(log_of "to_$d")'"
		NOTIFY_SOCKET=$T/notify.$d start "$d"
		wait_for "grep -qx READY=1 '$(log_of "to_$d")'"
		ctl "$d.0" reload | grep -q '^generation 2'
		wait_for "[ \$(grep -cx READY=1 '$(log_of "to_$d")') = 2 ]"
	done
	for d in tlsd routerd healthd; do
		stop "$d.0"
		wait_for "grep -q STOPPING=1 '$(log_of "to_$d")'"
		[ "$(sed 's/=[0-9]\{2,\}$/=N/' "$(log_of "to_$d")" | tail -n +2 | paste -sd,)" = "READY=1,RELOADING=1 MONOTONIC_USEC=N,READY=1,STOPPING=1" ]
	done
}

@test "every daemon: USR1 and PIPE hurt nothing, HUP reloads, TERM ends with 0, so does INT" {
	site
	all
	local d
	for d in routerd healthd tlsd; do
		kill -USR1 "$(pid_of $d.0)"
		kill -PIPE "$(pid_of $d.0)"
		kill -HUP "$(pid_of $d.0)"
		wait_for "[ \"\$(ctl $d.0 json status | jq .generation)\" = 2 ]"
	done
	wait_for serves
	for d in routerd healthd tlsd; do
		stop $d.0
		[ "$status" -eq 0 ]
		[ ! -e run/$d.0.sock ]
		start $d
		stop $d.0 INT
		[ "$status" -eq 0 ]
	done
}

@test "a second TERM ends each daemon at once, whatever is still open" {
	site
	sed -i 's/^state_dir/shutdown_timeout: 1h\nstate_dir/; s/to: https,/to: https, seam: relay,/' weir.yaml
	all
	wait_for serves
	# Requests that take minutes: one through tlsd, one that stands on routerd alone.
	spawn slow curl -q -k -sS -m 200 --noproxy '*' "https://127.0.0.1:$HTTPS/delay/150000"
	spawn plain curl -q -sS -m 100 --noproxy '*' "http://127.0.0.1:$PORT/delay/150000"
	wait_for '[ "$(ctl routerd.0 json status | jq .pools[0].active)" = 2 ]'
	local d began
	for d in tlsd routerd healthd; do
		kill -TERM "$(pid_of $d.0)"
		if [ $d != healthd ]; then
			wait_for "[ \"\$(ctl $d.0 json status | jq -r .state)\" = draining ]"
			# It stays, for the request's sake.
			is_alive $d.0
			kill -TERM "$(pid_of $d.0)"
		fi
		began=$SECONDS
		_reap $d.0 30
		[ "$status" -eq 0 ]
		[ $((SECONDS - began)) -le 15 ]
	done
}

@test "a routerd that drains refuses new clients at once, at every listener" {
	site
	sed -i 's/to: https,/to: https, seam: relay,/; s/^tls:/&\n  handoff_timeout: 1m/' weir.yaml
	start routerd
	start tlsd
	spawn slow curl -q -sS -f -m 60 --noproxy '*' -o got "http://127.0.0.1:$PORT/held/one"
	wait_for '[ "$(ctl routerd.0 json status | jq .pools[0].active)" = 1 ]'
	kill -TERM "$(pid_of routerd.0)"
	wait_for '[ "$(ctl routerd.0 json status | jq -r .state)" = draining ]'
	wait_for '! (exec 3<>"/dev/tcp/127.0.0.1/$PORT")'
	run http --unix-socket local.sock http://x/
	assert_failure 7
	# What comes over TLS waits for the next one, and is served by it.
	sed "s/127.0.0.1:$PORT/127.0.0.1:$(free_port)/; s#unix:$T/local.sock#unix:$T/two.sock#" weir.yaml >two.yaml
	spawn tls curl -q -sSk -f -m 60 --noproxy '*' -o tls.got "https://127.0.0.1:$HTTPS/bytes/9"
	start routerd -i two -c "$T/two.yaml"
	wait_for '[ -s tls.got ]'
	is_alive routerd.0
	release app one
	_reap slow 60
	[ "$status" -eq 0 ]
	_reap routerd.0 60
	[ "$status" -eq 0 ]
}

@test "shutdown_timeout is the longest that draining takes" {
	site
	sed -i 's/^state_dir/shutdown_timeout: 1s\nstate_dir/' weir.yaml
	start routerd
	spawn slow curl -q -sS -m 100 --noproxy '*' "http://127.0.0.1:$PORT/delay/150000"
	wait_for '[ "$(ctl routerd.0 json status | jq .pools[0].active)" = 1 ]'
	stop routerd.0
	[ "$status" -eq 0 ]
	until_ok grep -q 'warn drain_deadline after_ms=1000' "$(log_of routerd.0)"
	wait_for '! is_alive slow'
}

@test "tlsd and routerd bind nothing on the bus: only healthd does, and it is expendable" {
	site
	start routerd
	start tlsd
	[ ! -d run/bus ] || [ -z "$(ls run/bus)" ]
	start healthd
	wait_for '[ "$(ctl routerd.0 json status | jq -r ".pools[0].servers[0].verdict")" = up ]'
	[ "$(ls run/bus)" = $'healthd.0.pub\nhealthd.0.sub' ]
	stop healthd.0
	serves
}

@test "malformed bytes at every socket of the run directory end neither tlsd nor routerd" {
	site
	all
	wait_for serves
	cat >evil.py <<-'EOF'
	import os, random, socket, sys
	random.seed(7)
	chunks = [b"\0SP\0\0\x21\0\0" + b"\x07" * 64, b"\0SP\0\0\x20\0\0" + b"\x01" + b"\xff" * 8, b"\xff" * 5000,
	          b"\0" * 5000, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff" + b"x" * 200, b"PROXY TCP4 1 2 3 4\r\n", b"json \"\n",
	          b"\x16\x03\x01\xff\xff" * 50, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"]
	chunks += [bytes(random.randrange(256) for _ in range(random.randrange(1, 3000))) for _ in range(30)]
	paths = [os.path.join(d, f) for d, _, fs in os.walk(sys.argv[1]) for f in fs if f.rsplit(".")[-1] in ("sock", "pub", "sub")]
	for path in paths:
	    for c in chunks:
	        s = socket.socket(socket.AF_UNIX)
	        s.settimeout(0.05)
	        try:
	            s.connect(path)
	            s.sendall(c)
	            s.recv(4096)
	        except OSError:
	            pass
	        s.close()
	print(len(paths))
	EOF
	run python3 evil.py run
	[ "$output" -ge 5 ]
	is_alive tlsd.0
	is_alive routerd.0
	serves
	[ "$(ctl routerd.0 version)" = "$("$BIN/routerd" -v)" ]
	[ "$(ctl tlsd.0 version)" = "$("$BIN/tlsd" -v)" ]
	# healthd may have died of it (nanomsg ends its process); the next one is heard.
	if ! is_alive healthd.0; then
		rm -f proc/healthd.0.pid
		: >"$(log_of healthd.0)"
		start healthd
	fi
	http -X PUT -o /dev/null "http://127.0.0.1:$(port_of app)/set-health/503"
	wait_for '[ "$(ctl routerd.0 json status | jq -r ".pools[0].servers[0].age_ms < 1500")" = true ]'
}

@test "a stderr that nobody reads holds nobody up: lines are lost, counted, and told when it is read" {
	site
	mkfifo err
	exec 7<>err
	python3 -c 'import fcntl; fcntl.fcntl(7, 1031, 4096)' # F_SETPIPE_SZ: one page
	"$BIN/routerd" -c weir.yaml </dev/null >/dev/null 2>&7 3>&- 4>&- 7>&- &
	echo $! >proc/routerd.0.pid
	wait_for 'ctl routerd.0 version'
	# The main thread and the workers: each has more to say than goes in.
	local i
	for i in $(seq 60); do ctl routerd.0 reload; done | sort -u | grep -v '^generation' && return 1
	kill_hard app
	for i in $(seq 20); do [ "$(http -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/")" = 502 ]; done
	[ "$(ctl routerd.0 json status | jq '.log_lost > 10')" = true ]
	# Now somebody reads it: the next line stands behind the number of those that are missing.
	spawn reader cat err
	wait_for 'ctl routerd.0 reload; grep -q "warn log_lost lines=[1-9]" "$(log_of reader)"'
	exec 7>&-
	stop routerd.0
	[ "$status" -eq 0 ]
}

@test "the process that parses HTTP makes no handshakes and holds no private keys" {
	run ldd "$BIN/routerd"
	assert_output --partial libevent
	refute_output --partial libssl
	run ldd "$BIN/healthd"
	refute_output --partial libssl
}

@test "without root everything runs as the caller, and the log says what that costs" {
	local user=nobody open
	open=$(mktemp -d /tmp/weir.XXXXXX)
	site
	if [ "$(id -u)" -eq 0 ]; then
		chmod 777 "$open"
		setpriv --reuid nobody --regid nogroup --clear-groups test -x "$BIN/routerd" ||
			skip "the programs stand where only root may go"
	fi
	sed -e "s#^run_dir: run#run_dir: $open/run#; s#^state_dir: state#state_dir: $open/state#; s#unix:$T/#unix:$open/#" weir.yaml >"$open/weir.yaml"
	chmod 644 "$open/weir.yaml"
	if [ "$(id -u)" -eq 0 ]; then
		spawn routerd.0 setpriv --reuid nobody --regid nogroup --clear-groups "$BIN/routerd" -c "$open/weir.yaml"
	else
		spawn routerd.0 "$BIN/routerd" -c "$open/weir.yaml"
	fi
	wait_for 'grep -q " started " "$(log_of routerd.0)"'
	until_ok grep -q 'info privileges_shared uid=[0-9]* text="not started by root: all daemons of this user can read each other' "$(log_of routerd.0)"
	http -f "http://127.0.0.1:$PORT/"
	stop routerd.0
	rm -rf "$open"
}

@test "no daemon can be looked into by its own user, and none leaves a core, unless debug.core says so" {
	site
	local open d as=()
	open=$(mktemp -d)
	[ "$(id -u)" -ne 0 ] || as=(setpriv --reuid nobody --regid nogroup --clear-groups --inh-caps -all)
	sed -e "s#^run_dir: run#run_dir: $open/run#; s#^state_dir: state#state_dir: $open/state#; s#unix:$T/#unix:$open/#" weir.yaml >"$open/weir.yaml"
	for d in routerd healthd tlsd; do cp "$BIN/$d" "$open/$d"; done
	[ "$(id -u)" -ne 0 ] || chown -R nobody "$open"
	run_all() {
		for d in routerd healthd tlsd; do
			: >"$(log_of $d.0)"
			spawn $d.0 "${as[@]}" "$open/$d" -c "$open/weir.yaml"
			wait_for "grep -q ' started ' '$(log_of $d.0)'"
		done
	}
	# whose are the files in /proc? Root's, when the process is not dumpable (proc(5))
	shows() { [ "$(stat -c %u "/proc/$(pid_of "$1.0")/environ")" != 0 ]; }
	all_reload() { for d in routerd healthd tlsd; do echo reload | timeout 60 socat -t 60 stdio "unix:$open/run/$d.0.sock"; done; }
	run_all
	for d in routerd healthd tlsd; do
		refute shows $d
		refute grep -q core_allowed "$(log_of $d.0)"
	done
	serves_there() { http -kf -o /dev/null "https://127.0.0.1:$HTTPS/"; }
	wait_for serves_there
	echo 'debug: { core: on }' >>"$open/weir.yaml"
	all_reload
	for d in routerd healthd tlsd; do
		shows $d
		until_ok grep -q 'warn core_allowed' "$(log_of $d.0)"
		stop $d.0
	done
	run_all
	for d in routerd healthd tlsd; do
		shows $d
		until_ok grep -q 'warn core_allowed' "$(log_of $d.0)"
	done
	sed -i '/^debug:/d' "$open/weir.yaml"
	all_reload
	for d in routerd healthd tlsd; do
		refute shows $d
		stop $d.0
	done
	rm -rf "$open"
}

@test "a run_dir that everybody may write to is warned of" {
	site
	local d
	for d in routerd healthd tlsd; do
		start $d
		refute grep -q run_dir_open "$(log_of $d.0)"
		stop $d.0
	done
	chmod 777 run
	for d in routerd healthd tlsd; do
		start $d
		until_ok grep -q "warn run_dir_open path=$T/run " "$(log_of $d.0)"
	done
}

@test "cachectl says that no cache is configured, with exit code 1" {
	site
	run "$BIN/cachectl" -c weir.yaml
	[ "$status" -eq 1 ]
	assert_output --partial "no cache is configured"
	run "$BIN/cachectl"
	[ "$status" -eq 1 ]
	assert_output --partial "no cache is configured"
}

@test "exit codes: usage and configuration 2, cannot start 1, ended as asked 0" {
	site
	local d
	for d in routerd healthd tlsd; do
		run "$BIN/$d"
		[ "$status" -eq 2 ]
		run "$BIN/$d" -c weir.yaml -i 'a/b'
		[ "$status" -eq 2 ]
		run "$BIN/$d" -c nowhere.yaml
		[ "$status" -eq 2 ]
		run "$BIN/$d" -c weir.yaml --nonsense
		[ "$status" -eq 2 ]
		run "$BIN/$d" -h
		[ "$status" -eq 0 ]
		run "$BIN/$d" -v
		[ "$status" -eq 0 ]
	done
	echo x >run
	for d in routerd healthd tlsd; do
		run timeout 60 "$BIN/$d" -c weir.yaml
		[ "$status" -eq 1 ]
		assert_output --partial "run: is not a folder"
	done
}

@test "whoever listens on the bus and answers garbage ends neither tlsd nor routerd" {
	site
	all
	wait_for serves
	spawn evil python3 -c '
import socket, threading
SP = lambda p: b"\0SP\0\0" + p + b"\0\0"
says = [lambda p: SP(p) + b"\x07" * 64, lambda p: b"HTTP/1.1 400 Bad Request\r\n\r\n", lambda p: SP(p) + b"\x01" + b"\xff" * 8,
        lambda p: b"", lambda p: SP(b"\x99"), lambda p: SP(p) + b"\x01" + (70000).to_bytes(8, "big") + b"[" * 70000]
count = [0]
def serve(path, data):
    s = socket.socket(socket.AF_UNIX); s.bind(path); s.listen(8)
    held = []
    while True:
        c, _ = s.accept()
        count[0] += 1
        if count[0] == 40: print("forty", flush=True)
        try: c.sendall(data)
        except OSError: pass
        held.append(c)
        if len(held) > 3: held.pop(0).close()
for i, say in enumerate(says):
    for end, proto in (("pub", b"\x20"), ("sub", b"\x21")):
        threading.Thread(target=serve, args=("run/bus/evil%d.0.%s" % (i, end), say(proto))).start()
'
	wait_for 'grep -q forty "$(log_of evil)"'
	is_alive tlsd.0
	is_alive routerd.0
	serves
	# healthd only binds: nobody can talk to it by listening.
	is_alive healthd.0
	wait_for 'ctl routerd.0 json status | jq -e ".pools[0].servers[0] | .verdict == \"up\" and .age_ms < 1500"'
}
