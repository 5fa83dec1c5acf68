# proxyctl's commands, one daemon or several behind them.
load helper

# A routerd in front of two origins, watched by healthd.
site() {
	origin app1
	origin app2
	PORT=$(free_port)
	config <<-EOF
	run_dir: run
	state_dir: state
	http:
	  workers: 2
	  listen: [{ name: http, address: "127.0.0.1:$PORT" }]
	  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
	pools:
	  app:
	    servers:
	      - { name: app1, address: "127.0.0.1:$(port_of app1)" }
	      - { name: app2, address: "127.0.0.1:$(port_of app2)" }
	    check: { http: { path: /health }, interval: 200ms, fall: 2, rise: 1 }
	EOF
	start routerd
	start healthd
	wait_for '[ "$(verdict app1) $(verdict app2)" = "up up" ]'
}

server() { pctl status -j | jq -c ".pools[0].servers[] | select(.name == \"$1\")"; }
verdict() { server "$1" | jq -r .verdict; }
hits() { requests "$1" | jq -rc 'select(.event == "request") | .target' | grep -c '^/hit' || true; }

@test "usage: help, version, unknown commands and options" {
	run "$BIN/proxyctl" help
	assert_success
	for word in up status check config reload drain undrain disable enable weight events stop version; do
		assert_line --regexp "^  $word "
	done
	run "$BIN/proxyctl" -v
	assert_output --regexp '^proxyctl [0-9.]+$'
	run "$BIN/proxyctl" version
	assert_output --regexp '^proxyctl [0-9.]+$'
	run "$BIN/proxyctl"
	[ "$status" -eq 2 ]
	run "$BIN/proxyctl" statsu
	[ "$status" -eq 2 ]
	assert_output --partial 'did you mean `status`?'
	for line in "status -x" "status more" "drain" "drain app" "drain /x" "weight a/b" "weight a/b 257" \
		"weight a/b x" "events --timeout 5" "events --until" "stop --timeout x" "up x" "reload x" \
		"config x" "check x" "drain a/b --expire 0" "help nonsense"; do
		# shellcheck disable=SC2086
		run "$BIN/proxyctl" -c /nonexistent $line
		[ "$status" -eq 2 ] || { echo "$line: $status"; return 1; }
	done
}

@test "an answer that cannot be written is a failure" {
	site
	local words
	for words in help -v check "config -j" "config --schema" "status -j"; do
		run bash -c "'$BIN/proxyctl' -c '$T/weir.yaml' $words >/dev/full"
		[ "$status" -eq 1 ]
		assert_output "proxyctl: not all could be written to standard output"
	done
	# Who does not want it at all gets none.
	"$BIN/proxyctl" check <&- >&- 2>&-
}

@test "a configuration that is not there is named" {
	run "$BIN/proxyctl" -c "$T/none.yaml" status
	[ "$status" -eq 2 ]
	assert_output --partial "$T/none.yaml"
}

@test "the configuration: -c, else WEIR_CONFIG, else ./weir.yaml" {
	echo "run_dir: one" >one.yaml
	echo "run_dir: two" >two.yaml
	echo "run_dir: three" >weir.yaml
	run env WEIR_CONFIG=two.yaml "$BIN/proxyctl" -c one.yaml status
	assert_output "nothing runs in $T/one"
	run env WEIR_CONFIG=two.yaml "$BIN/proxyctl" status
	assert_output "nothing runs in $T/two"
	run env -u WEIR_CONFIG "$BIN/proxyctl" status
	assert_output "nothing runs in $T/three"
	[ "$status" -eq 1 ]
}

