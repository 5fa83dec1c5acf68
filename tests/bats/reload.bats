# Reload: all daemons take the configuration, or none does.
load helper

# A tlsd by FILE; both files name the same run_dir.
tls_config() { # FILE PORT [MORE]
	cat >"$T/$1" <<-EOF
	run_dir: run
	tls:
	  ${3:-}
	  listen:
	    - address: "127.0.0.1:$2"
	      to: "127.0.0.1:1"
	      certificates: [{ self_signed: [localhost] }]
	EOF
}

generation() { ctl "$1" json status | jq .generation; }

two() {
	PORT_A=$(free_port)
	PORT_B=$(free_port)
	tls_config weir.yaml "$PORT_A"
	tls_config b.yaml "$PORT_B"
	start tlsd
	start tlsd -i b -c "$T/b.yaml"
}

@test "proxyctl reload: every daemon adopts it" {
	two
	run pctl reload
	assert_success
	assert_line "tlsd.0: generation 2"
	assert_line "tlsd.b: generation 2"
}

@test "proxyctl reload: when one refuses, none does, and the reasons are said once" {
	two
	tls_config b.yaml "$PORT_B" "handshake_timeot: 1s"
	run pctl reload
	[ "$status" -eq 2 ]
	assert_output --partial "b.yaml:3:"
	assert_output --partial "handshake_timeot"
	assert_output --partial "nothing was changed"
	[ "$(grep -c handshake_timeot <<<"$output")" = 1 ]
	[ "$(generation tlsd.0)" = 1 ]
	[ "$(generation tlsd.b)" = 1 ]
	# Nothing stays prepared: the next one goes through.
	tls_config b.yaml "$PORT_B"
	run pctl reload
	assert_success
	[ "$(generation tlsd.0)" = 2 ]
}

@test "proxyctl reload: a daemon that hangs is named, and nothing is changed" {
	two
	kill -STOP "$(pid_of tlsd.b)"
	run timeout 60 "$BIN/proxyctl" -c weir.yaml reload
	kill -CONT "$(pid_of tlsd.b)"
	[ "$status" -eq 1 ]
	assert_output --partial "tlsd.b: "
	assert_output --partial "nothing was changed"
	[ "$(generation tlsd.0)" = 1 ]
}

@test "a refused reload says why on stderr, in the reply and as an event" {
	two
	spawn events "$BIN/proxyctl" -c weir.yaml events --type config_rejected
	wait_for 'pctl events --recent --until started --timeout 5s'
	echo "nonsense: 1" >>weir.yaml
	wait_for 'ctl tlsd.0 reload >reply; grep -q config_rejected "$(log_of events)"'
	grep -q "error: the configuration was refused, generation 1 stays in force" reply
	grep -q "weir.yaml:8:1: nonsense: " reply
	until_ok grep -q 'tlsd.0 error config_finding at=.*weir.yaml:8:1 path=nonsense' "$(log_of tlsd.0)"
}

@test "a refused reload is known by the hash of its bytes, also when they are no YAML" {
	two
	rejected() { grep -c config_rejected "$(log_of tlsd.0)" || true; }
	last_hash() { sed -n 's/.* config_rejected .*hash=\([^ ]*\).*/\1/p' "$(log_of tlsd.0)" | tail -1; }
	fnv() { # the hash of a file, from its definition
		python3 - "$1" <<-'EOF'
		import sys
		h = 0x6c62272e07bb014262b821756295c58d
		for b in open(sys.argv[1], "rb").read():
		    h = ((h ^ b) * ((1 << 88) + 0x13b)) % (1 << 128)
		print("%032x" % h)
		EOF
	}
	[ "$(ctl tlsd.0 json status | jq -r .hash)" = "$(fnv weir.yaml)" ]
	printf 'tls:\n\tlisten: []\n' >weir.yaml # no YAML
	kill -HUP "$(pid_of tlsd.0)"
	wait_for '[ "$(rejected)" = 1 ]'
	[ "$(last_hash)" = "$(fnv weir.yaml)" ]
	echo 'nonsense: 1' >weir.yaml # YAML, and wrong
	kill -HUP "$(pid_of tlsd.0)"
	wait_for '[ "$(rejected)" = 2 ]'
	[ "$(last_hash)" = "$(fnv weir.yaml)" ]
	rm weir.yaml # nothing to have a hash of
	kill -HUP "$(pid_of tlsd.0)"
	wait_for '[ "$(rejected)" = 3 ]'
	[ "$(last_hash)" = - ]
}

