#!/usr/bin/env bats
# Names whose connections tlsd passes through as they come: what the server behind sees is what the client
# sent, and tlsd's own names are served beside them.

load tls_helper

setup() {
	tls_setup
	PATH=$PATH:/usr/sbin:/sbin
	cert site ec 30 DNS:site.test
	cert legacy ec 30 DNS:legacy.test,DNS:*.old.test
}

PASS=$TOOLS/passthrough.py

# passing LINES: a listener for site.test (relayed to $RUN/b.sock) whose `passthrough` is LINES
passing() {
	tlsd_config <<X
  listen:
    - address: "127.0.0.1:0"
      to: "unix:$RUN/b.sock"
      relay: none
      certificates: [{ cert: site.pem }]
      passthrough:
$1
X
	tlsd_start
	PORT=$(tls_port 0)
}
# to SERVER [PREFIX [MORE]]: legacy.test goes there
to() {
	WHERE=$1
	passing "        - { names: [legacy.test, \"*.old.test\"], to: \"${2:-}$1\", ${3:-proxy: none} }"
}
to_port() { to "$(free_port)" 127.0.0.1: "$@"; }
through() { timeout 150 python3 "$PASS" "$1" "$PORT" "$WHERE" "${@:2}"; }
all_gone() { [ "$(open_now)" = 0 ]; }

nginx_behind() { # [proxy]: nginx with TLS and legacy.pem, on $WHERE
	WHERE=$(free_port)
	cat >nginx.conf <<X
daemon off; pid $T/nginx.pid; error_log stderr;
events {}
http {
	access_log off;
	server {
		listen 127.0.0.1:$WHERE ssl ${1:+proxy_protocol};
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_certificate $D/legacy.crt; ssl_certificate_key $D/legacy.key;
		location / { return 200 "\$ssl_server_name \$proxy_protocol_addr \$ssl_protocol\n"; }
	}
}
X
	spawn nginx nginx -c "$T/nginx.conf" -p "$T" -e stderr
	until_ok bash -c "exec 3<>/dev/tcp/127.0.0.1/$WHERE"
}
ask() { http --cacert legacy.crt --connect-to "::127.0.0.1:$PORT" "$@"; }