@test "check: ok, or every finding once, in order, with its place" {
	config <<-EOF
	run_dir: run
	tls: { listen: [{ address: ":$(free_port)", to: https, certificates: [{ self_signed: [localhost] }] }] }
	http:
	  listen: [{ name: https, from: tlsd }]
	  hosts: [{ names: ["*"], routes: [{ path: /, respond: { body: hi } }] }]
	EOF
	run pctl check
	assert_success
	assert_line ok
	config <<-EOF
	run_dir: run
	nonsense: 1
	tls: { listen: [{ address: ":1", to: htps, certificates: [{ self_signed: [localhost] }] }] }
	http:
	  listen: [{ name: https, from: tlsd }]
	  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
	pools: { ap: { servers: [] } }
	EOF
	run pctl check
	[ "$status" -eq 2 ]
	assert_line --regexp 'weir.yaml:2:1: nonsense: .*unknown'
	assert_line --regexp 'weir.yaml:3:.*tls.listen\[0\].to: there is no http listener `htps`.*did you mean `https`'
	assert_line --regexp 'weir.yaml:5:.*warning: .*nothing in `tls` has `to: https`'
	assert_line --regexp 'weir.yaml:6:.*app'
	assert_line --regexp 'weir.yaml:7:.*pools.ap'
	[ "$(sort <<<"$output" | uniq -d)" = "" ]
	refute_line ok
	# As JSON, for an editor.
	[ "$(pctl check -j | jq -r '.[0].line')" = 2 ]
}

@test "check: warnings alone are no failure; instances of up are checked with their environment" {
	config <<-EOF
	run_dir: run
	http:
	  listen: [{ name: https, from: tlsd }]
	  hosts: [{ names: ["*"], routes: [{ path: /, respond: { body: hi } }] }]
	up: { instances: [{ name: a, config: a.yaml, env: { PORT: "x1" } }] }
	EOF
	cat >a.yaml <<-'EOF'
	http:
	  listen: [{ name: a, address: "127.0.0.1:${PORT}" }]
	  hosts: [{ names: ["*"], routes: [{ path: /, respond: { body: hi } }] }]
	EOF
	run pctl check
	[ "$status" -eq 2 ]
	assert_line --regexp 'a.yaml:2:.*x1'
	sed -i 's/x1/1/' weir.yaml
	run pctl check
	assert_success
	assert_line --partial warning
	assert_line ok
	sed -i 's/PORT: /"PORT=": /' weir.yaml
	run pctl check
	[ "$status" -eq 2 ]
	assert_line --regexp 'weir.yaml:5:53: .*not a name of an environment variable'
	sed -i 's/name: a, config: a.yaml/name: a b/' weir.yaml
	run pctl check
	[ "$status" -eq 2 ]
	assert_line --partial "not a name of an instance"
}

@test "config: effective values, defaults marked, the place of the others" {
	config <<-EOF
	run_dir: run
	shutdown_timeout: 7s
	http:
	  listen: [{ name: http, address: ":1" }]
	  hosts: [{ names: ["*"], routes: [{ path: /, respond: { body: hi } }] }]
	EOF
	run pctl config
	assert_success
	assert_line --regexp '^shutdown_timeout = 7s +# .*weir.yaml:2'
	assert_line --regexp '^log.level = info +# default$'
	assert_line --regexp '^http.timeouts.connect = 5s +# default$'
	[ "$(grep -c '^run_dir = ' <<<"$output")" = 1 ]
	[ "$(pctl config -j | jq -r '.[] | select(.path == "shutdown_timeout") | .value')" = 7s ]
}

# What `config -j` prints, on stdin, as a file that says the same.
as_a_file() {
	python3 -c '
import json, re, sys
root = {}
for entry in json.load(sys.stdin):
    if entry["value"] is None:
        continue
    at, keys = root, [int(k[1:-1]) if k[0] == "[" else json.loads(k) if k[0] == "\"" else k
        for k in re.findall(r"\[[0-9]+\]|\"(?:[^\"\\]|\\.)*\"|[^.\[]+", entry["path"])]
    for key, after in zip(keys, keys[1:] + [None]):
        fresh = entry["value"] if after is None else [] if isinstance(after, int) else {}
        if isinstance(at, list):
            at += [fresh] * (key == len(at))
        else:
            at.setdefault(key, fresh)
        at = at[key]
json.dump(root, sys.stdout)'
}

