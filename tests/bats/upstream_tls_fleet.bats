#!/usr/bin/env bats
# TLS to servers, around the requests: probes over it, what check says of policies, and who starts the process that
# makes the handshakes.

load uptls_helper

CHECK='check: { http: { path: /health }, interval: 100ms, fall: 2, rise: 1, timeout: 1s }'
probe() { ctl healthd.0 json show probes | jq -r --arg s "$1" '.. | objects | select(.server? == $s or .name? == $s) | select(.state?) | "\(.state) \(.reason // "")"' | head -1; }

@test "HTTP probes go over TLS and tell why they fail; TCP probes only connect" {
	leaf old IP:127.0.0.1 ca 20200101000000Z 20200201000000Z
	leaf other DNS:other.example
	origin good --tls good.pem
	origin old --tls old.pem
	origin other --tls other.pem
	spawn plain python3 -c '
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(9); print("port", s.getsockname()[1], flush=True)
while True:
    c, _ = s.accept()
    c.recv(4096); c.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"); c.close()
'
	wait_for '[ -n "$(port_of plain)" ]'
	tls_site "$CHECK" '' "$(server_of good)" "$(server_of old)" "$(server_of other)" "$(server_of plain)"
	both
	start healthd
	wait_for '[[ "$(probe good)" = up* ]]'
	wait_for '[ "$(probe old)" = "down tls_expired" ]'
	wait_for '[ "$(probe other)" = "down tls_name_mismatch" ]'
	wait_for '[ "$(probe plain)" = "down tls_not_tls" ]'
	requests good | jq -s -e '[.[] | select(.event == "request" and .target == "/health")] | length > 0 and (.[0].headers | map(select(.[0] == "Host"))[0][1] | test("^127.0.0.1:"))'
	# what probes say reaches the router
	wait_for '[ "$(ctl routerd.0 json status | jq -r ".pools[0].servers[] | select(.name == \"old\").reason")" = tls_expired ]'
	for i in 1 2 3; do [ "$(code)" = 200 ]; done
	http -X PUT --cacert ca.crt "https://localhost:$(port_of good)/set-health/500"
	wait_for '[ "$(probe good)" = "down http_500" ]'
	tls_site 'check: { tcp: on, interval: 100ms, fall: 2, rise: 1, timeout: 1s }' '' "$(server_of old)"
	ctl healthd.0 reload
	wait_for '[[ "$(probe old)" = up* ]]'
}

@test "while nobody makes handshakes no probe is made, and none is held against a server" {
	origin good --tls good.pem
	tls_site "$CHECK" '' "$(server_of good)"
	both
	start healthd
	wait_for '[[ "$(probe good)" = up* ]]'
	kill_hard tlsd.connect
	wait_for '[ "$(ctl healthd.0 json status | jq ".probes.not_made // .counters.not_made // 0")" -ge 3 ]'
	[[ "$(probe good)" = up* ]]
	until_ok grep -q 'probe_not_made.*reason=tls_unavailable' proc/healthd.0.log
	connect_start
	http -X PUT --cacert ca.crt "https://localhost:$(port_of good)/set-health/500"
	wait_for '[ "$(probe good)" = "down http_500" ]'
}

@test "a server that hangs in the handshake fails its probe in time" {
	spawn hang python3 -c '
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(99); print("port", s.getsockname()[1], flush=True)
keep = []
while True: keep.append(s.accept())
'
	wait_for '[ -n "$(port_of hang)" ]'
	tls_site "$CHECK" '' "$(server_of hang)"
	connect_start
	start healthd
	wait_for '[ "$(probe hang)" = "down tls_timeout" ]'
}

check() { "$BIN/proxyctl" -c weir.yaml check; }
# says TEXT: check finds it, as an error
says() {
	run check
	[ "$status" = 2 ] || { echo "$output"; return 1; }
	[[ "$output" = *"$1"* ]] || { echo "$output"; return 1; }
}

