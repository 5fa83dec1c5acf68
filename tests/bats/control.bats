# The control socket, as a person with socat sees it.
load helper

one() {
	config <<-EOF
	run_dir: run
	tls:
	  listen:
	    - address: "127.0.0.1:$(free_port)"
	      to: "127.0.0.1:1"
	      certificates: [{ self_signed: [localhost] }]
	EOF
	start tlsd
}

@test "socat asks, whether it closes its half or not" {
	one
	run ctl tlsd.0 status
	assert_success
	assert_line --partial "tlsd.0 "
	assert_line --partial "generation 1"
	# No newline at the end of the line.
	run bash -c 'printf version | socat stdio UNIX-CONNECT:run/tlsd.0.sock'
	assert_output --regexp '^tlsd [0-9.]+$'
	# A client that keeps its half open is answered, too.
	run bash -c 'socat -t 10 stdio UNIX-CONNECT:run/tlsd.0.sock < <(echo version; exec sleep 0.5)'
	assert_output --regexp '^tlsd [0-9.]+$'
}

@test "json in front of a line gives JSON, errors too" {
	one
	[ "$(ctl tlsd.0 json status | jq -r '.program + " " + .instance + " " + .state')" = "tlsd 0 running" ]
	[ "$(ctl tlsd.0 json version | jq -r .program)" = tlsd ]
	[ "$(ctl tlsd.0 json nonsense | jq -r .error | cut -d, -f1)" = 'unknown command `nonsense`' ]
}

@test "an unknown word is answered with the valid ones" {
	one
	run ctl tlsd.0 statsu
	assert_output --partial 'unknown command `statsu`, expected one of: help, events, version, status'
	assert_output --partial 'did you mean `status`?'
	run ctl tlsd.0 cert
	assert_output --partial 'expected one of: cert list'
	run ctl tlsd.0 help
	for word in help events version status reload prepare commit abort reopen stop shutdown; do
		assert_line --regexp "^  $word "
	done
}

@test "what follows the first line is ignored" {
	one
	run bash -c 'printf "version\nstop\nstop\n" | socat stdio UNIX-CONNECT:run/tlsd.0.sock'
	assert_output --regexp '^tlsd [0-9.]+$'
	is_alive tlsd.0
}

@test "a crowd of idle clients does not shut the operator out for ever" {
	one
	spawn crowd python3 -c '
import socket, time
socks = []
for i in range(100):
    s = socket.socket(socket.AF_UNIX); s.connect("run/tlsd.0.sock"); socks.append(s)
print("port 1", flush=True)
time.sleep(100)'
	wait_for 'grep -q port "$(log_of crowd)"'
	# It may be refused before it has written its line: then it sees a broken pipe.
	wait_for 'ctl tlsd.0 version | grep -q "too many control connections"'
	kill_hard crowd
	wait_for 'ctl tlsd.0 version | grep -q "^tlsd "'
}

@test "bytes that are no line are refused and hurt nobody" {
	one
	head -c 100000 /dev/zero | socat -t 5 stdio UNIX-CONNECT:run/tlsd.0.sock || true
	head -c 100000 /dev/urandom | socat -t 5 stdio UNIX-CONNECT:run/tlsd.0.sock || true
	run ctl tlsd.0 "status 'open"
	assert_output "error: a quote is not closed"
	run ctl tlsd.0 version
	assert_output --partial "tlsd "
}

@test "events stream as JSON lines, also to a client that has closed its half" {
	one
	spawn events bash -c 'echo events | socat -t 100 stdio UNIX-CONNECT:run/tlsd.0.sock'
	# The first reload may come before the subscriber is there.
	wait_for 'ctl tlsd.0 reload >/dev/null; grep -q config_reloaded "$(log_of events)"'
	run jq -rs 'map(select(.type == "config_reloaded"))[0] | .daemon + " " + .level' "$(log_of events)"
	assert_output "tlsd.0 info"
}

@test "a live socket stops a second daemon and names the holder; a stale one stops nobody" {
	one
	run "$BIN/tlsd" -c weir.yaml
	[ "$status" -eq 1 ]
	assert_output --partial "in use by pid $(pid_of tlsd.0) (tlsd)"
	kill_hard tlsd.0
	[ -S run/tlsd.0.sock ]
	start tlsd
	ctl tlsd.0 version
}