@test "config: what it prints means the same when it is read again" {
	config <<-'EOF'
	run_dir: run
	http:
	  listen: [{ name: http, address: ":1" }]
	  headers: { response: { set: { X-A: "$${host} $$${host} $$$${host} $ $$ $$$ a${WHO}b ${host}$" } } }
	  hosts:
	    - names: ["*"]
	      routes:
	        - { path: /r, redirect: { host: "${host}", path: "/${path}" } }
	        - path: /t
	          respond: { body: "$${host} is ${host}, $$5 and $$", headers: { X-B: ["$${x}", "${path}"] } }
	        - { path: /, respond: { body: "$${host}" } }
	EOF
	# What the environment has is text, whatever it looks like.
	export WHO='${host}$$'
	pctl config -j | jq 'map(del(.origin))' >one.json
	unset WHO
	as_a_file <one.json >again.yaml
	run "$BIN/proxyctl" -c again.yaml config -j
	assert_success
	diff one.json <(jq 'map(del(.origin))' <<<"$output")
	# And it is not that nothing is told apart: the texts are those that were meant.
	[ "$(jq -c '[.[] | select(.path | test("respond$|response.set$")) | .value] | map(select(. != null and . != {}))' one.json)" = \
		'[{"X-A":"$${host} $$${host} $$$${host} $ $ $$$ a$${host}$$$b ${host}$"},{"body":"$${host} is ${host}, $5 and $","headers":{"X-B":["$${x}","${path}"]}},{"body":"$${host}"}]' ]
}

@test "status: a table of daemons, listeners and servers; JSON; names; colour only on a terminal" {
	site
	http "http://127.0.0.1:$PORT/hit"
	run pctl status
	assert_success
	assert_line --regexp '^routerd.0 +running +[0-9]+ '
	assert_line --regexp '^healthd.0 +running +[0-9]+ '
	assert_line --regexp "^http +127.0.0.1:$PORT +routerd.0 "
	assert_line "POOL app  2 of 2 servers up"
	assert_line --regexp "^  app1 +127.0.0.1:$(port_of app1) +up "
	refute_output --partial $'\033'
	run pctl status --names
	assert_output $'app/app1\napp/app2'
	run env TERM=xterm script -qec "$BIN/proxyctl -c weir.yaml status" /dev/null
	assert_output --partial $'\033[32m'
	run env TERM=xterm NO_COLOR=1 script -qec "$BIN/proxyctl -c weir.yaml status" /dev/null
	refute_output --partial $'\033'
	# A daemon that is gone is shown as that.
	kill_hard healthd.0
	run pctl status
	assert_line --regexp '^healthd.0 +gone'
}

@test "drain --wait returns when nothing is in flight; undrain brings the server back" {
	site
	spawn slow curl -sS -m 100 --noproxy '*' "http://127.0.0.1:$PORT/held/one"
	wait_for '[ "$(server app1 | jq .inflight)" = 1 ] || [ "$(server app2 | jq .inflight)" = 1 ]'
	local busy=app1
	[ "$(server app1 | jq .inflight)" = 1 ] || busy=app2
	# Whoever stands still for that long has not said what is in flight.
	still() {
		run pctl drain "app/$busy" --wait --timeout 2s
		[ "$status" -eq 1 ] && [[ $output == *"routerd.0: 1 still in flight"* ]]
	}
	wait_for still
	[ "$(verdict "$busy")" = drain ]
	spawn wait "$BIN/proxyctl" -c weir.yaml drain "app/$busy" --wait --timeout 60s --reason "new kernel"
	wait_for 'grep -q "new kernel" state/overrides.yaml'
	is_alive wait
	release "$busy" one
	_reap wait 60
	[ "$status" -eq 0 ]
	[ "$(server "$busy" | jq .inflight)" = 0 ]
	grep -q "new kernel" state/overrides.yaml
	local before after i
	before=$(hits "$busy")
	for i in 1 2 3 4 5 6; do http "http://127.0.0.1:$PORT/hit"; done
	after=$(hits "$busy")
	[ "$before" = "$after" ]
	run pctl undrain "app/$busy" --wait
	assert_success
	[ "$(verdict "$busy")" = up ]
	for i in 1 2 3 4 5 6; do http "http://127.0.0.1:$PORT/hit"; done
	[ "$(hits "$busy")" -gt "$before" ]
}

@test "disable outlives a restart; enable takes it back; weight is told; expiry ends it" {
	site
	pctl disable app/app1 --wait
	[ "$(verdict app1)" = maint ]
	stop routerd.0
	start routerd
	[ "$(verdict app1)" = maint ]
	pctl enable app/app1 --wait
	wait_for '[ "$(verdict app1)" = up ]'
	pctl weight app/app1 7 --wait
	[ "$(server app1 | jq .weight)" = 7 ]
	pctl weight app/app1 default --wait
	[ "$(server app1 | jq .weight)" = 1 ]
	pctl drain app/app2 --expire 5s --wait
	[ "$(verdict app2)" = drain ]
	wait_for '[ "$(verdict app2)" = up ]'
}

