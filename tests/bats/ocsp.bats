#!/usr/bin/env bats
# proxyctl ocsp refresh: staples are fetched, judged and written beside the certificates; tlsd shows them.

load tls_helper

# authority: ca.crt and ca.key (RSA)
authority() {
	openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj "/CN=Test Authority" 2>/dev/null
	: >index.txt
	echo "unique_subject = no" >index.txt.attr
}
# issued NAME URL [EXTENSION]: NAME.crt (with ca.crt behind it) and NAME.key; the responder is at URL, none when it is -
issued() {
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
	{
		echo "subjectAltName=DNS:$1"
		[ "$2" = - ] || echo "authorityInfoAccess=OCSP;URI:$2"
		echo "${3:-}"
	} >"$1.ext"
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.leaf" 2>/dev/null
	cat "$1.leaf" ca.crt >"$1.crt"
	book V "$1"
}
# book V|R NAME: what the authority's book says of it, from now on
book() {
	local serial
	serial=$(openssl x509 -noout -serial -in "$2.leaf" | cut -d= -f2)
	[ ! -f index.txt ] || sed -i "/	$serial	/d" index.txt
	printf '%s\t%s\t%s\t%s\tunknown\t/CN=%s\n' "$1" "$(date -u -d '+30 days' +%y%m%d%H%M%SZ)" \
		"$([ "$1" = V ] || date -u -d '-1 hour' +%y%m%d%H%M%SZ,keyCompromise)" "$serial" "$2" >>index.txt
}
# answer NAME FILE [ARGS of openssl ocsp]: a response about NAME, for 7 days
answer() {
	local name=$1 file=$2
	shift 2
	openssl ocsp -index index.txt -rsigner ca.crt -rkey ca.key -CA ca.crt -issuer ca.crt -cert "$name.leaf" \
		-respout "$file" -ndays 7 "$@" >/dev/null 2>&1
}
# responder: openssl ocsp itself, on $OCSP. It serves one after the other, and waits for what each has to say.
responder() {
	: >proc/responder.log
	spawn responder openssl ocsp -port "$OCSP" -index index.txt -rsigner ca.crt -rkey ca.key -CA ca.crt -ndays 7
	until_ok grep -q 'waiting for OCSP client' proc/responder.log
}
# server: tests/tools/ocspserver.py with the files of ./answers, on $OCSP
server() {
	mkdir -p answers
	spawn server python3 "$TOOLS/ocspserver.py" answers
	until_ok grep -q ready proc/server.log
	OCSP=$(port_of server)
}
asked() { grep -c "^POST /$1 " answers/log 2>/dev/null || true; }

# names CERTIFICATES [LINES]: weir.yaml
names() {
	tlsd_config <<X
  watch: 100ms
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [$1] }]
${2:-}
X
}
refresh() { run "$BIN/proxyctl" -c weir.yaml ocsp refresh "$@"; }
state() { tlsctl json cert list | jq -r ".[$1].ocsp.state"; }

@test "a staple is fetched from openssl ocsp, and clients get it; it is not asked for again until half of its time" {
	authority
	OCSP=$(free_port)
	issued site "http://127.0.0.1:$OCSP/some/path"
	issued plain -
	names '{ cert: site.crt, key: site.key }, { cert: plain.crt, key: plain.key }'
	responder
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(stapled -servername site)" = 0 ]
	refresh
	[ "$status" -eq 0 ]
	[[ "${lines[0]}" =~ ^.*/site.crt:\ good,\ holds\ until\ 20[0-9-]*T[0-9:]*Z$ ]]
	[[ "${lines[1]}" == */plain.crt": none: the certificate names no responder" ]]
	[ "$(stat -c %a site.crt.ocsp)" = 644 ]
	openssl ocsp -respin site.crt.ocsp -issuer ca.crt -cert site.leaf -CAfile ca.crt 2>/dev/null | grep -q 'site.leaf: good'
	until_ok eval '[ "$(state 0)" = good ]'
	[ "$(stapled -servername site)" = 1 ]
	s_client -status -servername site | grep -q 'Cert Status: good'
	before=$(stat -c %i site.crt.ocsp)
	refresh
	[ "$status" -eq 0 ]
	[[ "${lines[0]}" == */site.crt": fresh, holds until "* ]]
	[ "$(stat -c %i site.crt.ocsp)" = "$before" ]
	refresh -q
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	refresh --force
	[[ "${lines[0]}" == */site.crt": good, "* ]]
	[ "$(stat -c %i site.crt.ocsp)" != "$before" ]
	# half of its time is over
	python3 "$TOOLS/ocsptimes.py" site.crt.ocsp ca.key 3600 -3500
	refresh
	[[ "${lines[0]}" == */site.crt": fresh, "* ]]
	python3 "$TOOLS/ocsptimes.py" site.crt.ocsp ca.key 3600 -3700
	refresh
	[[ "${lines[0]}" == */site.crt": good, "* ]]
	[ -z "$(ls | grep 'ocsp\.')" ]
}

