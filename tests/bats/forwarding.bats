#!/usr/bin/env bats
# What servers learn of the client, and what does not cross the proxy. The server is a scripted origin that tells
# what it got.

load helper

# Options of the section http as an argument, one a line.
proxy() {
	origin o1
	PORT=$(free_port) PP=$(free_port)
	config <<X
run_dir: run
http:
  workers: 1
  listen:
    - { name: http, address: "127.0.0.1:$PORT" }
    - { name: pp, address: "127.0.0.1:$PP", scheme: https, accept_proxy: [127.0.0.1] }
    - { name: sock, address: "unix:front.sock" }
  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
${1:-}
pools:
  app: { servers: [{ address: "127.0.0.1:$(port_of o1)" }] }
X
	start routerd
	URL=http://127.0.0.1:$PORT/echo
}

TRUST='  trusted_proxies: [127.0.0.1, 10.0.0.0/8]'

# The value of a field at the server; (none), or values joined with " | ".
field() { # NAME
	jq -r --arg n "$1" '[.headers[] | select((.[0] | ascii_downcase) == ($n | ascii_downcase)) | .[1]] |
		if . == [] then "(none)" else join(" | ") end' <<<"$output"
}
ask() {
	run http "$@" "$URL"
	assert_success
}

@test "a stranger's word on who it is counts for nothing" {
	proxy
	ask -H 'X-Forwarded-For: 1.1.1.1' -H 'X-Real-IP: 2.2.2.2' -H 'X-Forwarded-Proto: https' \
		-H 'X-Forwarded-Host: evil.example' -H 'Forwarded: for=3.3.3.3' -H 'X-Forwarded-Port: 1' -H 'Host: h.example:81'
	[ "$(field X-Forwarded-For)" = 127.0.0.1 ]
	[ "$(field X-Real-IP)" = 127.0.0.1 ]
	[ "$(field X-Forwarded-Proto)" = http ]
	[ "$(field X-Forwarded-Host)" = h.example:81 ]
	[ "$(field X-Forwarded-Port)" = "(none)" ]
	[ "$(field Forwarded)" = "(none)" ]
	[ "$(field Host)" = h.example:81 ]
}

@test "a trusted proxy's list is continued, and the client is found in it" {
	proxy "$TRUST"
	ask -H 'X-Forwarded-For: 6.6.6.6, 198.51.100.1' -H 'X-Forwarded-For: 10.0.0.9' -H 'X-Forwarded-Proto: https' \
		-H 'X-Forwarded-Host: outside.example' -H 'X-Real-IP: 2.2.2.2'
	[ "$(field X-Forwarded-For)" = "6.6.6.6, 198.51.100.1, 10.0.0.9, 127.0.0.1" ]
	[ "$(field X-Real-IP)" = 198.51.100.1 ]
	[ "$(field X-Forwarded-Proto)" = https ]
	[ "$(field X-Forwarded-Host)" = outside.example ]
}

@test "look-alikes of identity fields are dropped, whoever sends them" {
	proxy
	for trust in '' "$TRUST"; do
		if [ -n "$trust" ]; then
			sed -i "s|^  hosts:|$trust\n&|" weir.yaml
			ctl routerd.0 reload
		fi
		ask -H 'X_Forwarded_For: 1.1.1.1' -H 'X-Forwarded.For: 1.1.1.1' -H 'X_REAL_IP: 1.1.1.1' -H 'X_Custom: stays' \
			-H 'X-Forwarded-For: 198.51.100.1'
		[ "$(field X_Forwarded_For)" = "(none)" ]
		[ "$(field X-Forwarded.For)" = "(none)" ]
		[ "$(field X_REAL_IP)" = "(none)" ]
		[ "$(field X_Custom)" = stays ]
		[ "$(field X-Forwarded-For)" = "${trust:+198.51.100.1, }127.0.0.1" ]
	done
}

@test "naming a field in Connection takes the client's away, and never ours" {
	proxy "$TRUST"
	ask -H 'Connection: close, X-Forwarded-For, X-Real-IP, X-Forwarded-Host, X-Forwarded-Proto, X-Mine' \
		-H 'X-Forwarded-For: 198.51.100.1' -H 'X-Mine: 1' -H 'X-Other: 2'
	[ "$(field X-Forwarded-For)" = "198.51.100.1, 127.0.0.1" ]
	[ "$(field X-Real-IP)" = 198.51.100.1 ]
	[ "$(field X-Forwarded-Proto)" = http ]
	[ "$(field X-Mine)" = "(none)" ]
	[ "$(field X-Other)" = 2 ]
}

