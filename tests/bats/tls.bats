#!/usr/bin/env bats
# What tlsd promises to clients and operators, with real clients.

load tls_helper

setup() { tls_setup; }
teardown() { tls_teardown; }

simple() { # a listener that relays bytes as they are to b.sock
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  handshake_timeout: ${1:-10s}
  handoff_timeout: ${2:-5s}
  listen:
    - { address: "127.0.0.1:0", to: "unix:$RUN/b.sock", relay: none, certificates: [{ cert: site.crt, key: site.key }] }
X
	tlsd_start
	PORT=$(tls_port 0)
}

relay() { python3 "$RELAY" "$1" "$PORT" "$RUN/b.sock" "${@:2}"; }

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
	run "$BINS/tlsd" -c weir.yaml
	[ "$status" -eq 2 ]
	[[ "$output" == *"weir.yaml:5:"*"tls.listen[0].certificates[0]"*"b.key: the private key does not belong to the certificate in"*"a.crt"* ]]
	run "$BINS/tlsd" -t -c weir.yaml
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
	run "$BINS/tlsd" -t -c weir.yaml
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
	run "$BINS/tlsd" -t -c weir.yaml
	[ "$status" -eq 0 ]
	[ "$(jq -r '.[0].level' <<<"$output")" = warning ]
	[[ "$(jq -r '.[0].text' <<<"$output")" == *"old.pem: the certificate expired at 2020-02-01T00:00:00Z"* ]]
	tlsd_start
	grep -q 'warn cert_expired path=.*old.pem' tlsd.log
	PORT=$(tls_port 0)
	[ "$(served)" = old ]
	[ "$(ctl json show certificates | jq -r '.[0].expired')" = true ]
	[[ "$(ctl show certificates)" == *old.pem*EXPIRED*localhost* ]]
}

@test "a self-signed certificate is made once, kept private, and says that it is for trials" {
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ self_signed: [localhost, 127.0.0.1] }] }]
X
	run "$BINS/tlsd" -t -c weir.yaml
	[ "$status" -eq 0 ]
	[ ! -e state ]
	tlsd_start
	PORT=$(tls_port 0)
	file=state/self-signed/localhost_127.0.0.1.pem
	[ "$(stat -c %a "$file")" = 600 ]
	grep -q 'warn cert_for_trials' tlsd.log
	run openssl x509 -in "$file" -noout -text
	[[ "$output" == *"prime256v1"* && "$output" == *"DNS:localhost, IP Address:127.0.0.1"* ]]
	openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$file" -verify_hostname localhost -verify_return_error </dev/null
	first=$(serial_of "$file")
	kill "$TLSD"
	wait_gone "$TLSD" 5
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(served_serial)" = "$first" ]
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
		(sleep 0.4) | openssl s_client -connect "127.0.0.1:$PORT" $v -servername one.test -sess_out s.pem >/dev/null 2>&1
		s_client $v -servername one.test -sess_in s.pem | grep -q '^Reused'
		s_client $v -servername two.test -sess_in s.pem | grep -q '^New'
	done
}

# ---- versions, ciphers, ALPN, tickets ----

@test "TLS 1.2 and 1.3 are spoken, 1.1 is refused and counted" {
	simple
	[[ "$(s_client -tls1_3)" == *"New, TLSv1.3"* ]]
	[[ "$(s_client -tls1_2)" == *"New, TLSv1.2"* ]]
	[[ "$(s_client -tls1_1 -cipher ALL:@SECLEVEL=0)" == *"alert protocol version"* ]]
	until_ok failed_reached wrong_version 1
	grep -q 'handshake_failed reason=wrong_version client=127.0.0.1' tlsd.log
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
	kill "$TLSD"
	wait_gone "$TLSD" 5
	tlsd_start
	PORT=$(tls_port 0)
	[[ "$(s_client -tls1_3)" == *"Cipher is TLS_AES_256_GCM_SHA384"* ]]
	[[ "$(s_client -tls1_2)" == *"Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"* ]]
	sed -i 's/ECDHE-ECDSA-AES256-GCM-SHA384, //; s/TLS_AES_256_GCM_SHA384/TLS_NO_SUCH/' weir.yaml
	run "$BINS/tlsd" -c weir.yaml -i other
	[ "$status" -ne 0 ]
	[[ "$output" == *"tls.listen[0]"*ciphers* ]]
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
		(sleep 0.4) | openssl s_client -connect "127.0.0.1:$PORT" $v -sess_out s.pem >/dev/null 2>&1
		[[ "$(s_client $v -sess_in s.pem)" == *"Reused, TLSv1"* ]]
	done
	[ "$(counter resumed)" = 2 ]
}

