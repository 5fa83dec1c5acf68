# proxyctl up: by which configuration a daemon that died is started again.
load up_helper

# One whose /version a test may change.
versioned() { demo -e "s#- { path: /, pool: app }#- { path: /version, respond: \"one\\\\n\" }\n        &#"; }

UP_LOG() { sed -n "s/^[^ ]* up //p" "$(log_of up)"; }
of() { pctl status -j | jq -r ".daemons[] | select(.name == \"$1\") | $2"; }
version() { http -f "http://127.0.0.1:$HTTP/version"; }

process() { socat -t 10 stdio UNIX-CONNECT:run/up.0.sock <<<"json status" | jq -r ".processes[] | select(.name == \"$1\") | $2"; }

# kill -9, and wait for its successor.
kill_daemon() {
	local pid
	pid=$(process "$1" .pid)
	kill -KILL "$pid"
	wait_for "[ \"\$(process $1 .state)\" = ready ] && [ \"\$(process $1 .pid)\" != $pid ]"
}

@test "a daemon that dies while its file is broken comes back by the configuration that it ran by, and nobody is refused" {
	versioned
	up
	local hash
	hash=$(of routerd.0 .hash)
	spawn load bash -c "while :; do
		curl -q -sS -f -m 60 --retry 1 --noproxy '*' http://127.0.0.1:$HTTP/version >>answers || echo failed; done"
	sed -i 's/pool: app }/pool: ap }/' demo.yaml
	local name
	for name in routerd.0 tlsd.0 healthd.0; do
		kill_daemon "$name"
		wait_for "[ \"\$(of $name .hash)\" = $hash ]"
	done
	[ "$(version)" = one ]
	http -kf "https://127.0.0.1:$HTTPS/version"
	# Those whose requests it had in hand when it was killed may fail; nobody who came later did.
	kill_hard load
	[ "$(grep -c failed "$(log_of load)")" -le 1 ]
	[ "$(grep -cE 'refused|timed out' "$(log_of load)")" = 0 ]
	[ "$(sort -u answers)" = one ]
	# Relative paths mean the same.
	grep -q "GET /version" run/access.log
	# That, and why, in the log and as an event.
	wait_for 'UP_LOG | grep -q "^warn config_older name=healthd.0 "'
	UP_LOG | grep "^warn config_older name=routerd.0 config=demo.yaml hash=$hash on_disk=[0-9a-f]* reason=\"demo.yaml:[0-9]*:[0-9]*: .*did you mean"
	pctl events --recent --type config_older --until config_older --timeout 5s | grep -q '"name":"routerd.0"'
	# And in the status.
	run pctl status
	assert_output --regexp "healthd.0, routerd.0, tlsd.0: by an older configuration than .*/demo.yaml holds; demo.yaml:[0-9]+:[0-9]+: .*no pool is called .ap., did you mean"
	of routerd.0 .process.older.reason | grep -q "did you mean"
	[ "$(of routerd.0 .on_disk)" = "$(of routerd.0 .process.older.on_disk)" ]
	# A reload still says what is wrong, and then makes it current.
	run pctl reload
	[ "$status" -eq 2 ]
	assert_output --partial "did you mean"
	sed -i 's/pool: ap }/pool: app }/; s/one/two/' demo.yaml
	run pctl status
	assert_output --partial 'holds; `check` tells whether `reload` will take it'
	run pctl reload
	assert_success
	[ "$(version)" = two ]
	run pctl status
	refute_output --partial "older"
	[ "$(of routerd.0 .process.older)" = null ]
	[ "$(of routerd.0 .on_disk)" = "$(of routerd.0 .hash)" ]
	kill_daemon routerd.0
	[ "$(version)" = two ]
	# No copy is left behind.
	[ -z "$(grep -rl "path: /version" run state)" ]
}

@test "an edit that nobody has reloaded does not slip in by a crash; what one daemon took alone stays its own" {
	versioned
	up
	sed -i 's/one/two/' demo.yaml
	kill_daemon routerd.0
	[ "$(version)" = one ]
	wait_for 'UP_LOG | grep -q "config_older name=routerd.0 .*reason=\"no error is in it, and nobody has reloaded it\""'
	# Again: what is known is said at once.
	kill_daemon routerd.0
	wait_for '[ "$(UP_LOG | grep -c "config_older name=routerd.0 ")" = 2 ]'
	# routerd alone: by a signal, by its control socket.
	kill -HUP "$(pid_by_name routerd.0)"
	wait_for '[ "$(version)" = two ]'
	wait_for '[ "$(of routerd.0 .process.hash)" = "$(of routerd.0 .hash)" ]'
	[ "$(of routerd.0 .process.older)" = null ]
	sed -i 's/two/three/' demo.yaml
	kill_daemon routerd.0
	[ "$(version)" = two ]
	[ "$(of tlsd.0 .process.hash)" != "$(of routerd.0 .process.hash)" ]
	echo reload | socat -t 10 stdio UNIX-CONNECT:run/routerd.0.sock
	echo "nonsense: 1" >demo.yaml.new
	cat demo.yaml >>demo.yaml.new
	mv demo.yaml.new demo.yaml
	[ "$(version)" = three ]
	kill_daemon routerd.0
	[ "$(version)" = three ]
}

