#!/usr/bin/env bats
# Which route answers, what the server gets to see of the path, and the answers that routerd makes itself.

load helper

# One routerd: `front` routes to pools whose servers are its own listeners `a` and `b`, which echo.
front() {
	A=$(free_port) B=$(free_port) PORT=$(free_port) OTHER=$(free_port)
	config <<X
run_dir: run
http:
  workers: 1
  listen:
    - { name: front, address: "127.0.0.1:$PORT" }
    - { name: other, address: "127.0.0.1:$OTHER" }
    - { name: a, address: "127.0.0.1:$A" }
    - { name: b, address: "127.0.0.1:$B" }
  hosts:
    - { names: ["*"], listen: [a, b], routes: [{ path: /, echo: on }] }
    - { names: ["*"], listen: other, routes: [{ path: /, respond: "default of other" }] }
    - names: [www.example.com]
      listen: front
      routes:
        - { path: /, pool: a }
        - { path: /api/, pool: b }
        - { path: /api/users/, strip: /api/users, pool: a }
        - { path: /ws, pool: b }
        - { path: /old, redirect: { path: /new, status: 301 } }
        - { path: /away, redirect: { scheme: https, host: away.example } }
        - { path: /secure, redirect: { scheme: https } }
        - { path: /gone, respond: 410 }
        - { path: /none, respond: 204 }
        - path: /teapot
          respond: { status: 418, body: "short\nand stout\n", content_type: text/x-tea, headers: { X-Tea: green } }
    - { names: ["*.example.com"], listen: front, routes: [{ path: /, respond: "short suffix" }] }
    - { names: ["*.deep.example.com"], listen: front, routes: [{ path: /, respond: "long suffix" }] }
    - { names: [exact.deep.example.com], listen: front, routes: [{ path: /only, respond: "exact" }] }
pools:
  a: { servers: [{ address: "127.0.0.1:$A" }] }
  b: { servers: [{ address: "127.0.0.1:$B" }] }
X
	start routerd
}

get() { # HOST PATH [CURL ARGS]
	local host=$1 path=$2
	shift 2
	http --path-as-is -H "Host: $host" "$@" "http://127.0.0.1:$PORT$path"
}
code() { get "$@" -o /dev/null -w '%{http_code}'; }
# Which listener echoed, and the target it saw.
seen() { get www.example.com "$1" | jq -r '.listener + " " + .target'; }
location() { get "$@" -o /dev/null -D - | tr -d '\r' | sed -n 's/^Location: //p'; }

@test "a host is found by its exact name, then the longest suffix; case and a dot at the end do not matter" {
	front
	[ "$(get a.example.com /)" = "short suffix" ]
	[ "$(get a.b.example.com /)" = "short suffix" ]
	[ "$(get deep.example.com /)" = "short suffix" ]
	[ "$(get x.deep.example.com /)" = "long suffix" ]
	[ "$(get X.DEEP.Example.COM. /)" = "long suffix" ]
	[ "$(get x.deep.example.com:8080 /)" = "long suffix" ]
	[ "$(get exact.deep.example.com /only)" = "exact" ]
	# The exact name is found first, and has no other route: nothing falls back to the suffix.
	[ "$(code exact.deep.example.com /)" = 404 ]
}