@test "curl and openssl get the certificate and the answers of nginx behind; other names are tlsd's own" {
	nginx_behind
	to "$WHERE" 127.0.0.1:
	[ "$(ask https://legacy.test/ --tlsv1.3)" = "legacy.test  TLSv1.3" ]
	[ "$(ask https://a.old.test/ --tls-max 1.2)" = "a.old.test  TLSv1.2" ]
	[ "$(http --cacert legacy.crt --resolve "legacy.test:$PORT:127.0.0.1" "https://legacy.test:$PORT/")" = "legacy.test  TLSv1.3" ]
	[ "$(served -servername LEGACY.test)" = legacy ]
	[ "$(served -servername x.old.test)" = legacy ]
	for own in "-servername site.test" "-servername old.test" "-servername a.b.old.test" "-servername other.test" -noservername; do
		[ "$(served $own)" = site ] || { echo "$own"; false; }
	done
	[ "$(counter passed)" -ge 5 ]
	[ "$(counter handshakes)" -eq 5 ]
	tlsctl status | grep -q ' passthrough 1 '
	# resumption is between client and server
	s_client -servername legacy.test -sess_out sess -tls1_2 >/dev/null
	s_client -servername legacy.test -sess_in sess -tls1_2 | grep -q '^Reused'
}

@test "proxy: v2 tells nginx behind who came; the name stands in the header" {
	nginx_behind proxy
	passing "        - { names: [legacy.test], to: \"127.0.0.1:$WHERE\", proxy: v2 }"
	[ "$(ask https://legacy.test/ --interface 127.0.0.9)" = "legacy.test 127.0.0.9 TLSv1.3" ]
	stop nginx
	through header name=Legacy.Test
}

@test "a ClientHello in records and segments of any size finds its server" {
	nginx_behind
	to "$WHERE" 127.0.0.1:
	for sizes in "1 0" "0 1" "7 3" "100 0" "3 100" "1 1"; do
		set -- $sizes
		through pieces record=$1 segment=$2 want=legacy.test
	done
	# and one of a name of our own goes on to our own handshake
	# It hears before it answers: what is written to who has ended already would end the answer, too.
	spawn backend socat "UNIX-LISTEN:$RUN/b.sock,fork" SYSTEM:'dd bs=4096 count=1 >/dev/null 2>&1; echo served here'
	until_ok test -S "$RUN/b.sock"
	through pieces name=site.test record=1 segment=2 'want=served here'
	through pieces name=site.test record=0 segment=11 'want=served here'
}

@test "bytes arrive exactly, both ways at once, however they are cut" {
	to_port
	through exact mb=16
	through exact mb=1 record=5 segment=4
	[ "$(counter pass_up)" -gt 17000000 ]
	[ "$(counter pass_down)" -ge 17825792 ]
	[ "$(counter bytes_up)" -eq 0 ]
	until_ok all_gone
}

@test "large flows go from socket to socket in the kernel, exactly" {
	needs_root "trace daemons"
	to_port
	strace -f -qq -o trace -e trace=splice -p "$TLSD" 2>strace.err &
	echo $! >proc/strace.pid
	wait_for '! grep -q "^TracerPid:.0" /proc/$TLSD/task/*/status'
	through exact mb=16
	kill "$(cat proc/strace.pid)"
	wait "$(cat proc/strace.pid)" || true
	rm proc/strace.pid
	# into a pipe and out again: most of 2 x 16 MB
	[ "$(sed -n 's/.*) = \([0-9][0-9]*\)$/\1/p' trace | awk '{n += $1} END {print int(n / 1000000)}')" -ge 30 ]
	until_ok all_gone
	# what is left is a small stock
	[ "$(ls -l "/proc/$TLSD/fd" | grep -c pipe:)" -le 80 ]
}

@test "without descriptors for pipes all is copied" {
	needs_root "look into daemons"
	ulimit -n 600
	to_port
	before=$(ls -l "/proc/$TLSD/fd" | grep -c pipe:)
	through exact mb=16
	[ "$(ls -l "/proc/$TLSD/fd" | grep -c pipe:)" = "$before" ]
}

@test "a Unix socket behind" {
	to "$RUN/p.sock" unix:
	through exact mb=4
	through half
}

@test "each side may end first; a reset stays a reset" {
	to_port
	through half
	through resets
	until_ok all_gone
	[ "$(counter client_error)" -ge 1 ]
	[ "$(counter backend_error)" -ge 1 ]
}

@test "who does not read is not read for" {
	to_port
	through pressure pid="$TLSD"
}

@test "idle_timeout ends a silent connection" {
	to_port "proxy: none, idle_timeout: 2s"
	through idle ms=2000
	[ "$(counter idle_timeout)" -eq 1 ]
}

@test "a server that cannot be reached: an alert, a counter, and an event that says why" {
	to_port
	through alert
	until_ok grep -q " passthrough_failed reason=refused to=127.0.0.1:$WHERE sni=legacy.test " "$LOG"
	gone=unix:$RUN/gone.sock
	sed -i "s|to: \"127.0.0.1:$WHERE\"|to: \"$gone\"|" weir.yaml
	tlsctl reload
	sleep 1.1 # such an event is told once a second
	through alert
	until_ok grep -q " passthrough_failed reason=no_socket to=$gone " "$LOG"
	[ "$(counter pass_failed)" -eq 2 ]
	[ "$(counter passed)" -eq 0 ]
	# a full queue: no answer to a SYN
	full_queue full
	mute=$(port_of full)
	sed -i "s|to: \"$gone\", proxy: none|to: \"127.0.0.1:$mute\", connect_timeout: 200ms|" weir.yaml
	tlsctl reload
	is_told() { through alert && grep -q " passthrough_failed reason=timeout to=127.0.0.1:$mute " "$LOG"; }
	until_ok is_told # once a second
}

@test "of several addresses, one that can be reached" {
	nginx_behind
	passing "        - { names: [legacy.test], to: [\"127.0.0.1:$(free_port)\", \"unix:$RUN/none.sock\", \"127.0.0.1:$WHERE\"] }"
	for i in 1 2 3 4 5 6; do
		[ "$(ask https://legacy.test/)" = "legacy.test  TLSv1.3" ]
	done
	[ "$(counter pass_failed)" -eq 0 ]
	[ "$(counter passed)" -eq 6 ]
}

@test "a client that says half of its first message, none, or too much is ended in time" {
	to_port
	sed -i 's/^tls:/tls:\n  handshake_timeout: 2s/' weir.yaml
	tlsctl reload
	cat >odd.py <<-'P'
		import socket, sys
		def ask(data):
		    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
		    s.settimeout(30)
		    try:
		        s.sendall(data)
		        while s.recv(4096):
		            pass
		    except (ConnectionResetError, BrokenPipeError):
		        pass
		ask(b"")
		ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
		ask(b"GET / HTTP/1.1\r\n\r\n")
		ask(b"\x16\x03\x01\x00\x05hello")
		# a message of 64 kB in records of one byte: more than anybody may say
		ask(b"\x16\x03\x01\x00\x04\x01\x00\xff\x00" + b"\x16\x03\x01\x00\x01x" * 20000)
	P
	python3 odd.py "$PORT"
	until_ok failed_reached timeout 2
	until_ok failed_reached http_on_tls_port 1
	until_ok failed_reached too_long 1
	until_ok failed_reached bad_client_hello 1
	until_ok all_gone
	[ "$(tlsctl json status | jq .connections.handshaking)" -eq 0 ]
}

@test "open connections outlive a reload that takes the name away, and a stop waits for them" {
	to_port
	spawn keep python3 "$PASS" keep "$PORT" "$WHERE" "go=$D/go"
	until_ok grep -q ready proc/keep.log
	sed -i '/passthrough:/,$d' weir.yaml
	tlsctl reload
	[ "$(served -servername legacy.test)" = site ]
	[ "$(tlsctl json status | jq .connections.passing)" -eq 1 ]
	kill -TERM "$TLSD"
	until_ok grep -q ' draining' "$LOG"
	touch go
	until_ok grep -q '^ok' proc/keep.log
	wait_for '! is_alive tlsd.0'
}

@test "what does not make sense is refused, with the place" {
	check_says() { # LINES PATTERN
		tlsd_config <<-X
			  listen:
			    - address: "127.0.0.1:0"
			      to: web
			      certificates: [{ cert: site.pem }]
			      passthrough: [ $1 ]
		X
		run "$BIN/tlsd" -c weir.yaml -t
		[ "$status" -eq 2 ]
		[[ "$output" == *"$2"* ]] || { echo "$output"; false; }
	}
	check_says '{ names: [a.test], to: "server.test:443" }' 'is a host name, expected an address: tlsd resolves nothing'
	check_says '{ names: [a.test], to: "10.0.0.1" }' 'tls.listen[0].passthrough[0].to'
	check_says '{ names: [a.test], to: "10.0.0.1:0" }' 'port 0 cannot be connected to'
	check_says '{ names: ["*"], to: "10.0.0.1:1" }' 'is no name that a client asks for'
	check_says '{ names: ["a.*.test"], to: "10.0.0.1:1" }' 'is no name that a client asks for'
	check_says '{ names: [], to: "10.0.0.1:1" }' 'passthrough[0].names'
	check_says '{ names: [a.test] }' 'passthrough[0].to'
	check_says '{ names: [a.test, b.test], to: "10.0.0.1:1" }, { names: [B.test], to: "10.0.0.2:1" }' 'is passed through twice'
	check_says '{ names: [a.test], to: "10.0.0.1:1", proxy: v1 }' 'passthrough[0].proxy'
	# round in circles
	sed -i 's/address: "127.0.0.1:0"/address: "*:8443"/' weir.yaml
	for to in 127.0.0.1:8443 '[::1]:8443'; do
		sed -i "s/to: \"10.0.0.1:1\", proxy: v1/to: \"$to\"/; s/to: \"127.0.0.1:8443\"/to: \"$to\"/" weir.yaml
		run "$BIN/tlsd" -c weir.yaml -t
		[ "$status" -eq 2 ]
		[[ "$output" == *"is the listener of line "* ]] || { echo "$to: $output"; false; }
	done
	sed -i 's/to: "\[::1\]:8443"/to: "10.0.0.1:8443"/' weir.yaml
	run "$BIN/tlsd" -c weir.yaml -t
	[ "$status" -eq 0 ]
}