@test "check finds policies that are not there, files that cannot be read, keys that do not fit" {
	tls_site '' '' 'address: "127.0.0.1:1"'
	run check
	[ "$status" = 0 ]
	[ "$output" = ok ]
	sed -i 's/^    tls: p$/    tls: pp/' weir.yaml
	says 'pools.app.tls: there is no policy "pp" in `upstream_tls.policies`; did you mean "p"?'
	tls_site '' 'ca: none.pem' 'address: "127.0.0.1:1"'
	says none.pem
	echo nonsense >bad.pem
	tls_site '' 'ca: bad.pem' 'address: "127.0.0.1:1"'
	says bad.pem
	tls_site '' 'ca: ca.crt, crl: ca.crt' 'address: "127.0.0.1:1"'
	says ca.crt
	leaf me DNS:me.example
	tls_site '' 'cert: me.crt, key: good.key' 'address: "127.0.0.1:1"'
	says 'upstream_tls.policies.p'
	tls_site '' 'key: good.key' 'address: "127.0.0.1:1"'
	says '`key` without `cert`'
	tls_site '' 'ciphers: [ECDHE-RSA-AES128-SHA]' 'address: "127.0.0.1:1"'
	says 'ECDHE-RSA-AES128-SHA` is no suite'
	tls_site '' 'verify: off, ca: ca.crt' 'address: "127.0.0.1:1"'
	says 'verify is off, but there is `ca`'
	tls_site '' 'name: "a b"' 'address: "127.0.0.1:1"'
	says 'neither a host name nor an address'
	tls_site '' 'sni: "1.2.3.4"' 'address: "127.0.0.1:1"'
	says 'is no host name'
	tls_site '' 'min_version: 1.1' 'address: "127.0.0.1:1"'
	says min_version
	tls_site '' '' "address: \"unix:$T/x.sock\""
	says 'has no host that its certificate could name'
	tls_site '' 'name: app.example' "address: \"unix:$T/x.sock\""
	run check
	[ "$status" = 0 ]
	tls_site '' '' 'address: "http://127.0.0.1:1"'
	says 'clear text'
	# not checking is allowed, and said once
	tls_site '' 'verify: off' 'address: "127.0.0.1:1"'
	run check
	[ "$status" = 0 ]
	[ "$(grep -c 'certificates are not checked' <<<"$output")" = 1 ]
}

@test "https:// in addresses: its port, its policy, and all servers of a pool alike" {
	cat >weir.yaml <<X
http:
  listen: [{ name: h, address: "127.0.0.1:0" }]
  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
pools:
  app: { servers: ["https://app.example", "https://[::1]:8443"] }
  clear: { servers: ["http://app.example", "app.example:81"] }
X
	run check
	[ "$status" = 0 ]
	sed -i 's/"http:..app.example", /"https:\/\/app.example", /' weir.yaml
	says 'is spoken to in clear text and others of this pool over TLS'
	# a redefined default is what https:// means; 443 is its port
	origin a --tls good.pem
	PORT=$(free_port)
	cat >weir.yaml <<X
run_dir: run
http:
  listen: [{ name: h, address: "127.0.0.1:$PORT" }]
  access_log: { path: access.log, format: json }
  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }, { path: /far, pool: far }] }]
upstream_tls: { policies: { default: { ca: ca.crt } } }
pools:
  app: { servers: ["https://localhost:$(port_of a)"] }
  far: { servers: ["https://127.0.0.1"] }
X
	both
	[ "$(code)" = 200 ]
	opens a | jq -e '.sni == "localhost"'
	[ "$(code /far)" = 502 ]
	[ "$(reason)" = connect_refused ]
	ctl routerd.0 json status | jq -e '.pools[0].servers[0].address | startswith("https://localhost:")'
}

@test "the system's authorities are asked when a policy names none" {
	origin a --tls good.pem
	tls_site 'retries: 0' 'verify: on' "$(server_of a)"
	SSL_CERT_FILE=/nonexistent SSL_CERT_DIR=/nonexistent run check
	[ "$status" = 0 ]
	[[ "$output" = *'has no authorities'* ]]
	SSL_CERT_FILE=$T/ca.crt connect_start
	start routerd
	[ "$(code)" = 200 ]
}

