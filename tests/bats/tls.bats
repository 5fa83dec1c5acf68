#!/usr/bin/env bats
# What tlsd promises of handshakes, certificates and configuration, with real clients.

load tls_helper

# ---- certificates ----

@test "a key may stand in the certificate's file" {
	cert both ec 30 DNS:localhost
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: both.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(served)" = both ]
}

@test "the chain is sent as the file has it" {
	cert root ec 30 DNS:root
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf 2>/dev/null
	printf 'subjectAltName=DNS:leaf.test' >leaf.ext
	openssl x509 -req -in leaf.csr -CA root.crt -CAkey root.key -CAcreateserial -days 30 -extfile leaf.ext -out leaf.crt 2>/dev/null
	cat leaf.crt root.crt >chain.pem
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: chain.pem, key: leaf.key }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	run s_client -showcerts
	[ "$(grep -c 'BEGIN CERTIFICATE' <<<"$output")" = 2 ]
	run openssl s_client -connect "127.0.0.1:$PORT" -CAfile root.crt -verify_return_error </dev/null
	[[ "$output" == *"Verification: OK"* ]]
}

@test "a key of another certificate is an error that names the file" {
	cert a ec 30 DNS:a
	cert b ec 30 DNS:b
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: a.crt, key: b.key }] }]
X
	run "$BIN/tlsd" -c weir.yaml
	[ "$status" -eq 2 ]
	[[ "$output" == *"weir.yaml:6:"*"tls.listen[0].certificates[0]"*"b.key: the private key does not belong to the certificate in"*"a.crt"* ]]
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$status" -eq 2 ]
	[[ "$(jq -r '.[0].text' <<<"$output")" == *"b.key: the private key does not belong"* ]]
}

@test "a missing, empty, garbled or encrypted file is an error that names it" {
	cert a ec 30 DNS:a
	: >empty.pem
	printf -- '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' >garbled.pem
	openssl ec -in a.key -aes128 -passout pass:x -out locked.key 2>/dev/null
	tlsd_config <<X
  listen:
    - address: "127.0.0.1:0"
      to: web
      certificates:
        - { cert: missing.pem }
        - { cert: empty.pem }
        - { cert: garbled.pem }
        - { cert: a.crt, key: locked.key }
        - { cert: a.crt }
        - { cert: "$D" }
X
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$status" -eq 2 ]
	text=$(jq -r '.[].text' <<<"$output")
	[[ "$text" == *"missing.pem: cannot be read: No such file"* ]]
	[[ "$text" == *"empty.pem: has no certificate"* ]]
	[[ "$text" == *"garbled.pem: the certificate cannot be parsed"* ]]
	[[ "$text" == *"locked.key: the key is encrypted"* ]]
	[[ "$text" == *"a.crt: has no private key"* ]]
	[[ "$text" == *"is not a file"* ]]
}

@test "an expired certificate is a warning and an event, and is served" {
	cert old ec -1 DNS:localhost
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: old.pem }] }]
X
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$status" -eq 0 ]
	[ "$(jq -r '.[0].level' <<<"$output")" = warning ]
	[[ "$(jq -r '.[0].text' <<<"$output")" == *"old.pem: the certificate expired at 2020-02-01T00:00:00Z"* ]]
	tlsd_start
	until_ok grep -q 'warn cert_expired path=.*old.pem' "$LOG"
	PORT=$(tls_port 0)
	[ "$(served)" = old ]
	[ "$(tlsctl json cert list | jq -r '.[0].expired')" = true ]
	[[ "$(tlsctl cert list)" == *old.pem*EXPIRED*localhost* ]]
}

@test "a certificate that expires while tlsd runs is an event" {
	cert dying ec -1 DNS:localhost
	sign_between dying 20200101000000Z "$(date -u -d '+8 seconds' +%Y%m%d%H%M%SZ)"
	cat dying.crt dying.key >dying.pem
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: dying.pem }] }]
X
	tlsd_start
	until_ok grep -q 'info cert_loaded path=.*dying.pem' "$LOG"
	until_ok grep -q 'warn cert_expired path=.*dying.pem' "$LOG"
}

