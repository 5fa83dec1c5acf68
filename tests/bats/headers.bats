#!/usr/bin/env bats
# Header rules and variables: what operators add to, set in and take away from requests and answers.

load helper

# proxy ROUTES [HTTP [HOST]]: routes of the host, further keys of http and of the host; behind them an origin (pool
# app), ourselves by HTTP/2 (pool two, an echo), and a server that is not there (pool gone)
proxy() {
	[ -e proc/o1.pid ] || origin o1
	: "${PORT:=$(free_port)}" "${BACK:=$(free_port)}"
	config <<X
run_dir: run
http:
  workers: 2
  listen:
    - { name: http, address: "127.0.0.1:$PORT" }
    - { name: back, address: "127.0.0.1:$BACK" }
  access_log: { path: access.log, format: json }
${2:-}
  hosts:
    - names: [127.0.0.1, h.example]
      listen: [http]
${3:-}
      routes:
$1
    - names: ["*"]
      listen: [back]
      routes: [{ path: /, echo: on }]
pools:
  app: { servers: [{ name: one, address: "127.0.0.1:$(port_of o1)" }] }
  two: { protocol: h2, servers: [{ name: two, address: "127.0.0.1:$BACK" }] }
  gone: { servers: [{ name: gone, address: "127.0.0.1:$(free_port)" }] }
X
	is_alive routerd.0 || start routerd
	URL=http://127.0.0.1:$PORT
}

# The value of a field at the server; (none), or values joined with " | ". Both the origin's lists of pairs and
# an echo's objects are understood.
field() { # NAME
	jq -r --arg n "$1" '(.headers | if type == "object" then to_entries | map([.key, .value]) else . end) as $h |
		[$h[] | select((.[0] | ascii_downcase) == ($n | ascii_downcase)) | .[1]] | flatten |
		if . == [] then "(none)" else join(" | ") end' <<<"$output"
}
ask() { # PATH [ARGS..]
	local path=$1
	shift
	run http "$@" "$URL$path"
	assert_success
}
# The values of a field in a head, joined with " | "
answer_field() { # NAME
	tr -d '\r' <<<"$output" | sed -n '1,/^$/p' | awk -F': ' -v n="$1" 'tolower($1) == tolower(n) { printf "%s%s", s, substr($0, length(n) + 3); s = " | " }'
}

@test "requests: set, add, default and hide, as HTTP/1 and HTTP/2 servers see them, from clients of both" {
	proxy '
        - path: /two/
          pool: two
          headers: &rules
            request:
              hide: [Cookie, X-Secret]
              set: { X-Who: "${client} by ${method} ${path}", X-Query: "${arg_q}", X-Empty: "${http_nothing}", X-Twice: [a, "b ${host}"] }
              add: { X-Trace: mine }
              default: { X-Request-ID: "${request_id}" }
        - { path: /, pool: app, headers: *rules }'
	for version in --http1.1 --http2-prior-knowledge; do
		for path in /echo /two/echo; do
			ask "$path?q=1%202&r" $version -H 'Cookie: a=b' -H 'X-Secret: 1' -H 'X_Secret: 2' -H 'X-Who: me' -H 'x_who: me' \
				-H 'X-Empty: full' -H 'X-Trace: theirs' -H 'X-Twice: c' -H 'X-Other: stays'
			[ "$(field X-Who)" = "127.0.0.1 by GET $path" ]
			[ "$(field X-Query)" = 1%202 ]
			[ "$(field X-Twice)" = "a | b 127.0.0.1" ]
			[ "$(field X-Trace)" = "theirs | mine" ]
			[ "$(field X-Other)" = stays ]
			for name in Cookie X-Secret X_Secret x_who X-Empty; do
				[ "$(field $name)" = "(none)" ] || fail "$path $name"
			done
			id=$(field X-Request-ID)
			[[ "$id" =~ ^[0-9a-f]{16}$ ]]
			wait_for 'grep -q "\"request_id\":\"$id\"" access.log'
			ask "$path" $version -H 'X-Request-ID: theirs'
			[ "$(field X-Request-ID)" = theirs ]
		done
	done
}

@test "N-19: http, host and route are merged by name, and pass takes a rule back" {
	proxy '
        - { path: /bare, pool: app }
        - { path: /, pool: app, headers: { request: { set: { X-B: route }, pass: [x-a] } } }' \
		'  headers: { request: { set: { X-A: http, X-B: http, X-C: http } } }' \
		'      headers: { request: { set: { X-B: host }, hide: [X-D], add: { x-c: host } } }'
	ask /bare/echo -H 'X-A: mine' -H 'X-C: mine' -H 'X-D: mine'
	[ "$(field X-A) $(field X-B) $(field X-C) $(field X-D)" = "http host mine | host (none)" ]
	ask /echo -H 'X-A: mine' -H 'X-C: mine' -H 'X-D: mine'
	[ "$(field X-A) $(field X-B) $(field X-C) $(field X-D)" = "mine route mine | host (none)" ]
}

