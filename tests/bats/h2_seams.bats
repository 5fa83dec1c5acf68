#!/usr/bin/env bats
# HTTP/2 on both sides where two things meet: much at once, ends in the middle, connections side by side.

load helper

setup() { weir_setup; }
teardown() { weir_teardown; }

counter() { ctl routerd.0 json status | jq ".. | objects | select(has(\"counters\")) | .counters.$1"; }
port_of() { sed -n "s/^port $1 //p" "$T/proc/h2.log"; }
seen() { grep -c "^$1" "$T/proc/h2.log"; }
all_is_quiet() {
	ctl routerd.0 json status | jq -e '[.. | objects | select(has("counters"))][0] | .counters.requests_active == 0 and .counters.tunnels == 0
		and all(.pools[]; .active == 0 and .retrying == 0 and all(.servers[]; .inflight == 0))'
}

# servers MODE..: h2server.py, and a routerd whose route /MODE leads to the port of each.
servers() {
	spawn h2 python3 "$TOOLS/h2server.py" "$@"
	wait_for "grep -qs '^ready' '$T/proc/h2.log'"
	PORT=$(free_port)
	{
		cat <<X
run_dir: run
http:
  workers: 1
  listen: [ { name: http, address: "127.0.0.1:$PORT", h2c: on } ]
  access_log: { path: access.log, format: json }
  timeouts: { connect: 5s, response: 5s, read: 5s }
  hosts:
    - names: ["*"]
      routes:
$(for m in "$@"; do echo "        - { path: /$m, pool: $m }"; done)
pools:
X
		for m in "$@"; do
			echo "  $m: { protocol: h2, ${POOL:-retries: 0}, servers: [ { name: s, address: \"127.0.0.1:$(port_of "$m")\" } ] }"
		done
	} | config
	start routerd
	URL=http://127.0.0.1:$PORT
}

@test "bodies of many requests that wait for a server's settings go at once, each whole" {
	servers settles_late
	head -c 50000 /dev/urandom >large
	head -c 1500 /dev/urandom >small
	for f in large small; do
		h2load -n 90 -c 1 -m 90 -d $f "$URL/settles_late" >load.$f
		grep -q 'status codes: 90 2xx' load.$f
		[ "$(http --data-binary @$f "$URL/settles_late")" = "$(sha256sum <$f | cut -d' ' -f1)" ]
		is_alive routerd.0
	done
	wait_for all_is_quiet
	[ "$(counter h2_upstream_connections)" = 1 ]
}

@test "answers that break off while their client does not read are cut off, and nothing else is" {
	servers much
	mkfifo go
	python3 "$TOOLS/h2raw.py" "$PORT" late /much 30 <go >got 3>&- &
	client=$!
	exec 5>go
	wait_for '[ "$(grep -c "^much request" "$T/proc/h2.log")" = 30 ]'
	wait_for "[ \$(wc -l <access.log) = 30 ]"
	echo >&5
	wait $client
	exec 5>&-
	[ "$(grep -c '^rst:INTERNAL_ERROR' got)" = 30 ]
	[ "$(tail -1 got)" = alive ]
	wait_for all_is_quiet
}
