#!/usr/bin/env bats
# Clients that show certificates: who gets in, what servers and logs are told, which sessions resume.

load tls_helper

setup() {
	tls_setup
	cert site ec 30 DNS:localhost
	authority ca "/CN=Test CA"
	client joe ca "/O=Acme, Inc./CN=Joe" 'subjectAltName=DNS:joe.example,IP:192.0.2.1,URI:spiffe://a/b'
}

EC=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

authority() { # NAME SUBJECT
	openssl req -x509 "${EC[@]}" -keyout "$1.key" -out "$1.crt" -days 30 -subj "$2" 2>/dev/null
}

# client NAME AUTHORITY SUBJECT [EXTENSION..]: NAME.crt and NAME.key
client() {
	local name=$1 by=$2 subject=$3
	shift 3
	printf '%s\n' "$@" >"$name.ext"
	openssl req -new "${EC[@]}" -keyout "$name.key" -out "$name.csr" -subj "$subject" 2>/dev/null
	openssl x509 -req -in "$name.csr" -CA "$by.crt" -CAkey "$by.key" -CAcreateserial -out "$name.crt" -days 30 \
		-extfile "$name.ext" 2>/dev/null
}

# What `openssl ca` needs: dates with seconds, revocation lists.
ca_conf() {
	mkdir -p "$1.d"
	touch "$1.d/index.txt"
	[ -e "$1.d/serial" ] || echo 1000 >"$1.d/serial"
	cat >"$1.cnf" <<X
[ca]
default_ca = d
[d]
database = $T/$1.d/index.txt
serial = $T/$1.d/serial
new_certs_dir = $T/$1.d
certificate = $T/$1.crt
private_key = $T/$1.key
default_md = sha256
policy = p
unique_subject = no
default_crl_days = 30
[p]
commonName = supplied
organizationName = optional
X
}

# dated NAME START END: a client's certificate with these dates
dated() {
	ca_conf ca
	openssl req -new "${EC[@]}" -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
	openssl ca -batch -config ca.cnf -in "$1.csr" -out "$1.crt" -notext -startdate "$2" -enddate "$3" 2>/dev/null
}

crl() { # [ARGS..]: crl.pem of those that are revoked
	ca_conf ca
	openssl ca -batch -config ca.cnf -gencrl -out crl.new "$@" 2>/dev/null
	mv crl.new crl.pem
}
revoke() { ca_conf ca; openssl ca -batch -config ca.cnf -revoke "$1.crt" 2>/dev/null; }

# site CLIENT_AUTH [SEAM] [FORWARD]: an origin, routerd, tlsd
site() {
	[ -e proc/o.pid ] || origin o
	config <<X
run_dir: run
state_dir: state
tls:
  workers: 2
  watch: 100ms
  listen:
    - { address: "127.0.0.1:0", to: web, seam: ${2:-handoff}, alpn: [h2, http/1.1], certificates: [{ cert: site.pem }]${1:+, client_auth: { $1 \}} }
http:
  workers: 2
  forward: { client_cert: { ${3:-} } }
  access_log: { path: access.log, format: json }
  listen: [{ name: web, from: tlsd }, { name: plain, address: "127.0.0.1:$(free_port)" }]
  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
pools:
  app: { servers: [{ address: "127.0.0.1:$(port_of o)" }] }
X
	start routerd
	tlsd_start
	PORT=$(tls_port 0)
}

# web CLIENT [CURL ARGS..]: ask for /echo, with the client's certificate unless it is -
web() {
	local who=$1
	shift
	[ "$who" = - ] || set -- --cert "$who.crt" --key "$who.key" "$@"
	http --cacert site.crt --http1.1 "$@" "https://localhost:$PORT/echo"
}
# the fields about certificates that the origin got, one a line
told() { jq -r '.headers[] | select(.[0] | ascii_downcase | test("ssl|cert")) | "\(.[0]): \(.[1])"'; }
refused() { # REASON N: so often
	[ "$(failures "$1")" = "$2" ]
}