@test "what a rule sets or hides cannot come behind a body either, from clients of both versions" {
	proxy '
        - { path: /two/, pool: two }
        - { path: /, pool: app, headers: { request: { set: { X-User: "${client_cert_cn}" }, hide: [X-Debug] } } }'
	run python3 "$TOOLS/rawclient.py" "$PORT" --until '"trailers"' \
		'POST /echo HTTP/1.1\r\nHost: h.example\r\nTrailer: X-User\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-User: admin\r\nx_user: admin\r\nX-Debug: admin\r\nX.Debug: admin\r\nX-Sum: 1\r\n\r\n'
	assert_success
	assert_output --partial '["X-Sum", "1"]'
	refute_output --partial admin
	proxy '
        - { path: /, pool: app, headers: { request: { hide: [X-Sum] } } }'
	ctl routerd.0 reload
	run node "$TOOLS/h2client.js" "$URL" post /echo 10
	[ "$(jq -r .body <<<"$output" | jq -c '[.body_len, .trailers]')" = '[10,[]]' ]
}

@test "Host for the server is another one, to both versions; the log, X-Forwarded-Host and variables keep the client's" {
	proxy '
        - path: /two/
          pool: two
          headers: &host { request: { set: { Host: "${http_x_host}", X-Was: "${authority}" } } }
        - { path: /, pool: app, headers: *host }'
	for path in /echo /two/echo; do
		ask $path -H 'Host: h.example:81' -H 'X-Host: inner.example:82'
		[ "$(field Host)" = inner.example:82 ]
		[ "$(field X-Was)" = h.example:81 ]
		[ "$(field X-Forwarded-Host)" = h.example:81 ]
		ask $path -H 'Host: h.example'
		[ "$(field Host)" = h.example ]
		run http -o /dev/null -w '%{http_code}' -H 'X-Host: a b' "$URL$path"
		[ "$output" = 400 ]
	done
	wait_for '[ "$(grep -c "\"listener\":\"http\"" access.log)" = 6 ]'
	[ "$(jq -r 'select(.listener == "http") | .host' access.log | sort | uniq -c | xargs)" = "2 127.0.0.1:$PORT 2 h.example 2 h.example:81" ]
	[ "$(jq -r 'select(.status == 400) | .reason' access.log | sort -u)" = header_rules_bad_host ]
}

@test "who the client is comes from the peer's fields, whatever rules write into X-Forwarded-For" {
	proxy '
        - { path: /, pool: app, headers: { request: { set: { X-Forwarded-For: "203.0.113.1", X-Client: "${client}" }, hide: X-Real-IP } } }' \
		'  trusted_proxies: [127.0.0.1]'
	ask /echo -H 'X-Forwarded-For: 198.51.100.7'
	[ "$(field X-Forwarded-For)" = 203.0.113.1 ]
	[ "$(field X-Client)" = 198.51.100.7 ]
	[ "$(field X-Real-IP)" = "(none)" ]
	wait_for '[ -s access.log ]'
	[ "$(jq -r .client access.log)" = 198.51.100.7 ]
}

@test "N-28, N-85: rules for answers hold for each of them: the server's, errors, redirects, fixed ones, HEAD and 304" {
	proxy '
        - { path: /move, redirect: { scheme: https } }
        - { path: /fixed, respond: { status: 201, body: x } }
        - { path: /gone, pool: gone }
        - { path: /, pool: app }' \
		'  headers: { response: { hide: [Server, X-Powered-By], set: { Strict-Transport-Security: max-age=1 }, add: { Set-Cookie: ["a=1", "b=2"] }, default: { X-Frame-Options: DENY } } }'
	for path in /echo /move /fixed /gone /status/404 /status/304 /status/204; do
		for version in --http1.1 --http2-prior-knowledge; do
			for head in '' --head; do
				run http -i $version $head "$URL$path"
				[ "$(answer_field Strict-Transport-Security)" = max-age=1 ] || fail "$path: $output"
				[ "$(answer_field Set-Cookie)" = "a=1 | b=2" ]
				[ "$(answer_field X-Frame-Options)" = DENY ]
			done
		done
	done
	run http -i "$URL/headers?Server=s&X-Powered-By=p&x-powered-by=q&X-Frame-Options=SAMEORIGIN&Set-Cookie=c=3&X-Other=o"
	[ "$(answer_field Server)$(answer_field X-Powered-By)" = "" ]
	[ "$(answer_field X-Frame-Options)" = SAMEORIGIN ]
	[ "$(answer_field Set-Cookie)" = "c=3 | a=1 | b=2" ]
	[ "$(answer_field X-Other)" = o ]
	# Requests that lead to no route get what http says.
	run http -i -H 'Host: other.example' "$URL/"
	assert_output --partial "404"
	[ "$(answer_field Strict-Transport-Security)" = max-age=1 ]
	run python3 "$TOOLS/rawclient.py" "$PORT" 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'
	assert_output --partial "400 Bad Request"
	[ "$(answer_field Strict-Transport-Security)" = max-age=1 ]
}

