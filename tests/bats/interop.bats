#!/usr/bin/env bats
# tlsd in front of the servers that people run, and other TLS terminators in front of routerd: each
# server sees the client's address from PROXY v2.

load tls_helper

setup() {
	tls_setup
	PATH=$PATH:/usr/sbin:/sbin
	cert site ec 30 DNS:localhost,IP:127.0.0.1
}

behind() { # TO [RELAY]
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: "$1", relay: ${2:-proxy_v2}, alpn: [http/1.1], certificates: [{ cert: site.pem }] }]
X
	tlsd_start
	PORT=$(tls_port 0)
}

# From an address that only a PROXY header can tell: whoever connects to the server is 127.0.0.1 or nobody.
ME=127.0.0.9
get() { curl -sS -m 60 --cacert site.crt --interface $ME --connect-to "localhost:$PORT:127.0.0.1:$PORT" "$@"; }
url() { echo "https://localhost:$PORT$1"; }

big() { head -c 3000000 /dev/urandom >big.bin; }
sum() { sha256sum "$@" | cut -d' ' -f1; }

# both_ways PATH: an origin.py stands behind PATH: 3 MB up and 5 MB down arrive whole, in both versions
both_ways() {
	big
	curl -sS "http://127.0.0.1:$(port_of o)/bytes/5000000" -o want.bin
	[ "$(stat -c %s want.bin)" = 5000000 ]
	for v in --tlsv1.3 "--tls-max 1.2"; do
		[ "$(get $v --data-binary @big.bin "$(url "$1/echo")" | jq -r .body_sha256)" = "$(sum big.bin)" ]
		get $v "$(url "$1/bytes/5000000")" -o got.bin
		cmp want.bin got.bin
	done
}

# half_closed PATH [BYTES]: a client that ends its side after the request reads the whole answer
half_closed() {
	local n=${2:-5000000}
	curl -sS "http://127.0.0.1:$(port_of o)/bytes/$n" -o want.bin
	for v in 1.2 1.3; do
		run python3 "$RELAY" http_half "$PORT" "path=$1/bytes/$n" "vhost=localhost:$PORT" version=$v source=$ME
		[ "$status" -eq 0 ] || { echo "$output"; false; }
		[ "$output" = "$n $(sum want.bin)" ] || { echo "half-closed: $output"; false; }
	done
}

@test "relay: none to a plain Python server" {
	big
	port=$(free_port)
	spawn python python3 -m http.server "$port" --bind 127.0.0.1 --directory "$D"
	until_ok bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
	behind "127.0.0.1:$port" none
	get "$(url /big.bin)" -o got.bin
	cmp big.bin got.bin
	get --tls-max 1.2 "$(url /big.bin)" -o got.bin
	cmp big.bin got.bin
}