@test "require: who shows a good certificate gets in, over both seams and versions, and servers hear whom" {
	for seam in handoff relay; do
		site 'ca: ca.crt' $seam
		for v in 1.2 1.3; do
			web joe --tlsv$v --tls-max $v | told >seen
			diff seen - <<X
X-SSL-Client-Verify: SUCCESS
X-SSL-Client-S-DN: CN=Joe,O=Acme\\, Inc.
X-SSL-Client-I-DN: CN=Test CA
X-SSL-Client-Serial: $(openssl x509 -in joe.crt -noout -serial | cut -d= -f2 | tr A-F a-f)
X-SSL-Client-SHA256: $(openssl x509 -in joe.crt -outform DER | sha256sum | cut -d' ' -f1)
X-SSL-Client-SAN: DNS:joe.example,IP:192.0.2.1,URI:spiffe://a/b
X-SSL-Client-NotBefore: $(date -u -d "$(openssl x509 -in joe.crt -noout -startdate | cut -d= -f2)" +%FT%TZ)
X-SSL-Client-NotAfter: $(date -u -d "$(openssl x509 -in joe.crt -noout -enddate | cut -d= -f2)" +%FT%TZ)
X
		done
		[ "$(counter client_certs)" = 2 ]
		[ "$(tlsctl json status | jq -c '.listeners[0].client_auth')" = '{"mode":"require","authorities":1,"revocation_lists":0}' ]
		wait_for '[ "$(wc -l <access.log)" = 2 ]'
		jq -e '.client_cert | .verified and .subject == "CN=Joe,O=Acme\\, Inc." and .failure == null and (.sha256 | length) == 64' access.log
		rm access.log
		stop tlsd.0
		stop routerd.0
	done
}

# facts: rules for the route of `site`: each fact by a variable, to the server and to the client
facts() {
	sed -i 's|routes: \[{ path: /, pool: app }\]|routes: [{ path: /me, respond: "${client_cert_verify} ${client_cert_cn}" }, { path: /, pool: app, headers: { request: { set: \&facts { F-Verify: "${client_cert_verify}", F-Subject: "${client_cert_subject}", F-CN: "${client_cert_cn}", F-Issuer: "${client_cert_issuer}", F-Serial: "${client_cert_serial}", F-SHA: "${client_cert_fingerprint}", F-SAN: "${client_cert_san}", F-From: "${client_cert_not_before}", F-To: "${client_cert_not_after}", F-PEM: "${client_cert_pem}", F-RFC: "${client_cert_rfc9440}", F-TLS: "${tls_version} ${tls_sni} ${tls_alpn}" } }, response: { set: *facts } } }]|' weir.yaml
	grep -q F-Verify weir.yaml
	ctl routerd.0 reload
}

