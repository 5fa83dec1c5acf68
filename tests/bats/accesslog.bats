#!/usr/bin/env bats
# The access log: what its lines say, that nobody can forge one, and that no trouble with it ever reaches a client.

load helper

# access_log's value as an argument, then further lines of the section http.
serve() {
	PORT=$(free_port)
	config <<X
run_dir: run
http:
  workers: 2
  listen: [{ name: front, address: "127.0.0.1:$PORT" }]
  access_log: $1
  hosts:
    - names: ["*"]
      routes:
        - { path: /, respond: "hello" }
        - { path: /up, strip: /up, pool: app }
        - { path: /dead, pool: dead }
${2:-}
pools:
  app: { servers: [{ name: one, address: "127.0.0.1:$(port_of o1)" }] }
  dead: { servers: [{ name: nobody, address: "127.0.0.1:$(free_port)" }] }
X
	start routerd
	URL=http://127.0.0.1:$PORT
}

with_origin() {
	origin o1
	serve "$@"
}
lines() { wait_for "[ \$(wc -l <$1) -ge $2 ]"; }

# $1: what its http section says of the log.
start_nginx() {
	PATH=$PATH:/usr/sbin
	command -v nginx >/dev/null || skip "nginx is not installed"
	N=$(free_port)
	cat >nginx.conf <<X
daemon off; pid $T/nginx.pid; error_log $T/nginx-error.log; worker_processes 1; user root;
events { }
http {
  $1
  client_body_temp_path $T/cb; proxy_temp_path $T/pt; fastcgi_temp_path $T/ft; uwsgi_temp_path $T/ut; scgi_temp_path $T/st;
  server { listen 127.0.0.1:$N; location / { return 200 hello; } }
}
X
	spawn nginx nginx -e "$T/nginx-error.log" -c "$T/nginx.conf" -p "$T"
	wait_for "bash -c 'exec 3<>/dev/tcp/127.0.0.1/$N'"
}

@test "combined is nginx's, line by line" {
	with_origin '{ path: access.log }'
	start_nginx "access_log $T/nginx.log combined;"
	for port in $PORT $N; do
		u=http://127.0.0.1:$port
		http "$u/plain?a=b" -o /dev/null
		http "$u/ref" -H 'Referer: https://r.example/?q="x"\' -A 'my "agent" \' -o /dev/null
		http "$u/noagent" -H 'User-Agent:' -o /dev/null
		http "$u/emptyagent" -H 'User-Agent;' -o /dev/null
		http "$u/utf8" -A 'caf'$'\xc3\xa9' -o /dev/null
		http -I "$u/head" -o /dev/null
		http -0 "$u/old" -o /dev/null
		http -X PURGE "$u/purge" -o /dev/null
		http --path-as-is "$u//a/../b%20c" -o /dev/null
	done
	lines access.log 9
	lines nginx.log 9
	strip_time() { sed -E 's/\[[0-9]{2}\/[A-Z][a-z]{2}\/[0-9]{4}:[0-9:]{8} [+-][0-9]{4}\]/[TIME]/' "$1"; }
	# Two workers: their lines may come in another order.
	diff <(strip_time nginx.log | sort) <(strip_time access.log | sort)
	[ "$(grep -c '\[TIME\]' <(strip_time access.log))" = 9 ]
}