@test "JSON: one object a certificate" {
	authority
	server
	issued site "http://127.0.0.1:$OCSP/good"
	issued lost "http://127.0.0.1:$OCSP/missing"
	answer site answers/good
	names '{ cert: site.crt, key: site.key }, { cert: lost.crt, key: lost.key, ocsp: other.der }'
	refresh -j
	[ "$status" -eq 1 ]
	[ "$(jq -c '[.[].state]' <<<"$output")" = '["good","failed"]' ]
	[ "$(jq -r '.[0].ocsp' <<<"$output")" = "$D/site.crt.ocsp" ]
	[ "$(jq -r '.[0].responder' <<<"$output")" = "http://127.0.0.1:$OCSP/good" ]
	[ "$(jq -r '.[0].next_update' <<<"$output")" != null ]
	[ "$(jq -r '.[1].ocsp' <<<"$output")" = "$D/other.der" ]
	[[ "$(jq -r '.[1].text' <<<"$output")" == *"/missing: answers 404" ]]
	[ "$(cat answers/log | head -1 | cut -d' ' -f1,2,4)" = "POST /good application/ocsp-request" ]
}

@test "folders of certificates, and files that hold the key, too" {
	authority
	server
	issued one "http://127.0.0.1:$OCSP/one"
	issued two "http://127.0.0.1:$OCSP/chunked-two"
	issued three "http://127.0.0.1:$OCSP/close-three"
	for name in one two three; do answer $name answers/$name; done
	mkdir -p certs/three.test
	cat one.key one.crt >certs/one.pem
	cp two.crt two.key certs/
	cp three.crt certs/three.test/fullchain.pem
	cp three.key certs/three.test/privkey.pem
	names '{ dir: certs }'
	refresh
	[ "$status" -eq 0 ] || { echo "$output"; false; }
	[ "$(grep -c ': good, ' <<<"$output")" = 3 ]
	cmp answers/one certs/one.pem.ocsp
	cmp answers/two certs/two.crt.ocsp
	cmp answers/three certs/three.test/fullchain.pem.ocsp
	tlsd_start
	[ "$(tlsctl json cert list | jq -c '[.[].ocsp.state]')" = '["good","good","good"]' ]
	# a certificate that is named twice is asked for once
	names '{ dir: certs }, { dir: certs }'
	: >answers/log
	refresh --force
	[ "$(wc -l <answers/log)" = 3 ]
}

@test "a revoked certificate: the answer is written, tlsd says so and staples no longer, and the exit code is 1" {
	authority
	OCSP=$(free_port)
	issued site "http://127.0.0.1:$OCSP"
	names '{ cert: site.crt, key: site.key }'
	answer site site.crt.ocsp
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(stapled)" = 1 ]
	book R site
	responder
	refresh --force
	[ "$status" -eq 1 ]
	[[ "$output" == */site.crt": revoked, holds until "*": the certificate is revoked: keyCompromise" ]]
	until_ok eval '[ "$(state 0)" = revoked ]'
	[ "$(stapled)" = 0 ]
	until_ok grep -q ' error cert_revoked ' "$LOG"
	# and it is asked for again each time, should that change
	book V site
	stop responder KILL
	responder
	refresh
	[ "$status" -eq 0 ]
	until_ok eval '[ "$(state 0)" = good ]'
}