@test "facts are variables: for the server, in answers, by both seams and versions; nobody else can send them" {
	local seam v version
	for seam in handoff relay; do
		site 'ca: ca.crt, mode: optional' $seam
		sed -i '/forward: /d' weir.yaml
		facts
		for v in 1.2 1.3; do
			for version in --http1.1 --http2; do
				web joe --tlsv$v --tls-max $v $version -D head >got
				jq -r '.headers[] | select(.[0] | ascii_downcase | startswith("f-")) | "\(.[0] | ascii_downcase): \(.[1])"' got | sort >seen
				sort - <<X | diff seen -
f-verify: SUCCESS
f-subject: CN=Joe,O=Acme\\, Inc.
f-cn: Joe
f-issuer: CN=Test CA
f-serial: $(openssl x509 -in joe.crt -noout -serial | cut -d= -f2 | tr A-F a-f)
f-sha: $(openssl x509 -in joe.crt -outform DER | sha256sum | cut -d' ' -f1)
f-san: DNS:joe.example,IP:192.0.2.1,URI:spiffe://a/b
f-from: $(date -u -d "$(openssl x509 -in joe.crt -noout -startdate | cut -d= -f2)" +%FT%TZ)
f-to: $(date -u -d "$(openssl x509 -in joe.crt -noout -enddate | cut -d= -f2)" +%FT%TZ)
f-pem: $(openssl x509 -in joe.crt | sed 's/ /%20/g; s/+/%2B/g; s|/|%2F|g; s/=/%3D/g; s/$/%0A/' | tr -d '\n')
f-rfc: :$(openssl x509 -in joe.crt -outform DER | base64 -w0):
f-tls: TLSv$v localhost $([ $version = --http2 ] && echo h2 || echo http/1.1)
X
				# the client is told the same
				tr -d '\r' <head | grep -i '^f-' | sed 's/^[^:]*/\L&/' | sort | diff seen -
				# Who shows none claims in vain, whatever the spelling.
				web - --tlsv$v --tls-max $v $version -H 'F-CN: admin' -H 'f_cn: admin' -H 'F-Subject: CN=admin' -H 'F.SUBJECT: CN=admin' -H 'F-Verify: SUCCESS' >got
				[ "$(jq -r '.headers[] | select(.[0] | ascii_downcase | test("^f.(cn|subject|verify|pem|rfc|sha)")) | "\(.[0] | ascii_downcase): \(.[1])"' got)" = "f-verify: NONE" ]
			done
		done
		[ "$(http --cacert site.crt --cert joe.crt --key joe.key "https://localhost:$PORT/me")" = "SUCCESS Joe" ]
		[ "$(http --cacert site.crt "https://localhost:$PORT/me")" = "NONE " ]
		# Somebody looks at them: nothing to warn of.
		sed -i '/access_log: /d' weir.yaml
		run "$BIN/proxyctl" -c weir.yaml check
		refute_output --partial "nothing looks at"
		sed -i 's/\(F-[A-Za-z]*\): "[^"]*"/\1: x/g; s/respond: "[^"]*"/respond: x/' weir.yaml
		run "$BIN/proxyctl" -c weir.yaml check
		assert_output --partial "nothing looks at"
		stop tlsd.0
		stop routerd.0
	done
}

@test "require: without one, with a stranger's, an expired one, one for servers: an alert, a reason, a counter" {
	authority evil "/CN=Test CA"
	client stranger evil "/CN=Joe"
	client server ca "/CN=server" extendedKeyUsage=serverAuth
	dated old 20200101000000Z 20200201000000Z
	site 'ca: ca.crt'
	for v in 1.2 1.3; do
		run web - --tlsv$v --tls-max $v
		[ "$status" != 0 ]
		for who in stranger server old; do
			run web $who --tlsv$v --tls-max $v
			[ "$status" != 0 ] || { echo "$who got in"; false; }
		done
	done
	until_ok refused no_client_cert 2
	until_ok refused client_cert_refused 6
	[ "$(counter handed_over)" = 0 ]
	[ -z "$(requests o)" ]
	until_ok grep -q 'handshake_failed reason=no_client_cert' "$LOG"
	until_ok grep -q 'handshake_failed reason=client_cert_refused.*detail="certificate has expired"' "$LOG"
	until_ok grep -q 'handshake_failed reason=client_cert_refused.*detail="unsuitable certificate purpose"' "$LOG"
	[[ "$(openssl s_client -connect "127.0.0.1:$PORT" -tls1_2 2>&1 </dev/null)" == *"handshake failure"* ]]
	[[ "$( openssl s_client -ign_eof -connect "127.0.0.1:$PORT" -tls1_3 2>&1 </dev/null)" == *"certificate required"* ]]
	[[ "$( openssl s_client -ign_eof -connect "127.0.0.1:$PORT" -tls1_3 -cert old.crt -key old.key 2>&1 </dev/null)" == *"certificate expired"* ]]
	# clients are told whose certificates are believed
	[[ "$(openssl s_client -connect "127.0.0.1:$PORT" -cert joe.crt -key joe.key 2>&1 </dev/null)" == *"Acceptable client certificate CA names"*"CN = Test CA"* ]]
}

@test "optional: clients may come without; one that is no good is refused all the same" {
	authority evil "/CN=Evil"
	client stranger evil "/CN=Joe"
	site 'ca: ca.crt, mode: optional'
	[ "$(web - | told)" = 'X-SSL-Client-Verify: NONE' ]
	[[ "$(web joe | told)" == *'Verify: SUCCESS'*'CN=Joe'* ]]
	run web stranger
	[ "$status" != 0 ]
	until_ok refused client_cert_refused 1
	wait_for '[ "$(wc -l <access.log)" = 2 ]'
	[ "$(head -1 access.log | jq -c .client_cert)" = null ]
}

@test "optional_no_ca: who is vouched for by nobody gets in, and is told apart; his claims are not passed on" {
	authority evil "/CN=Evil"
	client stranger evil "/CN=admin" subjectAltName=DNS:admin
	authority self "/CN=self"
	dated old 20200101000000Z 20200201000000Z
	site 'ca: ca.crt, mode: optional_no_ca' handoff 'cert: X-Client-PEM, rfc9440: on'
	for who in stranger self; do
		web $who | told >seen
		grep -q '^X-SSL-Client-Verify: FAILED:.' seen
		grep -q "^X-SSL-Client-SHA256: $(openssl x509 -in $who.crt -outform DER | sha256sum | cut -d' ' -f1)" seen
		refute grep -q 'DN:\|SAN:\|Serial\|^Client-Cert' seen
	done
	web self | jq -r '.headers[] | select(.[0] == "X-Client-PEM")[1]' |
		python3 -c 'import sys, urllib.parse; print(urllib.parse.unquote(sys.stdin.read().strip()), end="")' | diff - self.crt
	web joe | jq -r '.headers[] | select(.[0] == "Client-Cert")[1]' | tr -d ':\n' | base64 -d | openssl x509 -inform DER | diff - joe.crt
	run web old
	[ "$status" != 0 ]
	# revocation lists are for those whose issuer is known
	dated ann 20260101000000Z 20990101000000Z
	dated bob 20260101000000Z 20990101000000Z
	revoke ann
	crl
	sed -i 's/ca: ca.crt,/ca: ca.crt, crl: crl.pem,/' weir.yaml
	tlsctl reload
	for who in stranger self; do [[ "$(web $who | told)" == *'Verify: FAILED:'* ]]; done
	[[ "$(web bob | told)" == *'Verify: SUCCESS'* ]]
	run web ann
	[ "$status" != 0 ]
	wait_for '[ "$(wc -l <access.log)" -ge 4 ]'
	head -1 access.log | jq -e '.client_cert | .verified == false and .subject == null and (.failure | length) > 3'
}

@test "what clients claim of certificates is dropped, in any spelling, by any protocol; trusted peers may say it" {
	site 'ca: ca.crt, mode: optional' handoff 'cert: X-Pem, rfc9440: on, san: ""'
	plain=$(ctl routerd.0 json status | jq -r '.listeners[] | select(.name == "plain").address' | sed 's/.*://')
	claims=()
	for name in X-SSL-Client-Verify x-ssl-client-verify X_SSL_Client_Verify X.SSL.Client.Verify X-SSL_client-S-DN X-SSL-Client-SAN \
		SSL-Client-Verify SSL_CLIENT_CERT Client-Cert client_cert Client-Cert-Chain X-Client-Cert x-pem X_Pem X-SSL-Client-Whatever; do
		claims+=(-H "$name: SUCCESS")
	done
	for v in --http1.1 --http2; do
		[ "$(web - $v "${claims[@]}" -H 'X-Pemmican: 1' | jq -r '.headers[] | select(.[0] | test("ssl|cert|pem"; "i")) | "\(.[0]): \(.[1])" | ascii_downcase')" = "x-pemmican: 1
x-ssl-client-verify: none" ]
		[[ "$(web joe $v "${claims[@]}" | told)" == *"Verify: SUCCESS"*"S-DN: CN=Joe"* ]]
	done
	[ "$(http "${claims[@]}" "http://127.0.0.1:$plain/echo" | told)" = 'X-SSL-Client-Verify: NONE' ]
	# a nomination does not take ours away
	[ "$(http -H 'Connection: X-SSL-Client-Verify' "http://127.0.0.1:$plain/echo" | told)" = 'X-SSL-Client-Verify: NONE' ]
	# nor does a trailer bring one in
	printf 'POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX_SSL-Client-Verify: SUCCESS\r\nX-Fine: 1\r\n\r\n' |
		socat -t 5 - "TCP:127.0.0.1:$plain" | sed '1,/^\r$/d' >got
	grep -q X-Fine got
	refute grep -qi 'ssl.client.verify: success\|"SUCCESS"' got
	sed -i 's/^http:/http:\n  trusted_proxies: [127.0.0.0\/8]/' weir.yaml
	ctl routerd.0 reload
	[ "$(http -H 'X-SSL-Client-Verify: SUCCESS' -H 'X-SSL-Client-S-DN: CN=x' -H 'X_SSL_Client_I_DN: CN=y' "http://127.0.0.1:$plain/echo" | told)" = 'X-SSL-Client-Verify: SUCCESS
X-SSL-Client-S-DN: CN=x' ]
	# one that says nothing of verification is not believed in the rest
	[ "$(http -H 'X-SSL-Client-S-DN: CN=x' "http://127.0.0.1:$plain/echo" | told)" = 'X-SSL-Client-Verify: NONE' ]
	# without client_cert nothing is added, and nothing judged
	sed -i '/client_cert/d' weir.yaml
	ctl routerd.0 reload
	[ "$(http -H 'X-SSL-Client-Verify: x' "http://127.0.0.1:$plain/echo" | told)" = 'X-SSL-Client-Verify: x' ]
}

@test "a certificate that cannot even be parsed is the client's fault, not ours" {
	site 'ca: ca.crt, mode: optional_no_ca'
	cat joe.crt joe.key >joe.pem
	run python3 -c '
import socket, ssl, sys
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
c.load_cert_chain("joe.pem")
c.maximum_version = ssl.TLSVersion.TLSv1_2 # where it can be seen on the way
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
i, o = ssl.MemoryBIO(), ssl.MemoryBIO()
t, said = c.wrap_bio(i, o), 0
while True:
    try: t.do_handshake()
    except ssl.SSLWantReadError: pass
    out = o.read()
    # Its times are none. (In the hello that may stand by chance.)
    s.sendall(out.replace(bytes([23, 13]), bytes([5, 13])) if said else out)
    said += len(out)
    i.write(s.recv(9999))
' "$PORT"
	[ "$status" != 0 ]
	refused protocol_error 1
	refused internal 0
}

@test "depth counts the authorities in between" {
	openssl req -new "${EC[@]}" -keyout mid.key -out mid.csr -subj "/CN=Middle" 2>/dev/null
	printf 'basicConstraints=critical,CA:true\n' >mid.ext
	openssl x509 -req -in mid.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out mid.crt -days 30 -extfile mid.ext 2>/dev/null
	client sue mid "/CN=Sue"
	cat sue.crt mid.crt >chain.crt
	mv chain.crt sue.crt
	site 'ca: ca.crt, depth: 1'
	[[ "$(web sue | told)" == *"CN=Sue"*"CN=Middle"* ]]
	sed -i 's/depth: 1/depth: 0/' weir.yaml
	tlsctl reload
	run web sue
	[ "$status" != 0 ]
	[[ "$(web joe | told)" == *"CN=Joe"* ]]
	until_ok grep -q 'client_cert_refused.*detail="certificate chain too long"' "$LOG"
}

@test "revoked is refused, also by a session of before; a new list is taken up; one that is over refuses all" {
	dated ann 20260101000000Z 20990101000000Z
	dated bob 20260101000000Z 20990101000000Z
	crl
	site 'ca: ca.crt, crl: crl.pem'
	web ann -o got
	resume() { # who, ARGS..: does the session in $1.sess resume?
		printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
			openssl s_client -ign_eof -connect "127.0.0.1:$PORT" -cert "$1.crt" -key "$1.key" "${@:2}" 2>&1
	}
	resume ann -sess_out ann.sess >/dev/null
	[[ "$(resume ann -sess_in ann.sess)" == *"Reused, "* ]]
	revoke ann
	crl
	wait_for '[ "$(grep -c " client_auth " "$LOG")" = 2 ]'
	[[ "$(resume ann -sess_in ann.sess)" != *"Reused, "* ]]
	run web ann
	[ "$status" != 0 ]
	until_ok grep -q 'client_cert_refused.*detail="certificate revoked"' "$LOG"
	web bob -o got
	# what cannot be read does not take the place of what could
	echo rubbish >crl.pem
	wait_for 'grep -q "cert_reload_failed.*crl.pem: has no revocation list" "$LOG"'
	run web ann
	[ "$status" != 0 ]
	web bob -o got
	# over: said by check, and told; nobody with a certificate gets in
	crl -crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z
	wait_for 'grep -q "error crl_expired" "$LOG"'
	run web bob
	[ "$status" != 0 ]
	run "$BIN/proxyctl" -c weir.yaml check
	assert_success
	assert_output --partial 'the revocation list is over since 2020-02-01T00:00:00Z'
}

@test "sessions are bound to what clients are asked for" {
	tlsd_config <<X
  listen:
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }], client_auth: { ca: ca.crt } }
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }], client_auth: { ca: ca.crt, mode: optional } }
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }], client_auth: { ca: both.crt } }
X
	authority other "/CN=Other"
	cat ca.crt other.crt >both.crt
	tlsd_start
	say() { # LISTENER ARGS..: until tlsd closes, at its handoff_timeout
		openssl s_client -ign_eof -connect "127.0.0.1:$(tls_port "$1")" "${@:2}" 2>&1 </dev/null || true
	}
	for v in -tls1_2 -tls1_3; do
		say 0 $v -sess_out open.sess >/dev/null
		say 1 $v -cert joe.crt -key joe.key -sess_out one.sess >/dev/null
		say 2 $v -sess_out none.sess >/dev/null
		# where it began
		[[ "$(say 0 $v -sess_in open.sess)" == *"Reused, "* ]]
		[[ "$(say 1 $v -sess_in one.sess)" == *"Reused, "* ]]
		[[ "$(say 2 $v -sess_in none.sess)" == *"Reused, "* ]]
		before=$(failures no_client_cert)
		# and nowhere else: without a certificate none of these gets in by a ticket
		for s in open none; do
			for l in 1 3; do [[ "$(say $l $v -sess_in $s.sess)" != *"Reused, "* ]]; done
		done
		[[ "$(say 3 $v -sess_in one.sess)" != *"Reused, "* ]]
		until_ok refused no_client_cert $((before + 5))
		[[ "$(say 2 $v -sess_in one.sess)" != *"Reused, "* ]]
		[[ "$(say 0 $v -sess_in one.sess)" != *"Reused, "* ]]
	done
}