@test "stop ends it, and the socket is gone" {
	one
	run ctl tlsd.0 stop
	assert_output ok
	wait_for '! is_alive tlsd.0'
	[ ! -e run/tlsd.0.sock ]
}

@test "levels: who is neither root, the daemon's user nor in control_group may only look" {
	[ "$(id -u)" -eq 0 ] || skip "needs root to be somebody else"
	local open
	open=$(mktemp -d /tmp/weir.XXXXXX) # others may reach what stands here
	chmod 755 "$open"
	config <<-EOF
	run_dir: $open/run
	state_dir: $open/state
	control_group: daemon
	tls:
	  user: nobody
	  listen:
	    - address: "127.0.0.1:$(free_port)"
	      to: "127.0.0.1:1"
	      certificates: [{ self_signed: [localhost] }]
	EOF
	start tlsd
	[ "$(stat -c %a:%G "$open/run")" = 2750:daemon ]
	[ "$(stat -c %a:%U:%G "$open/run/tlsd.0.sock")" = 660:nobody:daemon ]
	[ "$(ps -o user= -p "$(pid_of tlsd.0)")" = nobody ]
	chmod 755 "$open/run"
	chmod 666 "$open/run/tlsd.0.sock"
	as() { # USER GROUP LINE
		setpriv --reuid "$1" --regid "$2" --clear-groups \
			socat -t 10 stdio "UNIX-CONNECT:$open/run/tlsd.0.sock" <<<"$3"
	}
	run as games games version
	assert_output --partial "tlsd "
	run as games games reopen
	assert_output --partial "members of control_group"
	run as games daemon reopen
	assert_output ok
	run as games daemon "give /etc/passwd"
	assert_output --partial "root and the daemon's own user"
	# As a supplementary group, too.
	run setpriv --reuid games --regid games --groups daemon \
		socat -t 10 stdio "UNIX-CONNECT:$open/run/tlsd.0.sock" <<<reopen
	assert_output ok
	stop tlsd.0
	rm -rf "$open"
}

@test "every word of every daemon answers, as text and as JSON" {
	local d words usage line
	origin app
	config <<-EOF
	run_dir: run
	state_dir: state
	tls: { listen: [{ address: "127.0.0.1:$(free_port)", to: "127.0.0.1:1", certificates: [{ self_signed: [localhost] }] }] }
	http:
	  listen: [{ name: http, address: "127.0.0.1:$(free_port)" }]
	  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
	pools: { app: { servers: [{ name: app, address: "127.0.0.1:$(port_of app)" }], check: { http: { path: / } } } }
	EOF
	for d in routerd healthd tlsd; do
		start $d
		ctl $d.0 json help >help.json
		[ "$(jq length help.json)" -ge 10 ]
		while IFS=$'\t' read -r words usage; do
			line=$words
			case $words in
			events | stop | shutdown | give | prepare) continue ;; # they have tests of their own
			"overrides state") line="$words app/app" ;;
			esac
			ctl $d.0 json "$line" >answer
			# One object or array.
			[ "$(jq -s 'length == 1 and (.[0] | type | . == "object" or . == "array")' answer)" = true ] ||
				{ echo "json $line: $(cat answer)"; return 1; }
			case $words in
			commit) [ "$(jq -r .error answer)" = "nothing is prepared" ] ;;
			*) [ "$(jq -r 'if type == "object" then .error else null end' answer)" = null ] ;;
			esac
			ctl $d.0 "$line" >answer
			[ -s answer ]
			refute grep -q 'error: unknown' answer
			# What takes no arguments says so instead of ignoring them.
			[ -n "$usage" ] || [ "$(ctl $d.0 "$line" app/app)" = "error: usage: $words, without anything behind it" ]
		done < <(jq -r '.[] | [.words, .usage] | @tsv' help.json)
		for line in stop shutdown; do
			[ "$(ctl $d.0 $line app/app)" = "error: usage: $line, without anything behind it" ]
		done
		is_alive $d.0
	done
}