@test "a format of one's own is what nginx makes of the same, hostile values, too" {
	with_origin "{ path: access.log, format: '\${client} \"\${request}\" \${status} \${body_bytes_sent} \"\${http_user_agent}\" [\${http_referer}] \"\${http_x_none}\" \"\${cookie_a}\" \"\${arg_b}\" \${scheme} \"\${host}\" \${method} \${protocol} \"\${http_x_much}\"' }"
	start_nginx "log_format own '\$remote_addr \"\$request\" \$status \$body_bytes_sent \"\$http_user_agent\" [\$http_referer] \"\$http_x_none\" \"\$cookie_a\" \"\$arg_b\" \$scheme \"\$host\" \$request_method \$server_protocol \"\$http_x_much\"';
  access_log $T/nginx.log own;"
	for port in $PORT $N; do
		u=http://127.0.0.1:$port
		http "$u/plain?a=b&b=c" -o /dev/null
		http "$u/" -A '" 200 1 "-" "x' -o /dev/null
		http "$u/" -A 'caf'$'\xc3\xa9\t\xff"\\' -o /dev/null
		http "$u/noagent" -H 'User-Agent:' -b 'z=1; a="q\' -o /dev/null
		http "$u/empty?b=" -H 'User-Agent;' -e ref -o /dev/null
		http -I "$u/head" -o /dev/null
		http -X PURGE "$u/x?b=%22%0a" -o /dev/null
		http -0 "$u/old" -o /dev/null
		http "$u/" -A "$(printf '"%.0s' {1..300})" -H "X-Much: x$(printf '\t"%.0s' {1..300})" -o /dev/null
	done
	lines access.log 9
	lines nginx.log 9
	diff <(sort nginx.log) <(sort access.log)
	[ "$(grep -c '^127\.0\.0\.1 "' access.log)" = 9 ]
}

@test "members of one's own: behind json's, or alone; what a server said; numbers, null, hostile values" {
	FIELDS='{ user: "${cookie_user}", ua: "${http_user_agent}", said: "${upstream_http_x_said}", took: "${end_ms}", n: "${body_bytes_sent}", secure: "${tls}", what: "${method} ${path}", where: fra1 }'
	with_origin "{ path: access.log, format: json, fields: $FIELDS }"
	http "$URL/up/headers?X-Said=a%22b&X-Said=c" -A '","status":7,"x":"' -b user=joe -o /dev/null
	lines access.log 1
	jq -e '.status == 200 and .user == "joe" and .ua == "\",\"status\":7,\"x\":\"" and .said == "a\"b, c" and .took == .ms.end
		and .n == .bytes and .secure == false and .what == "GET /up/headers" and .where == "fra1"
		and (keys_unsorted | .[-8:] == ["user", "ua", "said", "took", "n", "secure", "what", "where"])' access.log
	sed -i 's/format: json/format: fields/' weir.yaml
	ctl routerd.0 reload
	http "$URL/" -H 'User-Agent:' -o /dev/null
	lines access.log 2
	[ "$(tail -1 access.log | jq -c '.took = (.took > 0)')" = '{"user":null,"ua":null,"said":null,"took":true,"n":5,"secure":false,"what":"GET /","where":"fra1"}' ]
}

@test "what is wrong with a format is said, with its place and what may have been meant" {
	local bad
	while IFS='|' read -r bad message; do
		config <<-X
		http:
		  listen: [{ name: a, address: ":1" }]
		  access_log: $bad
		  hosts: [{ names: ["*"], routes: [{ path: /, respond: x }] }]
		X
		run pctl check
		echo "$bad: $output"
		assert_failure
		assert_output --partial "weir.yaml:3:"
		assert_output --partial "$message"
	done <<-'X'
	{ format: jsn }|http.access_log.format: "jsn" is not known, did you mean json? expected combined, json, fields, or a text with variables
	{ format: a line }|"a line" is not known, expected
	{ format: '${client} ${statsu}' }|unknown variable ${statsu}, did you mean ${status}?
	{ format: "${client}\n" }|expected one line
	{ format: '${client}', fields: { a: b } }|only JSON has members
	{ fields: { a: b } }|only JSON has members
	{ format: fields }|there are no fields
	{ format: json, fields: { status: '${status}' } }|status: json has that already
	{ format: json, fields: { a: '${bytes_sent}' } }|a: unknown variable ${bytes_sent}
	{ format: json, fields: { a: [b] } }|http.access_log.fields
	X
	config <<-X
	http:
	  listen: [{ name: a, address: ":1" }]
	  headers: { response: { set: { A: "\${body_bytes_sent}" } }, request: { set: { B: "\${tirmination}", C: "\${status}" } } }
	  hosts: [{ names: ["*"], routes: [{ path: /, respond: x }] }]
	X
	run pctl check
	assert_output --partial 'A: ${body_bytes_sent} is not known before the request is over, in the access log, expected another variable'
	assert_output --partial 'B: unknown variable ${tirmination}, expected one of VARIABLES'
	assert_output --partial 'C: ${status} is not known before there is an answer'
}

@test "a reload changes the words, also for who began before; another file has none in the old ones" {
	with_origin '{ path: one.log, format: "one ${target} ${upstream_http_upgrade} ${generation}" }'
	exec 7<>"/dev/tcp/127.0.0.1/$PORT"
	printf 'GET /up/upgrade HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\nUser-Agent: tunnel\r\n\r\n' >&7
	read -r -u 7 line
	[[ $line == *" 101 "* ]]
	# Not with the tunnel's socket.
	spawn load python3 -c "
import http.client
c = http.client.HTTPConnection('127.0.0.1', $PORT)
while True:
    c.request('GET', '/during')
    c.getresponse().read()
" 7>&-
	lines one.log 1
	sed -i 's/access_log: .*/access_log: { path: two.log, format: "two ${http_user_agent} ${upstream_http_upgrade} ${upstream_http_connection} ${host} ${route} ${generation}" }/' weir.yaml
	ctl routerd.0 reload
	# Again and again: no memory of the first generation is there any more.
	for i in 1 2 3 4 5; do ctl routerd.0 reload; done
	wait_for "http -o /dev/null $URL/after; [ \"\$(ctl routerd.0 json status | jq .oldest_generation)\" = 7 ]"
	exec 7>&- 7<&-
	wait_for 'grep -q "^two tunnel x - h \*/up 1$" two.log'
	kill_hard load
	[ "$(grep -vc '^two ' two.log)" = 0 ]
	grep -q '^one /during - 1$' one.log
}

@test "the time is that of the end" {
	with_origin '{ path: access.log }'
	before=$(date +%s)
	http "$URL/up/delay/2500" -o /dev/null
	after=$(date +%s)
	lines access.log 1
	t=$(sed -E 's/.*\[([^]]*)\].*/\1/; s/:/ /; s/\// /g' access.log)
	t=$(date -d "$t" +%s)
	[ "$t" -ge $((before + 2)) ]
	[ "$t" -le "$after" ]
}

@test "json has every phase, what was chosen, and how it ended" {
	with_origin '{ path: access.log, format: json }'
	# Two workers: lines that come together may come in another order.
	http "$URL/up/delay/500" -o /dev/null -A agent -e ref
	lines access.log 1
	http "$URL/dead" -o /dev/null
	lines access.log 2
	http "$URL/x" -d 12345 -o /dev/null
	lines access.log 3
	jq -e -s '.[0] | .method == "GET" and .status == 200 and .pool == "app" and .server == "one" and .tries == 1
		and .route == "*/up" and .listener == "front" and .client == "127.0.0.1" and .target == "/up/delay/500"
		and .termination == "--" and .reason == null and .user_agent == "agent" and .referer == "ref" and .tls == false
		and .version == "1.1" and (.time | fromdateiso8601 > 0) and (.request_id | length > 8)
		and .ms.head <= .ms.picked and .ms.picked <= .ms.connected and .ms.connected <= .ms.sent
		and .ms.response - .ms.sent > 100 and .ms.end >= .ms.response' access.log
	jq -e -s '.[1] | .status == 502 and .reason == "connect_refused" and .pool == "dead" and .termination == "SC"' access.log
	jq -e -s '.[2] | .status == 200 and .pool == null and .request_bytes == 5 and .bytes == 5 and .server == null' access.log
	# The keys are the same in every line.
	[ "$(jq -c keys_unsorted access.log | sort -u | wc -l)" = 1 ]
}

@test "the id in an error answer is the one in the log" {
	with_origin '{ path: access.log, format: json }'
	id=$(http "$URL/dead" | sed -n 's/^request //p')
	lines access.log 1
	[ -n "$id" ]
	[ "$(jq -r .request_id access.log)" = "$id" ]
}

@test "a client that leaves, one that is refused, one that is too slow: each its line" {
	with_origin '{ path: access.log, format: json }' '  timeouts: { head: 2s }'
	raw 'GET /up/silent HTTP/1.1\r\nHost: x\r\n\r\n' @300 @close || true
	lines access.log 1
	raw 'GET / HTTP/1.1\r\nBad Header: x\r\n\r\n' >/dev/null || true
	lines access.log 2
	raw 'GET / HTTP/1.1\r\n' >/dev/null || true
	lines access.log 3
	jq -e -s '.[0] | .status == 499 and .reason == "client_left" and .termination[0:1] == "C"' access.log
	jq -e -s '.[1] | .status == 400 and .reason == "space_before_colon" or .reason == "bad_field_name"' access.log
	jq -e -s '.[2] | .status == 408 and .reason == "head_timeout" and .termination == "cR"' access.log
}

@test "nothing a client sends forges a line" {
	with_origin '{ path: access.log }'
	http "$URL/%0a%22" -A '" 200 1 "-" "x' -e $'\x7f\xff"\\' -o /dev/null
	raw 'GET /"x" HTTP/1.1\r\nHost: h\r\nUser-Agent: a\\tb\r\nConnection: close\r\n\r\n' >/dev/null || true
	raw 'GE"T / HTTP/1.1\r\nHost: h\r\n\r\n' >/dev/null || true
	raw '\x00\x01\n10.0.0.1 - - [forged] "GET / HTTP/1.1" 200 1 "-" "-"\n\r\n\r\n' >/dev/null || true
	lines access.log 4
	[ "$(wc -l <access.log)" = 4 ]
	[ "$(grep -cE '^127\.0\.0\.1 - - \[[^]"]*\] "([^"\\]|\\x[0-9A-F]{2})*" [0-9]{3} [0-9]+ "([^"\\]|\\x[0-9A-F]{2})*" "([^"\\]|\\x[0-9A-F]{2})*"$' access.log)" = 4 ]
	[ "$(LC_ALL=C grep -cP '[^\x20-\x7e]' access.log)" = 0 ]
}