@test "ticket keys rotate: the one before still opens, the one before that does not" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  tickets: { rotate: 2s }
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	turns() { [ "$(grep -c ' ticket_keys ' tlsd.log)" -ge "$1" ]; }
	(sleep 0.3) | openssl s_client -connect "127.0.0.1:$PORT" -tls1_2 -sess_out s.pem >/dev/null 2>&1
	until_ok turns 1
	[ "$(ctl json status | jq .tickets.keys)" = 2 ]
	[[ "$(s_client -tls1_2 -sess_in s.pem)" == *"Reused"* ]]
	until_ok turns 2
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
	run bash -c "(echo one; sleep 0.3; echo R; sleep 0.5) | openssl s_client -connect 127.0.0.1:$PORT -tls1_2 2>&1"
	[[ "$output" == *"no renegotiation"* ]]
	run bash -c "(echo one; sleep 0.3; echo K; sleep 0.3; echo two; sleep 0.3; echo k; sleep 0.3; echo three; sleep 0.3) | openssl s_client -connect 127.0.0.1:$PORT -tls1_3 2>&1"
	[[ "$output" == *one*KEYUPDATE*two*KEYUPDATE*three* ]]
}

# ---- hostile and slow clients ----

@test "a client that says nothing, or dribbles, is closed at handshake_timeout" {
	simple 1s
	for how in silent dribble; do
		run relay $how
		[ "$status" -eq 0 ]
		ms=${output#closed_after_ms=}
		[ "$ms" -ge 900 ] && [ "$ms" -lt 3000 ]
	done
	[ "$(failures timeout)" = 2 ]
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
	[ "$(counter handshake_failed)" = 4 ]
	[ "$(ctl json status | jq .connections.open)" = 0 ]
}

@test "failed handshakes are logged ten times a second at most" {
	simple
	for i in $(seq 60); do (exec 3<>"/dev/tcp/127.0.0.1/$PORT"); done
	until_ok failed_reached eof 60
	seconds=$(grep ' handshake_failed ' tlsd.log | cut -c1-19 | sort -u | wc -l)
	[ "$(grep -c ' handshake_failed ' tlsd.log)" -le $((seconds * 10)) ]
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
	until_ok grep -q ready hold.log
	until_ok reached pause_limit 1
	[ "$(ctl json status | jq .connections.open)" -le 9 ]
	before=$(awk '{print $14 + $15}' "/proc/$TLSD/stat")
	sleep 1
	after=$(awk '{print $14 + $15}' "/proc/$TLSD/stat")
	[ $((after - before)) -lt 20 ]
	touch go
	all() { reached accepted 20; }
	until_ok all
	[[ "$(s_client)" == *"New, TLSv1.3"* ]]
}

@test "without descriptors accepting pauses, costs nothing, and goes on" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	prlimit --pid "$TLSD" --nofile="$(($(ls "/proc/$TLSD/fd" | wc -l) + 6))"
	spawn hold python3 "$RELAY" hold "$PORT" n=20 go="$D/go"
	until_ok grep -q ready hold.log
	until_ok grep -q accept_paused_resources tlsd.log
	before=$(awk '{print $14 + $15}' "/proc/$TLSD/stat")
	sleep 1
	after=$(awk '{print $14 + $15}' "/proc/$TLSD/stat")
	[ $((after - before)) -lt 20 ]
	touch go
	served_all() { [[ "$(s_client)" == *"New, TLSv1.3"* ]]; }
	until_ok served_all
}

# ---- the relay ----

@test "bytes pass both ways, in records of any size, in pieces of any size" {
	simple
	for v in 1.2 1.3; do
		relay echo version=$v
		relay records version=$v
		relay pieces version=$v
	done
}

@test "close_notify becomes the server's end of input, and its answer still arrives" {
	simple
	relay client_half_close version=1.2
	relay client_half_close version=1.3
}

@test "the server's end becomes close_notify, and the client can still send" {
	simple
	relay server_half_close version=1.2
	relay server_half_close version=1.3
}

@test "a client that is cut off is no clean end" {
	simple
	relay client_cut
	[ "$(counter client_cut)" -ge 1 ]
}

@test "a TCP server's reset does not look like a clean end" {
	cert site ec 30 DNS:localhost
	port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: "127.0.0.1:$port", relay: none, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	python3 "$RELAY" server_reset "$PORT" "$port"
	[ "$(counter backend_error)" -ge 1 ]
	python3 "$RELAY" echo "$PORT" "$port"
}

