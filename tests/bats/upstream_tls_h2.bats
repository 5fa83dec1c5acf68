#!/usr/bin/env bats
# HTTP/2 over TLS to servers: requests and probes, what ALPN and certificates decide, and what comes with the handshake's end.

load uptls_helper

CHECK='check: { http: { path: /hello }, interval: 100ms, fall: 2, rise: 1, timeout: 10s }'
probes() { ctl healthd.0 json show probes | jq -c '[.[] | [.server, .state, .reason]]'; }

# node NAME PEM: its port is then $NODE_NAME
node_start() {
	local port
	port=$(free_port)
	spawn "$1" node "$TOOLS/node_h2.js" "$port" "$2"
	wait_for "grep -qs '^ready' '$T/proc/$1.log'"
	declare -g "NODE_$1=$port"
}

@test "requests and probes in HTTP/2 over TLS: by ALPN, verified, and they say https" {
	node_start a good.pem
	tls_site "protocol: h2"$'\n'"    $CHECK" '' "name: a, address: \"localhost:$NODE_a\""
	both
	start healthd
	probe_is '["a", "up", ""]'
	head -1 proc/a.log | grep -q ready
	sed -n 2p proc/a.log >probe.json
	jq -e '.[":scheme"] == "https" and .[":path"] == "/hello" and .[":method"] == "GET"' probe.json
	jq -e --arg a "localhost:$NODE_a" '.[":authority"] == $a' probe.json
	jq -e '(.["user-agent"] | startswith("weir-healthd/")) and .accept == "*/*" and (has("host") or has("connection") | not)' probe.json
	http -D got -o /dev/null "http://127.0.0.1:$PORT/head"
	sed -n 's/^x-h: //p' got | jq -e '.[":scheme"] == "https" and .["x-forwarded-proto"] == "http"'
	[ "$(get /size/3000000 | wc -c)" = 3000000 ]
	head -c 1000000 /dev/urandom >up
	http -H Expect: --data-binary @up "http://127.0.0.1:$PORT/echo" | cmp - up
	[ "$(counter upstream_tls_handshakes)" = 1 ]
	[ "$(counter h2_upstream_connections)" = 1 ]
}

@test "a check's own fields stand in for ours" {
	node_start a good.pem
	tls_site "protocol: h2"$'\n'"    check: { http: { path: /hello, host: app.example, headers: { User-Agent: look, X-Probe: one } }, interval: 100ms, timeout: 10s }" \
		'ca: ca.crt' "name: a, address: \"localhost:$NODE_a\""
	connect_start
	start healthd
	probe_is '["a", "up", ""]'
	sed -n 2p proc/a.log | jq -e '.["user-agent"] == "look" and .["x-probe"] == "one" and .[":authority"] == "app.example"'
}

@test "probes in HTTP/2 over TLS fail as those of HTTP/1.1 do, and say why" {
	leaf old IP:127.0.0.1 ca 20200101000000Z 20200201000000Z
	leaf other DNS:other.example
	authority stranger
	leaf strange IP:127.0.0.1 stranger
	node_start fine good.pem
	node_start old old.pem
	node_start other other.pem
	node_start strange strange.pem
	origin h1 --tls good.pem
	spawn clear python3 "$TOOLS/h2server.py" ok
	wait_for 'grep -qs ^ready proc/clear.log'
	local at='127.0.0.1'
	tls_site "protocol: h2"$'\n'"    passive: { max_fails: 0 }"$'\n'"    $CHECK" '' "name: fine, address: \"$at:$NODE_fine\"" "name: old, address: \"$at:$NODE_old\"" \
		"name: other, address: \"$at:$NODE_other\"" "name: strange, address: \"$at:$NODE_strange\"" "$(server_of h1)" \
		"name: clear, address: \"$at:$(sed -n 's/^port ok //p' proc/clear.log)\""
	both
	start healthd
	probe_is '["fine", "up", ""]'
	probe_is '["old", "down", "tls_expired"]'
	probe_is '["other", "down", "tls_name_mismatch"]'
	probe_is '["strange", "down", "tls_unknown_ca"]'
	probe_is '["h1", "down", "tls_no_protocol"]'
	probe_is '["clear", "down", "tls_not_tls"]'
	# nothing was asked of those that prove nothing
	for s in old other strange; do [ "$(grep -c '"' "proc/$s.log")" = 0 ]; done
	wait_for '[ "$(ctl routerd.0 json status | jq "[.pools[0].servers[] | select(.verdict == \"down\")] | length")" = 5 ]'
	for i in 1 2 3 4 5 6; do [ "$(code /hello)" = 200 ]; done
	# and a request that meets one has its own word
	for s in old h1; do
		case $s in old) port=$NODE_old why=tls_verify_failed ;; h1) port=$(port_of h1) why=tls_no_protocol ;; esac
		tls_site "protocol: h2"$'\n'"    retries: 0" '' "name: $s, address: \"$at:$port\""
		ctl routerd.0 reload && ctl tlsd.connect reload
		[ "$(code)" = 502 ]
		[ "$(reason)" = $why ]
	done
}

