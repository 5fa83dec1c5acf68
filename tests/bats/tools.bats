# The tools that the other tests believe.
load helper

@test "origin: echo tells what came, by prefix too" {
	origin a --name one
	run http -X PUT -H 'X-A: b' --data-binary hello "http://127.0.0.1:$(port_of a)/any/echo/x?q=1"
	assert_success
	[ "$(jq -r .name <<<"$output")" = one ]
	[ "$(jq -r .target <<<"$output")" = "/any/echo/x?q=1" ]
	[ "$(jq -r .body <<<"$output")" = hello ]
	[ "$(jq -r '.headers[] | select(.[0] == "X-A") | .[1]' <<<"$output")" = b ]
	[ "$(requests a | jq -r 'select(.event == "request") | .method')" = PUT ]
}

@test "origin: bytes are the same, however they are framed" {
	origin a
	local at=http://127.0.0.1:$(port_of a) sum
	sum=$(http "$at/bytes/100000" | sha256sum)
	[ "$(http "$at/chunked/100000/777" | sha256sum)" = "$sum" ]
	[ "$(http "$at/until-close/100000" | sha256sum)" = "$sum" ]
	[ "$(http "$at/bytes/100000" | wc -c)" = 100000 ]
}

@test "origin: broken answers are broken" {
	origin a
	local at=http://127.0.0.1:$(port_of a)
	run http "$at/close"
	assert_failure 52
	run http "$at/half/100"
	assert_failure 18
	run http "$at/half-chunk"
	assert_failure 18
	run http "$at/reset"
	assert_failure 56
}

@test "origin: health is what was set" {
	origin a
	local at=http://127.0.0.1:$(port_of a)
	[ "$(http -o /dev/null -w '%{http_code}' "$at/health")" = 200 ]
	http -X PUT "$at/set-health/503"
	[ "$(http -o /dev/null -w '%{http_code}' "$at/health")" = 503 ]
}

@test "helper: processes are waited for and their exit code is known" {
	spawn a bash -c 'trap "exit 7" TERM; echo "port 1"; while :; do sleep 0.05; done'
	wait_for 'grep -q port "$(log_of a)"'
	is_alive a
	[ "$(port_of a)" = 1 ]
	stop a
	[ "$status" = 7 ]
	! is_alive a
}

@test "helper: a condition that never comes is a failure" {
	run wait_for false 1
	assert_failure
	assert_output --partial "still not true"
}

@test "helper: what a sanitizer says fails the test, also when nobody looked at who said it" {
	local kind said
	printf '#include <stdlib.h>\n#include <pthread.h>\nint n; static void *add(void *x) { n++; return x; }\nint main(int c, char **v) {\n%s\n}\n' '
		volatile int big = 0x7fffffff;
		if (c > 1) return (big += c) == 0;
		pthread_t t; pthread_create(&t, 0, add, 0); n++; pthread_join(t, 0);
		free(v = malloc(1)); return *(volatile char *)v == 1;' >bad.c
	for kind in address thread undefined; do
		cc -g -w -fsanitize=$kind -o bad bad.c -pthread
		(./bad $([ $kind != undefined ] || echo 1) >/dev/null 2>&1) || true
		said=("$T"/proc/sanitizers/*)
		[ -s "${said[0]}" ]
		WEIR_OWN_T='' BATS_TEST_COMPLETED=1 run weir_teardown
		assert_failure 1
		assert_output --partial "a sanitizer spoke, "
		rm "${said[@]}"
	done
	WEIR_OWN_T='' BATS_TEST_COMPLETED=1 run weir_teardown
	assert_success
}

@test "rawclient: bytes, pauses, pipelining, half-close" {
	origin a
	local raw="python3 $TOOLS/rawclient.py $(port_of a)"
	run $raw --split 3 'GET /bytes/5 HTTP/1.1\r\nHost: a\r\n\r\n' @20 'GET /last HTTP/1.1\r\nHost: a\r\n\r\n'
	assert_success
	[ "$(grep -ao 'HTTP/1.1 200' <<<"$output" | wc -l)" = 2 ]
	run $raw --timeout 1 'GET /silent HTTP/1.1\r\nHost: a\r\n\r\n'
	assert_failure 3
	run $raw 'GET /silent HTTP/1.1\r\nHost: a\r\n\r\n' @100 @half
	assert_success
	wait_for 'requests a | grep -q gone'
	run $raw 'GET /reset HTTP/1.1\r\nHost: a\r\n\r\n'
	assert_failure 4
}

@test "origins: WebSocket frames come back, ours and Node's" {
	origin a
	spawn n node "$TOOLS/node_origin.js" node1
	wait_for 'grep -q ready "$(log_of n)"'
	local port upgrade='GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
	for port in "$(port_of a)" "$(port_of n)"; do
		run python3 "$TOOLS/rawclient.py" "$port" --until 'hi' "$upgrade" '@wait:\r\n\r\n' '\x81\x82\x00\x00\x00\x00hi'
		assert_success
		assert_output --partial 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
	done
	[ "$(http "http://127.0.0.1:$(port_of n)/")" = "hello from node1" ]
}

@test "fuzz: a dictionary beside a fuzzer is used, and is one" {
	local name
	for name in http1 yaml ctl; do
		make -s -n -C "$ROOT" fuzz FUZZ=$name TIME=1 | grep -q -- "-dict=tests/fuzz/$name.dict"
	done
	! make -s -n -C "$ROOT" fuzz FUZZ=sni TIME=1 | grep -q -- -dict= || [ -f "$ROOT/tests/fuzz/sni.dict" ]
	for name in "$ROOT"/tests/fuzz/*.dict; do
		[ -f "${name%/*}/fuzz_$(basename "$name" .dict).c" ]
		# What libFuzzer takes: comments, or one text in quotes with \\, \" and \xAB.
		run grep -nvE '^(#.*|"([^"\\]|\\\\|\\"|\\x[0-9a-f]{2})+")?$' "$name"
		assert_output ""
	done
}