@test "an early answer to an upload is not lost in a reset" {
	simple
	for i in 1 2 3; do relay early_answer; done
}

@test "both directions flow at once" {
	simple
	relay both version=1.2
	relay both version=1.3
}

@test "a slow reader holds the server back, and memory stays bounded" {
	simple
	relay download pid="$TLSD"
	relay download pid="$TLSD" version=1.2
}

@test "a slow server holds the client back, and memory stays bounded" {
	simple
	relay upload pid="$TLSD"
	relay upload pid="$TLSD" version=1.2
}

@test "the PROXY header says who came, how, and rides with the first bytes" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, alpn: [http/1.1], certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	mkdir -p "$RUN/web"
	run python3 "$RELAY" header "$PORT" "$RUN/web/0.sock" name=Some.Host.test
	[ "$status" -eq 0 ]
	for fact in command=1 family=0x11 src=127.0.0.1:same dst=127.0.0.1:same alpn=http/1.1 authority=some.host.test \
		"ssl version=TLSv1.3" "ssl cipher=TLS_AES_128_GCM_SHA256" "unique_id=24 bytes" together=True; do
		[[ "$output" == *"$fact"* ]] || { echo "missing: $fact in: $output"; false; }
	done
}

@test "an idle relay ends at idle_timeout" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  idle_timeout: 1s
  listen: [{ address: "127.0.0.1:0", to: "unix:$RUN/b.sock", relay: none, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	spawn sink socat "unix-listen:$RUN/b.sock,fork" EXEC:cat
	until_ok test -S "$RUN/b.sock"
	spawn client bash -c "sleep 20 | openssl s_client -connect 127.0.0.1:$PORT"
	until_ok reached idle_timeout 1
	[ "$(ctl json status | jq .connections.open)" = 0 ]
}

# ---- nobody behind ----

@test "finished handshakes wait for routerd within handoff_timeout" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  handoff_timeout: 5s
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	mkdir -p "$RUN/web"
	python3 "$RELAY" waits "$PORT" "$RUN/web/0.sock" after=1
	[ "$(counter waited)" = 1 ]
	[ "$(counter wait_timeout)" = 0 ]
	# a dead socket file is as good as none; another instance serves
	python3 "$RELAY" waits "$PORT" "$RUN/web/b.sock" after=0.3
	[ "$(counter wait_timeout)" = 0 ]
}

@test "when nobody comes they are closed after handoff_timeout, and counted" {
	simple 10s 1s
	run relay nobody
	[ "$status" -eq 0 ]
	ms=${output#closed_after_ms=}
	[ "$ms" -ge 900 ] && [ "$ms" -lt 3000 ]
	[ "$(counter wait_timeout)" = 1 ]
	grep -q ' handoff_timeout ' tlsd.log
}

@test "new connections go to the instance that has fewer" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	mkdir -p "$RUN/web"
	for i in a b; do spawn "sink$i" socat "unix-listen:$RUN/web/$i.sock,fork" EXEC:cat; done
	until_ok test -S "$RUN/web/a.sock" -a -S "$RUN/web/b.sock"
	tlsd_start
	PORT=$(tls_port 0)
	for i in 1 2 3 4 5 6; do spawn "c$i" bash -c "sleep 30 | openssl s_client -connect 127.0.0.1:$PORT"; done
	until_ok reached relayed 6
	[ "$(ctl json status | jq -c '[.servers[].active] | sort')" = "[3,3]" ]
}

# ---- reload and the end ----

@test "a reload serves the new certificate and leaves open connections alone" {
	simple
	old=$(serial_of site.crt)
	spawn keep python3 "$RELAY" keep "$PORT" "$RUN/b.sock" go="$D/go"
	until_ok grep -q ready keep.log
	cert site ec 30 DNS:localhost
	[ "$(served_serial)" = "$old" ]
	run ctl reload
	[[ "$output" != *error* ]]
	new=$(serial_of site.crt)
	[ "$new" != "$old" ]
	[ "$(served_serial)" = "$new" ]
	touch go
	until_ok grep -q 'went on' keep.log
}

@test "a bad certificate does not get in by reload, and the reply says why" {
	simple
	old=$(serial_of site.crt)
	cert other ec 30 DNS:localhost
	cp other.crt site.crt
	run ctl reload
	[[ "$output" == *error*"site.key: the private key does not belong"* ]]
	kill -HUP "$TLSD"
	until_ok grep -q 'site.key: the private key does not belong' tlsd.log
	[ "$(served_serial)" = "$old" ]
	[ "$(ctl json status | jq .generation)" = 1 ]
}