@test "a self-signed certificate is made once, kept private, and says that it is for trials" {
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ self_signed: [localhost, 127.0.0.1] }] }]
X
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$status" -eq 0 ]
	[ ! -e state ]
	tlsd_start
	PORT=$(tls_port 0)
	file=state/self-signed/localhost_127.0.0.1.pem
	[ "$(stat -c %a "$file")" = 600 ]
	until_ok grep -q 'warn cert_for_trials' "$LOG"
	run openssl x509 -in "$file" -noout -text
	[[ "$output" == *"prime256v1"* && "$output" == *"DNS:localhost, IP Address:127.0.0.1"* ]]
	openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$file" -verify_hostname localhost -verify_return_error </dev/null
	first=$(serial_of "$file")
	stop tlsd.0
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(served_serial)" = "$first" ]
	# Where others may write, it could be theirs: not even read.
	stop tlsd.0
	chmod 770 state/self-signed
	run start tlsd
	[ "$status" -ne 0 ]
	until_ok grep -q "self-signed: others may write there" "$LOG"
	chmod 700 state/self-signed
	mv state/self-signed elsewhere
	ln -s ../elsewhere state/self-signed
	: >"$LOG"
	run start tlsd
	[ "$status" -ne 0 ]
	until_ok grep -q "self-signed: others may write there" "$LOG"
}

@test "a key that tlsd may not read is an error that names it" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	chmod 755 "$D" "$BATS_RUN_TMPDIR" "$(dirname "$D")"
	chown nobody "$RUN"
	cert a ec 30 DNS:a
	chmod 644 a.crt
	chmod 600 a.key
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: a.crt, key: a.key }] }]
X
	chmod 644 weir.yaml
	mkdir -p state
	chown nobody state
	run setpriv --reuid nobody --clear-groups "$BIN/tlsd" -c weir.yaml
	[ "$status" -ne 0 ]
	[[ "$output" == *"tls.listen[0].certificates[0]"*"a.key: cannot be read: Permission denied"* ]]
}

# ---- choice by name ----

@test "SNI chooses exactly, then by wildcard of one label, then the first certificate" {
	cert first ec 30 DNS:first.test
	cert exact ec 30 DNS:www.example.test
	cert wild ec 30 'DNS:*.example.test'
	tlsd_config <<X
  listen:
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: first.pem }, { cert: exact.pem }, { cert: wild.pem }] }
X
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(served -servername www.example.test)" = exact ]
	[ "$(served -servername WWW.Example.Test)" = exact ]
	[ "$(served -servername other.example.test)" = wild ]
	[ "$(served -servername a.b.example.test)" = first ]
	[ "$(served -servername example.test)" = first ]
	[ "$(served -noservername)" = first ]
}

@test "RSA and ECDSA stand side by side: the client's abilities choose" {
	cert rsa rsa 30 DNS:both.test
	cert ec ec 30 DNS:both.test
	cert other ec 30 DNS:other.test
	tlsd_config <<X
  listen:
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: other.pem }, { cert: rsa.pem }, { cert: ec.pem }] }
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: rsa.pem }, { cert: ec.pem }] }
X
	tlsd_start
	for n in 0 1; do
		PORT=$(tls_port $n)
		name="-servername both.test"
		[ $n = 1 ] && name=-noservername
		[ "$(served $name)" = ec ]
		[ "$(served $name -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256)" = rsa ]
		[ "$(served $name -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256)" = ec ]
		[ "$(served $name -tls1_3 -sigalgs rsa_pss_rsae_sha256)" = rsa ]
		[ "$(served $name -tls1_3 -sigalgs ecdsa_secp256r1_sha256)" = ec ]
	done
}

@test "a ticket of one name does not resume under another" {
	cert one ec 30 DNS:one.test
	cert two ec 30 DNS:two.test
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: one.pem }, { cert: two.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	for v in -tls1_2 -tls1_3; do
		session $v -servername one.test
		s_client $v -servername one.test -sess_in s.pem | grep -q '^Reused'
		s_client $v -servername two.test -sess_in s.pem | grep -q '^New'
	done
}

@test "a session of one listener does not resume at another, neither by ticket nor from the cache" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  session_cache: { size: 1m }
  listen:
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }
    - { address: "127.0.0.2:0", to: web, certificates: [{ cert: site.pem }] }
X
	tlsd_start
	local one=127.0.0.1:$(tls_port 0) two=127.0.0.2:$(tls_port 1)
	ask() { openssl s_client -ign_eof -connect "$@" </dev/null 2>&1 || true; } # until tlsd closes, at its handoff_timeout
	for how in -tls1_2 -tls1_3 "-tls1_2 -no_ticket"; do
		ask $one $how -sess_out s.pem >/dev/null
		cp s.pem again.pem
		ask $two $how -sess_in s.pem | grep -q '^New, '
		ask $one $how -sess_in again.pem | grep -q '^Reused, '
	done
}