@test "hop-by-hop fields end here, in both directions" {
	proxy
	ask -H 'Keep-Alive: 5' -H 'Proxy-Connection: keep-alive' -H 'Proxy-Authorization: Basic eA==' -H 'TE: gzip' \
		-H 'Upgrade: foo' -H 'Proxy: http://evil.example' -H 'HTTP2-Settings: x'
	for name in Keep-Alive Proxy-Connection Proxy-Authorization TE Upgrade Proxy HTTP2-Settings; do
		[ "$(field $name)" = "(none)" ] || fail "$name"
	done
	run http -i "http://127.0.0.1:$PORT/headers?Keep-Alive=5&Proxy-Authenticate=x&X-Mine=1&Connection=X-Mine&X-Other=2"
	assert_output --partial "X-Other: 2"
	refute_output --partial "Keep-Alive"
	refute_output --partial "Proxy-Authenticate"
	refute_output --partial "X-Mine"
}

@test "an ordinary request carries no Connection: upgrade" {
	proxy
	ask
	[ "$(field Connection)" = "(none)" ]
	[ "$(field Upgrade)" = "(none)" ]
}

@test "TE: trailers passes, named in Connection as it must be" {
	proxy
	ask -H 'TE: trailers' -H 'Connection: TE'
	[ "$(field TE)" = trailers ]
	[ "$(field Connection | tr A-Z a-z)" = te ]
}

@test "identity comes from PROXY v2 on a listener that takes it, and the listener's scheme is told" {
	proxy
	run python3 "$TOOLS/rawclient.py" "$PP" --proxy2 203.0.113.9:4711 \
		'GET /echo HTTP/1.1\r\nHost: h.example\r\nX-Forwarded-For: 1.1.1.1\r\nConnection: close\r\n\r\n'
	assert_success
	output=$(sed -n '/^{/,$p' <<<"$output")
	[ "$(field X-Forwarded-For)" = 203.0.113.9 ]
	[ "$(field X-Real-IP)" = 203.0.113.9 ]
	[ "$(field X-Forwarded-Proto)" = https ]
}

@test "a Unix socket's client has no address, so none is told" {
	proxy
	ask --unix-socket front.sock
	[ "$(field X-Forwarded-For)" = "(none)" ]
	[ "$(field X-Real-IP)" = "(none)" ]
	[ "$(field X-Forwarded-Proto)" = http ]
}

@test "a trusted Unix socket's list is passed on" {
	proxy '  trusted_proxies: [unix]'
	ask --unix-socket front.sock -H 'X-Forwarded-For: 198.51.100.1'
	[ "$(field X-Forwarded-For)" = 198.51.100.1 ]
	[ "$(field X-Real-IP)" = 198.51.100.1 ]
}

@test "Forwarded and Via when asked for" {
	proxy '  forward: { forwarded: on, via: on, x_forwarded: off, x_real_ip: off }'
	ask -H 'Host: h.example:81' -H 'Forwarded: for=1.1.1.1' -H 'X-Forwarded-For: 1.1.1.1' -H 'X-Real-IP: 1.1.1.1' -H 'Via: 1.0 x'
	[ "$(field Forwarded)" = 'for=127.0.0.1;host="h.example:81";proto=http' ]
	[ "$(field Via)" = "1.0 x | 1.1 weir" ]
	[ "$(field X-Forwarded-For)" = "(none)" ]
	[ "$(field X-Real-IP)" = "(none)" ]
	run http -I "http://127.0.0.1:$PORT/bytes/1"
	assert_line --regexp '^Via: 1\.1 weir'
}

@test "a Date is added when the server sends none, and one is kept" {
	proxy
	run http -i "http://127.0.0.1:$PORT/raw?HTTP%2F1.1%20200%20OK%0D%0AContent-Length%3A%200%0D%0A%0D%0A"
	assert_line --regexp '^Date: [A-Z][a-z]{2}, [0-9]{2} '
	run http -i "http://127.0.0.1:$PORT/raw?HTTP%2F1.1%20200%20OK%0D%0ADate%3A%20mine%0D%0AContent-Length%3A%200%0D%0A%0D%0A"
	[ "$(grep -c '^Date' <<<"$output")" = 1 ]
	assert_line --partial "Date: mine"
}