@test "what cannot be used is not written: the old one stays, the exit code is 1, and the reason is told" {
	authority
	server
	issued site "http://127.0.0.1:$OCSP/one"
	issued other -
	names '{ cert: site.crt, key: site.key }'
	answer site old
	openssl req -x509 -newkey rsa:2048 -nodes -keyout evil.key -out evil.crt -days 30 -subj "/CN=Test Authority" 2>/dev/null
	answer site answers/unknown -index /dev/null
	answer other answers/other
	answer site answers/expired
	python3 "$TOOLS/ocsptimes.py" answers/expired ca.key -60 -3600
	answer site answers/future
	python3 "$TOOLS/ocsptimes.py" answers/future ca.key 7200 3600
	answer site answers/forged
	python3 "$TOOLS/ocsptimes.py" answers/forged evil.key 3600
	openssl ocsp -index index.txt -rsigner evil.crt -rkey evil.key -CA ca.crt -issuer ca.crt -cert site.leaf -respout answers/stranger -ndays 7 >/dev/null 2>&1
	printf '\x30\x03\x0a\x01\x03' >answers/later # tryLater
	head -c 2000 /dev/urandom >answers/garbage
	: >answers/empty
	{ cat old; echo more; } >answers/trailing
	answer site answers/older
	python3 "$TOOLS/ocsptimes.py" answers/older ca.key 86400 -86400
	fails() { # PATH TEXT [TIMEOUT]
		issue "$1"
		cp old site.crt.ocsp
		refresh --force --timeout "${3:-20s}"
		[ "$status" -eq 1 ] || { echo "$1: $output"; false; }
		[[ "$output" == *"$2"* ]] || { echo "$1: $output"; false; }
		cmp old site.crt.ocsp
		[ -z "$(ls | grep 'ocsp\.')" ]
	}
	# the same certificate in all but where its responder is
	serial=$(openssl x509 -noout -serial -in site.leaf | cut -d= -f2)
	issue() {
		printf 'subjectAltName=DNS:site\nauthorityInfoAccess=OCSP;URI:%s\n' "${2:-http://127.0.0.1:$OCSP/$1}" >site.ext
		openssl x509 -req -in site.csr -CA ca.crt -CAkey ca.key -set_serial "0x$serial" -days 30 -extfile site.ext -out site.leaf 2>/dev/null
		cat site.leaf ca.crt >site.crt
	}
	fails unknown "the responder does not know the certificate"
	fails other "says nothing of this certificate"
	fails expired "is out of date"
	fails future "is out of date"
	fails forged "is not signed by the certificate's issuer"
	fails stranger "is not signed by the certificate's issuer"
	fails later "is the responder's refusal"
	fails garbage "is no OCSP response"
	fails empty "is no OCSP response"
	fails trailing "is no OCSP response"
	fails older "is older than the one that is there"
	fails redirect "answers 302: redirects are not followed"
	fails missing "answers 404"
	fails html "is no application/ocsp-response"
	fails huge "larger than 65536 bytes"
	fails endless "larger than 65536 bytes"
	fails slow "no answer in time" 1s
	fails silent "no answer in time" 1s
	fails cut "ends in the middle"
	issue x "http://127.0.0.1:$(free_port)/"
	refresh --force
	[[ "$output" == *"cannot be reached: Connection refused"* ]]
	issue x "http://nobody.invalid/"
	refresh --force
	[ "$status" -eq 1 ]
	[[ "$output" == *"nobody.invalid cannot be resolved"* ]]
	# not by HTTP: none that can be asked
	issue x "ldap://127.0.0.1/"
	refresh
	[ "$status" -eq 0 ]
	[[ "$output" == *": none: "* ]]
	# and one without its issuer
	issue good
	cp site.leaf site.crt
	refresh
	[ "$status" -eq 1 ]
	[[ "$output" == *"issuer does not stand behind it"* ]]
}