@test "an unknown host gets 404 and its reason, never the first host of the file" {
	front
	[ "$(code example.com /)" = 404 ]
	[ "$(code xexample.com /)" = 404 ]
	[ "$(code www.example.com.evil.example /)" = 404 ]
	run get nobody.example /
	assert_line --index 0 "404 Not Found"
	assert_line --index 1 --regexp '^request [0-9a-f]+$'
	# The same name on a listener with a default.
	[ "$(http -H 'Host: nobody.example' "http://127.0.0.1:$OTHER/")" = "default of other" ]
}

@test "HTTP/1.0 without Host gets the listener's default host" {
	front
	[ "$(http -0 -H 'Host:' "http://127.0.0.1:$OTHER/")" = "default of other" ]
	[ "$(http -0 -H 'Host:' -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/")" = 404 ]
}

@test "prefixes fit on segment borders, the longest wins" {
	front
	[ "$(seen /ws)" = "b /ws" ]
	[ "$(seen /ws/)" = "b /ws/" ]
	[ "$(seen /ws/x)" = "b /ws/x" ]
	[ "$(seen /wsx)" = "a /wsx" ]
	[ "$(seen /api)" = "a /api" ]
	[ "$(seen /api/)" = "b /api/" ]
	[ "$(seen /api/users)" = "b /api/users" ]
	[ "$(seen /)" = "a /" ]
}

@test "routes see the normalised path, servers the client's spelling" {
	front
	[ "$(seen '/x/../api/y')" = "b /x/../api/y" ]
	[ "$(seen '//api//y')" = "b //api//y" ]
	[ "$(seen '/%61pi/%7ey')" = "b /%61pi/%7ey" ]
	[ "$(seen '/api/%2e%2e/y')" = "a /api/%2e%2e/y" ]
	# An encoded slash is none.
	[ "$(seen '/api%2Fy')" = "a /api%2Fy" ]
	[ "$(seen '/api/a%20b%2fc?d=%2f')" = "b /api/a%20b%2fc?d=%2f" ]
}

@test "paths that climb above the root, NUL and broken percent-encoding are refused" {
	front
	for path in /../etc/passwd /a/../../b /%2e%2e/a /a/%2E./%2e%2e/ /a%00b /a%0 /a%zz; do
		[ "$(code www.example.com "$path")" = 400 ] || fail "$path"
	done
}

@test "strip takes whole segments off and keeps encoding and query" {
	front
	[ "$(seen /api/users/42)" = "a /42" ]
	[ "$(seen /api/users/)" = "a /" ]
	[ "$(seen '/api/users/a%20b%2Fc?x=1&y=%20')" = "a /a%20b%2Fc?x=1&y=%20" ]
	[ "$(seen '/api/users/?')" = "a /?" ]
	[ "$(seen '/%61pi/users/x')" = "a /x" ]
}

@test "what is left after strip never climbs out of it" {
	front
	[ "$(seen '/api/users/../users/42')" = "a /42" ]
	[ "$(seen '/api/users/x/../42')" = "a /42" ]
	[ "$(seen '/api/users/x/%2e%2e/42')" = "a /42" ]
	[ "$(seen '/api/users//evil.example/')" = "a /evil.example/" ]
	# This one is not below the prefix at all.
	[ "$(seen '/api/users/../42')" = "b /api/users/../42" ]
}

@test "redirects keep what they do not name, and drop the port when the scheme changes" {
	front
	[ "$(location www.example.com /old)" = "http://www.example.com/new" ]
	[ "$(code www.example.com /old)" = 301 ]
	[ "$(location www.example.com '/away/x%20y?z=1')" = "https://away.example/away/x%20y?z=1" ]
	[ "$(location www.example.com:8080 '/secure?a=b&c')" = "https://www.example.com/secure?a=b&c" ]
	[ "$(code www.example.com /secure)" = 308 ]
	[ "$(location www.example.com:8080 /old)" = "http://www.example.com:8080/new" ]
}

@test "nothing that a client sends splits a redirect's head" {
	front
	for path in '/secure/%0d%0aSet-Cookie:%20a=b' '/secure?x=%0d%0aX-Evil:%201'; do
		run get www.example.com "$path" -D - -o /dev/null
		refute_line --regexp '^(Set-Cookie|X-Evil)'
		assert_line --regexp '^Location: https://www\.example\.com/secure'
	done
}

@test "fixed answers: status alone, text alone, all of it" {
	front
	[ "$(code www.example.com /none)" = 204 ]
	[ -z "$(get www.example.com /none)" ]
	run get www.example.com /gone
	assert_line --index 0 "410 Gone"
	run get www.example.com /teapot -i
	assert_line --partial "HTTP/1.1 418"
	assert_line --regexp '^X-Tea: green'
	assert_line --regexp '^Content-Type: text/x-tea'
	assert_line --regexp '^Content-Length: 16'
	assert_line "and stout"
}

@test "HEAD of an answer of our own has its head and no body" {
	front
	run get www.example.com /teapot -I
	assert_line --regexp '^Content-Length: 16'
	run python3 "$TOOLS/rawclient.py" "$PORT" 'HEAD /teapot HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n'
	refute_output --partial "and stout"
	assert_output --partial "418"
}

@test "a body sent to an answer of our own does not end the connection" {
	front
	head -c 20000 /dev/zero >body
	run http -H 'Host: www.example.com' --data-binary @body -o /dev/null -w '%{http_code} %{num_connects}\n' \
		"http://127.0.0.1:$PORT/teapot" --next -q -sS -m 10 -H 'Host: www.example.com' -o /dev/null \
		-w '%{http_code} %{num_connects}\n' "http://127.0.0.1:$PORT/none"
	assert_line --index 0 "418 1"
	assert_line --index 1 "204 0"
}

@test "echo shows a request as it arrived" {
	front
	run http -H 'X-Two: 1' -H 'x-two: 2' -H 'X-Quote: "\' "http://127.0.0.1:$A/p%20q?r=s"
	assert_success
	[ "$(jq -r .method <<<"$output")" = GET ]
	[ "$(jq -r .path <<<"$output")" = /p%20q ]
	[ "$(jq -r .query <<<"$output")" = r=s ]
	[ "$(jq -r .version <<<"$output")" = 1.1 ]
	[ "$(jq -c '.headers["X-Two"]' <<<"$output")" = '["1","2"]' ]
	[ "$(jq -r '.headers["X-Quote"]' <<<"$output")" = '"\' ]
	[ "$(jq -r .host <<<"$output")" = "127.0.0.1:$A" ]
	[ "$(jq -r .peer <<<"$output")" = 127.0.0.1 ]
}

@test "OPTIONS * goes to the route of /" {
	front
	run http -X OPTIONS --request-target '*' -H 'Host: www.example.com' "http://127.0.0.1:$PORT/"
	[ "$(jq -r '.listener + " " + .method + " " + .target' <<<"$output")" = "a OPTIONS *" ]
}

@test "thousands of hosts and routes: each is found" {
	PORT=$(free_port)
	{
		echo 'run_dir: run'
		echo 'http:'
		echo "  listen: [{ name: front, address: \"127.0.0.1:$PORT\" }]"
		echo '  hosts:'
		for h in $(seq 1 300); do
			echo "  - names: [h$h.example, '*.h$h.example']"
			echo '    routes:'
			for r in $(seq 1 10); do echo "    - { path: /r$r/, respond: 'h$h r$r' }"; done
		done
	} | config
	start routerd
	for i in 1 42 299 300; do
		[ "$(get h$i.example /r10/x/y)" = "h$i r10" ]
		[ "$(get w.h$i.example /r1/)" = "h$i r1" ]
	done
	[ "$(code h301.example /r1/)" = 404 ]
	[ "$(code h1.example /r11/)" = 404 ]
}

@test "a reload changes routes at once, and a wrong file changes nothing" {
	front
	[ "$(get a.example.com /)" = "short suffix" ]
	sed -i 's/short suffix/new text/' weir.yaml
	run ctl routerd.0 reload
	[ "$(get a.example.com /)" = "new text" ]
	sed -i 's/pool: b/pool: bb/' weir.yaml
	run ctl routerd.0 reload
	assert_output --partial 'no pool is called "bb"'
	[ "$(get a.example.com /)" = "new text" ]
	[ "$(seen /ws)" = "b /ws" ]
}
