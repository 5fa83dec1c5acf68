#!/usr/bin/env bats
# What tlsd promises of reloads, privileges and its end.

load tls_helper

# ---- reload and the end ----

@test "a reload serves the new certificate and leaves open connections alone" {
	simple
	old=$(serial_of site.crt)
	spawn keep python3 "$RELAY" keep "$PORT" "$RUN/b.sock" go="$D/go"
	until_ok grep -q ready proc/keep.log
	cert site ec 30 DNS:localhost
	[ "$(served_serial)" = "$old" ]
	run tlsctl reload
	[[ "$output" != *error* ]]
	new=$(serial_of site.crt)
	[ "$new" != "$old" ]
	[ "$(served_serial)" = "$new" ]
	touch go
	until_ok grep -q 'went on' proc/keep.log
}

@test "a bad certificate does not get in by reload, and the reply says why" {
	simple
	old=$(serial_of site.crt)
	cert other ec 30 DNS:localhost
	cp other.crt site.crt
	run tlsctl reload
	[[ "$output" == *error*"site.key: the private key does not belong"* ]]
	kill -HUP "$TLSD"
	until_ok grep -q 'site.key: the private key does not belong' "$LOG"
	[ "$(served_serial)" = "$old" ]
	[ "$(tlsctl json status | jq .generation)" = 1 ]
}

@test "listeners come and go by reload; the ones that stay keep their sockets" {
	simple
	second=$(free_port)
	cp weir.yaml one.yaml
	cat >>weir.yaml <<X
    - { address: "127.0.0.1:$second", to: web, certificates: [{ cert: site.crt, key: site.key }] }
X
	tlsctl reload
	[ "$(tls_port 0)" = "$PORT" ]
	first=$PORT
	PORT=$second
	[ "$(served)" = site ]
	cp one.yaml weir.yaml
	tlsctl reload
	run bash -c "exec 3<>/dev/tcp/127.0.0.1/$second"
	[ "$status" -ne 0 ]
	PORT=$first
	[ "$(served)" = site ]
}

@test "100 reloads under handshakes: not one fails" {
	simple
	spawn sink socat "unix-listen:$RUN/b.sock,fork" EXEC:cat
	until_ok test -S "$RUN/b.sock"
	fds=$(ls "/proc/$TLSD/fd" | wc -l)
	spawn load bash -c "for i in \$(seq 60); do openssl s_client -connect 127.0.0.1:$PORT </dev/null 2>&1 | grep -q 'New, TLSv1.3' || echo FAILED; done; echo finished"
	for i in $(seq 100); do
		[[ "$(tlsctl reload)" != *error* ]]
	done
	until_ok grep -q finished proc/load.log
	refute grep -q FAILED proc/load.log
	[ "$(tlsctl json status | jq .generation)" = 101 ]
	idle() { [ "$(open_now)" = 0 ] && [ "$(ls "/proc/$TLSD/fd" | wc -l)" -le $((fds + 1)) ]; }
	until_ok idle
}

@test "a relayed client's broken record, long after a reload, ends its session and nothing else" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  session_cache: { size: 1m }
  listen:
    - { address: "127.0.0.1:0", to: "unix:$RUN/b.sock", relay: none, certificates: [{ cert: site.pem }] }
X
	GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.perturb=165 tlsd_start # what is freed is overwritten at once
	PORT=$(tls_port 0)
	mkfifo go
	spawn client python3 -uc '
import socket, ssl, sys
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[2]); server.listen(1)
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
c.maximum_version = ssl.TLSVersion.TLSv1_2; c.options |= ssl.OP_NO_TICKET # the cache has the session
s = c.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
b, _ = server.accept()
s.sendall(b"x")
assert b.recv(1) == b"x"
print("relayed")
open("go").read()
raw = socket.socket(fileno=s.detach())
raw.sendall(bytes([23, 3, 3, 0, 32]) + bytes(32))
print("alert" if raw.recv(99)[:1] == bytes([21]) else "none")' "$PORT" "$RUN/b.sock"
	until_ok grep -q relayed proc/client.log
	[ "$(tlsctl json status | jq .session_cache.sessions)" = 1 ]
	cert site ec 31 DNS:localhost
	tlsctl reload
	echo >go
	_reap client 60
	grep -q alert proc/client.log
	until_ok eval '[ "$(tlsctl json status | jq .session_cache.sessions)" = 0 ]'
}

@test "SIGTERM refuses new clients, lets relays finish, and ends with 0" {
	simple
	spawn keep python3 "$RELAY" keep "$PORT" "$RUN/b.sock" go="$D/go"
	until_ok grep -q ready proc/keep.log
	kill -TERM "$TLSD"
	refused() { ! (exec 3<>"/dev/tcp/127.0.0.1/$PORT"); }
	until_ok refused
	kill -0 "$TLSD"
	# What is loaded now would be served to nobody.
	cert site ec 60 DNS:localhost
	[ "$(tlsctl cert reload)" = "error: this daemon is ending" ]
	[ "$(tlsctl reload)" = "error: this daemon is ending" ]
	refute grep -q cert_changed "$LOG"
	touch go
	until_ok grep -q 'went on' proc/keep.log
	_reap tlsd.0 30
	[ "$status" = 0 ]
	until_ok grep -q ' drained ' "$LOG"
}

@test "a second SIGTERM ends at once" {
	simple
	spawn keep python3 "$RELAY" keep "$PORT" "$RUN/b.sock" go="$D/never"
	until_ok grep -q ready proc/keep.log
	kill -TERM "$TLSD"
	until_ok grep -q draining "$LOG"
	kill -TERM "$TLSD"
	_reap tlsd.0 15
}

@test "listeners can be inherited by LISTEN_FDS" {
	cert site ec 30 DNS:localhost
	port=$(free_port)
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:$port", to: web, certificates: [{ cert: site.pem }] }]
X
	inherited "$port"
	for i in 1 2 3 4 5; do [ "$(served)" = site ]; done
}

@test "started by root it becomes the user, and a key that only root may read comes as a descriptor" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	id nobody >/dev/null
	chmod 755 "$D" "$BATS_RUN_TMPDIR" "$(dirname "$D")" "$RUN"
	chown nobody "$RUN"
	cert site ec 30 DNS:localhost
	chmod 644 site.crt
	chmod 600 site.key
	tlsd_config <<X
  user: nobody
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.crt, key: site.key }] }]
X
	chmod 644 weir.yaml
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(ps -o user= -p "$TLSD")" = nobody ]
	old=$(served_serial)
	# the same certificate: its key need not be read again
	[[ "$(tlsctl reload)" != *error* ]]
	# another one: refused, the old one stays, and the reply says why
	cert site ec 30 DNS:localhost
	chmod 644 site.crt
	chmod 600 site.key
	run tlsctl reload
	[[ "$output" == *error*"site.key: cannot be read: Permission denied"*"The certificate in force stays"* ]]
	[ "$(served_serial)" = "$old" ]
	# root passes the key on
	"$BIN/proxyctl" -c weir.yaml reload
	[ "$(served_serial)" = "$(serial_of site.crt)" ]
	[ "$(served_serial)" != "$old" ]
}