@test "drain: a typing error is told, a daemon that does not answer is named" {
	site
	run pctl drain ap/app1
	[ "$status" -eq 2 ]
	assert_output 'there is no pool `ap`; did you mean `app`?'
	run pctl drain app/app9
	[ "$status" -eq 2 ]
	assert_output --partial 'pool `app` has no server `app9`; did you mean `app'
	kill -STOP "$(pid_of routerd.0)"
	run pctl drain app/app1 --wait --timeout 1s
	kill -CONT "$(pid_of routerd.0)"
	[ "$status" -eq 1 ]
	assert_output --partial "routerd.0: no answer in time"
}

@test "a decision needs no daemon to be alive" {
	site
	stop routerd.0
	stop healthd.0
	run pctl drain app/app1 --wait
	assert_success
	start routerd
	[ "$(verdict app1)" = drain ]
}

@test "events: merged from all daemons, also from one that starts later" {
	site
	stop healthd.0
	spawn watch "$BIN/proxyctl" -c weir.yaml events --until started --timeout 60s
	spawn other "$BIN/proxyctl" -c weir.yaml events --until nothing_of_this_name --timeout 500ms
	wait_for '! is_alive other'
	status=0
	wait "$(pid_of other)" || status=$?
	[ "$status" -eq 1 ]
	start healthd
	wait_for '! is_alive watch'
	wait "$(pid_of watch)"
	[ "$(tail -1 "$(log_of watch)" | jq -r '.daemon + " " + .type')" = "healthd.0 started" ]
	# What was: kept for who comes late.
	run pctl events --recent --type started --until started --timeout 5s
	assert_success
}

@test "events: a server that goes down is one" {
	site
	spawn watch "$BIN/proxyctl" -c weir.yaml events
	wait_for 'pctl drain app/app1 >/dev/null; pctl undrain app/app1 >/dev/null; [ -s "$(log_of watch)" ]'
	kill_hard app1
	wait_for '[ "$(verdict app1)" = down ]'
	wait_for 'grep -q app1 "$(log_of watch)"'
	jq -e .type "$(log_of watch)" >/dev/null
}

@test "stop ends all, gracefully" {
	site
	spawn slow curl -sS -m 60 --noproxy '*' "http://127.0.0.1:$PORT/held/one"
	wait_for '[ "$(server app1 | jq .inflight)" = 1 ] || [ "$(server app2 | jq .inflight)" = 1 ]'
	spawn stopping "$BIN/proxyctl" -c weir.yaml stop
	wait_for '[ "$(ctl routerd.0 json status | jq -r .state)" = draining ]'
	is_alive stopping
	release app1 one
	release app2 one
	_reap stopping 60
	[ "$status" -eq 0 ]
	refute is_alive routerd.0
	refute is_alive healthd.0
	_reap slow 60
	[ "$status" -eq 0 ]
	run pctl stop
	assert_success
	assert_output "nothing runs in $T/run"
}

@test "completion offers commands, options and the servers that run" {
	site
	complete_line() { # WORDS..
		PATH=$BIN:$PATH bash -c '
			source "$ROOT/proxyctl/completion.bash"
			COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
			_proxyctl
			printf "%s\n" "${COMPREPLY[@]}"' - "$@"
	}
	run complete_line proxyctl dr
	assert_output drain
	run complete_line proxyctl -c weir.yaml drain app/
	assert_output $'app/app1\napp/app2'
	run complete_line proxyctl -c weir.yaml drain app/app1 --w
	assert_output -- --wait
}

# A daemon that was broken into: it listens where NAME did, and says what stands in $T/NAME.json.
liar() { # NAME [UID]
	mkdir -p run
	spawn "$1" python3 "$TOOLS/liar.py" "run/$1.sock" "$T/$1.json" ${2:+"$2"}
	wait_for "grep -qs '^ready' '$(log_of "$1")'"
}

