#!/usr/bin/env bats
# What tlsd promises of the bytes it relays, and of connections that nobody takes.

load tls_helper

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
	until_ok reached client_cut 1
}

tcp_server() { # relay to a port, $server, instead of b.sock
	[ ! -e proc/tlsd.0.pid ] || stop tlsd.0
	cert site ec 30 DNS:localhost
	server=$(free_port)
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: "127.0.0.1:$server", relay: none, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
}

@test "a TCP server's reset does not look like a clean end" {
	tcp_server
	python3 "$RELAY" server_reset "$PORT" "$server"
	until_ok reached backend_error 1
	python3 "$RELAY" echo "$PORT" "$server"
}

@test "an early answer to an upload is not lost in a reset" {
	simple
	for i in 1 2 3; do relay early_answer; done
}

@test "an answer and its end arrive when the server closes without having read all" {
	simple
	relay closed_unread version=1.2
	relay closed_unread version=1.3
	tcp_server
	python3 "$RELAY" closed_unread "$PORT" "$server"
}

@test "a client's reset reaches the server, also when it comes with the last bytes" {
	simple
	relay client_reset version=1.2
	relay client_reset version=1.3
	tcp_server
	python3 "$RELAY" client_reset "$PORT" "$server"
	until_ok none_open
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
  listen: [{ address: "127.0.0.1:0", to: web, seam: relay, alpn: [http/1.1], certificates: [{ cert: site.pem }] }]
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

@test "the PROXY header tells IPv6 clients, and IPv4 clients of a socket for both as IPv4" {
	cert site ec 30 DNS:localhost
	six=$(free_port)
	both=$(free_port)
	tlsd_config <<X
  listen:
    - { address: "[::1]:$six", to: web, seam: relay, certificates: [{ cert: site.pem }] }
    - { address: "*:$both", to: web, seam: relay, certificates: [{ cert: site.pem }] }
X
	tlsd_start
	mkdir -p "$RUN/web"
	run python3 "$RELAY" header "$six" "$RUN/web/0.sock" host=::1
	[[ "$output" == *family=0x21*src=::1:same*dst=::1:same* ]]
	run python3 "$RELAY" header "$both" "$RUN/web/0.sock" host=127.0.0.1 source=127.0.0.9
	[[ "$output" == *family=0x11*src=127.0.0.9:same*dst=127.0.0.1:same* ]]
	run python3 "$RELAY" header "$both" "$RUN/web/0.sock" host=::1
	[[ "$output" == *family=0x21*src=::1:same*dst=::1:same* ]]
}

@test "a name that is no name is not passed on" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, seam: relay, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	mkdir -p "$RUN/web"
	run python3 "$RELAY" header "$PORT" "$RUN/web/0.sock" "name=a b"
	[[ "$output" == *unique_id* && "$output" != *authority* ]]
	run python3 "$RELAY" header "$PORT" "$RUN/web/0.sock" "name=a.b"
	[[ "$output" == *unique_id* && "$output" == *authority=a.b* ]]
}

@test "several workers share the work" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, seam: relay, certificates: [{ cert: site.pem }] }]
X
	sed -i 's/workers: 2/workers: 3/' weir.yaml
	tlsd_start
	[ "$(tlsctl json status | jq .workers)" = 3 ]
	mkdir -p "$RUN/web"
	run python3 "$RELAY" workers "$(tls_port 0)" "$RUN/web/0.sock"
	[ "$output" = workers=3 ]
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
	mkfifo says
	exec 6<>says
	spawn client bash -c "exec openssl s_client -connect 127.0.0.1:$PORT <says 6>&-"
	until_ok reached idle_timeout 1
	until_ok none_open
}

# ---- nobody behind ----

