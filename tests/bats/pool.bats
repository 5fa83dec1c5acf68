#!/usr/bin/env bats
# What the keys of a pool promise of the connections to its servers.

load helper

# A routerd in front of the origin `o`; stdin: further keys of the pool. $PORT is routerd's.
serve() {
	PORT=$(free_port)
	origin o
	{
		cat <<-X
		run_dir: run
		http:
		  workers: 1
		  listen: [{ name: http, address: "127.0.0.1:$PORT" }]
		  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
		pools:
		  app:
		    servers: ["127.0.0.1:$(port_of o)"]
		X
		sed 's/^/    /'
	} >weir.yaml
	start routerd
}

# How many requests each connection of the origin carried, in order.
per_connection() {
	requests o | jq -s -c '[.[] | select(.event == "request")] | group_by(.conn) | map(length)'
}

@test "keepalive_requests: a connection is closed after that many requests" {
	serve <<<'keepalive_requests: 2'
	for _ in 1 2 3 4 5; do [ "$(http -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/")" = 200 ]; done
	[ "$(per_connection)" = "[2,2,1]" ]
}

@test "keepalive: connections are kept, and with 0 none is" {
	serve </dev/null
	for _ in 1 2 3 4; do http -o /dev/null "http://127.0.0.1:$PORT/"; done
	[ "$(per_connection)" = "[4]" ]
	stop routerd.0
	stop o
	rm -f proc/o.requests proc/o.log
	serve <<<'keepalive: 0'
	for _ in 1 2 3; do http -o /dev/null "http://127.0.0.1:$PORT/"; done
	[ "$(per_connection)" = "[1,1,1]" ]
}

@test "idle_timeout: an idle connection is closed after that" {
	serve <<<'idle_timeout: 300ms'
	http -o /dev/null "http://127.0.0.1:$PORT/"
	wait_for "requests o | jq -e 'select(.event == \"close\")'"
	http -o /dev/null "http://127.0.0.1:$PORT/"
	[ "$(per_connection)" = "[1,1]" ]
}