@test "proxyctl reload: of a file that is no YAML it says what and where, not that it cannot be read" {
	two
	printf 'run_dir: run\ntls:\n\tlisten: []\n' >b.yaml
	run pctl reload
	[ "$status" -eq 2 ]
	assert_output --partial "b.yaml:3:1: a tab in the indentation, expected spaces"
	assert_output --partial "nothing was changed"
	refute_output --partial "cannot be read"
}

@test "proxyctl reload: daemons of one file prepare the same bytes, also when it changes meanwhile" {
	two
	spawn other python3 -c '
import os, socket
s = socket.socket(socket.AF_UNIX); s.bind("run/healthd.x.sock"); s.listen(8)
while True:
    c, _ = s.accept()
    line = c.makefile().readline()
    if line.startswith("json prepare"):
        open("weir.yaml", "a").write("# a moment later\n")
        c.sendall(b"{\"prepared\":\"x\"}\n")
    elif line.startswith("json status"):
        c.sendall(b"{\"program\":\"healthd\",\"uid\":%d,\"config\":\"%s\"}\n" % (os.geteuid(), os.path.abspath("weir.yaml").encode()))
    else:
        c.sendall(b"{\"ok\":true}\n")
    c.close()
'
	wait_for '[ -S run/healthd.x.sock ]'
	run pctl reload
	[ "$status" -eq 2 ]
	assert_output --partial "it changed meanwhile"
	assert_output --partial "nothing was changed"
	[ "$(generation tlsd.0)" = 1 ]
	[ "$(generation tlsd.b)" = 1 ]
}

@test "SIGHUP reloads, a bad file leaves the old generation running" {
	two
	kill -HUP "$(pid_of tlsd.0)"
	wait_for '[ "$(generation tlsd.0)" = 2 ]'
	echo "nonsense: 1" >>weir.yaml
	kill -HUP "$(pid_of tlsd.0)"
	wait_for 'grep -q config_rejected "$(log_of tlsd.0)"'
	[ "$(generation tlsd.0)" = 2 ]
	is_alive tlsd.0
}

@test "two phases by hand: prepared, aborted, committed; only its own file, only by its hash" {
	two
	local hash
	hash=$(ctl tlsd.0 json status | jq -r .hash)
	run ctl tlsd.0 prepare "$hash" "$T/b.yaml"
	assert_output --partial "this daemon runs by $T/weir.yaml"
	run ctl tlsd.0 prepare 0123 "$T/weir.yaml"
	assert_output --partial "it changed meanwhile: its hash is $hash, expected 0123"
	run ctl tlsd.0 prepare "$hash" "$T/weir.yaml"
	assert_output "prepared $hash"
	run ctl tlsd.0 reload
	assert_output "error: another reload is prepared"
	[ "$(ctl tlsd.0 abort)" = ok ]
	run ctl tlsd.0 commit
	assert_output "error: nothing is prepared"
}

@test "a key that only root may read comes from proxyctl run by root, or the old one stays" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	local open port
	open=$(mktemp -d /tmp/weir.XXXXXX)
	chmod 755 "$open"
	port=$(free_port)
	make_pair() { # NAME
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 \
			-subj "/CN=$1" -addext "subjectAltName=DNS:localhost" \
			-keyout "$open/key.pem" -out "$open/cert.pem" 2>/dev/null
		chmod 600 "$open/key.pem"
	}
	served() { openssl s_client -connect "127.0.0.1:$port" </dev/null 2>/dev/null | openssl x509 -noout -subject; }
	make_pair one
	cat >"$open/weir.yaml" <<-EOF
	run_dir: $open/run
	state_dir: $open/state
	tls:
	  user: nobody
	  listen:
	    - address: "127.0.0.1:$port"
	      to: "127.0.0.1:1"
	      certificates: [{ cert: $open/cert.pem, key: $open/key.pem }]
	EOF
	start tlsd -c "$open/weir.yaml"
	[ "$(served)" = "subject=CN = one" ]
	make_pair two
	run socat -t 10 stdio "UNIX-CONNECT:$open/run/tlsd.0.sock" <<<reload
	assert_output --partial "$open/key.pem"
	assert_output --partial "generation 1 stays in force"
	[ "$(served)" = "subject=CN = one" ]
	run "$BIN/proxyctl" -c "$open/weir.yaml" reload
	assert_success
	[ "$(served)" = "subject=CN = two" ]
	stop tlsd.0
	rm -rf "$open"
}