@test "a session does not outlive the client's certificate" {
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }], client_auth: { ca: ca.crt } }]
X
	tlsd_start
	PORT=$(tls_port 0)
	local end=$(($(date +%s) + 16))
	dated brief 20260101000000Z "$(date -u -d @$end +%Y%m%d%H%M%SZ)"
	say() { openssl s_client -ign_eof -connect "127.0.0.1:$PORT" -cert brief.crt -key brief.key "$@" 2>&1 </dev/null || true; }
	for v in 2 3; do
		say -tls1_$v -sess_out s$v >/dev/null
		[[ "$(say -tls1_$v -sess_in s$v)" == *"Reused, "* ]]
	done
	wait_for "[ \$(date +%s) -gt $end ]"
	for v in 2 3; do [[ "$(say -tls1_$v -sess_in s$v)" != *"Reused, "* ]]; done
	until_ok refused client_cert_refused 2
}

@test "other servers hear it in PROXY v2: name, verified or not, the certificate" {
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: "unix:$RUN/b.sock", certificates: [{ cert: site.pem }], client_auth: { ca: ca.crt, mode: optional_no_ca } }]
X
	authority self "/CN=self"
	tlsd_start
	cat >tlvs.py <<'P'
import socket, ssl, struct, sys
l = socket.socket(socket.AF_UNIX); l.bind(sys.argv[2]); l.listen()
def tlvs(b):
    out = {}
    while b:
        t, n = struct.unpack(">BH", b[:3])
        out[t], b = b[3:3 + n], b[3 + n:]
    return out