@test "USR1 opens the file again after rotation; no line is lost" {
	with_origin '{ path: access.log }'
	http "$URL/one" -o /dev/null
	lines access.log 1
	mv access.log access.log.1
	http "$URL/two" -o /dev/null
	kill -USR1 "$(pid_of routerd.0)"
	wait_for '[ -e access.log ]'
	http "$URL/three" -o /dev/null
	wait_for 'grep -q /three access.log'
	wait_for '[ "$(cat access.log access.log.1 | wc -l)" = 3 ]'
}

@test "stdout, and a reload to a file, to another format, off, and on again" {
	with_origin '{ path: "-" }'
	http "$URL/to-stdout" -o /dev/null
	wait_for "grep -q 'GET /to-stdout' '$(log_of routerd.0)'"
	sed -i 's/access_log: .*/access_log: { path: a.log, format: json }/' weir.yaml
	ctl routerd.0 reload
	wait_for 'http "$URL/to-a" -o /dev/null; jq -e -s "map(select(.target == \"/to-a\")) | length > 0" a.log'
	sed -i '/access_log: /d' weir.yaml
	ctl routerd.0 reload
	n=$(wc -l <a.log)
	for i in 1 2 3; do http "$URL/off" -o /dev/null; done
	sed -i "s/  workers: 2/  workers: 2\n  access_log: { path: a.log }/" weir.yaml
	ctl routerd.0 reload
	wait_for 'http "$URL/on" -o /dev/null; grep -q "\"GET /on HTTP" a.log'
	! grep -q /off a.log
}