@test "a responder that does not answer is asked once; another one is asked all the same" {
	authority
	server
	for i in 1 2 3; do issued "dead$i" "http://127.0.0.1:$OCSP/silent"; done
	issued live "http://localhost:$OCSP/live"
	answer live answers/live
	names '{ cert: dead1.crt, key: dead1.key }, { cert: dead2.crt, key: dead2.key }, { cert: dead3.crt, key: dead3.key }, { cert: live.crt, key: live.key }'
	refresh --timeout 3s
	[ "$status" -eq 1 ]
	[[ "${lines[0]}" == *"no answer in time" ]]
	[[ "${lines[1]}" == *"not asked again: it has just failed" ]]
	[[ "${lines[3]}" == */live.crt": good, "* ]]
	[ "$(asked silent)" = 1 ]
	# an answer that is wrong is one certificate's
	issued wrong1 "http://127.0.0.1:$OCSP/missing"
	issued wrong2 "http://127.0.0.1:$OCSP/chunked-live2"
	answer wrong2 answers/live2
	names '{ cert: wrong1.crt, key: wrong1.key }, { cert: wrong2.crt, key: wrong2.key }'
	refresh
	[[ "${lines[0]}" == *"answers 404" ]]
	[[ "${lines[1]}" == */wrong2.crt": good, "* ]]
}

@test "files: one that cannot be written is told, and a private key is never opened" {
	authority
	server
	issued site "http://127.0.0.1:$OCSP/good"
	answer site answers/good
	mkdir -p place
	cp site.crt place/
	names '{ cert: place/site.crt, key: site.key, ocsp: nowhere/x.ocsp }'
	refresh
	[ "$status" -eq 1 ]
	[[ "$output" == *"nowhere/x.ocsp cannot be written: No such file or directory" ]]
	rm site.key # nobody misses it
	names '{ cert: place/site.crt, key: site.key }'
	refresh
	[ "$status" -eq 0 ]
	if [ "$(id -u)" = 0 ]; then
		chown 65534:65534 place/site.crt
		rm place/site.crt.ocsp
		refresh
		[ "$(stat -c %u:%g place/site.crt.ocsp)" = 65534:65534 ]
	fi
	rm place/site.crt
	refresh
	[ "$status" -eq 1 ]
	[[ "$output" == */place/site.crt": failed: cannot be read: No such file or directory" ]]
	refresh extra
	[ "$status" -eq 2 ]
	refresh --timeout soon
	[ "$status" -eq 2 ]
	run "$BIN/proxyctl" -c weir.yaml ocsp
	[ "$status" -eq 2 ]
}

@test "run by root: strangers are asked and heard by nobody" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	authority
	server
	issued site "http://localhost:$OCSP/good"
	answer site answers/good
	# what nobody may see is in nobody's way
	mkdir -m 700 place
	cp site.crt place/
	chmod 600 place/site.crt
	names '{ cert: place/site.crt, key: site.key }'
	refresh
	[ "$status" -eq 0 ]
	[[ "$output" == *"/place/site.crt: good, holds until "* ]]
	[ "$(asked good)" = 1 ]
	grep -q " uid $(id -u nobody)\$" answers/log
	[ "$(stat -c %u:%a place/site.crt.ocsp)" = 0:644 ]
	cmp place/site.crt.ocsp answers/good
	refresh
	[[ "$output" == *": fresh, holds until "* ]]
	# also where nothing is open at the start
	"$BIN/proxyctl" -c weir.yaml ocsp refresh --force <&- >&- 2>&-
	[ "$(asked good)" = 2 ]
	# nothing that it does touches a file, and it holds on to no descriptor (who looks for leaks is
	# no friend of ptrace)
	ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0" \
		strace -f -o trace -e trace=network,openat,setresuid,close_range,write "$BIN/proxyctl" -c weir.yaml ocsp refresh --force
	pid=$(sed -n 's/^\([0-9]*\) *setresuid(65534.*/\1/p' trace)
	[ -n "$pid" ]
	main=$(head -1 trace | cut -d' ' -f1)
	[ "$(grep "^$main " trace | grep -c 'connect(.*AF_INET')" = 0 ]
	[ "$(grep "^$pid " trace | grep -c 'connect(.*AF_INET')" -ge 1 ]
	[ "$(grep "^$pid " trace | grep -c 'O_WRONLY\|O_CREAT')" = 0 ]
}

