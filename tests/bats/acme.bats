#!/usr/bin/env bats
# ACME challenges answered from folders, so that any ACME client works: http-01 by routerd, tls-alpn-01 by
# tlsd; with Debian's pebble as the authority, certbot and dehydrated as clients.

load tls_helper

setup() {
	tls_setup
	PATH=$PATH:/usr/sbin:/sbin
	mkdir -p tokens alpn certs
}

needs() {
	local tool
	for tool; do
		command -v "$tool" >/dev/null || skip "$tool is not installed: make deps"
	done
}

# both [LINES for tls]: tlsd and routerd; HTTP redirects to HTTPS, HTTPS answers "served here"
both() {
	HTTP=$(free_port)
	cert site ec 30 DNS:site.test
	cp site.pem certs/site.pem
	config <<X
run_dir: run
state_dir: state
tls:
  workers: 2
  watch: 200ms
  acme: { challenges: alpn }
  listen:
    - address: "127.0.0.1:0"
      to: https
      alpn: [http/1.1]
      certificates: [{ dir: certs }]
http:
  workers: 2
  acme: { tokens: tokens }
  access_log: { path: access.log, format: json }
  listen:
    - { name: http, address: "127.0.0.1:$HTTP" }
    - { name: https, from: tlsd }
  hosts:
    - names: ["*"]
      listen: [http]
      routes: [{ path: /, redirect: { scheme: https } }]
    - names: ["*"]
      listen: [https]
      routes: [{ path: /, respond: "served here" }]
X
	start routerd
	start tlsd
	TLSD=$(pid_of tlsd.0)
	PORT=$(tls_port 0)
}
count() { ctl routerd.0 json status | jq ".counters.$1"; }
challenge() { http "http://127.0.0.1:$HTTP/.well-known/acme-challenge/$1" "${@:2}"; }
code() { challenge "$@" -o /dev/null -w '%{http_code}' --path-as-is; }

# authority: pebble on $PEBBLE, which resolves every name to 127.0.0.1 and asks $HTTP and $PORT
authority() {
	needs pebble pebble-challtestsrv
	local dns manage
	PEBBLE=$(free_port) dns=$(free_port) manage=$(free_port)
	cert pebble rsa 30 DNS:localhost,IP:127.0.0.1
	cat >pebble.json <<X
{ "pebble": { "listenAddress": "127.0.0.1:$PEBBLE", "managementListenAddress": "127.0.0.1:$manage",
  "certificate": "$D/pebble.crt", "privateKey": "$D/pebble.key", "httpPort": $HTTP, "tlsPort": $PORT,
  "ocspResponderURL": "", "externalAccountBindingRequired": false } }
X
	spawn dns pebble-challtestsrv -defaultIPv4 127.0.0.1 -defaultIPv6 "" -dns01 "127.0.0.1:$dns" -http01 "" \
		-https01 "" -tlsalpn01 "" -management "127.0.0.1:$(free_port)"
	PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 spawn pebble pebble -config pebble.json -dnsserver "127.0.0.1:$dns"
	DIRECTORY=https://127.0.0.1:$PEBBLE/dir
	until_ok curl -sS --cacert pebble.crt "$DIRECTORY"
}
# the certificate that clients who ask for NAME get is the authority's
issued_for() { s_client -servername "$1" | grep -q 'issuer=CN = Pebble Intermediate'; }

# made NAME FILE: a challenge's certificate and key in one file
made() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
		-addext "subjectAltName=DNS:$1" -addext "1.3.6.1.5.5.7.1.31=critical,DER:0420$(printf '%064d' 7)" \
		-keyout made.key -out made.crt 2>/dev/null
	cat made.crt made.key >"$2"
}

# ---- with an authority ----