@test "tlsd to nginx with proxy_protocol" {
	command -v nginx >/dev/null || skip "nginx is not installed"
	big
	origin o
	chmod 755 "$D" "$BATS_RUN_TMPDIR" "$(dirname "$D")"
	chmod 644 big.bin
	cat >nginx.conf <<X
daemon off; pid $D/nginx.pid; error_log $D/nginx-error.log; worker_processes 1; user root;
events { }
http {
  access_log off; client_body_temp_path $D/cb; proxy_temp_path $D/pt; fastcgi_temp_path $D/ft; uwsgi_temp_path $D/ut; scgi_temp_path $D/st;
  client_max_body_size 20m;
  server {
    listen unix:$RUN/n.sock proxy_protocol; real_ip_header proxy_protocol; set_real_ip_from unix:;
    location /who { return 200 "\$proxy_protocol_addr \$proxy_protocol_port \$remote_addr\n"; }
    location /o/ { proxy_pass http://127.0.0.1:$(port_of o); proxy_ignore_client_abort on; }
    location / { root $D; }
  }
}
X
	spawn nginx nginx -e "$D/nginx-error.log" -c "$D/nginx.conf" -p "$D"
	until_ok test -S "$RUN/n.sock"
	behind "unix:$RUN/n.sock"
	get "$(url /who)" -w '%{local_ip} %{local_port} %{local_ip}\n' >who
	[ "$(head -1 who)" = "$(tail -1 who)" ]
	[[ "$(head -1 who)" == "$ME "* ]]
	get "$(url /big.bin)" -o got.bin
	cmp big.bin got.bin
	both_ways /o
	half_closed /o 128 # nginx cuts long answers off when the client has ended its side, also without tlsd
	# keep-alive: two requests, one connection
	get "$(url /who)" "$(url /who)" -w '%{num_connects}\n' | grep -q '^0$'
}

@test "tlsd to HAProxy with accept-proxy" {
	command -v haproxy >/dev/null || skip "haproxy is not installed"
	origin o
	cat >haproxy.cfg <<X
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 10s
frontend f
  bind $RUN/h.sock accept-proxy
  http-request return status 200 content-type text/plain lf-string "%ci %cp %[fc_pp_authority] %[fc_pp_unique_id,length]\n" if { path /who }
  default_backend o
backend o
  server o 127.0.0.1:$(port_of o)
X
	spawn haproxy haproxy -db -f haproxy.cfg
	until_ok test -S "$RUN/h.sock"
	behind "unix:$RUN/h.sock"
	get "$(url /who)" -w '%{local_ip} %{local_port} localhost 24\n' >who
	[ "$(head -1 who)" = "$(tail -1 who)" ]
	[[ "$(head -1 who)" == "$ME "* ]]
	both_ways /o
	half_closed /o
}

@test "tlsd to Varnish with PROXY v2" {
	command -v varnishd >/dev/null || skip "varnish is not installed"
	origin o
	mkdir -p vwork
	chmod 777 vwork "$RUN"
	chmod 755 "$D" "$BATS_RUN_TMPDIR" "$(dirname "$D")"
	cat >v.vcl <<X
vcl 4.1;
import proxy;
import std;
backend default { .host = "127.0.0.1"; .port = "$(port_of o)"; }
sub vcl_deliver { set resp.http.X-Client = client.ip + " " + proxy.authority() + " " + proxy.alpn() + " " + proxy.is_ssl() + " " + proxy.ssl_version(); }
X
	vport=$(free_port)
	spawn varnish varnishd -F -f "$D/v.vcl" -a "127.0.0.1:$vport,PROXY" -n "$D/vwork" -s malloc,10m
	until_ok bash -c "exec 3<>/dev/tcp/127.0.0.1/$vport"
	behind "127.0.0.1:$vport"
	until_ok get -f "$(url /health)"
	get -D head.txt -o /dev/null "$(url /health)"
	grep -qi "^X-Client: $ME localhost http/1.1 true TLSv1.3" head.txt
	both_ways /o
	half_closed /o
}

@test "clients: curl with 1.2 and 1.3, Node, Python" {
	port=$(free_port)
	echo hello >hello.txt
	spawn python python3 -m http.server "$port" --bind 127.0.0.1 --directory "$D"
	until_ok bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
	behind "127.0.0.1:$port" none
	[ "$(get --tlsv1.3 "$(url /hello.txt)")" = hello ]
	[ "$(get --tls-max 1.2 "$(url /hello.txt)")" = hello ]
	[ "$(python3 -c "
import ssl, urllib.request as u
print(u.urlopen('$(url /hello.txt)', context=ssl.create_default_context(cafile='site.crt')).read().decode(), end='')")" = hello ]
	command -v node >/dev/null || skip "the rest needs node"
	[ "$(NODE_EXTRA_CA_CERTS=$D/site.crt node -e "
require('https').get('$(url /hello.txt)', r => r.on('data', d => process.stdout.write(d)))")" = hello ]
}

# ---- routerd behind tlsd, hitch and HAProxy ----

routerd_start() {
	start routerd
}

http_section() {
	cat <<X
http:
  workers: 2
  listen:
    - { name: https, from: tlsd }
    - { name: behind, address: "127.0.0.1:$1", accept_proxy: [127.0.0.1], scheme: https }
  hosts:
    - names: ["*"]
      routes: [{ path: /o/, pool: o }, { path: /, echo: on }]
pools:
  o: { servers: [{ name: o, address: "127.0.0.1:$(port_of o)" }] }
X
}

# who_at LISTENER: routerd sees who the client is, and by which listener it came
who_at() { [ "$(get "$(url /a?b)" | seen)" = "$ME https $1 localhost:$PORT" ]; }
seen() { jq -r '"\(.client) \(.scheme) \(.listener) \(.host)"'; }

to_routerd() { # SEAM COUNTER
	origin o
	tlsd_config <<X
  listen: [{ address: "127.0.0.1:0", to: https, $1 alpn: [http/1.1], certificates: [{ cert: site.pem }] }]
$(http_section "$(free_port)")
X
	routerd_start
	tlsd_start
	PORT=$(tls_port 0)
	who_at https
	[ "$(counter "$2")" = 1 ]
	both_ways /o
	half_closed /o
	# keep-alive through both
	get "$(url /1)" "$(url /2)" -o /dev/null -o /dev/null -w '%{num_connects}\n' | grep -q '^0$'
}

@test "tlsd to routerd by handoff, which is the default: who came and how" { to_routerd '' handed_over; }
@test "tlsd to routerd by relay: who came and how" { to_routerd 'seam: relay,' relayed; }

@test "routerd is killed: handshakes wait and are served by the next one" {
	origin o
	tlsd_config <<X
  handoff_timeout: 10s
  listen: [{ address: "127.0.0.1:0", to: https, alpn: [http/1.1], certificates: [{ cert: site.pem }] }]
$(http_section "$(free_port)")
X
	routerd_start
	tlsd_start
	PORT=$(tls_port 0)
	get "$(url /)" >/dev/null
	kill_hard routerd.0
	spawn late curl -sS --cacert site.crt --connect-to "localhost:$PORT:127.0.0.1:$PORT" "$(url /late)"
	until_ok reached waited 1
	start routerd
	until_ok grep -q '"/late"' proc/late.log
	[ "$(counter wait_timeout)" = 0 ]
	# another instance serves while the first one is gone
	kill_hard routerd.0
	sed '/name: behind/d' weir.yaml >other.yaml
	start routerd -i other -c "$T/other.yaml"
	who_at https
}

@test "hitch to routerd" {
	command -v hitch >/dev/null || skip "hitch is not installed"
	origin o
	config <<X
run_dir: run
$(http_section "$(free_port)")
X
	routerd_start
	PORT=$(free_port)
	cat >hitch.conf <<X
frontend = "[127.0.0.1]:$PORT"
backend = "$RUN/https/0.sock"
pem-file = "$D/site.pem"
write-proxy-v2 = on
alpn-protos = "http/1.1"
workers = 1
X
	[ "$(id -u)" != 0 ] || echo 'user = "root"' >>hitch.conf
	spawn hitch hitch --config=hitch.conf
	until_ok bash -c "exec 3<>/dev/tcp/127.0.0.1/$PORT"
	who_at https
	both_ways /o # hitch itself knows no half-closed clients
}

@test "HAProxy to routerd: PROXY v2 with and without the TLS facts" {
	command -v haproxy >/dev/null || skip "haproxy is not installed"
	origin o
	behind=$(free_port)
	config <<X
run_dir: run
$(http_section "$behind")
X
	routerd_start
	PORT=$(free_port)
	plain=$(free_port)
	cat >haproxy.cfg <<X
defaults
  mode tcp
  timeout client 60s
  timeout server 60s
  timeout connect 10s
listen with
  bind 127.0.0.1:$PORT ssl crt $D/site.pem alpn http/1.1
  server r unix@$RUN/https/0.sock send-proxy-v2-ssl
listen without
  bind 127.0.0.1:$plain ssl crt $D/site.pem
  server r 127.0.0.1:$behind send-proxy-v2
X
	spawn haproxy haproxy -db -f haproxy.cfg
	until_ok bash -c "exec 3<>/dev/tcp/127.0.0.1/$plain"
	who_at https
	both_ways /o
	half_closed /o
	PORT=$plain
	who_at behind
	half_closed /o
}

@test "routerd in front of Node: bodies both ways, chunks, trailers, events as they come, WebSocket" {
	command -v node >/dev/null || skip "node is not installed"
	spawn n node "$TOOLS/node_origin.js" node1
	until_ok grep -q ready proc/n.log
	PORT=$(free_port)
	config <<X
run_dir: run
http:
  workers: 2
  listen: [{ name: http, address: "127.0.0.1:$PORT" }]
  hosts: [{ names: ["*"], routes: [{ path: /, pool: n }] }]
pools: { n: { servers: ["127.0.0.1:$(port_of n)"] } }
X
	routerd_start
	big
	[ "$(http "http://127.0.0.1:$PORT/")" = "hello from node1" ]
	for framing in X-None: "Transfer-Encoding: chunked"; do
		http -H "$framing" -H Expect: --data-binary @big.bin "http://127.0.0.1:$PORT/echo?a=b" >said
		[ "$(jq -r .body_sha256 said)" = "$(sum big.bin)" ]
		[ "$(jq -r '.target + " " + .headers["x-forwarded-for"]' said)" = "/echo?a=b 127.0.0.1" ]
	done
	[ "$(http "http://127.0.0.1:$PORT/stream/20" | tail -1)" = "chunk 19" ]
	# The first event is here before the last one has been made.
	spawn events curl -q -sS -N -m 60 --noproxy '*' "http://127.0.0.1:$PORT/events/300"
	until_ok grep -q 'data: event 0' proc/events.log
	refute grep -q 'data: event 299' proc/events.log
	run python3 "$TOOLS/rawclient.py" "$PORT" 'GET /trailers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	[[ "$output" == *"X-Sum: 5"* ]]
	run python3 "$TOOLS/rawclient.py" "$PORT" --until hi 'GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n' \
		'@wait:\r\n\r\n' '\x81\x82\x00\x00\x00\x00hi'
	[ "$status" -eq 0 ]
	[[ "$output" == *"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="* ]]
}

# rules_nginx, rules_weir: the same rules and the same variables, each in its own words, in front of the origin `o`
rules_nginx() {
	NGINX_TLS=$(free_port)
	cat >nginx.conf <<N
daemon off; pid $D/nginx.pid; error_log $D/nginx-error.log; worker_processes 1; user root;
events { }
http {
  access_log off; client_body_temp_path $D/cb; proxy_temp_path $D/pt; fastcgi_temp_path $D/ft; uwsgi_temp_path $D/ut; scgi_temp_path $D/st;
  map \$http_x_default \$with_default { "" ours; default \$http_x_default; }
  server {
    listen 127.0.0.1:$NGINX_TLS ssl http2;
    ssl_certificate $D/site.crt; ssl_certificate_key $D/site.key; ssl_client_certificate $D/ca.crt; ssl_verify_client optional; ssl_protocols TLSv1.2 TLSv1.3;
    proxy_set_header X-Addr \$remote_addr; proxy_set_header X-Host \$host; proxy_set_header X-Target \$request_uri;
    proxy_set_header X-Args \$args; proxy_set_header X-Arg "\$arg_a|\$arg_b|\$arg_none"; proxy_set_header X-Cookies \$http_cookie;
    proxy_set_header X-Cookie "\$cookie_sid|\$cookie_b|\$cookie_none"; proxy_set_header X-Agent \$http_user_agent;
    proxy_set_header X-Authority \$http_host; proxy_set_header X-Way "\$scheme \$request_method"; proxy_set_header X-Some " a \$http_x_some b ";
    proxy_set_header X-Default \$with_default; proxy_set_header X-Secret ""; proxy_set_header X-Empty \$http_none;
    proxy_set_header X-TLS "\$ssl_protocol \$ssl_server_name \$ssl_alpn_protocol"; proxy_set_header X-Verify \$ssl_client_verify;
    proxy_set_header X-S-DN \$ssl_client_s_dn; proxy_set_header X-I-DN \$ssl_client_i_dn; proxy_set_header X-Serial \$ssl_client_serial;
    proxy_set_header X-Cert \$ssl_client_escaped_cert; proxy_set_header X-Print \$ssl_client_fingerprint; proxy_set_header Host inner.example;
    proxy_hide_header X-Powered-By; proxy_hide_header X-Set;
    add_header X-Set "\$status \$request_method" always; add_header Set-Cookie c=3 always; add_header X-Seen "\$upstream_http_x_version" always;
    add_header X-Ask "\$arg_a;\$ssl_client_s_dn" always; add_header X-Nothing "\$http_none" always;
    location / { proxy_pass http://127.0.0.1:$(port_of o); }
    location /gone { proxy_pass http://127.0.0.1:1; }
    location /move { return 301 https://inner.example\$uri; }
  }
}
N
	spawn nginx nginx -e "$D/nginx-error.log" -c "$D/nginx.conf" -p "$D"
}
rules_weir() {
	config <<N
run_dir: run
state_dir: state
tls:
  workers: 1
  listen: [{ address: "127.0.0.1:0", to: web, alpn: [h2, http/1.1], certificates: [{ cert: site.pem }], client_auth: { ca: ca.crt, mode: optional } }]
http:
  workers: 1
  listen: [{ name: web, from: tlsd }]
  forward: { x_forwarded: off, x_real_ip: off }
  headers:
    request:
      hide: [X-Secret]
      set: { X-Addr: "\${client}", X-Host: "\${host}", X-Target: "\${target}", X-Args: "\${query}", X-Arg: "\${arg_a}|\${arg_b}|\${arg_none}",
        X-Cookies: "\${http_cookie}", X-Cookie: "\${cookie_sid}|\${cookie_b}|\${cookie_none}", X-Agent: "\${http_user_agent}",
        X-Authority: "\${http_host}", X-Way: "\${scheme} \${method}", X-Some: " a \${http_x_some} b ", X-Empty: "\${http_none}",
        X-TLS: "\${tls_version} \${tls_sni} \${tls_alpn}", X-Verify: "\${client_cert_verify}", X-S-DN: "\${client_cert_subject}",
        X-I-DN: "\${client_cert_issuer}", X-Serial: "\${client_cert_serial}", X-Cert: "\${client_cert_pem}", X-Print: "\${client_cert_fingerprint}",
        Host: inner.example }
      default: { X-Default: ours }
    response:
      hide: [X-Powered-By]
      set: { X-Set: "\${status} \${method}" }
      add: { Set-Cookie: c=3, X-Seen: "\${upstream_http_x_version}", X-Ask: "\${arg_a};\${client_cert_subject}", X-Nothing: "\${http_none}" }
  hosts:
    - names: ["*"]
      routes:
        - { path: /gone, pool: gone }
        - { path: /move, redirect: { host: inner.example, status: 301 } }
        - { path: /, pool: app }
pools:
  app: { servers: [{ address: "127.0.0.1:$(port_of o)" }] }
  gone: { servers: [{ address: "127.0.0.1:1" }] }
N
	start routerd
	tlsd_start
	WEIR_TLS=$(tls_port 0)
}

# at nginx|weir PATH [ARGS..]: the answer's head in the file head, its body in the file body
at() {
	local port=$NGINX_TLS path=$2
	[ "$1" = nginx ] || port=$WEIR_TLS
	shift 2
	http --cacert site.crt --connect-to "localhost:443:127.0.0.1:$port" -D head -o body "$@" "https://localhost$path"
}
# What the server saw and what the client got, without what both say of themselves; a name's letters count for nothing.
server_saw() { jq -r '.headers[] | "\(.[0] | ascii_downcase): \(.[1])"' body | grep -v '^connection:' | sort; }
client_got() { tr -d '\r' <head | sed '1s/HTTP\/[0-9.]* \([0-9]*\).*/\1/; 2,$s/^[^:]*/\L&/' | grep -E '^[0-9]{3}|^x-|^set-cookie|^location' | sort; }
# both WHAT PATH [ARGS..]: nginx's files are the same as ours
both() {
	local what=$1
	shift
	at nginx "$@"
	$what >nginx.seen
	at weir "$@"
	$what >weir.seen
}
same() {
	both "$@"
	[ -s weir.seen ]
	diff nginx.seen weir.seen || fail "$* (nginx <, weir >)"
}
# apart "NAME: NGINX'S" "NAME: OURS" PATH [ARGS..]: one field at the server differs, and no other
apart() {
	both server_saw "${@:3}"
	diff nginx.seen weir.seen | grep '^[<>]' >apart.seen
	printf '%s\n' "${1:+< $1}" "${2:+> $2}" | grep . | diff - apart.seen || fail "${*:3}"
}

@test "header rules and variables do what nginx's do, over both versions, with and without a client's certificate" {
	command -v nginx >/dev/null || skip "nginx is not installed"
	local version path joe=(--cert joe.crt --key joe.key) cert=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
	openssl req -x509 "${cert[@]}" -keyout ca.key -out ca.crt -days 30 -subj "/C=AT/O=Acme+Co/CN=Test \"CA\"" 2>/dev/null
	openssl req -new "${cert[@]}" -keyout joe.key -out joe.csr -subj "/C=AT/O=Acme, Inc./OU=#1/CN=Joe Müller" -utf8 2>/dev/null
	openssl x509 -req -in joe.csr -CA ca.crt -CAkey ca.key -set_serial 0x0abcdef012 -out joe.crt -days 30 2>/dev/null
	origin o
	rules_nginx
	rules_weir
	until_ok bash -c "exec 3<>/dev/tcp/127.0.0.1/$NGINX_TLS"
	for version in --http1.1 --http2; do
		same server_saw "/echo/a%20b/../c?a=1%202&b&a=3" $version --path-as-is -A 'agent (x; y)'
		# In all spellings, several times, nominated, empty.
		same server_saw "/echo?" $version -H 'X-Addr: me' -H 'x_addr: me' -H 'X.Addr: me' -H 'X-Secret: 1' -H 'x_secret: 2' -H 'X-Empty: full' \
			-H 'X-Verify: SUCCESS' -H 'X_S_DN: CN=admin' -H 'X-S-DN: CN=admin' -H 'X-Default: theirs' -H 'X-Some: 1' -H 'X-Other: kept'
		same server_saw "/echo?a=&b=x=y&A=2" $version -H 'Cookie: b=1; sid="q q"; sid=2' -H 'X-Some: ' -X DELETE
		same server_saw "/echo" $version -H 'Cookie: xsid=1; sid=' -d body -H 'Content-Type: text/plain'
		same client_got "/headers?X-Powered-By=p&x-powered-by=q&X-Set=s&X-Version=7&Set-Cookie=a=1&Set-Cookie=b=2&X-Other=o" $version
		for path in "/status/404?a=1" /status/304 "/gone?a=2" /move/x; do
			same client_got "$path" $version
			same client_got "$path" $version --head
		done
		same client_got /status/204 $version "${joe[@]}"
		# With a certificate: nginx writes the serial number with capitals, and its fingerprint is SHA-1.
		both server_saw /echo $version "${joe[@]}"
		grep -q '^x-verify: SUCCESS$' weir.seen
		grep -q '^x-print: [0-9a-f]\{64\}$' weir.seen
		grep -q '^x-serial: 0abcdef012$' weir.seen
		diff <(grep -v '^x-print' nginx.seen | sed 's/^x-serial: .*/\L&/') <(grep -v '^x-print' weir.seen)
	done
	# Elsewhere, too, we differ because we wish to.
	# A name that is asked for stays as it was asked for.
	apart "x-host: localhost" "x-host: LocalHost" /echo -H 'Host: LocalHost'
	# Names of arguments and cookies have their case (RFC 3986 §6.2.2.1, RFC 6265 §5.3).
	apart "x-arg: 2||" "x-arg: ||" "/echo?A=2"
	apart "x-cookie: 2||" "x-cookie: ||" /echo -H 'Cookie: SID=2'
	# All fields of a name are one list (so does nginx from 1.23 on).
	apart "x-some: a 1 b" "x-some: a 1, 2 b" /echo -H 'X-Some: 1' -H 'X-Some: 2'
	# A field that is there is there, also when it is empty.
	apart "x-default: ours" "x-default: " /echo -H 'X-Default;'
	# Names with underscores and dots pass where no rule is about them.
	apart "" "x_other.x: 1" /echo -H 'x_other.x: 1'
}