@test "must-staple: check misses the staple until it is fetched" {
	authority
	OCSP=$(free_port)
	issued site "http://127.0.0.1:$OCSP" "tlsfeature=status_request"
	names '{ cert: site.crt, key: site.key }'
	run "$BIN/tlsd" -c weir.yaml -t
	[[ "$output" == *"must be stapled"* ]]
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(state 0)" = missing ]
	until_ok grep -q ' cert_must_staple ' "$LOG"
	responder
	refresh
	[ "$status" -eq 0 ]
	until_ok eval '[ "$(state 0)" = good ]'
	[ "$(stapled)" = 1 ]
	run "$BIN/tlsd" -c weir.yaml -t
	[[ "$output" != *"must be stapled"* ]]
}

serials() { tlsctl json cert list | jq -c '[.[] | [.waiting, .ocsp.state]]'; }
# a client that refuses a certificate without the staple that it must have
strict() { gnutls-cli --x509cafile ca.crt --sni-hostname site --verify-hostname site -p "$PORT" 127.0.0.1 </dev/null; }

@test "must-staple: a new certificate waits for its staple while the old one is served with its own" {
	authority
	OCSP=$(free_port)
	issued site "http://127.0.0.1:$OCSP" "tlsfeature=status_request"
	names '{ cert: site.crt, key: site.key }'
	responder
	refresh
	[ "$status" -eq 0 ]
	tlsd_start
	PORT=$(tls_port 0)
	strict
	old=$(serial_of site.leaf)
	[ "$(served_serial)" = "$old" ]
	issued site "http://127.0.0.1:$OCSP" "tlsfeature=status_request"
	[ "$(serial_of site.leaf)" != "$old" ]
	# what lies beside it is still the old one's staple
	until_ok grep -q ' warn cert_waiting path=.*/site.crt listen=127.0.0.1:0 reason=refused .*says nothing of this certificate' "$LOG"
	[ "$(serials)" = '[[false,"good"],[true,"refused"]]' ]
	[ "$(served_serial)" = "$old" ]
	strict
	run "$BIN/proxyctl" -c weir.yaml cert list
	[[ "${lines[1]}" == *" good "* ]]
	[[ "${lines[2]}" == *" refused, waits "* ]]
	[[ "$(tlsctl cert list | tail -1)" == *"ocsp refused (waits for it)"* ]]
	[ "$(tlsctl json status | jq -c '.certificates | [.loaded, .waiting]')" = '[1,1]' ]
	run "$BIN/proxyctl" -c weir.yaml cert reload
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "tlsd.0: nothing has changed" ]
	[ "${lines[1]}" = "tlsd.0: $(realpath site.crt) waits for its staple (refused), the one before stays" ]
	[[ "$(tlsctl cert reload)" == *"site.crt waits for its staple (refused), the one before stays"* ]]
	grep -q ' cert_changed ' "$LOG" && false
	# a broken file is no way in for it
	mv site.crt whole
	echo x >site.crt
	run "$BIN/proxyctl" -c weir.yaml cert reload
	[ "$status" -eq 1 ]
	[ "$(serials)" = '[[false,"good"],[true,"refused"]]' ]
	mv whole site.crt
	# the one on the disk is asked for
	stop responder KILL # it reads the book once
	responder
	refresh
	[ "$status" -eq 0 ]
	[[ "$output" == */site.crt": good, "* ]]
	openssl ocsp -respin site.crt.ocsp -issuer ca.crt -cert site.leaf -CAfile ca.crt 2>/dev/null | grep -q 'site.leaf: good'
	until_ok grep -q ' info cert_changed path=.*/site.crt ' "$LOG"
	until_ok eval '[ "$(served_serial)" = "$(serial_of site.leaf)" ]'
	[ "$(serials)" = '[[false,"good"]]' ]
	strict
	# a staple that has gone is shown on, as long as it holds
	rm site.crt.ocsp
	until_ok grep -q ' cert_waiting .* reason=missing ' "$LOG"
	[ "$(serials)" = '[[false,"good"],[true,"missing"]]' ]
	strict
	# but not that of a certificate that is revoked
	book R site
	answer site site.crt.ocsp
	until_ok grep -q ' error cert_revoked ' "$LOG"
	[ "$(serials)" = '[[false,"revoked"]]' ]
	[ "$(stapled)" = 0 ]
	# behind which nobody waits
	issued site "http://127.0.0.1:$OCSP" "tlsfeature=status_request"
	until_ok eval '[ "$(served_serial)" = "$(serial_of site.leaf)" ]'
	run strict
	[ "$status" -ne 0 ]
}

