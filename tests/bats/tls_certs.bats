#!/usr/bin/env bats
# What tlsd promises of certificates over their life: lists, folders, renewal, expiry, staples.

load tls_helper

events() { grep -c " $1 " "$LOG"; }

# authority: ca.crt and ca.key; issued NAME SAN [EXTENSION]: NAME.crt, NAME.key, and NAME.pem of them with ca.crt
authority() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 30 \
		-subj "/O=Weir Tests/CN=Test Authority" 2>/dev/null
	: >index.txt
}
issued() {
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
	printf 'subjectAltName=%s\n%s\n' "$2" "${3:-}" >"$1.ext"
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
	cat "$1.crt" ca.crt "$1.key" >"$1.pem"
	# the authority's book, in which `openssl ocsp` looks
	printf 'V\t%s\t\t%s\tunknown\t/CN=%s\n' "$(date -u -d '+30 days' +%y%m%d%H%M%SZ)" \
		"$(openssl x509 -noout -serial -in "$1.crt" | cut -d= -f2)" "$1" >>index.txt
}
# staple NAME FILE [ARGS of openssl ocsp]
staple() {
	local name=$1 file=$2
	shift 2
	openssl ocsp -index index.txt -rsigner ca.crt -rkey ca.key -CA ca.crt -issuer ca.crt -cert "$name.crt" \
		-respout "$file.tmp" "${@:--ndays}" ${1:-7} >/dev/null 2>&1
	mv "$file.tmp" "$file"
}
state() { tlsctl json cert list | jq -r ".[0].ocsp.state"; }

# ---- lists ----

@test "proxyctl cert list: names, issuer, days left, listener, staple; text and JSON" {
	authority
	issued one DNS:one.test,DNS:www.one.test
	cert old rsa -1 DNS:old.test
	tlsd_config <<X
  listen:
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: one.pem }, { cert: old.pem }] }
X
	tlsd_start
	run "$BIN/proxyctl" -c weir.yaml cert list
	[ "$status" -eq 0 ]
	[[ "${lines[0]}" =~ ^NAMES\ +LISTENER\ +DAEMON\ +KEY\ +ISSUER\ +DAYS\ LEFT\ +OCSP\ +FILE ]]
	[[ "${lines[1]}" =~ ^one.test\ www.one.test\ +127.0.0.1:0\ +tlsd.0\ +ECDSA\ +Test\ Authority\ +(29|30)\ +none\ +.*/one.pem ]]
	[[ "${lines[2]}" =~ ^old.test\ +.*RSA\ +old\ +expired\ +none\ +.*/old.pem ]]
	run "$BIN/proxyctl" -c weir.yaml cert list -j
	[ "$(jq -c '[.[] | .daemon, .issuer, .days_left < 31, .names[0]]' <<<"$output")" = \
		'["tlsd.0","Test Authority",true,"one.test","tlsd.0","old",true,"old.test"]' ]
	[ "$(tlsctl json status | jq -c '.certificates | [.loaded, .expired, .expiring]')" = '[2,1,0]' ]
	[[ "$(tlsctl json status | jq .certificates.days_left)" =~ ^(29|30)$ ]]
	run "$BIN/proxyctl" -c weir.yaml cert show
	[ "$status" -eq 2 ]
	stop tlsd.0
	run "$BIN/proxyctl" -c weir.yaml cert list
	[ "$status" -eq 1 ]
	[[ "$output" == *"no tlsd runs"* ]]
}

# ---- renewal ----

@test "proxyctl cert reload serves what has changed, and says old and new expiry" {
	simple
	sed -i 's/^tls:/tls:\n  watch: 0/' weir.yaml
	tlsctl reload
	run "$BIN/proxyctl" -c weir.yaml cert reload
	[ "$status" -eq 0 ]
	[ "$output" = "tlsd.0: nothing has changed" ]
	spawn keep python3 "$RELAY" keep "$PORT" "$RUN/b.sock" go="$D/go"
	until_ok grep -q ready proc/keep.log
	cert site ec 60 DNS:localhost
	generation=$(tlsctl json status | jq .generation)
	run "$BIN/proxyctl" -c weir.yaml cert reload
	[ "$status" -eq 0 ]
	[ "$output" = "tlsd.0: serves what has changed" ]
	[ "$(served_serial)" = "$(serial_of site.crt)" ] # at once: it answers when it is so
	[ "$(tlsctl json status | jq .generation)" = "$generation" ]
	touch go
	until_ok grep -q 'went on' proc/keep.log
	day() { date -u -d "+$1 days" +%Y-%m-%d; }
	until_ok grep -q "cert_changed .*old_not_after=$(day 30).* not_after=$(day 60)" "$LOG"
}

