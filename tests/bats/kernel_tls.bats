#!/usr/bin/env bats
# Connections whose sending the kernel's TLS takes over from routerd (tls.kernel). Where the kernel
# has none, what is left is that nobody notices; `make ktls` runs all of it in kernels that have it.

load tls_helper

# both [KERNEL [ALPN]]: an origin, routerd and tlsd; every request ends in `fine` or in its log
both() {
	[ -e site.pem ] || cert site ec 30 DNS:localhost
	[ -e proc/o.pid ] || origin o
	write "${1:-auto}" "${2:-http/1.1}"
	start routerd
	tlsd_start
	PORT=$(tls_port 0)
}

write() { # KERNEL ALPN
	config <<X
run_dir: run
state_dir: state
tls:
  kernel: $1
  listen:
    - { address: "127.0.0.1:0", to: web, alpn: [$2], certificates: [{ cert: site.pem }] }
http:
  workers: 2
  listen:
    - { name: web, from: tlsd }
  hosts:
    - { names: ["*"], routes: [{ path: /, pool: app }] }
pools:
  app: { servers: [{ address: "127.0.0.1:$(port_of o)" }] }
X
}

routers() { ctl routerd.0 json status | jq -r ".$1"; }
taken() { routers counters.connections_kernel_tls; }
# seals VERSION: can the kernel, as routerd sees it?
seals() { [[ ,$(routers kernel_tls), == *,tls$1,* ]]; }
need_kernel() { grep -qw tls /proc/sys/net/ipv4/tcp_available_ulp || skip "this kernel has no TLS, or its module is not loaded"; }
tls_stat() { awk -v name="$1" '$1 == name { print $2 }' /proc/net/tls_stat; }
sum() { sha256sum | cut -c1-16; }
# what the origin says to /bytes/N, without us
real() { http "http://127.0.0.1:$(port_of o)/bytes/$1" | sum; }
LARGE=3000000

curl_opts() { # VERSION SUITE
	[ "$1" = 1.3 ] && echo --tlsv1.3 --tls13-ciphers "$2" || echo --tls-max 1.2 --ciphers "$2"
}

@test "auto says what the kernel has, off leaves it alone, and either serves" {
	both auto
	until_ok grep -q 'kernel_tls versions=\(none reason=no_module\|none reason=no_ciphers\|tls1\.2\)' proc/routerd.0.log
	versions=$(sed -n 's/.*kernel_tls versions=\([^ ]*\).*/\1/p' proc/routerd.0.log)
	[ "$(routers kernel_tls)" = "$versions" ]
	[ "$(http -k --tls-max 1.2 "https://127.0.0.1:$PORT/bytes/$LARGE" | sum)" = "$(real $LARGE)" ]
	[ "$versions" != none ] || [ "$(taken)" = 0 ]

	# by a reload, for connections that come
	before=$(taken)
	write off http/1.1
	ctl routerd.0 reload
	wait_for '[ "$(routers kernel_tls)" = none ]'
	[ "$(http -k "https://127.0.0.1:$PORT/bytes/$LARGE" | sum)" = "$(real $LARGE)" ]
	[ "$(taken)" = "$before" ]
	stop routerd.0
	: >proc/routerd.0.log
	start routerd
	until_ok grep -q 'kernel_tls versions=none reason=off' proc/routerd.0.log
	ctl routerd.0 reload
	[ "$(grep -c ' kernel_tls ' proc/routerd.0.log)" = 1 ]
	# what it had not tried at its start it tries when it is wanted
	write auto http/1.1
	ctl routerd.0 reload
	wait_for '[ "$(routers kernel_tls)" = "'"$versions"'" ]'
}

@test "what is neither auto nor off is refused with its place" {
	cert site ec 30 DNS:localhost
	origin o
	write on http/1.1
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$status" = 2 ]
	[[ $output == *'tls.kernel'*'auto'*'off'* ]]
}

@test "large bodies of every suite that the kernel seals go through it, byte for byte, and what follows them" {
	need_kernel
	both
	large=$(real $LARGE) half=$(real 500000) small=$(real 128)
	n=0
	for v in 1.2 1.3; do
		for suite in $(suites $v); do
			sealed=$(tls_stat TlsTxSw)
			read -ra opts < <(curl_opts $v $suite)
			# one connection: the kernel comes in at the large one and stays
			url=https://127.0.0.1:$PORT
			http -k -m 60 "${opts[@]}" -w '%{num_connects}\n' -o a "$url/bytes/500000" -o b "$url/bytes/$LARGE" \
				-o c "$url/bytes/128" -o d "$url/chunked/500000" -o e "$url/bytes/$LARGE" >connects
			[ "$(paste -sd' ' connects)" = "1 0 0 0 0" ]
			[ "$(sum <a)" = "$half" ]
			[ "$(sum <b)" = "$large" ]
			[ "$(sum <c)" = "$small" ]
			[ "$(sum <d)" = "$half" ]
			[ "$(sum <e)" = "$large" ]
			http -k "${opts[@]}" -I "$url/bytes/$LARGE" | grep -qi "^content-length: $LARGE"
			seals $v && n=$((n + 1))
			[ "$(taken)" = $n ]
			! seals $v || [ "$(tls_stat TlsTxSw)" = $((sealed + 1)) ]
		done
	done
	[ $n -ge 3 ]
	refute grep -q tls_broken proc/routerd.0.log
	wait_for '[ "$(tls_stat TlsCurrTxSw)" = 0 ]'
}

@test "the end is told by close_notify, and a slow reader who was told to go gets all before it" {
	need_kernel
	both
	for v in 1.2 1.3; do
		python3 - "$PORT" $v $LARGE <<'P' >got
import hashlib, socket, ssl, sys
port, v, n = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
c = ssl._create_unverified_context()
c.minimum_version = c.maximum_version = getattr(ssl.TLSVersion, "TLSv" + v.replace(".", "_"))
c.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
for i in range(8):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096 + 700 * i)
    s.settimeout(30)
    s.connect(("127.0.0.1", port))
    t = c.wrap_socket(s, suppress_ragged_eofs=False)  # an end without close_notify is an error
    t.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % (n + 3001 * i))
    got = b""
    while True:
        d = t.recv(3000)
        if not d:
            break
        got += d
    body = got.split(b"\r\n\r\n", 1)[1]
    print(len(body) == n + 3001 * i)
P
		[ "$(sort got | uniq -c | tr -s ' ')" = " 8 True" ]
	done
	[ "$(taken)" -ge 8 ]
	[ "$(routers counters.kernel_tls_cut)" = 0 ]
}