@test "must-staple: it waits at a reload of the configuration, too, and no longer than the old one lives" {
	cert site ec -1 DNS:site
	sign_between() { # as in tls_helper.bash, in the same folder
		openssl ca -batch -config ca/ca.cnf -selfsign -keyfile "$1.key" -in "$1.csr" -out "$1.crt" -notext -startdate "$2" -enddate "$3" -extfile "$1.ext"
	}
	names '{ cert: site.crt, key: site.key }' '  # first'
	sign_between site 20200101000000Z "$(date -u -d '+20 seconds' +%Y%m%d%H%M%SZ)"
	tlsd_start
	PORT=$(tls_port 0)
	old=$(served_serial)
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout site.key -out site.csr -subj "/CN=site" 2>/dev/null
	echo tlsfeature=status_request >>site.ext
	sed -i 's/watch: 100ms/watch: 0/; s/# first/# second/' weir.yaml
	sign_between site 20200101000000Z 20991231235959Z
	run "$BIN/proxyctl" -c weir.yaml reload
	[ "$status" -eq 0 ]
	[[ "$output" == *"site.crt: waits for its staple, and the certificate in force stays"* ]]
	until_ok grep -q ' warn cert_waiting path=.*/site.crt .* reason=missing .*old_not_after=' "$LOG"
	[ "$(served_serial)" = "$old" ]
	until_ok eval '[ "$(served_serial)" = "$(serial_of site.crt)" ]'
	until_ok grep -q ' info cert_changed ' "$LOG"
	until_ok grep -q ' warn cert_must_staple ' "$LOG"
	grep -q ' cert_expired ' "$LOG" && false
	[ "$(serials)" = '[[false,"missing"]]' ]
}

@test "must-staple: a certificate whose key only root may read waits, and is taken up without root" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	chmod 755 "$D" "$BATS_RUN_TMPDIR" "$(dirname "$D")" "$RUN"
	chown nobody "$RUN"
	authority
	server
	issued site "http://127.0.0.1:$OCSP/site" "tlsfeature=status_request"
	answer site answers/site
	cp answers/site site.crt.ocsp
	names '{ cert: site.crt, key: site.key }' '  user: nobody'
	chmod 644 weir.yaml site.crt site.crt.ocsp
	chmod 600 site.key
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(ps -o user= -p "$TLSD")" = nobody ]
	old=$(served_serial)
	sed -i 's/watch: 100ms/watch: 0/' weir.yaml # only root can load the next one
	"$BIN/proxyctl" -c weir.yaml reload
	issued site "http://127.0.0.1:$OCSP/site" "tlsfeature=status_request"
	chmod 644 site.crt
	chmod 600 site.key
	sed -i 's/watch: 0/watch: 100ms/' weir.yaml
	run "$BIN/proxyctl" -c weir.yaml reload
	[[ "$output" == *"waits for its staple"* ]]
	[ "$(served_serial)" = "$old" ]
	answer site answers/site
	refresh
	[ "$status" -eq 0 ]
	until_ok eval '[ "$(served_serial)" = "$(serial_of site.leaf)" ]'
	[ "$(serials)" = '[[false,"good"]]' ]
}