@test "up starts the process when a pool needs it, and a reload makes and ends it" {
	origin a --tls good.pem
	origin b
	tls_site "$CHECK" '' "$(server_of a)"
	cp weir.yaml tls.yaml
	spawn up "$BIN/proxyctl" -c weir.yaml up
	wait_for 'grep -q ^ready: proc/up.log'
	[ "$(code)" = 200 ]
	run "$BIN/proxyctl" -c weir.yaml status
	[[ "$output" = *tlsd.connect* ]]
	PID=$(ctl tlsd.connect json status | jq .pid)
	tr '\0' ' ' <"/proc/$PID/cmdline" | grep -q -- '--role connect'
	# its death is nobody's end
	kill -9 "$PID"
	wait_for '[ "$(ctl tlsd.connect json status | jq .pid)" != "$PID" ] && [ "$(ctl tlsd.connect json status | jq .pid)" -gt 0 ]'
	[ "$(code)" = 200 ]
	# all take a reload, or none: the role too
	sed -i 's/ca: ca.crt/ca: none.crt/' weir.yaml
	run "$BIN/proxyctl" -c weir.yaml reload
	[ "$status" != 0 ]
	[[ "$output" = *none.crt* ]]
	[ "$(code)" = 200 ]
	# no pool needs it any more
	sed "s/^    tls: p$//; s/^      - .*/      - { address: \"127.0.0.1:$(port_of b)\" }/" tls.yaml >weir.yaml
	"$BIN/proxyctl" -c weir.yaml reload
	wait_for '! ls run/tlsd.connect.sock'
	[ "$(code)" = 200 ]
	# and one does again
	cp tls.yaml weir.yaml
	"$BIN/proxyctl" -c weir.yaml reload
	wait_for '[ "$(ctl tlsd.connect json status | jq .pid)" -gt 0 ]'
	wait_for '[ "$(code)" = 200 ]'
	run "$BIN/proxyctl" -c weir.yaml cert reload
	[[ "$output" = *'no tlsd runs'* ]]
}

@test "each of its own user: the keys of the listeners are not where handshakes with servers are made" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	chmod 755 "$T" "$BATS_RUN_TMPDIR" "$(dirname "$T")" 2>/dev/null || true
	origin a --tls good.pem --tls-client-ca ca.crt
	leaf me DNS:me.example
	chmod 600 me.key
	tls_site '' 'ca: ca.crt, cert: me.crt, key: me.key' "$(server_of a)"
	sed -i "s/^http:/control_group: daemon\nhttp:\n  user: daemon/; s/^upstream_tls:/upstream_tls:\n  user: games/" weir.yaml
	sed -i '/access_log/d' weir.yaml
	chmod 644 weir.yaml ca.crt me.crt
	both
	[ "$(code)" = 200 ]
	[ "$(ctl tlsd.connect json status | jq .uid)" = "$(id -u games)" ]
	# another user's process may not ask
	python3 -c '
import grp, os, pwd, socket, sys
os.setgroups([]); os.setgid(grp.getgrnam("daemon").gr_gid); os.setuid(pwd.getpwnam("nobody").pw_uid)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(5)
s.connect(sys.argv[1])
assert s.recv(10) == b""
' "$T/run/upstream_tls/connect.ask"
	[ "$(tls_count channels_refused)" = 1 ]
	# a key that only root may read reaches it by reload
	leaf me2 DNS:me2.example
	chmod 600 me2.key
	chmod 644 me2.crt
	sed -i 's/me\.crt/me2.crt/; s/me\.key/me2.key/' weir.yaml
	"$BIN/proxyctl" -c weir.yaml reload
	[ "$(code)" = 200 ]
	opens a | tail -1 | jq -e '.client == ["me2"]'
}

