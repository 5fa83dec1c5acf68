# Listeners outlive the daemons that listen: `proxyctl up` keeps them, or whoever else starts a daemon.
load helper

kept() { # of a daemon: how many of its sockets up has
	socat -t 5 stdio UNIX-CONNECT:run/up.0.sock <<<"json status" |
		jq -r ".processes[] | select(.name == \"$1\").sockets"
}
is_refused() { run http -k "$1"; [ "$status" -eq 7 ]; }

site() {
	HTTP=$(free_port)
	HTTPS=$(free_port)
	config <<-EOF
	run_dir: run
	state_dir: state
	shutdown_timeout: 2s
	tls:
	  workers: 2
	  listen: [{ address: "127.0.0.1:$HTTPS", to: https, certificates: [{ self_signed: [localhost] }] }]
	http:
	  workers: 2
	  listen: [{ name: http, address: "127.0.0.1:$HTTP" }, { name: https, from: tlsd }]
	  hosts: [{ names: ["*"], routes: [{ path: /, respond: { status: 200, body: "hello\n" } }] }]
	EOF
}

up() {
	spawn up "$BIN/proxyctl" -c weir.yaml up
	wait_for 'grep -q "^ready: " "$(log_of up)" || ! is_alive up'
	is_alive up
}

# Its successor is there.
comes_back() { # NAME OLD-PID
	wait_for "[ -n \"\$(pid_by_name $1)\" ] && [ \"\$(pid_by_name $1)\" != $2 ]"
}

@test "tlsd killed: who connects before and after waits, is served by the next one, and who was handed over notices nothing" {
	site
	up
	[ "$(kept tlsd.0) $(kept routerd.0)" = "2 2" ]
	cat >across.py <<-'EOF'
	import glob, http.client, os, signal, socket, ssl, sys, threading, time
	port, plain, pid = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
	ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
	ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
	def ask(c):
	    c.request("GET", "/")
	    assert c.getresponse().read() == b"hello\n"
	old = [http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=ctx) for _ in range(50)]
	for c in old:
	    ask(c)
	os.kill(pid, signal.SIGSTOP)  # nobody accepts from now on: these stand in the backlog when it dies
	def states():  # a thread that runs may still accept for a moment
	    return {open(t + "/stat").read().rsplit(")", 1)[1].split()[0] for t in glob.glob("/proc/%d/task/*" % pid)}
	while states() != {"T"}:
	    time.sleep(0.001)
	queued = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(40)]
	os.kill(pid, signal.SIGKILL)
	late = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(40)]
	for c in old:
	    ask(c)
	def shake(s):
	    t = ctx.wrap_socket(s, server_hostname="localhost")
	    t.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	    assert b"hello" in b"".join(iter(lambda: t.recv(4096), b""))
	    done.append(1)
	done = []
	all = [threading.Thread(target=shake, args=(s,)) for s in queued + late]
	for t in all: t.start()
	for t in all: t.join()
	for c in old:
	    ask(c)
	print("served", len(done))
	EOF
	local pid
	pid=$(pid_by_name tlsd.0)
	run python3 across.py "$HTTPS" "$HTTP" "$pid"
	echo "$output"
	[ "$output" = "served 80" ]
	comes_back tlsd.0 "$pid"
	# As before: a socket for each worker, and each is served.
	wait_for '[ "$(grep -c "tlsd.0 info listening address=127.0.0.1:$HTTPS sockets=2" "$(log_of up)")" = 2 ]'
	[ "$(kept tlsd.0)" = 2 ]
	! grep -q inherited_unused "$(log_of up)"
}