@test "completion runs nothing of what daemons call their servers" {
	config <<<'run_dir: run'
	jq -n '{status: {pools: [{name: "app", servers: [{name: "$(touch ran)"}, {name: "`touch ran`"},
		{name: "app1"}, {name: "a b"}, {name: "x;touch ran"}, {}]}, {servers: [{name: "y"}]}]}}' >routerd.0.json
	liar routerd.0
	run env PATH="$BIN:$PATH" bash -c '
		source "$ROOT/proxyctl/completion.bash"
		COMP_WORDS=(proxyctl -c weir.yaml drain "") COMP_CWORD=4
		_proxyctl
		printf "%s\n" "${COMPREPLY[@]}"'
	assert_output app/app1
	assert_not_exist ran
	# Neither does what is offered, whoever says it.
	run bash -c 'source "$ROOT/proxyctl/completion.bash"; _proxyctl_offer "\$(touch ran) abc" ""; printf "%s\n" "${COMPREPLY[@]}"'
	assert_line abc
	assert_not_exist ran
}

@test "what daemons say moves no cursor" {
	config <<<'run_dir: run'
	local odd='a\u001b[2J\u009b2Jb'
	cat >tlsd.0.json <<-EOF
	{"status": {"state": "$odd", "listeners": [{"to": "$odd", "address": "$odd"}]},
	 "cert list": [{"names": ["$odd"], "issuer": "$odd", "path": "$odd"}],
	 "cert reload": {"error": "one\n$odd"}, "stop": {"error": "$odd"}, "version": ""}
	EOF
	cat >routerd.0.json <<-EOF
	{"status": {"config": "$T/weir.yaml", "state": "running", "pools": [{"name": "$odd",
	  "servers": [{"name": "$odd", "verdict": "$odd", "reason": "$odd"}]}], "overrides": {"error": "$odd"}},
	 "prepare": {"error": "$odd", "findings": [{"file": "$odd", "path": "$odd", "text": "$odd"}]},
	 "stop": {"error": "$odd"}, "version": "",
	 "events": "{\\"type\\":\\"odd\\",\\t\\"text\\":\\"a\u009b2Jb\u007f\\"}\\n"}
	EOF
	liar tlsd.0
	liar routerd.0
	local said all=
	for words in status "status -j" "status --names" "cert list" "cert list -j" "cert reload" reload stop \
		"events --until odd"; do
		said=$(pctl $words 2>&1 || true)
		[[ $said != *[$'\e\x7f']* && $said != *$'\u9b'* ]] || { echo "$words: $said" | cat -v; return 1; }
		all+=$said
	done
	# It was there, and is shown as what it is.
	[[ $all == *'a?[2J?2Jb'* ]]
	[[ $(pctl cert reload 2>&1) == *$'one\na?[2J?2Jb'* ]]
	# JSON says the same as before.
	[[ $(pctl events --until odd) == '{"type":"odd", "text":"a\u009b2Jb\u007f"}' ]]
	[ "$(pctl status -j | jq '.daemons[1].state == "a\u001b[2J\u009b2Jb"')" = true ]
}

@test "completion in a bash that a person types into, names with colons too" {
	config <<-EOF
	run_dir: run
	http:
	  listen: [{ name: http, address: "127.0.0.1:$(free_port)" }]
	  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
	pools: { app: { servers: ["127.0.0.1:3001", "127.0.0.1:3002", "[::1]:3003", { name: one, address: "127.0.0.1:3004" }] } }
	EOF
	start routerd
	cat >type.py <<-'EOF'
	import os, pty, select, sys, time
	pid, tty = pty.fork()
	if pid == 0:
	    os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"], {**os.environ, "PS1": "> ", "TERM": "dumb", "INPUTRC": "/dev/null"})
	def until(text):
	    got, deadline = b"", time.time() + 60
	    while not got.replace(b"\a", b"").endswith(text) and time.time() < deadline:
	        if select.select([tty], [], [], 0.2)[0]:
	            got += os.read(tty, 4096)
	    if not got.replace(b"\a", b"").endswith(text):
	        sys.exit("%r instead of %r" % (got, text))
	until(b"> ")
	os.write(tty, b"source %s\n" % sys.argv[1].encode())
	until(b"> ")
	for typed, shown in [line.rstrip("\n").split("|") for line in sys.stdin]:
	    os.write(tty, typed.encode() + b"\t")
	    until(shown.encode())
	    os.write(tty, b"\x15") # forget the line
	os.write(tty, b"exit\n")
	os.waitpid(pid, 0)
	EOF
	PATH=$BIN:$PATH run python3 type.py "$ROOT/proxyctl/completion.bash" <<-'EOF'
	proxyctl dra|proxyctl drain 
	proxyctl -c wei|proxyctl -c weir.yaml 
	proxyctl drain app/o|proxyctl drain app/one 
	proxyctl drain app/1|proxyctl drain app/127.0.0.1:300
	proxyctl drain app/127.0.0.1:|proxyctl drain app/127.0.0.1:300
	proxyctl drain app/127.0.0.1:3002|proxyctl drain app/127.0.0.1:3002 
	proxyctl drain app/[|proxyctl drain app/[::1]:3003 
	proxyctl weight app/127.0.0.1:3002 5 --rea|proxyctl weight app/127.0.0.1:3002 5 --reason 
	EOF
	assert_success
}

@test "completion knows every command that there is" {
	complete_line() { # WORDS..
		PATH=$BIN:$PATH bash -c '
			source "$ROOT/proxyctl/completion.bash"
			COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
			_proxyctl
			printf "%s\n" "${COMPREPLY[@]}"' - "$@"
	}
	"$BIN/proxyctl" help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p' | sort >commands
	[ "$(wc -l <commands)" -ge 14 ]
	complete_line proxyctl '' | grep -v '^-' | sort | diff commands -
	complete_line proxyctl help '' | sort | diff <(grep -v '^help$' commands) -
	# And every option of each, as its usage has them.
	local command option
	while read -r command; do
		for option in $("$BIN/proxyctl" help "$command" | sed -n 1p | sed 's/\[-c FILE\]//' | grep -oE '(^|[^a-z-])--?[a-z]+' | grep -oE -- '--?[a-z]+'); do
			complete_line proxyctl "$command" - | grep -qx -- "$option" || { echo "$command: $option"; return 1; }
		done
	done <commands
	# Files after -c.
	echo >some.yaml
	run complete_line proxyctl -c som
	assert_output some.yaml
}

@test "status: a daemon that hangs is shown as that, and does not hold up the others" {
	site
	kill -STOP "$(pid_of healthd.0)"
	local began=$SECONDS
	run pctl status
	kill -CONT "$(pid_of healthd.0)"
	[ "$status" -eq 0 ]
	[ $((SECONDS - began)) -le 20 ]
	assert_line --regexp '^routerd.0 +running '
	assert_line --regexp '^healthd.0 +silent'
	assert_line 'healthd.0: no answer in time'
}

@test "status -w shows it again and again" {
	site
	spawn watch "$BIN/proxyctl" -c weir.yaml status -w
	wait_for '[ "$(grep -c "^POOL app" "$(log_of watch)")" -ge 3 ]'
	is_alive watch
	spawn watchj "$BIN/proxyctl" -c weir.yaml status -j -w
	wait_for '[ "$(jq -s length "$(log_of watchj)")" -ge 2 ]'
}

@test "stop: who is not gone in time is named" {
	site
	spawn slow curl -sS -m 200 --noproxy '*' "http://127.0.0.1:$PORT/delay/100000"
	wait_for '[ "$(server app1 | jq .inflight)" = 1 ] || [ "$(server app2 | jq .inflight)" = 1 ]'
	run pctl stop --timeout 5s
	[ "$status" -eq 1 ]
	assert_output --partial "routerd.0: still there"
	refute_output --partial "healthd.0"
	is_alive routerd.0
	# Asked once more it ends at once.
	kill -TERM "$(pid_of routerd.0)"
	_reap routerd.0 30
}

@test "a damaged overrides file is never written over: the command says what is wrong with it" {
	site
	pctl drain app/app1
	echo 'entries: [' >state/overrides.yaml
	run pctl drain app/app2
	[ "$status" -eq 1 ]
	assert_output --partial "overrides.yaml"
	[ "$(cat state/overrides.yaml)" = 'entries: [' ]
	# What was decided before stays in force, and status says why it is not the file.
	[ "$(verdict app1) $(verdict app2)" = "drain up" ]
	ctl routerd.0 overrides reload || true
	[ "$(verdict app1) $(verdict app2)" = "drain up" ]
	run pctl status
	assert_output --partial "overrides.yaml"
}

@test "status names decisions that match no server" {
	site
	pctl drain app/app1
	sed -i 's/app1/app9/' state/overrides.yaml
	ctl routerd.0 overrides reload
	run pctl status
	assert_output --regexp "1 .*match"
}

@test "check warns of routes that nothing reaches and of certificates that have expired, and is ok" {
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj /CN=old -out old.csr 2>/dev/null
	mkdir ca
	: >ca/index.txt
	echo 01 >ca/serial
	printf '[ca]\ndefault_ca = d\n[d]\ndatabase = ca/index.txt\nserial = ca/serial\nnew_certs_dir = ca\ndefault_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n' >ca.cnf
	openssl ca -batch -config ca.cnf -selfsign -keyfile key.pem -in old.csr -out cert.pem -notext \
		-startdate 20200101000000Z -enddate 20200201000000Z 2>/dev/null
	config <<-EOF
	run_dir: run
	tls:
	  listen: [{ address: "127.0.0.1:1", to: https, certificates: [{ cert: cert.pem, key: key.pem }] }]
	http:
	  listen: [{ name: https, from: tlsd }]
	  hosts:
	    - names: ["*"]
	      routes: [{ path: /a//b, respond: { body: hi } }, { path: /, respond: { body: hi } }]
	EOF
	run pctl check
	assert_success
	assert_line --regexp 'weir.yaml:3:.*: warning: tls.listen\[0\].certificates\[0\].*cert.pem.*expired'
	assert_line --regexp 'weir.yaml:8:.*: warning: http.hosts\[0\].routes\[0\].path: "/a//b" is never reached'
	assert_line ok
	[ "$(pctl check -j | jq -c '[.[].level]')" = '["warning","warning"]' ]
}

@test "config: the defaults that are promised, and those of a section that is not written down" {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=a -keyout key.pem -out cert.pem 2>/dev/null
	config <<-EOF
	tls:
	  listen: [{ address: "127.0.0.1:1", to: https, certificates: [{ cert: cert.pem, key: key.pem }] }]
	http:
	  listen: [{ name: https, from: tlsd }]
	  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
	pools: { app: { servers: ["127.0.0.1:1"], check: { http: { path: / } } } }
	EOF
	pctl config -j >all.json
	while read -r path value; do
		[ "$(jq -r --arg p "$path" '.[] | select(.path == $p) | "\(.value) \(.origin)"' all.json)" = "$value default" ] ||
			{ echo "$path: $(jq -c --arg p "$path" '.[] | select(.path == $p)' all.json)"; return 1; }
	done <<-EOF
	shutdown_timeout 30s
	http.timeouts.head 10s
	http.timeouts.connect 5s
	http.timeouts.send 1m
	http.timeouts.response 1m
	http.timeouts.read 1m
	http.timeouts.keepalive 75s
	http.timeouts.tunnel 1h
	pools.app.idle_timeout 1m
	tls.handshake_timeout 10s
	tls.handoff_timeout 5s
	http.limits.body 100m
	http.limits.head 32k
	http.limits.fields 128
	http.forward.via false
	http.forward.x_forwarded true
	pools.app.retry_budget.percent 20
	pools.app.retry_budget.min 3
	health.probe_rate 2000
	EOF
	# Where the others come from: a line, also by way of an alias or a merge.
	[ "$(jq -r '.[] | select(.path == "tls.listen[0].to").origin' all.json)" = "$T/weir.yaml:2" ]
	[ "$(jq '[.[] | select(.origin == null or .origin == "")] | length' all.json)" = 0 ]
}

@test "state_dir is made with the folders above it by whoever writes there first; where that cannot be, it is said" {
	site
	sed -i 's#^state_dir: state#state_dir: deep/er/state#' weir.yaml
	stop healthd.0
	stop routerd.0
	start routerd
	[ ! -e deep ]
	run pctl drain app/app1
	assert_success
	[ "$(stat -c %a deep) $(stat -c %a deep/er)" = "755 755" ]
	[ -s deep/er/state/overrides.yaml ]
	sed -i 's#^state_dir: .*#state_dir: weir.yaml/state#' weir.yaml
	run pctl drain app/app1
	[ "$status" -eq 1 ]
	assert_output --partial "weir.yaml/state: cannot be made: Not a directory"
}