@test "certificates that we show to servers stand in the list, and their ends are told" {
	local soon
	leaf me DNS:proxy.example
	soon=$(date -u -d '+5 days 1 hour' +%Y%m%d%H%M%SZ)
	leaf soon DNS:soon.example ca 20200101000000Z "$soon"
	leaf over DNS:over.example ca 20200101000000Z 20200201000000Z
	tls_site '' 'ca: ca.crt, cert: me.pem' 'address: "127.0.0.1:1"'
	sed -i 's/^    p: .*/&\n    q: { cert: soon.pem }\n    r: { cert: over.pem }/' weir.yaml
	connect_start
	run "$BIN/proxyctl" -c weir.yaml cert list
	[ "$status" = 0 ]
	[ "${#lines[@]}" = 4 ]
	[[ "${lines[1]}" =~ ^proxy\.example\ +policy\ p\ +tlsd\.connect\ +ECDSA\ +authority\ ca\ +(29|30)\ +none\ +.*/me\.pem$ ]]
	[[ "${lines[2]}" =~ ^soon\.example\ +policy\ q\ .*\ 5\  ]]
	[[ "${lines[3]}" =~ ^over\.example\ +policy\ r\ .*\ expired\  ]]
	"$BIN/proxyctl" -c weir.yaml cert list -j |
		jq -e 'map([.policy, .daemon, .expired]) == [["p","tlsd.connect",false],["q","tlsd.connect",false],["r","tlsd.connect",true]] and all(has("listen") | not)'
	until_ok grep -q ' cert_loaded path=.*/me.pem policy=p key=ECDSA' proc/tlsd.connect.log
	until_ok grep -q ' cert_expires_soon path=.*/soon.pem policy=q .*days_left=5' proc/tlsd.connect.log
	until_ok grep -q ' cert_expired path=.*/over.pem policy=r' proc/tlsd.connect.log
	refute grep -q 'cert_expires_soon.*policy=p' proc/tlsd.connect.log
	ctl tlsd.connect json status | jq -e '.certificates | .loaded == 3 and .expired == 1 and .expiring == 1 and .days_left == 5'
	# the end of one that is in use, as it comes
	leaf brief DNS:brief.example ca 20200101000000Z "$(date -u -d '+8 seconds' +%Y%m%d%H%M%SZ)"
	mv brief.pem me.pem
	wait_for 'grep -q "cert_changed path=.*/me.pem policy=p.*old_not_after=" proc/tlsd.connect.log'
	wait_for 'grep -q "cert_expired path=.*/me.pem policy=p" proc/tlsd.connect.log'
	# a reload that changes nothing says nothing of those that are well
	n=$(grep -c 'cert_loaded\|cert_changed\|cert_expires_soon' proc/tlsd.connect.log)
	ctl tlsd.connect reload
	[ "$(grep -c 'cert_loaded\|cert_changed\|cert_expires_soon' proc/tlsd.connect.log)" = "$n" ]
	# never, if so wished
	sed -i 's/^  watch: 200ms/  watch: 200ms\n  expiry_warning: 0/' weir.yaml
	ctl tlsd.connect reload
	ctl tlsd.connect json status | jq -e '.certificates.expiring == 0'
}

@test "a policy's file that changes between the phases of a reload is not lost" {
	local hash
	leaf me DNS:proxy.example
	tls_site '' 'ca: ca.crt, cert: me.pem' 'address: "127.0.0.1:1"'
	connect_start
	hash=$(ctl tlsd.connect json status | jq -r .hash)
	shown() { ctl tlsd.connect json cert list | jq -r '.[0].serial'; }
	of_file() { openssl x509 -noout -serial -in me.pem | cut -d= -f2 | tr A-F a-f; }
	[ "$(shown)" = "$(of_file)" ]
	for end in commit abort; do
		ctl tlsd.connect prepare "$hash" "$PWD/weir.yaml"
		leaf me DNS:proxy.example
		[ "$(shown)" != "$(of_file)" ]
		ctl tlsd.connect $end
		wait_for '[ "$(shown)" = "$(of_file)" ]'
	done
}