# ---- versions, ciphers, ALPN, tickets ----

@test "TLS 1.2 and 1.3 are spoken, 1.1 is refused and counted" {
	simple
	[[ "$(s_client -tls1_3)" == *"New, TLSv1.3"* ]]
	[[ "$(s_client -tls1_2)" == *"New, TLSv1.2"* ]]
	[[ "$(s_client -tls1_1 -cipher ALL:@SECLEVEL=0)" == *"alert protocol version"* ]]
	until_ok failed_reached wrong_version 1
	until_ok grep -q 'handshake_failed reason=wrong_version client=127.0.0.1' "$LOG"
}

@test "min_version 1.3 refuses 1.2" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, min_version: "1.3", certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	[[ "$(s_client -tls1_3)" == *"New, TLSv1.3"* ]]
	[[ "$(s_client -tls1_2)" == *"alert protocol version"* ]]
	until_ok failed_reached wrong_version 1
}

@test "weak suites are not spoken; ciphers narrows the choice; an unknown one is an error" {
	simple
	[[ "$(s_client -tls1_2 -cipher AES128-SHA:ECDHE-ECDSA-AES128-SHA)" == *"alert handshake failure"* ]]
	until_ok failed_reached no_shared_cipher 1
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, ciphers: [ECDHE-ECDSA-AES256-GCM-SHA384, TLS_AES_256_GCM_SHA384], certificates: [{ cert: site.pem }] }]
X
	stop tlsd.0
	tlsd_start
	PORT=$(tls_port 0)
	[[ "$(s_client -tls1_3)" == *"Cipher is TLS_AES_256_GCM_SHA384"* ]]
	[[ "$(s_client -tls1_2)" == *"Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"* ]]
	for name in TLS_NO_SUCH ECDHE-NO-SUCH 'ALL:!RSA' '@SECLEVEL=0'; do
		# beside good ones, which do not hide it
		sed "s/TLS_AES_256_GCM_SHA384/TLS_AES_256_GCM_SHA384, \"$name\"/" weir.yaml >other.yaml
		run "$BIN/tlsd" -t -c other.yaml
		[ "$status" -eq 2 ]
		[[ "$(jq -r '.[0] | .path + " " + .text' <<<"$output")" == "tls.listen[0].ciphers \`$name\` is no cipher suite"* ]]
	done
}

@test "ALPN: our order decides; no common protocol is an alert; none offered is fine" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  listen:
    - { address: "127.0.0.1:0", to: web, alpn: [http/1.1], certificates: [{ cert: site.pem }] }
    - { address: "127.0.0.1:0", to: "unix:$RUN/b.sock", alpn: [h2, http/1.1], certificates: [{ cert: site.pem }] }
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }
X
	tlsd_start
	PORT=$(tls_port 0)
	[[ "$(s_client -alpn h2,http/1.1)" == *"ALPN protocol: http/1.1"* ]]
	[[ "$(s_client -alpn h2,spdy/3)" == *"alert no application protocol"* ]]
	[[ "$(s_client)" == *"No ALPN negotiated"* ]]
	until_ok failed_reached alpn 1
	PORT=$(tls_port 1)
	[[ "$(s_client -alpn http/1.1,h2)" == *"ALPN protocol: h2"* ]]
	PORT=$(tls_port 2)
	[[ "$(s_client -alpn h2)" == *"No ALPN negotiated"* ]]
}

@test "sessions resume by ticket in 1.2 and 1.3, and the status counts it" {
	simple
	spawn sink socat "unix-listen:$RUN/b.sock,fork" EXEC:cat
	until_ok test -S "$RUN/b.sock"
	for v in -tls1_2 -tls1_3; do
		session $v
		[[ "$(s_client $v -sess_in s.pem)" == *"Reused, TLSv1"* ]]
	done
	until_ok reached resumed 2
	[ "$(counter resumed)" = 2 ]
}

@test "ticket keys rotate: the one before still opens, the one before that does not" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  tickets: { rotate: 5s }
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	turns() { [ "$(grep -c ' ticket_keys ' "$LOG")" -ge "$1" ]; }
	# Sessions live as long as a key seals: one that is young when its key has had its turn.
	while session -tls1_2 && ! turns 1; do mv s.pem young.pem; done
	mv young.pem s.pem
	[ "$(tlsctl json status | jq .tickets.keys)" = 2 ]
	[[ "$(s_client -tls1_2 -sess_in s.pem)" == *"Reused"* ]]
	until_ok turns 2
	[[ "$(s_client -tls1_2 -sess_in s.pem)" == *"New, "* ]]
}