session = None
for who in sys.argv[3:]:
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if who != "-": c.load_cert_chain(who + ".crt", who + ".key")
    s = c.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
    s.sendall(b"x")
    p, _ = l.accept()
    head = p.recv(65536)
    n = struct.unpack(">H", head[14:16])[0]
    assert n < 4080
    all = tlvs(head[16 + 12:16 + n])
    ssl_ = all[0x20]
    sub = tlvs(ssl_[5:])
    der = ssl.PEM_cert_to_DER_cert(open(who + ".crt").read()) if who != "-" else None
    assert sub.get(0x28) == der, who
    assert 0xe0 not in all
    print(who, ssl_[0], struct.unpack(">I", ssl_[1:5])[0], sub.get(0x22, b"").decode())
P
	run python3 tlvs.py "$(tls_port 0)" "$RUN/b.sock" joe self -
	[ "$output" = "joe 7 0 Joe
self 7 1 
- 1 1 " ]
}

@test "mistakes are told: no ca, a missing, empty or wrong file, names of fields" {
	site 'ca: ca.crt'
	conf() { sed "s|client_auth: { ca: ca.crt }|client_auth: { $1 }|" weir.yaml >bad.yaml; run "$BIN/proxyctl" -c bad.yaml check; assert_failure 2; }
	conf 'mode: optional'
	assert_output --partial 'tls.listen[0].client_auth: has no `ca`'
	conf 'ca: none.crt'
	assert_output --partial 'none.crt: cannot be read: No such file'
	conf 'ca: joe.key'
	assert_output --partial 'joe.key: has no certificate'
	client leaf ca "/CN=leaf" basicConstraints=critical,CA:false
	conf 'ca: leaf.crt'
	assert_output --partial 'leaf.crt: a certificate is none of a certification authority'
	conf 'ca: ca.crt, crl: ca.crt'
	assert_output --partial 'ca.crt: has no revocation list'
	conf 'ca: ca.crt, mode: maybe'
	assert_output --partial 'require, optional, optional_no_ca'
	conf 'mode: optional_no_ca, crl: ca.crt'
	assert_output --partial 'has `crl` without `ca`'
	sed 's|client_cert: {  }|client_cert: { verify: Host, subject: "a b", issuer: X-A, serial: x-a }|' weir.yaml >bad.yaml
	run "$BIN/proxyctl" -c bad.yaml check
	assert_failure 2
	assert_output --partial 'Host has a meaning of its own'
	assert_output --partial '"a b" is no field'
	assert_output --partial 'two facts are called x-a'
	# a reload with a mistake changes nothing
	sed -i 's|ca: ca.crt|ca: none.crt|' weir.yaml
	run tlsctl reload
	assert_output --partial 'none.crt: cannot be read'
	[[ "$(web joe | told)" == *SUCCESS* ]]
}
