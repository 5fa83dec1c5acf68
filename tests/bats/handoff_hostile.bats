#!/usr/bin/env bats
# Connections that were handed over, against clients of all kinds: real ones, and those that have their
# records in their hands.

load tls_helper

setup() {
	tls_setup
	PATH=$PATH:/usr/sbin:/sbin
	cert site ec 30 DNS:localhost
	origin o
	config <<X
run_dir: run
state_dir: state
tls:
  workers: 2
  listen: [{ address: "127.0.0.1:0", to: web, alpn: [http/1.1], certificates: [{ cert: site.pem }] }]
http:
  workers: 2
  access_log: { path: access.log, format: json }
  listen: [{ name: web, from: tlsd }]
  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
pools:
  app: { servers: [{ address: "127.0.0.1:$(port_of o)" }] }
X
	start routerd
	tlsd_start
	PORT=$(tls_port 0)
}

broken() { ctl routerd.0 json status | jq .counters.tls_broken; }
records() { python3 "$TOOLS/tlsrecords.py" "$PORT" "$@"; }
fine() { [ "$(http -k -o /dev/null -w '%{http_code}' "https://127.0.0.1:$PORT/bytes/10")" = 200 ]; }

@test "ciphertext in pieces of 1, 7, 100 and random bytes" {
	for v in 1.2 1.3; do
		run records $v pieces-1 pieces-7 pieces-100 pieces-random
		[ "$output" = "pieces-1 answer
pieces-7 answer
pieces-100 answer
pieces-random answer" ]
	done
	[ "$(handed)" = 8 ]
	[ "$(broken)" = 0 ]
}

@test "flipped, short, oversize, replayed, swapped and injected records end in the right alert, and nothing of them is heard" {
	run records 1.3 none flip-first flip-last flip-type flip-version flip-length short oversize replay swap ccs plain-alert plain-http empty-flood
	diff <(echo "$output") - <<'X'
none 200 OK
flip-first SSLV3_ALERT_BAD_RECORD_MAC
flip-last SSLV3_ALERT_BAD_RECORD_MAC
flip-type SSLV3_ALERT_UNEXPECTED_MESSAGE
flip-version TLSV1_ALERT_PROTOCOL_VERSION
flip-length SSLV3_ALERT_BAD_RECORD_MAC
short SSLV3_ALERT_BAD_RECORD_MAC
oversize TLSV1_ALERT_RECORD_OVERFLOW
replay SSLV3_ALERT_BAD_RECORD_MAC
swap SSLV3_ALERT_BAD_RECORD_MAC
ccs SSLV3_ALERT_UNEXPECTED_MESSAGE
plain-alert SSLV3_ALERT_UNEXPECTED_MESSAGE
plain-http SSLV3_ALERT_UNEXPECTED_MESSAGE
empty-flood SSLV3_ALERT_BAD_RECORD_MAC
X
	run records 1.2 none flip-first flip-last flip-type flip-version flip-length short oversize replay swap ccs plain-alert plain-http empty-flood
	diff <(echo "$output") - <<'X'
none 200 OK
flip-first SSLV3_ALERT_BAD_RECORD_MAC
flip-last SSLV3_ALERT_BAD_RECORD_MAC
flip-type SSLV3_ALERT_BAD_RECORD_MAC
flip-version TLSV1_ALERT_PROTOCOL_VERSION
flip-length SSLV3_ALERT_BAD_RECORD_MAC
short SSLV3_ALERT_BAD_RECORD_MAC
oversize TLSV1_ALERT_RECORD_OVERFLOW
replay SSLV3_ALERT_BAD_RECORD_MAC
swap SSLV3_ALERT_BAD_RECORD_MAC
ccs SSLV3_ALERT_UNEXPECTED_MESSAGE
plain-alert SSLV3_ALERT_BAD_RECORD_MAC
plain-http SSLV3_ALERT_UNEXPECTED_MESSAGE
empty-flood SSLV3_ALERT_BAD_RECORD_MAC
X
	wait_for '[ "$(broken)" = 26 ]'
	requests o | jq -c 'select(.target).target' >asked
	[ "$(wc -l <asked)" = 2 ] || { cat asked; false; } # those of `none`
	wait_for 'grep -q "tls_broken .*reason=bad_record_mac" proc/routerd.0.log'
	wait_for '[ "$(ctl routerd.0 json status | jq .connections)" = 0 ]'
	fine
}

@test "half a request and a cut is no request" {
	for v in 1.2 1.3; do
		run records $v truncate
		[ "$output" = "truncate no answer" ]
	done
	wait_for '[ "$(broken)" = 2 ]'
	refute grep -q '"body_len": 1000' proc/o.requests
	fine
}

@test "new keys: asked for now and then they come, asked for without end the client is cut off" {
	begin() {
		chat -tls1_3
		say 'GET /bytes/5 HTTP/1.1\r\nHost: localhost\r\n\r'
		hear ' 200 OK'
	}
	local i
	begin
	for i in {1..10}; do
		say K
		hear KEYUPDATE $i
	done
	say 'GET /status/204 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r'
	hear ' 204 '
	begin
	for i in {1..60}; do
		is_alive chat || break
		say K
		until_ok eval "heard KEYUPDATE $i || ! is_alive chat"
	done
	until_ok eval '! is_alive chat'
	wait_for 'grep -q "tls_broken .*reason=too_many_barren_records" proc/routerd.0.log'
	fine
}

@test "clients: OpenSSL, curl, Python, Node, with every suite of both versions" {
	local n=0
	printf 'GET /bytes/70000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >request
	for v in 1.2 1.3; do
		for suite in $(suites $v); do
			[ $v = 1.3 ] && opts=(-tls1_3 -ciphersuites $suite) copts=(--tlsv1.3 --tls13-ciphers $suite) ||
				{ opts=(-tls1_2 -cipher $suite); copts=(--tls-max 1.2 --ciphers $suite); }
			openssl s_client -quiet -ign_eof -connect "127.0.0.1:$PORT" "${opts[@]}" <request 2>/dev/null >got
			[ "$(wc -c <got)" -gt 70000 ]
			[ "$(http -k "${copts[@]}" "https://127.0.0.1:$PORT/bytes/70000" | wc -c)" = 70000 ]
			node -e '
				const [port, v, suite] = process.argv.slice(1);
				const o = { port, host: "127.0.0.1", path: "/bytes/70000", rejectUnauthorized: false, ciphers: suite,
					minVersion: "TLSv" + v, maxVersion: "TLSv" + v };
				require("https").get(o, r => { let n = 0; const s = r.socket.getCipher().name;
					r.on("data", d => n += d.length); r.on("end", () => { console.log(n, s === suite); process.exit(); }) })
			' "$PORT" $v $suite >got
			[ "$(cat got)" = "70000 true" ] || { echo "node $suite: $(cat got)"; false; }
			n=$((n + 3))
			[ "$(handed)" = $n ]
		done
		python3 - "$PORT" $v <<'P'
import http.client, ssl, sys
c = ssl._create_unverified_context()
c.minimum_version = c.maximum_version = getattr(ssl.TLSVersion, "TLSv" + sys.argv[2].replace(".", "_"))
h = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=c, timeout=20)
for i in range(3):
    h.request("POST", "/echo", body=b"x" * 100000)
    assert b'"body_len": 100000' in h.getresponse().read()
P
		n=$((n + 1))
		[ "$(handed)" = $n ]
	done
	refute grep -q tls_broken proc/routerd.0.log # who only leaves without a goodbye is not told of
	[ "$(counter relayed)" = 0 ]
}

@test "clients: GnuTLS, with every suite of both versions, and new keys" {
	command -v gnutls-cli >/dev/null || skip "gnutls-cli is not installed"
	local n=0
	for v in 1.2 1.3; do
		for cipher in AES-128-GCM AES-256-GCM CHACHA20-POLY1305; do
			(printf 'GET /bytes/70000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'; wait_for '[ "$(wc -c <got)" -gt 70000 ]' 5) |
				gnutls-cli --insecure --logfile=log -p "$PORT" 127.0.0.1 --sni-hostname localhost \
					--priority "NORMAL:-VERS-ALL:+VERS-TLS$v:-CIPHER-ALL:+$cipher" >got 2>err || true
			[ "$(wc -c <got)" -gt 70000 ] || { tail -5 log err; false; }
			n=$((n + 1))
			[ "$(handed)" = $n ]
		done
	done
	(printf 'GET /bytes/5 HTTP/1.1\r\nHost: localhost\r\n\r\n'; wait_for 'grep -q "200 OK" got'
		printf '^rekey^\n'; sleep 1
		printf 'GET /status/204 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'; wait_for 'grep -q " 204 " got' 5) |
		gnutls-cli --insecure --inline-commands --logfile=log -p "$PORT" 127.0.0.1 --priority NORMAL:-VERS-ALL:+VERS-TLS1.3 >got 2>err || true
	grep -q ' 204 ' got
	[ "$(broken)" -le 7 ] # gnutls-cli leaves as it likes
}

@test "clients: Chromium" {
	browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || skip "chromium is not installed"
	timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --ignore-certificate-errors \
		--user-data-dir="$T/profile" --dump-dom "https://localhost:$PORT/echo" >got 2>err || { tail -5 err; false; }
	grep -q '"target": "/echo"' got
	[ "$(handed)" -ge 1 ]
	[ "$(counter relayed)" = 0 ]
}