@test "routerd killed: plain connections wait, too, and both workers get theirs afterwards" {
	site
	up
	local pid i
	for i in 1 2 3; do
		pid=$(pid_by_name routerd.0)
		kill -KILL "$pid"
		[ "$(http "http://127.0.0.1:$HTTP/")" = hello ]
		comes_back routerd.0 "$pid"
	done
	[ "$(kept routerd.0)" = 2 ]
	# Many connections: the kernel spreads them over the sockets, so that no worker stands idle.
	seq 80 | xargs -P 8 -I{} curl -q -sSf -m 60 --noproxy '*' -o /dev/null "http://127.0.0.1:$HTTP/"
	[ "$(ss -Hltn "sport = :$HTTP" | wc -l)" = 2 ]
	! grep -q inherited_unused "$(log_of up)"
}

@test "a daemon that does not come back: clients wait for 5 s and are refused then; with the next one they are served" {
	site
	up
	# Its certificate is gone, and no other can be made.
	mv state away
	touch state
	kill -KILL "$(pid_by_name tlsd.0)"
	# It waits in vain, and is not left alone.
	run http -k "https://127.0.0.1:$HTTPS/"
	[ "$status" -ne 0 ]
	[ "$status" -ne 28 ]
	wait_for 'grep -q "up warn listeners_closed name=tlsd.0 sockets=2 after_ms=5000" "$(log_of up)"'
	is_refused "https://127.0.0.1:$HTTPS/"
	[ "$(kept tlsd.0)" = 0 ]
	[ "$(http "http://127.0.0.1:$HTTP/")" = hello ]
	rm state
	mv away state
	wait_for '[ "$(http -k "https://127.0.0.1:$HTTPS/")" = hello ]'
	[ "$(kept tlsd.0)" = 2 ]
}

@test "who drains refuses at once, and so does all that ends" {
	site
	up
	# Something is under way, so that it does not end at once.
	exec 8<>"/dev/tcp/127.0.0.1/$HTTP"
	printf 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc' >&8
	wait_for '[ "$(ctl routerd.0 json status | jq "[.listeners[].connections] | add")" = 1 ]'
	ctl routerd.0 stop
	wait_for 'is_refused "http://127.0.0.1:$HTTP/"'
	wait_for 'grep -q "up info left name=routerd.0" "$(log_of up)"'
	exec 8>&-
	[ "$(kept routerd.0)" = 0 ]
	is_refused "http://127.0.0.1:$HTTP/"
	stop up
	is_refused "https://127.0.0.1:$HTTPS/"
}

@test "a reload adds listeners that are kept, and takes away those that are gone" {
	site
	up
	local more moretls pid
	more=$(free_port)
	moretls=$(free_port)
	cp weir.yaml before.yaml
	sed -i "s/{ name: https, from: tlsd }/&, { name: more, address: \"127.0.0.1:$more\" }/" weir.yaml
	sed -i "s/^  listen: \[{ address: \"127.0.0.1:$HTTPS\"/  listen: [{ address: \"127.0.0.1:$moretls\", to: https, certificates: [{ self_signed: [localhost] }] }, { address: \"127.0.0.1:$HTTPS\"/" weir.yaml
	run pctl reload
	assert_success
	wait_for '[ "$(kept tlsd.0) $(kept routerd.0)" = "4 4" ]'
	for d in tlsd.0 routerd.0; do
		pid=$(pid_by_name $d)
		kill -KILL "$pid"
		[ "$(http "http://127.0.0.1:$more/")" = hello ]
		[ "$(http -k "https://127.0.0.1:$moretls/")" = hello ]
		[ "$(http -k "https://127.0.0.1:$HTTPS/")" = hello ]
		comes_back $d "$pid"
	done
	# The same address under another name, and the other one away.
	sed "s/name: http, /name: web, /" before.yaml >weir.yaml
	run pctl reload
	assert_success
	wait_for '[ "$(kept tlsd.0) $(kept routerd.0)" = "2 2" ]'
	wait_for 'is_refused "http://127.0.0.1:'"$more"'/"'
	wait_for 'is_refused "https://127.0.0.1:'"$moretls"'/"'
	pid=$(pid_by_name routerd.0)
	kill -KILL "$pid"
	[ "$(http "http://127.0.0.1:$HTTP/")" = hello ]
	comes_back routerd.0 "$pid"
	! grep -q inherited_unused "$(log_of up)"
}

@test "an instance that a reload replaces leaves its listeners to the new one; a number of workers that changed is followed" {
	site
	PORT=$(free_port)
	cat >app.yaml <<-EOF
	run_dir: run/apps
	http:
	  workers: \${WORKERS}
	  listen: [{ name: app, address: "127.0.0.1:$PORT" }]
	  hosts: [{ names: ["*"], routes: [{ path: /, respond: { status: 200, body: "\${WORD}\n" } }] }]
	EOF
	cat >>weir.yaml <<-EOF
	up: { instances: [{ name: app, config: app.yaml, env: { WORD: one, WORKERS: "3" } }] }
	EOF
	up
	[ "$(kept routerd.app)" = 3 ]
	spawn load bash -c "while :; do
		curl -q -sS -f -m 60 --noproxy '*' http://127.0.0.1:$PORT/ >>words || echo failed; done"
	wait_for 'grep -q one words'
	sed -i 's/WORD: one, WORKERS: "3"/WORD: two, WORKERS: "2"/' weir.yaml
	run pctl reload
	assert_success
	wait_for 'grep -q two words'
	wait_for '[ "$(kept routerd.app)" = 2 ]'
	# The one before has them until it has ended.
	wait_for '[ "$(ss -Hltn "sport = :$PORT" | wc -l)" = 2 ]'
	sed -i 's/WORD: two, WORKERS: "2"/WORD: three, WORKERS: "4"/' weir.yaml
	run pctl reload
	assert_success
	wait_for 'grep -q three words'
	wait_for '[ "$(kept routerd.app)" = 4 ]'
	wait_for '[ "$(ss -Hltn "sport = :$PORT" | wc -l)" = 4 ]'
	kill_hard load
	! grep -i refused "$(log_of load)"
}

@test "another starter that keeps sockets, as systemd does, is told of them when it says so; when not, of none" {
	site
	cat >keeper.py <<-'EOF'
	# keeper.py PROGRAM ARGS..: start it, keep what it stores by sd_notify(3), and start it again when it dies.
	import array, os, signal, socket, subprocess, sys
	path = os.path.abspath("notify.sock")
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind(path)
	store, child = {}, None
	def start():
	    fds = [(n, fd) for n in store for fd in store[n]]
	    env = dict(os.environ, NOTIFY_SOCKET=path)
	    def place():
	        high = [os.dup2(fd, 200 + i, False) for i, (_, fd) in enumerate(fds)]
	        for i, fd in enumerate(high):
	            os.dup2(fd, 3 + i)
	        os.environ.update(env, LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)),
	                          LISTEN_FDNAMES=":".join(n for n, _ in fds))
	        os.execv(sys.argv[1], sys.argv[1:])
	    return subprocess.Popen(["true"], preexec_fn=place, close_fds=False)
	child = start()
	signal.signal(signal.SIGTERM, lambda *_: (child.kill(), sys.exit(0)))
	s.settimeout(0.1)
	while True:
	    if child.poll() is not None:
	        child = start()
	    try:
	        text, anc, _, _ = s.recvmsg(4096, socket.CMSG_SPACE(64 * 4))
	    except TimeoutError:
	        continue
	    fds = array.array("i")
	    for _, _, data in anc:
	        fds.frombytes(data)
	    for fd in fds:
	        os.set_inheritable(fd, False)
	    said = dict(l.split("=", 1) for l in text.decode().split("\n"))
	    name = said.get("FDNAME")
	    if "FDSTOREREMOVE" in said:
	        for fd in store.pop(name, []):
	            os.close(fd)
	    if "FDSTORE" in said:
	        store.setdefault(name, []).extend(fds)
	    print(text.decode().replace("\n", " "), len(fds), child.pid, flush=True)
	EOF
	FDSTORE=16 spawn keeper python3 keeper.py "$BIN/routerd" -c weir.yaml
	wait_for 'grep -q "^READY=1 0" "$(log_of keeper)"'
	until_ok grep -q "^FDSTORE=1 FDNAME=127.0.0.1_$HTTP 2 " "$(log_of keeper)"
	local pid i
	for i in 1 2; do
		pid=$(ctl routerd.0 json status | jq .pid)
		kill -KILL "$pid"
		[ "$(http "http://127.0.0.1:$HTTP/")" = hello ]
		wait_for '[ "$(ctl routerd.0 json status | jq .pid)" != '"$pid"' ]'
	done
	# Gone by a reload: told, and refused.
	sed -i "s/{ name: http, address: \"127.0.0.1:$HTTP\" }, //" weir.yaml
	ctl routerd.0 reload
	wait_for "grep -q '^FDSTOREREMOVE=1 FDNAME=127.0.0.1_$HTTP 0 ' <(tail -n 3 '$(log_of keeper)')"
	wait_for 'is_refused "http://127.0.0.1:$HTTP/"'
	kill_hard keeper
	kill -KILL "$(ctl routerd.0 json status | jq .pid)"
	rm notify.sock
	: >"$(log_of keeper)"
	spawn keeper python3 keeper.py "$BIN/routerd" -c weir.yaml
	wait_for 'grep -q "^READY=1 0" "$(log_of keeper)"'
	refute grep -q FDSTORE "$(log_of keeper)"
	stop keeper
}