@test "routerd drains while a slow reader is far behind: it gets all" {
	need_kernel
	both
	python3 - "$PORT" $LARGE <<'P' >got 3>&- &
import os, socket, ssl, sys, time
port, n = int(sys.argv[1]), int(sys.argv[2])
c = ssl._create_unverified_context()
c.maximum_version = ssl.TLSVersion.TLSv1_2
c.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.settimeout(30)
s.connect(("127.0.0.1", port))
t = c.wrap_socket(s, suppress_ragged_eofs=False)
t.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % n)
got = b""
while len(got) < n // 4:
    got += t.recv(3000)
open("reading", "w")
while not os.path.exists("draining"):
    time.sleep(0.02)
while True:
    d = t.recv(3000)
    if not d:
        break
    got += d
print(len(got.split(b"\r\n\r\n", 1)[1]) == n)
P
	reader=$!
	wait_for '[ -e reading ]'
	[ "$(taken)" = 1 ]
	kill -TERM "$(pid_of routerd.0)"
	wait_for 'grep -q draining proc/routerd.0.log'
	: >draining
	wait $reader
	[ "$(cat got)" = True ]
	wait_for '! is_alive routerd.0'
	rm -f proc/routerd.0.pid
}

@test "clients that ask for new keys get them, or routerd seals by itself" {
	need_kernel
	both
	rekeyed=$(tls_stat TlsTxRekeyOk)
	mkfifo words
	openssl s_client -connect "127.0.0.1:$PORT" -tls1_3 <words >got 2>said 3>&- &
	exec 8>words
	# large answers on one connection, and new keys asked for after each
	for i in 1 2 3; do
		printf 'GET /bytes/%d HTTP/1.1\r\nHost: localhost\r\n\r\n' $LARGE >&8
		wait_for '[ "$(wc -c <got)" -gt $((i * LARGE)) ]'
		printf 'K\n' >&8
		wait_for '[ "$(cat got said | grep -ac KEYUPDATE)" = $i ]'
	done
	printf 'GET /status/204 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&8
	wait_for "grep -aq '204 No Content' got"
	exec 8>&-
	wait $!
	refute grep -q 'bad record\|alert' said
	refute grep -q tls_broken proc/routerd.0.log
	if seals 1.3; then
		[ "$(taken)" = 1 ]
		[ "$(tls_stat TlsTxRekeyOk)" = $((rekeyed + 3)) ]
	else
		[ "$(taken)" = 0 ]
	fi
}

@test "other clients: GnuTLS, Node, OpenSSL; HTTP/2 stays with routerd" {
	need_kernel
	both auto 'h2, http/1.1'
	for v in 1.2 1.3; do
		node -e '
			const [port, v, n] = process.argv.slice(1);
			const o = { port, host: "127.0.0.1", path: "/bytes/" + n, rejectUnauthorized: false,
				minVersion: "TLSv" + v, maxVersion: "TLSv" + v };
			require("https").get(o, r => { const h = require("crypto").createHash("sha256");
				r.on("data", d => h.update(d)); r.on("end", () => { console.log(h.digest("hex").slice(0, 16)); process.exit(); }) })
		' "$PORT" $v $LARGE >got
		[ "$(cat got)" = "$(real $LARGE)" ]
		printf 'GET /bytes/%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' $LARGE |
			timeout $((30 * SLOWNESS)) openssl s_client -quiet -ign_eof -connect "127.0.0.1:$PORT" -tls${v/./_} 2>/dev/null >got
		[ "$(sed '1,/^\r$/d' got | sum)" = "$(real $LARGE)" ]
		if command -v gnutls-cli >/dev/null; then
			printf 'GET /bytes/%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' $LARGE |
				timeout $((30 * SLOWNESS)) gnutls-cli --logfile=/dev/null --insecure -p "$PORT" --priority "NORMAL:-VERS-ALL:+VERS-TLS$v" 127.0.0.1 >got || true
			[ "$(wc -c <got)" -ge $LARGE ]
		fi
	done
	n=$(taken)
	[ "$n" -ge 2 ]
	[ "$(http -k -m 60 --http2 -w '%{stderr}%{http_version}' "https://127.0.0.1:$PORT/bytes/$LARGE" 2>version | sum)" = "$(real $LARGE)" ]
	[ "$(cat version)" = 2 ]
	[ "$(taken)" = "$n" ]
}