@test "a daemon that was broken into gets no file by saying that it runs by it" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	local open
	open=$(mktemp -d /tmp/weir.XXXXXX)
	chmod 755 "$open"
	mkdir "$open/run"
	echo "of root alone" >"$open/secret"
	chmod 600 "$open/secret"
	echo "run_dir: $open/run" >"$open/weir.yaml"
	cat >"$open/own.yaml" <<-EOF
	tls: { listen: [{ certificates: [{ cert: $open/secret, key: $open/secret }] }] }
	EOF
	for uid in 0 65534; do # what it says of itself
		for file in secret own.yaml; do
			jq -n --arg f "$open/$file" --argjson u "$uid" '{status: {config: $f, uid: $u}, prepare: {}, give: {},
				"cert reload": {}, abort: {}, commit: {}}' >"$open/says.json"
			spawn liar python3 "$TOOLS/liar.py" "$open/run/tlsd.0.sock" "$open/says.json" 65534
			wait_for 'grep -qs ^ready "$(log_of liar)"'
			run "$BIN/proxyctl" -c "$open/weir.yaml" reload
			[ "$status" -eq 1 ]
			assert_output --partial "tlsd.0: it runs as another user, and by $open/$file, which is not what $open/weir.yaml names"
			run "$BIN/proxyctl" -c "$open/weir.yaml" cert reload
			run cat "$(log_of liar)"
			assert_output --partial "line status"
			assert_output --partial "line cert reload"
			refute_output --partial "line prepare" # and with it the hash of what it may not read
			refute_output --partial descriptor
			kill_hard liar
			rm -f "$open/run/tlsd.0.sock" "$(log_of liar)"
		done
	done
	# What our own configuration names is handed over.
	echo "tls: { listen: [{ certificates: [{ cert: $open/secret }] }] }" >>"$open/weir.yaml"
	jq -n --arg f "$open/weir.yaml" '{status: {config: $f, uid: 65534}, prepare: {}, give: {}, commit: {generation: 2}}' >"$open/says.json"
	spawn liar python3 "$TOOLS/liar.py" "$open/run/tlsd.0.sock" "$open/says.json" 65534
	wait_for 'grep -qs ^ready "$(log_of liar)"'
	run "$BIN/proxyctl" -c "$open/weir.yaml" reload
	assert_success
	run grep -c "descriptor b'of root alone" "$(log_of liar)"
	assert_output 1
	rm -rf "$open"
}

# A routerd in front of an origin, watched by healthd; the second port is for `listen`.
proxy() {
	origin app
	PORT=$(free_port)
	config <<-EOF
	run_dir: run
	http:
	  workers: 2
	  listen: [{ name: http, address: "127.0.0.1:$PORT" }]
	  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
	pools:
	  app:
	    servers: [{ name: app, address: "127.0.0.1:$(port_of app)" }]
	    check: { http: { path: /health }, interval: 200ms }
	EOF
	start routerd
	start healthd
}

@test "reload under load: not one failed request" {
	proxy
	spawn load bash -c "
		n=0
		while [ ! -e enough ]; do
			curl -q -sS -f -Z --parallel-max 20 --noproxy '*' -m 60 -o /dev/null 'http://127.0.0.1:$PORT/bytes/[1-500]' || exit 1
			n=\$((n + 500))
		done
		echo sent \$n"
	local i
	for i in $(seq 20); do
		# Another route each time, so that something changes.
		sed -i "s#hosts: .*#hosts: [{ names: [\"*\"], routes: [{ path: /, pool: app }, { path: /r$i, respond: { body: x } }] }]#" weir.yaml
		pctl reload >/dev/null
	done
	touch enough
	wait_for '! is_alive load' 60
	wait "$(pid_of load)"
	[ "$(generation routerd.0)" = 21 ]
	[ "$(generation routerd.0)" = "$(generation healthd.0)" ]
	local sent
	sent=$(sed -n 's/^sent //p' "$(log_of load)")
	[ "$sent" -ge 500 ]
	[ "$(requests app | jq -c 'select(.event == "request" and (.target | startswith("/bytes")))' | wc -l)" = "$sent" ]
}