two() { # two tlsd of one state_dir, each with a port of its own, and what the tickets section says
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  tickets: $1
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	start tlsd
	start tlsd -i b
	PORT=$(tls_port 0)
	other=$(ctl tlsd.b json status | jq -r '.listeners[0].bound' | sed 's/.*://')
}

@test "several tlsd open each other's tickets, also after a restart" {
	two '{ rotate: 1h }'
	[ "$(stat -c %a state/tickets)" = 700 ]
	[ "$(stat -c %a state/tickets/keys)" = 600 ]
	[ "$(tlsctl json status | jq .tickets.shared)" = true ]
	for v in -tls1_2 -tls1_3; do
		session $v
		mine=$PORT PORT=$other
		[[ "$(s_client $v -sess_in s.pem)" == *"Reused, TLSv1"* ]]
		PORT=$mine
	done
	session -tls1_2
	stop tlsd.0
	stop tlsd.b
	start tlsd
	PORT=$(tls_port 0)
	[[ "$(s_client -tls1_2 -sess_in s.pem)" == *"Reused, TLSv1"* ]]
}

@test "shared ticket keys rotate together" {
	two '{ rotate: 4s }'
	turns() { [ "$(grep -c ' ticket_keys ' "proc/tlsd.$1.log")" -ge "$2" ]; }
	# after each turn of both, what one seals the other one opens
	for n in 1 2; do
		until_ok turns 0 $n
		until_ok turns b $n
		session -tls1_2
		mine=$PORT PORT=$other
		[[ "$(s_client -tls1_2 -sess_in s.pem)" == *"Reused"* ]]
		PORT=$mine
	done
	# and what is old enough nobody opens
	cp s.pem old.pem
	until_ok turns b 5
	PORT=$other
	[[ "$(s_client -tls1_2 -sess_in old.pem)" == *"New, "* ]]
}

@test "ticket keys that others may read are not used; without sharing nothing is written" {
	mkdir -p state/tickets
	echo x >state/tickets/keys
	chmod 644 state/tickets/keys
	two '{ rotate: 1h }'
	until_ok grep -q 'warn ticket_keys_not_shared .*keys: others may read it' "$LOG"
	[ "$(tlsctl json status | jq .tickets.shared)" = false ]
	session -tls1_2
	[[ "$(s_client -tls1_2 -sess_in s.pem)" == *"Reused"* ]]
	PORT=$other
	[[ "$(s_client -tls1_2 -sess_in s.pem)" == *"New, "* ]]
	stop tlsd.0
	stop tlsd.b
	rm -r state
	two '{ shared: off }'
	[ ! -e state/tickets ]
	session -tls1_2
	PORT=$other
	[[ "$(s_client -tls1_2 -sess_in s.pem)" == *"New, "* ]]
}

@test "tickets can be switched off" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  tickets: { enabled: off }
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	for v in -tls1_2 -tls1_3; do
		run bash -c "(sleep 0.4) | openssl s_client -connect 127.0.0.1:$PORT $v -sess_out s.pem 2>&1"
		[[ "$output" == *"New, TLSv1"* && "$output" != *"session ticket:"* ]]
		[ ! -s s.pem ] # there was nothing to resume by
	done
}

@test "a client cannot renegotiate in 1.2, and key updates of 1.3 are followed" {
	simple
	spawn sink socat "unix-listen:$RUN/b.sock,fork" EXEC:cat
	until_ok test -S "$RUN/b.sock"
	chat -tls1_2
	say one
	hear '^one'
	say R
	hear 'no renegotiation'
	chat -tls1_3
	say one
	hear '^one'
	say K
	hear KEYUPDATE
	say two
	hear '^two'
	say k
	hear KEYUPDATE 2
	say three
	hear '^three'
	# One after the other without a word in between is an attack.
	local before
	before=$(counter client_error)
	refute none_open
	local i
	for i in {2..60}; do
		is_alive chat || break
		say K
		until_ok eval "heard KEYUPDATE $((i + 1)) || ! is_alive chat"
	done
	until_ok reached client_error $((before + 1))
	until_ok none_open
}

# ---- hostile and slow clients ----