@test "variables of answers tell which server it was, how it went and what the server sent" {
	proxy '
        - path: /gone
          pool: gone
          headers: &by { response: { set: { X-By: "${pool}/${server} ${status} ${tries} ${reason}", X-Age: "${upstream_http_x_version}", X-Ms: "${response_ms}" } } }
        - { path: /, pool: app, headers: *by }'
	run http -i "$URL/headers?X-Version=7&X-Version=8"
	[ "$(answer_field X-By)" = "app/one 200 1" ]
	[ "$(answer_field X-Age)" = "7, 8" ]
	run http -i "$URL/delay/30"
	[[ $(answer_field X-Ms) =~ ^[0-9]+\.[0-9]{3}$ ]]
	ms=$(answer_field X-Ms)
	[ "${ms%.*}" -ge 30 ]
	run http -i "$URL/gone"
	[ "$(answer_field X-By)" = "gone/gone 502 1 connect_refused" ]
	[ "$(answer_field X-Age)" = "" ]
}

@test "interim answers lose what is hidden or set, and get nothing; an upgrade has its rules" {
	proxy '
        - { path: /, pool: app, headers: { response: { hide: [X-Interim], set: { X-Ours: "1" } } } }'
	run http -i "$URL/info/103"
	assert_output --partial "HTTP/1.1 103"
	refute_output --partial "X-Interim"
	[ "$(grep -c '^X-Ours: 1' <<<"$output")" = 1 ]
	[ "$(answer_field X-Ours)" = "" ] # the first head
	run python3 "$TOOLS/rawclient.py" "$PORT" --until 'ping' \
		'GET /upgrade HTTP/1.1\r\nHost: h.example\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n' '@wait:101' 'ping'
	assert_success
	assert_output --partial "X-Ours: 1"
}

@test "a tunnel outlives the rules that it went by, and the log has only what the client said" {
	rules='headers: { request: { default: { User-Agent: "of ours", Referer: "http://of.ours/" } }, response: { set: { X-Ours: "1" } } }'
	proxy "
        - { path: /, pool: app, $rules }"
	exec 5<>"/dev/tcp/127.0.0.1/$PORT"
	printf 'GET /upgrade HTTP/1.1\r\nHost: h.example\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n' >&5
	until IFS= read -r -t 10 line <&5 && [ "$line" = $'\r' ]; do :; done
	requests o1 | grep -q '"of ours"'
	# The first generation goes once nobody needs it.
	proxy '
        - { path: /, pool: app }'
	ctl routerd.0 reload
	for i in 1 2 3 4; do http -o /dev/null "$URL/bytes/1" -A curl; done
	printf 'ping' >&5
	IFS= read -r -t 10 -n 4 line <&5
	[ "$line" = ping ]
	exec 5>&-
	wait_for 'grep -q "\"status\":101" access.log'
	[ "$(jq -r 'select(.status == 101) | "\(.user_agent) \(.referer)"' access.log)" = "null null" ]
}

@test "values too large for a message are refused, and an answer comes without them" {
	proxy '
        - { path: /big, pool: app, headers: { request: { set: { A: "${http_big}", B: "${http_big}", C: "${http_big}" } } } }
        - { path: /, pool: app, headers: { response: { set: { A: "${http_big}", B: "${http_big}", C: "${http_big}" } } } }'
	big=$(head -c 25000 /dev/zero | tr '\0' x)
	[ "$(http -o /dev/null -w '%{http_code}' -H "Big: ${big:0:21000}" "$URL/big/bytes/1")" = 200 ]
	[ "$(http -o /dev/null -w '%{http_code}' -H "Big: $big" "$URL/big/bytes/1")" = 431 ]
	[ "$(http -o /dev/null -w '%{http_code}' -H "Big: $big" "$URL/bytes/1")" = 502 ]
	wait_for '[ "$(wc -l <access.log)" = 3 ]'
	[ "$(jq -r '.reason // empty' access.log | sort | uniq -c | xargs)" = "2 header_rules_too_large" ]
	# As many as a message may have, with all that a client may send.
	fields=()
	for i in $(seq 120); do fields+=(-H "F-$i: $i"); done
	proxy "
        - { path: /, pool: app, headers: { request: { set: { $(for i in $(seq 32); do printf 'X-%s: "%s", ' "$i" "$i"; done) } } } }"
	ctl routerd.0 reload
	ask /echo "${fields[@]}"
	[ "$(field X-32) $(field F-120)" = "32 120" ]
}