@test "listeners come and go by reload; the ones that stay keep their sockets" {
	simple
	second=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
	cp weir.yaml one.yaml
	cat >>weir.yaml <<X
    - { address: "127.0.0.1:$second", to: web, certificates: [{ cert: site.crt, key: site.key }] }
X
	ctl reload
	[ "$(tls_port 0)" = "$PORT" ]
	first=$PORT
	PORT=$second
	[ "$(served)" = site ]
	cp one.yaml weir.yaml
	ctl reload
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
		[[ "$(ctl reload)" != *error* ]]
	done
	until_ok grep -q finished load.log
	! grep -q FAILED load.log
	[ "$(ctl json status | jq .generation)" = 101 ]
	idle() { [ "$(ctl json status | jq .connections.open)" = 0 ] && [ "$(ls "/proc/$TLSD/fd" | wc -l)" -le $((fds + 1)) ]; }
	until_ok idle
}

@test "SIGTERM refuses new clients, lets relays finish, and ends with 0" {
	simple
	spawn keep python3 "$RELAY" keep "$PORT" "$RUN/b.sock" go="$D/go"
	until_ok grep -q ready keep.log
	kill -TERM "$TLSD"
	refused() { ! (exec 3<>"/dev/tcp/127.0.0.1/$PORT"); }
	until_ok refused
	kill -0 "$TLSD"
	touch go
	until_ok grep -q 'went on' keep.log
	wait "$TLSD"
	grep -q ' drained ' tlsd.log
}

@test "a second SIGTERM ends at once" {
	simple
	spawn keep python3 "$RELAY" keep "$PORT" "$RUN/b.sock" go="$D/never"
	until_ok grep -q ready keep.log
	kill -TERM "$TLSD"
	until_ok grep -q draining tlsd.log
	kill -TERM "$TLSD"
	wait_gone "$TLSD" 3
}

@test "listeners can be inherited by LISTEN_FDS" {
	cert site ec 30 DNS:localhost
	port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:$port", to: web, certificates: [{ cert: site.pem }] }]
X
	cat >pass.py <<'X'
import os, socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(16)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
X
	spawn tlsd python3 pass.py "$port" "$BINS/tlsd" -c weir.yaml
	TLSD=$SPAWNED
	until_ok grep -q ' started ' tlsd.log
	PORT=$port
	for i in 1 2 3 4 5; do [ "$(served)" = site ]; done
}

# ---- configuration ----

@test "every mistake is told with its place, and the exit code is 2" {
	tlsd_config <<X
  handshake_timeout: 10
  listen:
    - { address: "127.0.0.1:0", to: "example.com:80", certificates: [{ self_signed: [localhost] }] }
    - { address: "127.0.0.1:8443", to: "we b", certificates: [] }
    - { address: "127.0.0.1:8443", to: web, alpn: [h2], certifcates: [] }
    - { address: "*:443", to: web, relay: none, min_version: "1.1", certificates: [{ self_signed: ["a b"], cert: x }] }
X
	run "$BINS/tlsd" -c weir.yaml
	[ "$status" -eq 2 ]
	for text in 'weir.yaml:5:' 'is a host name, expected an address' '`we b` is no listener name' \
		'did you mean' 'does not speak `h2`' 'min_version' 'expected one of them' 'expect proxy_v2' \
		'127.0.0.1:8443 is used twice'; do
		[[ "$output" == *"$text"* ]] || { echo "missing: $text in: $output"; false; }
	done
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
	[[ "$(ctl reload)" != *error* ]]
	# another one: refused, the old one stays, and the reply says why
	cert site ec 30 DNS:localhost
	chmod 644 site.crt
	chmod 600 site.key
	run ctl reload
	[[ "$output" == *error*"site.key: cannot be read: Permission denied"*"The certificate in force stays"* ]]
	[ "$(served_serial)" = "$old" ]
	# root passes the key on
	python3 - "$RUN/tlsd.0.sock" "$D/site.key" <<'X'
import array, socket, sys
def ask(line, fds=()):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    s.sendmsg([line.encode() + b"\n"], anc)
    out = b""
    while True:
        d = s.recv(4096)
        if not d:
            return out.decode()
        out += d
with open(sys.argv[2]) as f:
    print(ask("give " + sys.argv[2], [f.fileno()]))
answer = ask("reload")
print(answer)
sys.exit("error" in answer)
X
	[ "$(served_serial)" = "$(serial_of site.crt)" ]
	[ "$(served_serial)" != "$old" ]
}