@test "a client that says nothing, or dribbles, is closed at handshake_timeout" {
	simple 1s
	for how in silent dribble; do
		run relay $how
		[ "$status" -eq 0 ]
		ms=${output#closed_after_ms=}
		[ "$ms" -ge 900 ]
		[ "$ms" -lt 8000 ] # and not the 10 s of the default
	done
	until_ok failed_reached timeout 2
	[ "$(failures timeout)" = 2 ]
}

@test "a flight that is longer than the socket takes goes on when the client has read" {
	cert site ec 30 DNS:localhost
	# more than one buffer of the kernel's, 64 kB, and below what OpenSSL takes of a chain, 100 kB
	openssl req -x509 -new -key site.key -subj /CN=long -days 30 -out long.crt \
		-addext "nsComment=$(printf 'x%.0s' {1..5000})"
	cat site.pem >chain.pem
	for i in {1..14}; do cat long.crt; done >>chain.pem
	port=$(free_port)
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:$port", to: web, certificates: [{ cert: chain.pem }] }]
X
	inherited "$port" 1 # as little as the kernel gives
	[ "$(served -tls1_2)" = site ]
	[ "$(served -tls1_3)" = site ]
}

@test "what is no TLS is refused with its own reason" {
	simple
	relay raw 'send=GET / HTTP/1.1\r\nHost: x\r\n\r\n'
	until_ok failed_reached http_on_tls_port 1
	relay raw 'send=\x16\x03\x01\x00\x05hello'
	until_ok failed_reached bad_client_hello 1
	relay raw 'send=SSH-2.0-OpenSSH_9.2\r\n'
	until_ok failed_reached not_tls 1
	(exec 3<>"/dev/tcp/127.0.0.1/$PORT")
	until_ok failed_reached eof 1
	relay long_hello
	until_ok failed_reached too_long 1
	[ "$(counter handshake_failed)" = 5 ]
	until_ok none_open
}

@test "a reset in the middle of a ClientHello is noticed at once" {
	simple
	relay hello_reset
	until_ok failed_reached reset 20
	until_ok none_open
}

@test "failed handshakes are logged ten times a second at most" {
	simple
	python3 -c 'import socket, sys
for _ in range(600): socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30).close()' "$PORT"
	until_ok failed_reached eof 600
	seconds=$(grep ' handshake_failed ' "$LOG" | cut -c1-19 | sort -u | wc -l)
	logged=$(grep -c ' handshake_failed ' "$LOG")
	# The daemon's seconds begin elsewhere than the clock's: one more may be touched.
	[ "$logged" -lt 600 ]
	[ "$logged" -le $((seconds * 10 + 10)) ]
}

@test "at max_connections accepting pauses, costs nothing, and goes on" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  max_connections: 8
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	spawn hold python3 "$RELAY" hold "$PORT" n=20 go="$D/go"
	until_ok grep -q ready proc/hold.log
	until_ok reached pause_limit 1
	[ "$(open_now)" -le 9 ]
	before=$(ticks)
	sleep 1
	after=$(ticks)
	[ $((after - before)) -lt 20 ]
	touch go
	all() { reached accepted 20; }
	until_ok all
	[[ "$(s_client)" == *"New, TLSv1.3"* ]]
}

@test "a drain takes clients in the queue only while there is room for them" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  max_connections: 8
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	spawn hold python3 "$RELAY" hold "$PORT" n=40 go="$D/go"
	until_ok grep -q ready proc/hold.log
	until_ok reached pause_limit 1
	kill -TERM "$TLSD"
	until_ok grep -q ' draining ' "$LOG"
	until_ok reached pause_limit 2
	[ "$(open_now)" -le 10 ]
	[ "$(counter accepted)" -le 10 ]
	touch go
	wait_for '! is_alive tlsd.0'
}

@test "without descriptors accepting pauses, costs nothing, and goes on" {
	needs_root "look into daemons"
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	prlimit --pid "$TLSD" --nofile="$(($(ls "/proc/$TLSD/fd" | wc -l) + 6))"
	spawn hold python3 "$RELAY" hold "$PORT" n=20 go="$D/go"
	until_ok grep -q ready proc/hold.log
	until_ok grep -q accept_paused_resources "$LOG"
	before=$(ticks)
	sleep 1
	after=$(ticks)
	[ $((after - before)) -lt 20 ]
	touch go
	served_all() { [[ "$(s_client)" == *"New, TLSv1.3"* ]]; }
	until_ok served_all
}