@test "finished handshakes wait for routerd within handoff_timeout" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  handoff_timeout: 5s
  listen: [{ address: "127.0.0.1:0", to: web, seam: relay, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	mkdir -p "$RUN/web"
	python3 "$RELAY" waits "$PORT" "$RUN/web/0.sock" after=1
	until_ok reached waited 1
	[ "$(counter waited)" = 1 ]
	[ "$(counter wait_timeout)" = 0 ]
	# a dead socket file is as good as none; another instance serves
	python3 "$RELAY" waits "$PORT" "$RUN/web/b.sock" after=0.3
	[ "$(counter wait_timeout)" = 0 ]
}

@test "when nobody comes they are closed after handoff_timeout, and counted" {
	simple 10s 1s
	# A foreign server, routerd by relay, and routerd by handoff.
	for seam in '' 'seam: relay,' 'seam: handoff,'; do
		if [ -n "$seam" ]; then
			stop tlsd.0
			: >"$LOG"
			sed -i "s#to: .* relay: none,#to: web, $seam#; s#to: web, seam: relay,#to: web, $seam#" weir.yaml
			tlsd_start
			PORT=$(tls_port 0)
		fi
		for v in 1.2 1.3; do
			run relay nobody version=$v more=100000
			[ "$status" -eq 0 ] || fail "$seam $v $output"
			ms=${output#closed_after_ms=}
			[ "$ms" -ge 900 ]
			[ "$ms" -lt 4500 ] # and not the 5 s of the default
		done
		until_ok reached wait_timeout 2
		[ "$(counter wait_timeout)" = 2 ]
		until_ok grep -q ' handoff_timeout ' "$LOG"
	done
	[ "$(counter waited)" = 2 ]
	until_ok none_open
	# their ends are bounded: in bytes
	relay nobody then=talk
	until_ok none_open
	# in time
	spawn stays python3 "$RELAY" nobody "$PORT" then=stay
	until_ok grep -q closed proc/stays.log
	[ "$(open_now)" = 1 ]
	until_ok none_open
	is_alive stays
	stop stays KILL
	# and short where places are few
	sed -i 's/^tls:/&\n  max_connections: 4/' weir.yaml
	tlsctl reload
	local a b c
	exec {a}<>/dev/tcp/127.0.0.1/"$PORT" {b}<>/dev/tcp/127.0.0.1/"$PORT" {c}<>/dev/tcp/127.0.0.1/"$PORT"
	until_ok eval '[ "$(open_now)" = 3 ]'
	spawn last python3 "$RELAY" nobody "$PORT" then=stay
	until_ok grep -q closed proc/last.log
	local began=$(date +%s%3N)
	until_ok eval '[ "$(open_now)" = 3 ]'
	[ $(($(date +%s%3N) - began)) -lt 2800 ] # and not 3 s
	is_alive last
	exec {a}>&- {b}>&- {c}>&-
}

@test "a client that leaves while it waits is noticed at once, and counted" {
	simple 10s 60s
	n=0
	for v in 1.2 1.3; do
		for how in reset fin; do
			relay waits_left version=$v how=$how
			n=$((n + 1))
			until_ok reached wait_left $n
			until_ok none_open
		done
	done
	# also when the reset came before the wait began, unseen
	for i in 1 2 3 4 5; do relay waits_reset_with_bytes version=1.3; done
	until_ok none_open
	[ "$(tlsctl json status | jq .connections.waiting)" = 0 ]
	[ "$(counter wait_timeout)" = 0 ]
}

@test "a client that half-closes while it waits gets its answer" {
	simple
	relay waits_half_closed version=1.2
	relay waits_half_closed version=1.3
	[ "$(counter wait_left)" = 0 ]
}

@test "one whose time is over does not hold up those who still wait" {
	simple 10s 4s
	relay waits_young
	until_ok reached wait_timeout 1
	[ "$(counter wait_timeout)" = 1 ]
}

@test "a server that does not answer the connect is given up after handoff_timeout" {
	cert site ec 30 DNS:localhost
	full_queue server
	tlsd_config <<X
  handoff_timeout: 1s
  listen: [{ address: "127.0.0.1:0", to: "127.0.0.1:$(port_of server)", relay: none, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	run relay nobody
	[ "$status" -eq 0 ]
	ms=${output#closed_after_ms=}
	[ "$ms" -ge 900 ]
	[ "$ms" -lt 4500 ]
	until_ok reached wait_timeout 1
	[ "$(counter wait_timeout)" = 1 ]
	# nor does it keep anybody from leaving before that
	sed -i 's/handoff_timeout: 1s/handoff_timeout: 1m/' weir.yaml
	tlsctl reload
	relay waits_left how=reset
	until_ok reached wait_left 1
	until_ok none_open
}

@test "new connections go to the instance that has fewer" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, seam: relay, certificates: [{ cert: site.pem }] }]
X
	mkdir -p "$RUN/web"
	for i in a b; do spawn "sink$i" socat "unix-listen:$RUN/web/$i.sock,fork" EXEC:cat; done
	until_ok test -S "$RUN/web/a.sock" -a -S "$RUN/web/b.sock"
	tlsd_start
	PORT=$(tls_port 0)
	mkfifo says
	exec 6<>says
	for i in 1 2 3 4 5 6; do
		spawn "c$i" bash -c "exec openssl s_client -connect 127.0.0.1:$PORT <says 6>&-"
		until_ok reached relayed $i
	done
	[ "$(tlsctl json status | jq -c '[.servers[].active] | sort')" = "[3,3]" ]
}