@test "nginx with HTTP/2 behind TLS 1.2 and 1.3, and answers that are not expected" {
	command -v nginx >/dev/null || skip "nginx is not installed"
	local p2 p3
	p2=$(free_port)
	p3=$(free_port)
	cat >nginx.conf <<N
daemon off; pid $T/nginx.pid; error_log $T/nginx.err; worker_processes 1;
events {}
http {
	access_log off; client_body_temp_path $T/n1; proxy_temp_path $T/n2; fastcgi_temp_path $T/n3; uwsgi_temp_path $T/n4; scgi_temp_path $T/n5;
	ssl_certificate $T/good.crt; ssl_certificate_key $T/good.key;
	server { listen 127.0.0.1:$p2 ssl http2; ssl_protocols TLSv1.2; location / { return 200 "\$ssl_protocol \$server_protocol"; } location /hello { return 503; } }
	server { listen 127.0.0.1:$p3 ssl http2; ssl_protocols TLSv1.3; location / { return 200 "\$ssl_protocol \$server_protocol"; } }
}
N
	spawn nginx nginx -e "$T/nginx.err" -c "$T/nginx.conf" -p "$T"
	wait_for "bash -c 'exec 5<>/dev/tcp/127.0.0.1/$p3'"
	tls_site "protocol: h2"$'\n'"    retries: 0"$'\n'"    $CHECK" '' "name: v2, address: \"127.0.0.1:$p2\"" "name: v3, address: \"127.0.0.1:$p3\""
	both
	# in turn, before anybody has probed
	printf '%s\n' "$(get /)" "$(get /)" | sort >got
	[ "$(cat got)" = $'TLSv1.2 HTTP/2.0\nTLSv1.3 HTTP/2.0' ]
	start healthd
	probe_is '["v3", "up", ""]'
	probe_is '["v2", "down", "http_503"]'
}

@test "what a server says of itself with the handshake's last bytes is heard; an answer among it is none" {
	spawn h2 python3 "$TOOLS/h2server.py" --tls good.pem --early ok unasked
	wait_for 'grep -qs ^ready proc/h2.log'
	local ok unasked
	ok=$(sed -n 's/^port ok //p' proc/h2.log)
	unasked=$(sed -n 's/^port unasked //p' proc/h2.log)
	tls_site "protocol: h2"$'\n'"    retries: 0"$'\n'"    $CHECK" '' "name: ok, address: \"127.0.0.1:$ok\""
	both
	[ "$(get /)" = ok ]
	[ "$(code)" = 200 ]
	start healthd
	probe_is '["ok", "up", ""]'
	stop healthd.0
	tls_site "protocol: h2"$'\n'"    retries: 0"$'\n'"    $CHECK" '' "name: unasked, address: \"127.0.0.1:$unasked\""
	ctl routerd.0 reload && ctl tlsd.connect reload
	[ "$(code)" = 502 ]
	wait_for 'grep -q "upstream_h2_error.*server=unasked reason=h2_protocol_error" proc/routerd.0.log'
	start healthd
	probe_is '["unasked", "down", "bad_answer"]'
	[ "$(grep -c '^unasked request' proc/h2.log)" = 0 ]
}

@test "who began a connection may leave, and his configuration go: those who wait for it get their answers" {
	node_start a good.pem
	TLS_TIMEOUT=60s
	tls_site "protocol: h2" '' "name: a, address: \"localhost:$NODE_a\""
	MALLOC_PERTURB_=165 start routerd # what is freed is overwritten at once
	spawn first curl -q -sS -m 100 --noproxy '*' -o /dev/null "http://127.0.0.1:$PORT/size/7"
	wait_for '[ "$(counter requests_active)" = 1 ]'
	sed -i 's/connect: 60s/connect: 61s/' weir.yaml
	ctl routerd.0 reload
	spawn second curl -q -sS -m 100 --noproxy '*' -o got "http://127.0.0.1:$PORT/size/7"
	wait_for '[ "$(counter requests_active)" = 2 ]'
	kill_hard first
	wait_for '[ "$(ctl routerd.0 json status | jq .oldest_generation)" = 2 ]'
	[ "$(counter h2_upstream_connections)" = 1 ]
	connect_start
	status=1
	_reap second 60
	[ "$status" = 0 ] && [ "$(wc -c <got)" = 7 ]
}