# ---- what others see ----

@test "status counts each listener's connections" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  listen:
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }
X
	tlsd_start
	PORT=$(tls_port 1)
	spawn hold python3 "$RELAY" hold "$PORT" n=7 go="$D/go"
	seen() { [ "$(tlsctl json status | jq -c '[.listeners[] | .connections, .accepted]')" = "$1" ]; }
	until_ok seen '[0,0,7,7]'
	# they outlive the listener, and what was counted stays
	tlsctl reload
	seen '[0,0,7,7]'
	run "$BIN/proxyctl" -c weir.yaml status
	[[ "$output" =~ "127.0.0.1:$PORT"\ +tlsd.0\ +7\ +7 ]]
	touch go
	until_ok seen '[0,0,0,7]'
}

@test "hello.tlsd is on the bus, with the configuration in force" {
	simple
	mkdir -p "$RUN/bus"
	# spsub.py: the binding end of a bus, which prints what it is told
	cat >spsub.py <<'X'
import os, socket, struct, sys, threading
def bind(name):
    s = socket.socket(socket.AF_UNIX)
    s.bind(name)
    s.listen(8)
    return s
def exactly(c, n):
    b = b""
    while len(b) < n:
        more = c.recv(n - len(b))
        if not more:
            os._exit(0)
        b += more
    return b
pub, sub = bind(sys.argv[1] + "/test.0.pub"), bind(sys.argv[1] + "/test.0.sub")
threading.Thread(target=lambda: [pub.accept()[0].sendall(b"\0SP\0\0\x20\0\0") for _ in range(9)], daemon=True).start()
c = sub.accept()[0]
c.sendall(b"\0SP\0\0\x21\0\0")
print(exactly(c, 8).hex(), flush=True)
while True:
    kind, n = struct.unpack("!BQ", exactly(c, 9))
    print(exactly(c, n).decode(), flush=True)
X
	spawn bus python3 spsub.py "$RUN/bus"
	until_ok grep -q '^hello.tlsd ' proc/bus.log
	hello() { sed -n 's/^hello.tlsd //p' proc/bus.log | tail -1 | jq -r "$1"; }
	[ "$(hello .who)" = tlsd.0 ]
	says() { [ "$(hello .config)" = "$(tlsctl json status | jq -r .hash)" ]; }
	says
	before=$(hello .config)
	echo '# changed' >>weir.yaml
	tlsctl reload
	until_ok says
	[ "$(hello .config)" != "$before" ]
	# nothing that a bus sends ends tlsd: an end that speaks no SP
	kill "$(pid_of bus)"
	rm -f "$RUN"/bus/*
	spawn rubbish python3 -c "
import socket, sys
for n in ('pub', 'sub'):
    s = socket.socket(socket.AF_UNIX); s.bind('$RUN/bus/bad.0.' + n); s.listen(8)
    globals()[n] = s
c = sub.accept()[0]; c.sendall(b'\xff' * 70000)
d = pub.accept()[0]; d.sendall(b'\0SP\0\0\x20\0\0\1\xff\xff\xff\xff\xff\xff\xff\xff')
print('said'); sys.stdout.flush(); import time; time.sleep(60)"
	until_ok grep -q said proc/rubbish.log
	[[ "$(s_client)" == *"New, TLSv1.3"* ]]
	[ ! -e "$RUN/bus/tlsd.0.pub" ] # it binds nothing
}

# ---- configuration ----

@test "every mistake is told with its place, and the exit code is 2" {
	tlsd_config <<X
  handshake_timeout: 10
  listen:
    - { address: "127.0.0.1:0", to: "example.com:80", certificates: [{ self_signed: [localhost] }] }
    - { address: "127.0.0.1:8443", to: "we b", certificates: [] }
    - { address: "127.0.0.1:8443", to: web, alpn: [h3], certifcates: [] }
    - { address: "*:443", to: web, relay: none, min_version: "1.1", certificates: [{ self_signed: ["a b"], cert: x }] }
X
	run "$BIN/tlsd" -c weir.yaml
	[ "$status" -eq 2 ]
	for text in 'weir.yaml:6:' 'is a host name, expected an address' '`we b` is no listener name' \
		'did you mean' 'does not speak `h3`' 'min_version' 'expected one of them' 'expect proxy_v2' \
		'127.0.0.1:8443 is used twice'; do
		[[ "$output" == *"$text"* ]] || { echo "missing: $text in: $output"; false; }
	done
}