@test "in a cert reload each certificate stands for itself: a broken one stays as it was" {
	cert a ec 30 DNS:a.test
	cert b ec 30 DNS:b.test
	tlsd_config <<X
  watch: 0
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: a.crt, key: a.key }, { cert: b.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	old=$(served_serial -servername a.test)
	cert b ec 30 DNS:b.test
	cp b.crt a.crt # not a.key's
	run "$BIN/proxyctl" -c weir.yaml cert reload
	[ "$status" -eq 1 ]
	[[ "$output" == *"tlsd.0: "*"tls.listen[0].certificates[0]: "*"a.key: the private key does not belong"*"for others the old ones stay"* ]]
	[ "$(served_serial -servername b.test)" = "$(serial_of b.crt)" ]
	[ "$(served_serial -servername a.test)" = "$old" ]
	# the same as a reload of the configuration is refused as a whole
	run tlsctl reload
	[[ "$output" == *error*"a.key: the private key does not belong"* ]]
}

@test "a certificate that several listeners name is one: a cert reload that changes nothing says so" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  watch: 0
  listen:
    - { address: "127.0.0.1:0", to: web, certificates: [{ cert: site.crt, key: site.key }, { self_signed: [a.test] }] }
    - { address: "127.0.0.2:0", to: web, certificates: [{ self_signed: [a.test] }, { cert: site.crt, key: site.key }] }
X
	tlsd_start
	run "$BIN/proxyctl" -c weir.yaml cert reload
	[ "$output" = "tlsd.0: nothing has changed" ]
	cert site ec 60 DNS:localhost
	run "$BIN/proxyctl" -c weir.yaml cert reload
	[ "$output" = "tlsd.0: serves what has changed" ]
	[ "$(events cert_changed)" = 2 ]
	run "$BIN/proxyctl" -c weir.yaml cert reload
	[ "$output" = "tlsd.0: nothing has changed" ]
	# what is broken is told of each place that names it
	echo x >site.crt
	run "$BIN/proxyctl" -c weir.yaml cert reload
	[ "$status" -eq 1 ]
	[[ "$output" == *"tls.listen[0].certificates[0]: "*"tls.listen[1].certificates[1]: "* ]]
}

@test "files that change are served without a reload; what is broken waits, and is told once" {
	simple
	sed -i 's/^tls:/tls:\n  watch: 200ms/' weir.yaml
	tlsctl reload
	old=$(serial_of site.crt)
	# a renewal that writes one file after the other is waited for, or fails once and then goes in
	cert next ec 30 DNS:localhost
	mv next.crt site.crt
	until_ok grep -q ' cert_reload_failed .*site.key: the private key does not belong' "$LOG"
	[ "$(served_serial)" = "$old" ]
	sleep 1
	[ "$(events cert_reload_failed)" = 1 ]
	mv next.key site.key
	new() { [ "$(served_serial)" = "$(serial_of site.crt)" ]; }
	until_ok new
	until_ok grep -q ' cert_changed ' "$LOG"
	# a symbolic link that is turned elsewhere, as certbot does it
	cert v2 ec 30 DNS:localhost
	ln -sf v2.crt site.crt.new && ln -sf v2.key site.key.new
	mv -T site.crt.new site.crt && mv -T site.key.new site.key
	until_ok new
	[ "$(served_serial)" = "$(serial_of v2.crt)" ]
	until_ok eval '[ "$(events cert_changed)" = 2 ]'
	# nothing changes, nothing is loaded
	before=$(grep -c " cert_" "$LOG")
	sleep 1
	[ "$(grep -c " cert_" "$LOG")" = "$before" ]
}