@test "certbot gets a certificate by http-01, in front of a redirect, and tlsd serves it" {
	needs certbot
	mkdir -p web/.well-known
	ln -s "$D/tokens" web/.well-known/acme-challenge
	both
	authority
	cat >deploy <<-'S'
		#!/bin/sh
		mkdir -p certs/new.test
		cp "$RENEWED_LINEAGE/privkey.pem" "$RENEWED_LINEAGE/fullchain.pem" certs/new.test/
	S
	chmod +x deploy
	REQUESTS_CA_BUNDLE=$D/pebble.crt run timeout 60 certbot certonly --webroot -w web -d new.test -d www.new.test \
		--server "$DIRECTORY" --agree-tos --register-unsafely-without-email --non-interactive \
		--config-dir le --work-dir le/work --logs-dir le/log --deploy-hook ./deploy
	[ "$status" -eq 0 ] || { echo "$output"; false; }
	until_ok issued_for new.test
	issued_for www.new.test
	[ "$(http -k --resolve "new.test:$PORT:127.0.0.1" "https://new.test:$PORT/")" = "served here" ]
	[ "$(count acme_answered)" -ge 2 ]
	until_ok grep -q '"route":"acme-challenge"' access.log
	[ -z "$(ls tokens)" ]
}

@test "dehydrated gets a certificate by tls-alpn-01, and tlsd serves it" {
	needs dehydrated
	both
	authority
	cat >dehydrated.conf <<-S
		CA=$DIRECTORY
		CHALLENGETYPE=tls-alpn-01
		ALPNCERTDIR=$D/alpn
		BASEDIR=$D/dehydrated
		CERTDIR=$D/certs
		KEY_ALGO=prime256v1
		CURL_OPTS="--cacert $D/pebble.crt"
		AUTO_CLEANUP=no
	S
	mkdir dehydrated
	run timeout 60 dehydrated -f dehydrated.conf --register --accept-terms
	[ "$status" -eq 0 ] || { echo "$output"; false; }
	run timeout 60 dehydrated -f dehydrated.conf --cron -d new.test
	[ "$status" -eq 0 ] || { echo "$output"; false; }
	until_ok issued_for new.test
	[ "$(counter acme_answered)" -ge 1 ]
	until_ok grep -q ' acme_challenge name=new.test ' "$LOG"
}

@test "what the README shows works as it stands there, with certbot and with dehydrated" {
	needs certbot dehydrated
	HTTP=$(free_port)
	PORT=$(free_port)
	mkdir -p dehydrated web
	awk '/^## /{ inside = /ACME/ } inside && /^    /{ print substr($0, 5) }' "$ROOT/README.md" |
		sed "s#/var/lib/weir/alpn#$D/alpn#; s#/etc/weir/certs#$D/certs#; s#/var/www#$D/web#g; s#weir-tls#$(id -gn)#
			s#\"\\*:443\"#\"127.0.0.1:$PORT\"#; s#\"\\*:80\"#\"127.0.0.1:$HTTP\"#" >shown
	awk '/^\$ /{ is_command = 1 } { print > (is_command ? "commands" : "weir.yaml") } !/\\$/{ is_command = 0 }' shown
	sed -i 's/^\$ //' commands
	[ "$(wc -l <commands)" = 3 ]
	refute grep -e '\*:' -e /var/ -e /etc/ shown
	cert site ec 30 DNS:site.test
	cp site.pem certs/
	start routerd
	start tlsd
	authority
	certbot() {
		REQUESTS_CA_BUNDLE=$D/pebble.crt command certbot "$@" --server "$DIRECTORY" --agree-tos --register-unsafely-without-email \
			--non-interactive --config-dir le --work-dir le/work --logs-dir le/log
	}
	cat >dehydrated.conf <<-S
		CA=$DIRECTORY
		BASEDIR=$D/dehydrated
		CURL_OPTS="--cacert $D/pebble.crt"
	S
	dehydrated() { command dehydrated -f dehydrated.conf "$@"; }
	dehydrated --register --accept-terms
	. ./commands
	until_ok issued_for www.example.org
	until_ok issued_for www.example.net
	[ "$(http -k --resolve "www.example.org:$PORT:127.0.0.1" "https://www.example.org:$PORT/")" = "served here" ]
	[ "$(count acme_answered)" -ge 1 ]
	[ "$(counter acme_answered)" -ge 1 ]
}

# ---- http-01 alone ----

@test "a token's file is answered before hosts and redirects, and whatever is none goes on as ever" {
	both
	printf 'tok_1-A.print' >tokens/tok_1-A
	[ "$(challenge tok_1-A)" = tok_1-A.print ]
	[ "$(challenge tok_1-A -H 'Host: nobody.test')" = tok_1-A.print ]
	[ "$(challenge tok_1-A -w '%{content_type}' -o /dev/null)" = application/octet-stream ]
	run challenge tok_1-A --head
	[[ "$output" == *"200 OK"*"Content-Length: 13"* ]]
	[ "$(http -k "https://127.0.0.1:$PORT/.well-known/acme-challenge/tok_1-A")" = tok_1-A.print ]
	[ "$(count acme_answered)" -eq 5 ]
	# several on one connection
	[ "$(challenge tok_1-A "http://127.0.0.1:$HTTP/.well-known/acme-challenge/tok_1-A")" = tok_1-A.printtok_1-A.print ]
	# not there: the route's
	[ "$(code other)" = 308 ]
	[ "$(http -k "https://127.0.0.1:$PORT/.well-known/acme-challenge/other")" = "served here" ]
	[ "$(count acme_unknown)" -eq 2 ]
	# no token at all: not even looked for
	mkdir tokens/sub
	echo secret >secret
	echo secret >tokens/sub/x
	echo secret >tokens/a.b
	for path in ../secret sub/x ..%2fsecret %2e%2e/secret a.b tok_1%2DA tok_1-A/ tok_1-A%00 "" "$(printf 'a%.0s' {1..129})"; do
		[[ "$(code "$path")" =~ ^(308|400)$ ]] || { echo "$path: $(code "$path")"; false; }
	done
	[ "$(code tok_1-A -d x=y)" = 308 ]
	[ "$(count acme_unknown)" -eq 2 ]
}

@test "what is no small file is not read: links, pipes, folders, large and empty ones" {
	both
	echo secret >secret
	ln -s "$D/secret" tokens/link
	mkfifo tokens/pipe
	mkdir tokens/folder
	head -c 1025 /dev/zero | tr '\0' x >tokens/large
	head -c 1024 /dev/zero | tr '\0' x >tokens/fits
	: >tokens/empty
	for name in link pipe folder large empty; do
		[ "$(code "$name")" = 308 ] || { echo "$name"; false; }
	done
	[ "$(challenge fits | wc -c)" = 1024 ]
	until_ok grep -q 'acme_token_unreadable path=.*/tokens/link text="is a symbolic link"' proc/routerd.0.log
	until_ok grep -q 'acme_token_unreadable path=.*/tokens/large' proc/routerd.0.log
}

@test "a folder that is not there is a warning" {
	both
	sed -i 's/tokens: tokens/tokens: tokenz/; s/challenges: alpn/challenges: alpm/' weir.yaml
	run "$BIN/proxyctl" -c weir.yaml check
	[ "$status" -eq 0 ]
	[[ "$output" == *"warning: http.acme.tokens: $D/tokenz: there is no such folder"* ]]
	[[ "$output" == *"warning: tls.acme.challenges: $D/alpm: there is no such folder"* ]]
}

@test "a request that is refused while its challenge is looked for gets one answer" {
	both
	printf found >tokens/t
	cat >twice.py <<-'P'
		import struct, sys
		sys.path.insert(0, sys.argv[2])
		import h2raw
		# No window for bodies: the refusal stays on its way.
		q = h2raw.Peer(int(sys.argv[1]), settings=((4, 0),))
		q.next = 3
		path = "/.well-known/acme-challenge/"
		head = h2raw.fields(h2raw.req(path + "t", "GET", ("content-length", "1")))
		# In one piece: the body is wrong before anybody can have looked.
		q.send(q.frame(h2raw.HEADERS, h2raw.END_HEADERS, 1, head) + q.frame(h2raw.DATA, 0, 1, b"xx"))
		seen, ended = [], set()
		def read():
		    f = q.read(30)
		    if f in (None, "close"):
		        sys.exit("%s after %s" % (f, seen))
		    w = q.word(f)
		    if w:
		        seen.append("%d:%s" % (f[2], w))
		    if f[0] == h2raw.RST or f[0] in (h2raw.DATA, h2raw.HEADERS) and f[1] & h2raw.END_STREAM:
		        ended.add(f[2])
		while not seen:
		    read()
		# What is looked for next is found after it.
		q.ask(h2raw.req(path + "t"))
		while not any(w.startswith("3:") for w in seen):
		    read()
		q.put(h2raw.SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 20))
		while len(ended) < 2:
		    read()
		print(*sorted(seen))
	P
	run python3 twice.py "$HTTP" "$TOOLS"
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$output" = "1:rst:PROTOCOL_ERROR 1:status:400 3:status:200" ]
	[ "$(challenge t)" = found ]
	until_ok eval '[ "$(count requests_active)" = 0 ]'
	until_ok eval '[ "$(jq -s "[.[] | select(.status == 400)] | length" access.log)" = 1 ]'
}

@test "challenges under load, and a reload that turns them off and on" {
	both
	for i in $(seq 100); do printf 'answer %d' "$i" >"tokens/t$i"; done
	seq 100 | sed "s|.*|url = \"http://127.0.0.1:$HTTP/.well-known/acme-challenge/t&\"\noutput = got.&|" >urls
	timeout 60 curl -sS --parallel --parallel-max 50 --parallel-immediate -K urls 2>/dev/null
	for i in $(seq 100); do [ "$(cat "got.$i")" = "answer $i" ]; done
	sed -i 's/^  acme: { tokens: tokens }//' weir.yaml
	ctl routerd.0 reload
	[ "$(code t1)" = 308 ]
	sed -i 's/^http:/http:\n  acme: { tokens: other }/' weir.yaml
	ctl routerd.0 reload
	mkdir other
	printf new >other/t1
	[ "$(challenge t1)" = new ]
}

# ---- tls-alpn-01 alone ----

alpn() { s_client -alpn "$1" -servername "$2" "${@:3}"; }

@test "a client that offers acme-tls/1 alone gets the challenge's certificate, and nothing more" {
	both
	made a.test alpn/a.test.pem
	made b.test b.pem
	cp made.crt alpn/b.test.crt.pem
	cp made.key alpn/b.test.key.pem
	made 1.0.0.127.in-addr.arpa alpn/1.0.0.127.in-addr.arpa.pem
	for name in a.test b.test 1.0.0.127.in-addr.arpa; do
		for version in -tls1_2 -tls1_3; do
			run alpn acme-tls/1 $name $version
			[[ "$output" == *"ALPN protocol: acme-tls/1"* && "$output" == *"CN = $name"* ]] || { echo "$name: $output"; false; }
			[[ "$output" != *"New Session Ticket"* ]]
		done
	done
	[[ "$(alpn acme-tls/1 A.test)" == *"CN = a.test"* ]]
	until_ok reached acme_answered 7
	# it ends by itself, and serves nothing
	mkfifo asks
	exec 6<>asks
	printf 'GET / HTTP/1.0\r\n\r\n' >&6
	run timeout 60 openssl s_client -quiet -connect "127.0.0.1:$PORT" -alpn acme-tls/1 -servername a.test <asks
	exec 6>&-
	[ "$status" -ne 124 ]
	[[ "$output" != *"served here"* ]]
	# others, too: not a CA
	[[ "$(alpn acme-tls/1,http/1.1 a.test)" == *"ALPN protocol: http/1.1"*"CN = site"* || "$(served -alpn acme-tls/1,http/1.1 -servername a.test)" = site ]]
	[ "$(served -servername a.test)" = site ]
	until_ok eval '[ "$(open_now)" = 0 ]'
}

@test "challenges that are shown are logged five times a second at most" {
	both
	made a.test alpn/a.test.pem
	python3 -c 'import socket, ssl, sys
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
c.set_alpn_protocols(["acme-tls/1"])
for _ in range(300):
    c.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30), server_hostname="a.test").close()' "$PORT"
	until_ok reached acme_answered 300
	grep ' acme_challenge ' "$LOG" | cut -c1-19 >shown
	seconds=$(($(date -d "$(tail -1 shown)" +%s) - $(date -d "$(head -1 shown)" +%s)))
	logged=$(wc -l <shown)
	echo "$logged in $seconds s"
	# The daemon's seconds begin elsewhere than the clock's: one more may be touched at either end.
	[ "$logged" -le $((seconds * 5 + 10)) ]
}

@test "without a challenge, or with another certificate in its place, the handshake fails" {
	both
	[[ "$(alpn acme-tls/1 a.test)" == *"no application protocol"* ]]
	[[ "$(alpn acme-tls/1 ..)" == *"alert"* ]]
	until_ok failed_reached acme_challenge 1
	cp site.pem alpn/a.test.pem
	[[ "$(alpn acme-tls/1 a.test)" == *"no application protocol"* ]]
	until_ok grep -q 'acme_challenge_refused name=a.test text="the certificate is none for a challenge"' "$LOG"
	echo rubbish >alpn/b.test.pem
	[[ "$(alpn acme-tls/1 b.test)" == *"no application protocol"* ]]
	until_ok grep -q 'acme_challenge_refused name=b.test text=.*b.test.pem' "$LOG"
	[ "$(counter acme_answered)" -eq 0 ]
	# switched off by a reload: a listener whose protocols are others
	sed -i '/challenges: alpn/d' weir.yaml
	tlsctl reload
	made a.test alpn/a.test.pem
	[[ "$(alpn acme-tls/1 a.test)" == *"no application protocol"* ]]
	until_ok failed_reached acme_challenge 3
	until_ok failed_reached alpn 1
}

@test "clients that leave while a challenge is looked for do no harm" {
	both
	made a.test alpn/a.test.pem
	cat >leave.py <<-'P'
		import socket, ssl, struct, sys
		ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
		ctx.check_hostname = False
		ctx.set_alpn_protocols(["acme-tls/1"])
		i, o = ssl.MemoryBIO(), ssl.MemoryBIO()
		t = ctx.wrap_bio(i, o, server_hostname="a.test")
		try:
		    t.do_handshake()
		except ssl.SSLWantReadError:
		    pass
		hello = o.read()
		for n in range(300):
		    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
		    s.sendall(hello)
		    if n % 2:
		        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
		    s.close()
	P
	python3 leave.py "$PORT"
	until_ok eval '[ "$(open_now)" = 0 ]'
	[[ "$(alpn acme-tls/1 a.test)" == *"CN = a.test"* ]]
}