@test "must-staple: of several for a name one with its staple comes first, for whoever can take it" {
	authority
	issued site - "tlsfeature=status_request"
	cert plain ec 30 DNS:site
	cert other rsa 30 DNS:site
	names '{ cert: site.crt, key: site.key }, { cert: plain.pem }'
	sed 's/{ cert: plain.pem }/{ cert: other.pem }/' weir.yaml >other.yaml
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(served -servername site)" = plain ]
	[ "$(served -noservername)" = plain ]
	answer site site.crt.ocsp
	until_ok eval '[ "$(served -servername site)" = site ]'
	[ "$(stapled -servername site)" = 1 ]
	# another kind of key
	rm site.crt.ocsp
	stop tlsd.0
	: >"$LOG"
	mv other.yaml weir.yaml
	tlsd_start
	PORT=$(tls_port 0)
	for v in -tls1_2 -tls1_3; do
		[ "$(served $v -servername site)" = other ]
		[ "$(served $v -servername site -sigalgs ECDSA+SHA256:RSA-PSS+SHA256)" = other ]
		[ "$(served $v -servername site -sigalgs ECDSA+SHA256)" = site ]
	done
	# the staple comes, and later is over
	answer site staple
	python3 "$TOOLS/ocsptimes.py" staple ca.key 16
	mv staple site.crt.ocsp
	until_ok eval '[ "$(served -tls1_2 -servername site)" = site ]'
	[ "$(served -tls1_3 -servername site)" = site ]
	[ "$(stapled -servername site)" = 1 ]
	until_ok eval '[ "$(served -tls1_3 -servername site)" = other ]'
	[ "$(served -tls1_2 -servername site)" = other ]
}

@test "up fetches staples by itself, at the start and then as up.ocsp_refresh says" {
	authority
	server
	issued site "http://127.0.0.1:$OCSP/good"
	answer site answers/good
	names '{ cert: site.crt, key: site.key }' 'up: { ocsp_refresh: 500ms }'
	sed -i 's/to: web/to: "unix:\/nowhere", relay: none/' weir.yaml
	spawn up "$BIN/proxyctl" -c weir.yaml up
	until_ok test -f site.crt.ocsp
	until_ok eval '[ "$(state 0)" = good ]'
	until_ok grep -q '/site.crt: good, holds until' proc/up.log
	rm site.crt.ocsp
	until_ok test -f site.crt.ocsp
	# off by a reload: not asked for any more, though each answer is due at once
	sed -i 's/ocsp_refresh: 500ms/ocsp_refresh: 0/' weir.yaml
	run "$BIN/proxyctl" -c weir.yaml reload
	[ "$status" -eq 0 ]
	until_ok eval '! pgrep -P "$(pid_of up)" -f "ocsp refresh"' # one may be on its way
	rm -f site.crt.ocsp
	: >answers/log
	touch site.crt # nor for what is new
	sleep 1.2
	[ ! -s answers/log ]
	[ ! -e site.crt.ocsp ]
}

# live NAME FILE: what was issued takes the place of a file in use, at once
live() {
	cat "$1.key" "$1.crt" >".$1.new"
	mv ".$1.new" "$2"
}
up_by() { # NAME CONFIG: nothing stands behind tlsd
	sed -i 's/to: web/to: "unix:\/nowhere", relay: none/' "$2"
	spawn "$1" "$BIN/proxyctl" -c "$2" up
}

@test "under up a renewed certificate gets its staple by itself: no client that insists on it misses it" {
	authority
	OCSP=$(free_port)
	mkdir folder
	issued site "http://127.0.0.1:$OCSP" "tlsfeature=status_request"
	issued plain "http://127.0.0.1:$OCSP"
	live site site.pem
	live plain folder/plain.pem
	names '{ cert: site.pem }, { dir: folder }'
	responder
	up_by up weir.yaml
	until_ok eval '[ "$(state 0)$(state 1)" = goodgood ]'
	PORT=$(tls_port 0)
	strict
	issued site "http://127.0.0.1:$OCSP" "tlsfeature=status_request"
	issued plain "http://127.0.0.1:$OCSP"
	issued other "http://127.0.0.1:$OCSP"
	stop responder KILL # it reads the book once
	responder
	live site site.pem
	local deadline=$((SECONDS + 60))
	until [ "$(served_serial -servername site)" = "$(serial_of site.leaf)" ]; do
		[ $SECONDS -lt $deadline ]
		strict
	done
	strict
	[ "$(stapled -servername site)" = 1 ]
	# one that need not be stapled, and one that is new in its folder
	live plain folder/plain.pem
	live other folder/other.pem
	for name in plain other; do
		until_ok eval '[ "$(served_serial -servername $name)" = "$(serial_of $name.leaf)" ]'
		until_ok eval '[ "$(stapled -servername $name)" = 1 ]'
	done
	openssl ocsp -respin folder/plain.pem.ocsp -issuer ca.crt -cert plain.leaf -CAfile ca.crt 2>/dev/null | grep -q 'plain.leaf: good'
	[ "$(grep -c ' info certs_changed' proc/up.log)" -ge 2 ]
	[ "$(grep -c ' ocsp_refresh_failed ' proc/up.log)" = 0 ]
}