@test "a key that root renews comes by proxyctl cert reload" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	chmod 755 "$D" "$BATS_RUN_TMPDIR" "$(dirname "$D")" "$RUN"
	chown nobody "$RUN"
	mkdir certs.d
	cert site ec 30 DNS:localhost
	install -m 644 site.crt certs.d/site.crt
	install -m 600 site.key certs.d/site.key
	tlsd_config <<X
  user: nobody
  watch: 200ms
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ dir: certs.d }] }]
X
	chmod 644 weir.yaml
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(ps -o user= -p "$TLSD")" = nobody ]
	old=$(served_serial)
	cert site ec 30 DNS:localhost
	install -m 644 site.crt certs.d/site.crt
	install -m 600 site.key certs.d/site.key
	until_ok grep -q ' cert_reload_failed .*site.key: cannot be read: Permission denied' "$LOG"
	[ "$(served_serial)" = "$old" ]
	"$BIN/proxyctl" -c weir.yaml cert reload
	[ "$(served_serial)" = "$(serial_of site.crt)" ]
}

@test "what changes between the phases of a reload is not lost" {
	simple
	sed -i 's/^tls:/tls:\n  watch: 200ms/' weir.yaml
	tlsctl reload
	hash=$(tlsctl json status | jq -r .hash)
	loaded() { [ "$(served_serial)" = "$(serial_of site.crt)" ]; }
	for end in abort commit; do
		tlsctl prepare "$hash" "$D/weir.yaml"
		before=$(served_serial)
		cert site ec 30 DNS:localhost
		run tlsctl cert reload
		[[ "$output" == *"a reload is under way"* ]]
		sleep 1 # the watch looks, and waits
		[ "$(served_serial)" = "$before" ]
		tlsctl $end
		until_ok loaded
	done
	# loaded by a candidate that was dropped, so not in force
	cert site ec 30 DNS:localhost
	tlsctl prepare "$hash" "$D/weir.yaml"
	tlsctl abort
	until_ok loaded
}

# ---- folders ----

@test "a folder of certificates: NAME.pem, NAME.crt with NAME.key, NAME/fullchain.pem with privkey.pem" {
	mkdir -p certs.d/three.test certs.d/empty
	for n in one two three; do cert $n ec 30 "DNS:$n.test"; done
	cp one.pem certs.d/
	cp two.crt two.key certs.d/
	cp three.crt certs.d/three.test/fullchain.pem
	cp three.key certs.d/three.test/privkey.pem
	echo rubbish >certs.d/.hidden.pem
	echo rubbish >certs.d/README
	tlsd_config <<X
  watch: 200ms
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ dir: certs.d }] }]
X
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$status" -eq 0 ]
	[ "$output" = "[]" ]
	tlsd_start
	PORT=$(tls_port 0)
	for n in one two three; do [ "$(served -servername $n.test)" = $n ]; done
	# one comes, one goes, one that is broken harms nobody
	cert four ec 30 DNS:four.test
	cp four.pem certs.d/
	rm -r certs.d/three.test
	echo rubbish >certs.d/five.pem
	came() { [ "$(served -servername four.test)" = four ]; }
	until_ok came
	until_ok eval '[ "$(served -servername three.test)" = four ]' # the first one by name
	until_ok grep -q ' cert_reload_failed .*five.pem: has no certificate' "$LOG"
	# at a start it is an error, and so is a folder without any
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$status" -eq 2 ]
	[[ "$output" == *"five.pem: has no certificate"* ]]
	sed -i 's/certs.d/certs.d\/empty/' weir.yaml
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$status" -eq 2 ]
	[[ "$output" == *"certs.d/empty: has no certificate, expected NAME.pem"* ]]
	sed -i 's/certs.d.empty/nowhere/' weir.yaml
	run "$BIN/tlsd" -t -c weir.yaml
	[[ "$output" == *"nowhere: cannot be listed: No such file"* ]]
}

@test "a folder that tlsd's user may not list: told by check, a reload is refused, what is served stays" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	chmod 755 "$D" "$BATS_RUN_TMPDIR" "$(dirname "$D")" "$RUN"
	chown nobody "$RUN"
	mkdir -m 700 certs.d
	cert one ec 30 DNS:one.test
	cp one.pem certs.d/
	tlsd_config <<X
  user: nobody
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ dir: certs.d }] }]
X
	chmod 644 weir.yaml
	run setpriv --reuid nobody --clear-groups "$BIN/tlsd" -t -c weir.yaml
	[ "$status" -eq 0 ]
	[[ "$(jq -r '.[0] | .level + " " + .text' <<<"$output")" == "warning not checked: "*"certs.d: cannot be listed: Permission denied" ]]
	tlsd_start
	PORT=$(tls_port 0)
	for word in reload "cert reload"; do
		run tlsctl $word
		[[ "$output" == *error*"certs.d: cannot be listed: Permission denied"* ]]
		[ "$(served)" = one ]
	done
}