@test "a log that cannot be opened: no start, no reload, and why" {
	with_origin '{ path: access.log }'
	sed -i 's/access_log: .*/access_log: { path: no\/such\/folder.log }/' weir.yaml
	run ctl routerd.0 reload
	assert_output --partial "no/such/folder.log"
	http "$URL/still" -o /dev/null
	lines access.log 1
	stop routerd.0
	run start routerd
	assert_failure
	until_ok grep -q "no/such/folder.log" "$(log_of routerd.0)"
}

@test "a full disk costs lines, not requests" {
	with_origin '{ path: /dev/full }'
	for i in 1 2 3; do [ "$(http "$URL/$i")" = hello ]; done
	wait_for "grep -q 'access_log_lost.*No space left' '$(log_of routerd.0)'"
	wait_for "ctl routerd.0 json status | jq -e '.. | objects | select(has(\"access_log_dropped\")) | .access_log_dropped == 3'"
}

@test "a log pipe that nobody reads holds no request back, and stops no end" {
	mkfifo pipe
	exec 8<>pipe
	with_origin '{ path: pipe, buffer: 128k }'
	local long
	long=$(printf 'x%.0s' {1..2000})
	yes "url = \"$URL/?$long\"" | head -500 | sed 's/$/\noutput = \/dev\/null/' >urls
	run timeout 100 curl -q -sS --noproxy '*' -K urls
	assert_success
	wait_for "ctl routerd.0 json status | jq -e '.. | objects | select(has(\"access_log_dropped\")) | .access_log_dropped > 0'"
	[ "$(http "$URL/")" = hello ]
	stop routerd.0
	[ "$status" = 0 ]
	exec 8>&-
}

@test "each worker's lines are whole under load" {
	with_origin '{ path: access.log }'
	for c in 1 2 3 4; do
		printf 'url = "%s/c%s?%s"\noutput = /dev/null\n' $(for i in $(seq 1 500); do echo "$URL $c $i"; done) >urls.$c
		curl -q -sS --noproxy '*' -K urls.$c 3>&- &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p"; done
	lines access.log 2000
	[ "$(grep -cE '^127.0.0.1 - - \[[^]]*\] "GET /c[1-4]\?[0-9]+ HTTP/1.1" 200 5 "-" "curl/[^"]*"$' access.log)" = 2000 ]
	[ "$(grep -oE '/c[1-4]\?[0-9]+' access.log | sort -u | wc -l)" = 2000 ]
}
