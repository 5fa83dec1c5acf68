#!/usr/bin/env bats
# Probes by grpc.health.v1, in clear text and over TLS.

load uptls_helper

peer() {
	local name=$1
	shift
	spawn "$name" /usr/bin/python3 "$TOOLS/grpc_peer.py" server "$@"
	wait_for "grep -qs '^ready' '$T/proc/$name.log'"
}
# pool NAME CHECK KEYS SERVER..
pool() {
	echo "  $1: { protocol: h2, $3 check: { grpc: $2, interval: 100ms, timeout: 1s, fall: 1, rise: 1 }, servers: ["
	shift 3
	for s in "$@"; do echo "      { name: $s, address: \"127.0.0.1:$(port_of "$s")\" },"; done
	echo "    ] }"
}
probes() { ctl healthd.0 json show probes | jq -c '[.[] | [.pool, .server, .state, .reason]]'; }

@test "SERVING is up, all else is down, and each is said" {
	peer a
	origin o
	spawn h2 node "$TOOLS/h2life.js"
	wait_for "grep -qs '^ready' proc/h2.log"
	{
		printf 'run_dir: run\nstate_dir: state\npools:\n'
		pool whole '{}' '' a
		pool resting '{ service: resting }' '' a
		pool nobody '{ service: a.Nobody, host: shop.example }' '' a
		pool broken '{ service: broken }' '' a
		pool long '{ service: long }' '' a
		pool others '{}' '' o h2
	} | config
	start healthd
	probe_is '["whole", "a", "up", ""]'
	probe_is '["resting", "a", "down", "grpc_not_serving"]'
	probe_is '["nobody", "a", "down", "grpc_service_unknown"]'
	probe_is '["broken", "a", "down", "grpc_status_13"]'
	probe_is '["long", "a", "down", "bad_answer"]'
	probe_is '["others", "h2", "down", "no_grpc"]'
	wait_for "probes | jq -e 'any(.[0:3] == [\"others\", \"o\", \"down\"])'"
	until_ok grep -q '^health a.Nobody ' proc/a.log
	kill_hard a
	wait_for "probes | jq -e 'any(.[0:3] == [\"whole\", \"a\", \"down\"])'"
}

@test "a server that rests gets no requests, and gets them again" {
	peer a
	peer b
	{
		printf 'run_dir: run\nstate_dir: state\n'
		printf 'http: { workers: 1, listen: [{ name: h, address: "127.0.0.1:%s" }], hosts: [{ names: ["*"], routes: [{ path: /, pool: shaky }] }] }\n' "${PORT:=$(free_port)}"
		printf 'pools:\n'
		pool shaky '{ service: shaky }' '' a
	} | config
	start healthd
	start routerd
	probe_is '["shaky", "a", "down", "grpc_not_serving"]'
	probe_is '["shaky", "a", "up", ""]'
}

@test "over TLS, verified" {
	authority stranger
	leaf strange IP:127.0.0.1 stranger
	peer a tls=good.pem
	peer s tls=strange.pem
	{
		printf 'run_dir: run\nstate_dir: state\nupstream_tls:\n  policies: { p: { ca: ca.crt } }\npools:\n'
		pool app '{}' 'tls: p,' a s
	} | config
	connect_start
	start healthd
	probe_is '["app", "a", "up", ""]'
	probe_is '["app", "s", "down", "tls_unknown_ca"]'
}

@test "a grpc check needs servers of HTTP/2, and is one of its kind" {
	config <<'X'
run_dir: run
pools:
  a: { check: { grpc: {} }, servers: [ { address: "127.0.0.1:1" } ] }
  b: { protocol: h2, check: { grpc: {}, http: {} }, servers: [ { address: "127.0.0.1:1" } ] }
  c: { protocol: h2, check: { grpc: { path: / } }, servers: [ { address: "127.0.0.1:1" } ] }
X
	run "$BIN/healthd" -t -c weir.yaml
	assert_failure 2
	assert_output --partial 'check.grpc needs protocol: h2'
	assert_output --partial 'more than one of http, grpc and tcp'
	assert_output --partial 'pools.c.check.grpc.path'
}