# ---- expiry ----

@test "a certificate that expires soon is an event, when it is loaded and when its time comes" {
	cert week ec -1 DNS:week.test
	sign_between week 20200101000000Z "$(date -u -d '+6 days -1 hour' +%Y%m%d%H%M%SZ)"
	cat week.crt week.key >week.pem
	cert month ec 30 DNS:month.test
	cert edge ec -1 DNS:edge.test
	sign_between edge 20200101000000Z "$(date -u -d '+10 days +5 seconds' +%Y%m%d%H%M%SZ)"
	cat edge.crt edge.key >edge.pem
	tlsd_config <<X
  expiry_warning: 10d
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: week.pem }, { cert: month.pem }, { cert: edge.pem }] }]
X
	tlsd_start
	until_ok grep -q ' cert_expires_soon path=.*week.pem .*days_left=5' "$LOG"
	refute grep -q ' cert_expires_soon path=.*month.pem' "$LOG"
	until_ok grep -q ' cert_expires_soon path=.*edge.pem .*days_left=[19]' "$LOG"
	[ "$(events cert_expires_soon)" = 2 ]
	[ "$(tlsctl json status | jq .certificates.expiring)" = 2 ]
	tlsctl reload
	[ "$(events cert_expires_soon)" = 2 ]
	# as an event, too
	run "$BIN/proxyctl" -c weir.yaml events --recent --until cert_expires_soon --timeout 5s
	[[ "$output" == *'"type": "cert_expires_soon"'* || "$output" == *'"type":"cert_expires_soon"'* ]]
}

# ---- policy and names ----

@test "policy modern speaks TLS 1.3 only; contradictions are errors" {
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  listen:
    - { address: "127.0.0.1:0", to: web, policy: modern, certificates: [{ cert: site.pem }] }
    - { address: "127.0.0.1:0", to: web, policy: intermediate, certificates: [{ cert: site.pem }] }
X
	tlsd_start
	PORT=$(tls_port 0)
	[[ "$(s_client -tls1_3)" == *"New, TLSv1.3"* ]]
	[[ "$(s_client -tls1_2)" == *"alert protocol version"* ]]
	PORT=$(tls_port 1)
	[[ "$(s_client -tls1_3)" == *"New, TLSv1.3"* ]]
	[[ "$(s_client -tls1_2)" == *"New, TLSv1.2"* ]]
	[[ "$(s_client -tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256)" == *"alert handshake failure"* ]]
	[ "$(tlsctl json status | jq -c '[.listeners[].min_version]')" = '["1.3","1.2"]' ]
	tlsd_config <<X
  listen:
    - { address: "127.0.0.1:0", to: web, policy: modern, min_version: "1.2", ciphers: [ECDHE-RSA-AES128-GCM-SHA256], certificates: [{ cert: site.pem }] }
X
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$status" -eq 2 ]
	[[ "$output" == *"1.2 contradicts policy modern"* && "$output" == *"is of TLS 1.2, which policy modern does not speak"* ]]
}

@test "strict_sni refuses names that no certificate has, and says so" {
	cert site ec 30 DNS:site.test,DNS:*.site.test
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, strict_sni: on, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(served -servername site.test)" = site ]
	[ "$(served -servername a.site.test)" = site ]
	for v in -tls1_2 -tls1_3; do
		[[ "$(s_client $v -servername other.test)" == *"unrecognized name"* ]]
		[[ "$(s_client $v -noservername)" == *"unrecognized name"* ]]
	done
	until_ok failed_reached unknown_name 4
	until_ok grep -q 'handshake_failed reason=unknown_name .*sni=other.test' "$LOG"
}

# ---- staples ----

@test "an OCSP staple is read, checked and shown; a new one is taken up" {
	authority
	issued site DNS:site.test
	tlsd_config <<X
  watch: 200ms
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(state)" = none ]
	[ "$(stapled -servername site.test)" = 0 ]
	staple site site.pem.ocsp
	good() { [ "$(state)" = good ]; }
	until_ok good
	for v in -tls1_2 -tls1_3; do [ "$(stapled $v -servername site.test)" = 1 ]; done
	run s_client -status -servername site.test
	[[ "$output" == *"Cert Status: good"* ]]
	# who does not ask gets none
	[[ "$(s_client -servername site.test)" != *"OCSP Response Data"* ]]
	# it goes when the file goes
	rm site.pem.ocsp
	none() { [ "$(state)" = none ]; }
	until_ok none
	[ "$(stapled -servername site.test)" = 0 ]
}