@test "fixed answers and redirects may have variables; what clients send leads them nowhere else" {
	local many
	many=$(printf '${arg_a}%.0s' {1..30})
	proxy '
        - { path: /me, respond: "${client} ${request_id} $${x}" }
        - { path: /json, respond: { status: 403, body: "{\"id\": \"${request_id}\"}", content_type: application/json, headers: { X-Path: "${path}" } } }
        - { path: /www, redirect: { host: "www.${host}", status: 301 } }
        - { path: /login, redirect: { path: "/auth?from=${path}", status: 302 } }
        - { path: /far, redirect: { path: "/'$many'", status: 302 } }
        - { path: /much, respond: { headers: { A: "'$many'" } } }
        - { path: /to, redirect: { path: "${arg_to}", status: 302 } }'
	run http "$URL/me"
	[[ "$output" =~ ^127.0.0.1\ [0-9a-f]{16}\ \$\{x\}$ ]]
	run http -i "$URL/json"
	assert_output --partial "403 Forbidden"
	[ "$(answer_field X-Path)" = /json ]
	[ "$(tail -1 <<<"$output" | jq -r '.id | length')" = 16 ]
	run http -i "$URL/www/a?b" -H 'Host: h.example'
	[ "$(answer_field Location)" = "http://www.h.example/www/a?b" ]
	run http -i "$URL/login/a%20b" -H 'Host: h.example'
	[ "$(answer_field Location)" = "http://h.example/auth?from=/login/a%20b" ]
	for path in /far /much; do
		[ "$(http -o /dev/null -w '%{http_code}' "$URL$path?a=abc")" != 431 ]
		[ "$(http -o /dev/null -w '%{http_code}' "$URL$path?a=$(head -c 7000 /dev/zero | tr '\0' a)")" = 431 ]
	done
	run python3 "$TOOLS/rawclient.py" "$PORT" 'GET /to?to=//evil.example HTTP/1.0\r\n\r\n'
	assert_output --partial "404" # no host
	run http -i "$URL/to?to=@evil.example"
	[ "$(answer_field Location)" = "$URL/@evil.example" ]
	run http -i "$URL/to?to=//evil.example"
	[ "$(answer_field Location)" = "$URL//evil.example" ]
}

@test "a reload changes rules for the next request; mistakes are all told, with their places, and change nothing" {
	proxy '
        - { path: /, pool: app, headers: { response: { set: { X-V: "1" } } } }'
	run http -i "$URL/bytes/1"
	[ "$(answer_field X-V)" = 1 ]
	sed -i 's/X-V: "1"/X-V: "2"/' weir.yaml
	ctl routerd.0 reload
	run http -i "$URL/bytes/1"
	[ "$(answer_field X-V)" = 2 ]
	cp weir.yaml good.yaml
	sed -i 's/set: { X-V: "2" }/set: { X-V: "${clinet}", Connection: x }, add: { A: "${request_idd}" }, hide: [x-v]/' weir.yaml
	run ctl routerd.0 reload
	assert_output --partial "error: the configuration was refused"
	line=$(grep -n clinet weir.yaml | cut -d: -f1)
	assert_output --regexp "weir.yaml:$line:[0-9]+: http.hosts\[0\].routes\[0\].headers.response.set: X-V: unknown variable \\$\{clinet\}, did you mean \\$\{client\}\?"
	assert_output --partial "Connection is written by routerd itself"
	assert_output --partial 'A: unknown variable ${request_idd}, did you mean ${request_id}?'
	assert_output --partial "X-V stands under hide already"
	run http -i "$URL/bytes/1"
	[ "$(answer_field X-V)" = 2 ]
	# Where nothing replaces them, variables are no text by accident.
	sed 's/pool: app, headers/pool: "${pool}", headers/' good.yaml >weir.yaml
	run ctl routerd.0 reload
	assert_output --partial "error: the configuration was refused"
	assert_output --partial '${pool}: no variables are replaced here, expected $${pool} for this text'
}