@test "proxyctl reload: when it answers, every worker has adopted it" {
	local port i
	port=$(free_port)
	says() {
		config <<-EOF
		run_dir: run
		http:
		  workers: 4
		  listen: [{ name: http, address: "127.0.0.1:$port" }]
		  hosts: [{ names: ["*"], routes: [{ path: /, respond: "$1 " }] }]
		EOF
	}
	says 0
	start routerd
	# The kernel spreads connections over the workers: 24 miss none of four but once in 250.
	for i in 1 2 3 4 5 6 7 8; do
		says $i
		pctl reload
		[ "$(http -H 'Connection: close' "http://127.0.0.1:$port/[1-24]" | tr ' ' '\n' | grep . | sort | uniq -c | tr -s ' ')" = " 24 $i" ]
	done
}

@test "a thousand reloads leak nothing: memory, descriptors, generations; of all daemons, while traffic flows" {
	proxy
	TLS=$(free_port)
	tls_config tls.yaml "$TLS"
	sed -i "s#to: \"127.0.0.1:1\"#to: \"127.0.0.1:$PORT\"\n      relay: none#" tls.yaml
	start tlsd -c "$T/tls.yaml"
	fds() { ls "/proc/$(pid_of "$1")/fd" | wc -l; }
	rss_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$(pid_of "$1")/status"; }
	threads() { ls "/proc/$(pid_of "$1")/task" | wc -l; }
	many() { # TIMES
		python3 - "$1" <<-'EOF'
		import socket, sys
		for name in ("routerd.0", "healthd.0", "tlsd.0"):
		    for i in range(int(sys.argv[1])):
		        s = socket.socket(socket.AF_UNIX)
		        s.connect("run/%s.sock" % name)
		        s.sendall(b"reload\n")
		        answer = b""
		        while True:
		            part = s.recv(4096)
		            if not part:
		                break
		            answer += part
		        if not answer.startswith(b"generation "):
		            sys.exit("%s: %r" % (name, answer))
		EOF
	}
	spawn load bash -c "while :; do
		curl -q -sSf -m 60 --noproxy '*' -o /dev/null http://127.0.0.1:$PORT/bytes/1000 || echo lost
		curl -q -ksSf -m 60 --noproxy '*' -o /dev/null https://127.0.0.1:$TLS/bytes/1000 || echo lost
	done"
	many 200
	local name
	for name in routerd healthd tlsd; do
		eval "fds_$name=$(fds $name.0) rss_$name=$(rss_kb $name.0) threads_$name=$(threads $name.0)"
	done
	many 800
	kill_hard load
	[ "$(generation routerd.0) $(generation healthd.0) $(generation tlsd.0)" = "1001 1001 1001" ]
	refute grep lost "$(log_of load)"
	# Nobody holds an old one.
	http "http://127.0.0.1:$PORT/"
	wait_for '[ "$(ctl routerd.0 json status | jq .oldest_generation)" = 1001 ]'
	# A probe or a connection may come or go meanwhile.
	for name in routerd healthd tlsd; do
		eval "was_fds=\$fds_$name was_kb=\$rss_$name was_threads=\$threads_$name"
		echo "$name: descriptors $was_fds -> $(fds $name.0), RSS $was_kb -> $(rss_kb $name.0) kB, threads $was_threads -> $(threads $name.0)"
		[ "$(fds $name.0)" -le $((was_fds + 6)) ]
		[ "$(threads $name.0)" -le "$was_threads" ]
		# Sanitizers keep what was freed.
		[[ $(readlink -f "$BIN/routerd") != */release/* ]] || [ "$(rss_kb $name.0)" -le $((was_kb + 2048)) ]
	done
}

@test "a tunnel that stays open over many reloads does not keep their generations" {
	spawn ws python3 "$TOOLS/origin.py" --name ws
	wait_for "grep -qs '^ready' '$T/proc/ws.log'"
	PORT=$(free_port)
	config <<-EOF
	run_dir: run
	http:
	  workers: 2
	  listen: [{ name: http, address: "127.0.0.1:$PORT" }]
	  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
	pools: { app: { servers: ["127.0.0.1:$(port_of ws)"] } }
	EOF
	start routerd
	spawn tunnel python3 -c "
import socket, time
s = socket.create_connection(('127.0.0.1', $PORT))
s.sendall(b'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
head = s.recv(4096)
print(head.split(b'\r\n')[0].decode(), flush=True)
s.settimeout(60)
n = 0
while True:
    s.sendall(b'\x81\x84\0\0\0\0ping')
    got = b''
    while len(got) < 6:
        got += s.recv(100)
    assert got[-4:] == b'ping', got
    n += 1
    if n % 20 == 0:
        print('echoed', n, flush=True)
    time.sleep(0.01)
"
	wait_for 'grep -q "101 " "$(log_of tunnel)"'
	local i
	for i in $(seq 100); do ctl routerd.0 reload >/dev/null; done
	[ "$(generation routerd.0)" = 101 ]
	# Workers look at their generations as they turn.
	wait_for "http -o /dev/null http://127.0.0.1:$PORT/; [ \"\$(ctl routerd.0 json status | jq .oldest_generation)\" = 101 ]"
	is_alive tunnel
	local echoed
	echoed=$(grep -c echoed "$(log_of tunnel)")
	wait_for "[ \"\$(grep -c echoed '$(log_of tunnel)')\" -gt $echoed ]"
	# Not even its pool and its route need to be there any more; the log still knows them.
	sed -i 's/^pools:.*//; s/pool: app/respond: { body: gone }/; s/^http:/http:\n  access_log: { path: access.log, format: json, fields: { gen: "${generation}", asked: "${host}${http_upgrade}", theirs: "${upstream_http_upgrade}" } }/' weir.yaml
	pctl reload
	[ "$(http "http://127.0.0.1:$PORT/")" = gone ]
	echoed=$(grep -c echoed "$(log_of tunnel)")
	wait_for "[ \"\$(grep -c echoed '$(log_of tunnel)')\" -gt $echoed ]"
	kill_hard tunnel
	wait_for 'grep -q /ws access.log'
	[ "$(jq -r 'select(.target == "/ws") | [.status, .pool, .server, .client] | join(" ")' access.log)" = "101 app 127.0.0.1:$(port_of ws) 127.0.0.1" ]
	# In the words of a format that came later: its own facts, and nothing of what was not kept for it.
	[ "$(jq -c 'select(.target == "/ws") | [.gen, .asked, .theirs]' access.log)" = '[1,"awebsocket",null]' ]
	wait_for '[ "$(ctl routerd.0 json status | jq .counters.tunnels)" = 0 ]'
}

@test "a listener that a reload takes away leaves no socket behind, and takes away no other process's" {
	listeners() {
		config <<-X
		run_dir: run
		http:
		  workers: 2
		  listen: [ { name: keep, address: "unix:keep.sock" }$1 ]
		  hosts: [ { names: ["*"], routes: [ { path: /, respond: here } ] } ]
		X
	}
	listeners ', { name: local, address: "unix:local.sock" }, { name: https, from: tlsd }'
	start routerd
	[ "$(http --unix-socket local.sock http://x/)" = here ]
	[ -S run/https/0.sock ]
	listeners ''
	ctl routerd.0 reload
	[ ! -e local.sock ]
	[ ! -e run/https/0.sock ]
	[ "$(http --unix-socket keep.sock http://x/)" = here ]
	# Nor does one that never came.
	listeners ', { name: early, address: "unix:early.sock" }, { name: late, address: "unix:nosuch/late.sock" }'
	[[ "$(ctl routerd.0 reload)" == *nosuch/late.sock* ]]
	[ ! -e early.sock ]
	# Whoever has the place now keeps it when we end.
	spawn other python3 -c '
import socket, time
s = socket.socket(socket.AF_UNIX)
s.bind("local.sock")
s.listen(8)
print("ready", flush=True)
time.sleep(600)
'
	wait_for "grep -qs ^ready '$T/proc/other.log'"
	stop routerd.0
	[ -S local.sock ]
	[ ! -e keep.sock ]
}

@test "reloads at the same time: each is taken by all or by none" {
	proxy
	tls_config tls.yaml "$(free_port)"
	start tlsd -c "$T/tls.yaml"
	local i p pids done_once=0
	for i in $(seq 8); do
		pids=()
		for p in 1 2 3; do
			pctl reload >"out.$p" 2>&1 &
			pids+=($!)
		done
		for p in "${pids[@]}"; do wait "$p" || true; done
		grep -q generation out.? && done_once=$((done_once + 1))
	done
	[ "$done_once" -ge 1 ]
	[ "$(generation routerd.0)" = "$(generation healthd.0)" ]
	[ "$(generation routerd.0)" = "$(generation tlsd.0)" ]
	# Nothing is left prepared.
	run pctl reload
	assert_success
}

@test "proxyctl reload: who ends between the two phases is named, and the others have taken it" {
	two
	spawn other python3 -c '
import os, socket
s = socket.socket(socket.AF_UNIX); s.bind("run/healthd.x.sock"); s.listen(8)
while True:
    c, _ = s.accept()
    line = c.makefile().readline()
    if line.startswith("json prepare"):
        c.sendall(b"{\"prepared\":\"x\"}\n")
        c.close()
        os._exit(0)
    c.sendall(b"{\"program\":\"healthd\",\"uid\":%d,\"config\":\"%s\"}\n" % (os.geteuid(), os.path.abspath("weir.yaml").encode()))
    c.close()
'
	wait_for '[ -S run/healthd.x.sock ]'
	run pctl reload
	[ "$status" -eq 1 ]
	assert_output --partial "healthd.x: ended meanwhile"
	[ "$(generation tlsd.0) $(generation tlsd.b)" = "2 2" ]
}