@test "a staple that cannot be used is not shown, and why is told" {
	authority
	issued site DNS:site.test
	issued other DNS:other.test
	cp ca.crt good-ca.crt
	cp ca.key good-ca.key
	staple other other.ocsp
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem, ocsp: site.ocsp }] }]
X
	check() { # TEXT
		run "$BIN/tlsd" -t -c weir.yaml
		[ "$status" -eq 0 ]
		[ "$(jq -r '.[0].level' <<<"$output")" = warning ]
		[[ "$(jq -r '.[0].text' <<<"$output")" == *"site.ocsp: $1"* ]] || { echo "expected $1: $output"; false; }
	}
	echo rubbish >site.ocsp
	check "is no OCSP response"
	cp other.ocsp site.ocsp
	check "says nothing of this certificate"
	# another key than the issuer's
	openssl req -x509 -key other.key -subj "/O=Weir Tests/CN=Test Authority" -days 3 -out false.crt 2>/dev/null
	openssl ocsp -index index.txt -rsigner false.crt -rkey other.key -CA ca.crt -issuer ca.crt -cert site.crt -respout site.ocsp -ndays 7 >/dev/null 2>&1
	check "is not signed by the certificate's issuer"
	# a certificate of the same issuer's that is none of a responder
	openssl ocsp -index index.txt -rsigner other.crt -rkey other.key -CA ca.crt -issuer ca.crt -cert site.crt -respout site.ocsp -ndays 7 >/dev/null 2>&1
	check "is not signed by the certificate's issuer"
	# and one that is
	issued responder DNS:ocsp.test extendedKeyUsage=OCSPSigning
	openssl ocsp -index index.txt -rsigner responder.crt -rkey responder.key -CA ca.crt -issuer ca.crt -cert site.crt -respout site.ocsp -ndays 7 >/dev/null 2>&1
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$output" = "[]" ]
	head -c 100000 /dev/zero >site.ocsp
	check "is no file of 1 byte to 64 kB"
	# revoked
	serial=$(openssl x509 -noout -serial -in site.crt | cut -d= -f2)
	awk -F'\t' -v OFS='\t' -v s="$serial" '$4 == s { $1 = "R"; $3 = "250101000000Z,keyCompromise" } 1' index.txt >i && mv i index.txt
	staple site site.ocsp
	check "the certificate is revoked: keyCompromise"
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(state)" = revoked ]
	[ "$(stapled -servername site.test)" = 0 ]
	until_ok grep -q 'error cert_revoked ' "$LOG"
}

# holds_until FILE SECONDS: nextUpdate of the response in FILE moved to so many seconds from now, signed anew by ca.key
# (RSA: the signature's length stays)
holds_until() { python3 "$TOOLS/ocsptimes.py" "$1" ca.key "$2"; }

@test "a staple is not shown any longer than it holds" {
	openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj "/CN=Test Authority" 2>/dev/null
	issued site DNS:site.test
	staple site site.pem.ocsp
	tlsd_config <<X
  watch: 0
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	holds_until site.pem.ocsp 12
	tlsd_start
	PORT=$(tls_port 0)
	[ "$(stapled)" = 1 ]
	until_ok grep -q ' staple_expired ' "$LOG"
	[ "$(stapled)" = 0 ]
	[ "$(state)" = expired ]
	# at a start it is told, and not shown
	run "$BIN/tlsd" -t -c weir.yaml
	[[ "$output" == *"site.pem.ocsp: is out of date"* ]]
}

@test "a certificate that must be stapled and is not is a warning" {
	authority
	issued site DNS:site.test tlsfeature=status_request
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: web, certificates: [{ cert: site.pem }] }]
X
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$status" -eq 0 ]
	[[ "$(jq -r '.[0].text' <<<"$output")" == *"site.pem: the certificate must be stapled, and there is no "*"site.pem.ocsp" ]]
	tlsd_start
	until_ok grep -q 'warn cert_must_staple path=.*site.pem' "$LOG"
	[ "$(state)" = missing ]
	staple site site.pem.ocsp
	tlsctl cert reload
	[ "$(state)" = good ]
	run "$BIN/tlsd" -t -c weir.yaml
	[ "$output" = "[]" ]
}