@test "what an instance has in a file of its own is kept, too, and a file that is gone" {
	versioned
	up
	echo "http: { lisen: [] }" >demo-app.yaml
	kill_daemon routerd.app1
	[ "$(http "http://127.0.0.1:$A1/")" = "hello from app1" ]
	wait_for 'UP_LOG | grep -q "config_older name=routerd.app1 config=$T/demo-app.yaml .*reason=\"$T/demo-app.yaml:1:1: http.hosts: missing, expected a list of hosts, and 2 more\""'
	rm demo-app.yaml
	kill_daemon routerd.app2
	[ "$(http "http://127.0.0.1:$A2/")" = "hello from app2" ]
	wait_for 'UP_LOG | grep -q "config_older name=routerd.app2 .* on_disk=- reason=\"$T/demo-app.yaml: No such file"'
	# Started anew, it refuses: only a configuration that is right is ever begun with.
	stop up
	run timeout 30 "$BIN/proxyctl" -c demo.yaml up
	[ "$status" -eq 2 ]
	assert_output --partial "demo-app.yaml: cannot read: No such file"
}

@test "a pipe in the place of a file holds nobody up that runs" {
	versioned
	up
	rm demo.yaml
	mkfifo demo.yaml
	kill_daemon routerd.0
	[ "$(version)" = one ]
	wait_for 'UP_LOG | grep "config_older name=routerd.0 config=demo.yaml .* on_disk=- reason=\"demo.yaml: Invalid argument\""'
	kill -HUP "$(process routerd.0 .pid)"
	wait_for 'grep -q "routerd.0 error config_finding at=demo.yaml .*text=\"cannot read: it is not a regular file\"" "$(log_of up)"'
	ctl routerd.0 json reload | jq -e '.findings[0].text == "cannot read: it is not a regular file"'
	stop up
}

@test "a file that is no YAML just now keeps no daemon down, nor status and events from what runs" {
	versioned
	up
	cp demo.yaml good.yaml
	sed -i 's/^pools:/pools: {/' demo.yaml
	kill_daemon routerd.0
	[ "$(version)" = one ]
	wait_for 'UP_LOG | grep -q "config_older name=routerd.0 .*reason=\"demo.yaml:[0-9]*:[0-9]*: "'
	run pctl status
	assert_success
	assert_line --regexp '^/.*demo.yaml:[0-9]+:[0-9]+: not valid YAML'
	assert_output --regexp 'routerd.0 +running'
	assert_line --regexp "^healthd.0, routerd.0, tlsd.0: by an older configuration than $T/demo.yaml holds; demo.yaml:[0-9]+:"
	pctl events --recent --until config_older --timeout 5s
	# What changes something needs all of it.
	run pctl reload
	[ "$status" -eq 2 ]
	run pctl check -j
	[ "$status" -eq 2 ]
	[ "$(jq -r ".[0].file" <<<"$output")" = "$T/demo.yaml" ]
	# Without run_dir nobody knows where to look.
	sed 's/^run_dir: run/run_dir: [run/' good.yaml >demo.yaml
	run pctl status
	[ "$status" -eq 2 ]
	refute_output --partial routerd
	cp good.yaml demo.yaml
	run pctl reload
	assert_success
}

@test "a daemon that cannot come back by what it ran by is shown with its reason, and a reload starts it at once" {
	versioned
	command -v openssl >/dev/null || skip "openssl is not installed"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -days 2 \
		-keyout site.key -out site.pem 2>/dev/null
	sed -i 's/- { self_signed: .*/- { cert: site.pem, key: site.key }/' demo.yaml
	up
	local pid
	pid=$(pid_by_name tlsd.0)
	mv site.pem moved.pem
	kill -KILL "$pid"
	# Long pauses, and no socket is left when it got so far.
	wait_for 'UP_LOG | grep -q "died name=tlsd.0 exit=2 restart_in_ms=1600"'
	# Between two pauses it is being started, for a moment.
	wait_for 'pctl status >shown; grep -qE "tlsd.0 +restarting" shown &&
		grep -qE "tlsd.0: ended with exit 2, is started again in [0-9.]+m?s" shown' || { cat shown; false; }
	wait_for '[ "$(of tlsd.0 ".answer, .process.last_end" | xargs)" = "gone exit 2" ]'
	# Nobody else is there to refuse what is wrong for it.
	sed -i 's/to: https/to: https\n      alp: [h2]/' demo.yaml
	run pctl reload
	[ "$status" -eq 2 ]
	assert_output --partial "alp"
	sed -i '/alp: /d; s/site.pem/moved.pem/' demo.yaml
	wait_for 'UP_LOG | grep -q "died name=tlsd.0 exit=2 restart_in_ms=6400"'
	run pctl reload
	assert_success
	# Sooner than that pause.
	wait_for '[ -n "$(pid_by_name tlsd.0)" ]' 5
	[ "$(http -kf "https://127.0.0.1:$HTTPS/version")" = one ]
}

@test "by hand: -C FD is read in place of the file, once; names and relative paths are the file's" {
	PORT=$(free_port)
	mkdir conf
	cat >conf/weir.yaml <<-EOF
		run_dir: ../run
		http:
		  listen: [{ name: http, address: "127.0.0.1:$PORT" }]
		  access_log: { path: access.log, format: combined }
		  hosts: [{ names: ["*"], routes: [{ path: /, respond: "one\n" }] }]
	EOF
	sed 's/one/two/' conf/weir.yaml >elsewhere
	start routerd -c conf/weir.yaml -C 8 8<elsewhere
	[ "$(http "http://127.0.0.1:$PORT/")" = two ]
	wait_for '[ -s conf/access.log ]'
	[ "$(ctl routerd.0 json status | jq -r .config)" = "$T/conf/weir.yaml" ]
	ctl routerd.0 reload
	[ "$(http "http://127.0.0.1:$PORT/")" = one ]
	# Checked and printed the same way.
	sed -i 's/listen/lisen/' elsewhere
	run "$BIN/routerd" -c conf/weir.yaml -C 8 -t 8<elsewhere
	[ "$status" -eq 2 ]
	[ "$(jq -r '.[0] | "\(.file):\(.line)"' <<<"$output")" = conf/weir.yaml:2 ]
	run "$BIN/routerd" -c conf/weir.yaml -C 88
	[ "$status" -eq 2 ]
	assert_output --partial "-C 88: expected the number of an open descriptor"
}

# liar <<PYTHON: a routerd that somebody has taken over, of a site of its own; it does PYTHON once it is ready, with
# tell(hash) and hash_of(file), and what it was started by is in `given`. From `mv bin/honest bin/routerd` on it is weir's.
liar() {
	cat >weir.yaml <<-EOF
		run_dir: run
		http:
		  listen: [{ name: http, address: "127.0.0.1:$(free_port)" }]
		  hosts: [{ names: ["*"], routes: [{ path: /, respond: "one\n" }] }]
	EOF
	cp weir.yaml accepted.yaml
	mkdir bin
	cp "$BIN"/* bin/
	mv bin/routerd bin/honest
	cat - >bin/routerd <<-EOF
		#!/usr/bin/env python3
		import os, socket, sys, time
		if "-t" in sys.argv:
		    os.execv("$T/bin/honest", ["routerd"] + sys.argv[1:])
		after = lambda option: int(sys.argv[sys.argv.index(option) + 1])
		with open("$T/given", "wb") as f:
		    f.write(os.pread(after("-C"), 1 << 20, 0))
		open("$T/pid", "w").write(str(os.getpid()))
		up = socket.socket(fileno=after("-r"))
		up.setblocking(True)
		up.send(b"READY=1")
		def tell(h):
		    up.send(b"X_CONFIG_HASH=%032x" % h)
		def hash_of(file):
		    h = 0x6c62272e07bb014262b821756295c58d
		    for b in open(file, "rb").read():
		        h = (h ^ b) * ((1 << 88) + 0x13b) % (1 << 128)
		    return h
		$(cat)
		time.sleep(1000)
	EOF
	chmod +x bin/routerd
	spawn up bin/proxyctl -c weir.yaml up
}

@test "a daemon that tells of configurations that nobody has is started by the one that was accepted, and fills no log" {
	liar <<-'X'
	until = time.monotonic() + 3
	n = 0
	while time.monotonic() < until:
	    n += 1
	    tell(n)
	open("told", "w").write(str(n))
	X
	wait_for '[ -s told ]'
	UP_LOG | grep -q "^warn config_not_kept name=routerd.0 config=weir.yaml hash=0*[0-9a-f]* kept=[0-9a-f]* suppressed="
	# Five a second, for three seconds and what they touch.
	[ "$(cat told)" -gt 1000 ]
	[ "$(UP_LOG | grep -c config_not_kept)" -le 30 ]
	sed -i 's/one/two/' weir.yaml
	rm given
	kill -KILL "$(cat pid)"
	wait_for '[ -s given ]'
	cmp given accepted.yaml
}

@test "a daemon that claims to run by a file that is wrong does not keep the next one down" {
	liar <<-'X'
	while not os.path.exists("broken"):
	    time.sleep(0.05)
	tell(hash_of("weir.yaml"))
	open("told", "w").write("once")
	X
	wait_for '[ -s given ]'
	echo "nonsense: [" >>weir.yaml
	touch broken
	wait_for '[ -s told ]'
	mv bin/honest bin/routerd
	kill -KILL "$(cat pid)"
	wait_for '[ "$(ctl routerd.0 json status | jq -r .state)" = running ]'
	# It was believed, as far as that goes.
	UP_LOG | grep -q "^warn died name=routerd.0 exit=2 "
	UP_LOG | grep -q "^warn config_let_go name=routerd.0 config=weir.yaml hash=[0-9a-f]* kept=$(ctl routerd.0 json status | jq -r .hash)"
	wait_for 'UP_LOG | grep -q "^warn config_older name=routerd.0 "'
}