@test "under up a responder in trouble is asked again 10 s later, by itself, and no sooner for whatever changes" {
	authority
	server
	mkdir folder lonely
	for name in late alone one two three; do
		issued $name "http://127.0.0.1:$OCSP/$name"
		answer $name $name.answer
	done
	live late folder/late.pem
	live alone lonely/alone.pem
	names '{ dir: folder }'
	sed 's/: run$/: run2/; s/: state$/: state2/; s/folder/lonely/' weir.yaml >other.yaml
	mkdir run2
	local began=$SECONDS
	up_by up weir.yaml
	up_by other other.yaml
	for name in up other; do until_ok grep -q ' warn ocsp_refresh_failed retry_in_ms=10000' proc/$name.log; done
	cp one.answer answers/one
	cp two.answer answers/two
	cp three.answer answers/three
	for name in one two three; do
		before=$(grep -c ' info certs_changed' proc/up.log || true)
		live $name folder/$name.pem
		until_ok eval '[ "$(grep -c " info certs_changed" proc/up.log)" -gt "$before" ]'
	done
	# Where all that takes longer than the 10 s, it may be asked once more.
	[ $((SECONDS - began)) -gt 8 ] || [ "$(cut -d' ' -f2 answers/log | sort | xargs)" = "/alone /late" ]
	cp late.answer answers/late
	cp alone.answer answers/alone
	for name in folder/late folder/one folder/two folder/three lonely/alone; do until_ok test -f $name.pem.ocsp; done
	[ "$(cut -d' ' -f2 answers/log | sort -u | xargs)" = "/alone /late /one /three /two" ]
	# a time for each pause of 10 s
	[ "$(grep -c . answers/log)" -le $((7 + 2 * (SECONDS - began - 10) / 10)) ]
	[ "$(grep -c certs_changed proc/other.log)" = 0 ]
}

@test "a resolver that hangs holds nobody up for longer than --timeout and 2 s, and is asked once" {
	[ "$(id -u)" = 0 ] || skip "needs root: another resolv.conf"
	: >resolv.conf
	unshare -m --propagation private mount --bind resolv.conf /etc/resolv.conf 2>/dev/null || skip "no mount namespaces here"
	authority
	for i in 1 2 3; do issued "lost$i" "http://hangs.example/"; done
	names '{ cert: lost1.crt, key: lost1.key }, { cert: lost2.crt, key: lost2.key }, { cert: lost3.crt, key: lost3.key }'
	echo "nameserver 127.0.0.53" >resolv.conf
	# Takes every question and answers none.
	spawn mute python3 -c "
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.53', 53)); print('mute', flush=True); time.sleep(100)"
	until_ok grep -q mute proc/mute.log
	local began=$SECONDS
	RES_OPTIONS="timeout:30 attempts:3" run unshare -m sh -c 'mount --bind resolv.conf /etc/resolv.conf && exec "$@"' sh \
		timeout 60 "$BIN/proxyctl" -c weir.yaml ocsp refresh --timeout 500ms
	echo "$output"
	[ "$status" -eq 1 ]
	[[ "${lines[0]}" == *"no answer in time" ]]
	[[ "${lines[1]}" == *"not asked again: it has just failed" ]]
	[[ "${lines[2]}" == *"not asked again: it has just failed" ]]
	[ $((SECONDS - began)) -lt 30 ]
}
