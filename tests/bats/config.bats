#!/usr/bin/env bats
# What the configuration promises to who writes one: every problem at once, each at its place, with
# what was expected; exit code 2; nothing starts on a wrong file.

load helper

# `proxyctl check` of $T/weir.yaml says exactly stdin's lines, and fails.
refused() {
	run "$BIN/proxyctl" -c weir.yaml check
	diff <(cat) <(echo "$output")
	[ "$status" -eq 2 ]
}

accepted() {
	run "$BIN/proxyctl" -c weir.yaml check
	echo "$output"
	[ "$output" = ok ] && [ "$status" -eq 0 ]
}

@test "a small file is ok" {
	config <<-X
	pools: { app: { servers: ["127.0.0.1:9001"] } }
	X
	accepted
}

@test "all problems come out at once, each with its place and what was expected" {
	config <<-X
	run_dir: run
	shutdown_timeout: 30
	log: { level: wran }
	pools:
	  app:
	    balance: round_robbin
	    servers:
	      - { name: a, address: "127.0.0.1:9001", weight: 300 }
	      - { name: a, adress: "127.0.0.1:9002" }
	    check: { http: { path: health, status: 2000 }, interval: 5 }
	    retries: 010
	  empty: { servers: [] }
	  none:
	pols: {}
	X
	refused <<-X
	weir.yaml:2:19: shutdown_timeout: "30" has no unit, expected a duration such as "30s"
	weir.yaml:3:15: log.level: "wran" is not known, did you mean "warn"?
	weir.yaml:6:14: pools.app.balance: "round_robbin" is not known, did you mean "round_robin"?
	weir.yaml:8:55: pools.app.servers[0].weight: "300" is out of range, expected a whole number from 0 to 256
	weir.yaml:9:9: pools.app.servers[1].address: missing, expected an address such as "127.0.0.1:8080"
	weir.yaml:9:20: pools.app.servers[1].adress: unknown key, did you mean "address"?
	weir.yaml:10:22: pools.app.check.http.path: expected a path that begins with / and has no blanks and no #
	weir.yaml:10:44: pools.app.check.http.status: "2000" is not valid, expected a status such as 200 or "200-399"
	weir.yaml:10:62: pools.app.check.interval: "5" has no unit, expected a duration such as "5s"
	weir.yaml:11:14: pools.app.retries: "010" has a leading zero, expected a whole number from 0 to 100
	weir.yaml:12:12: pools.empty.servers: empty, expected a list of servers
	weir.yaml:13:3: pools.none.servers: missing, expected a list of servers
	weir.yaml:14:1: pols: unknown key, did you mean "pools"?
	X
}

@test "keys that are not built yet are unknown keys" {
	config <<-X
	caches: {}
	X
	refused <<-X
	weir.yaml:1:1: caches: unknown key, expected one of run_dir, state_dir, control_group, log, debug, shutdown_timeout, pools, upstream_tls, tls, http, health, up
	X
}

@test "a daemon does not start on a wrong file, and says the same with exit code 2" {
	config <<-X
	pools: { app: { servers: [x], keepalife: 3 } }
	X
	run "$BIN/healthd" -c weir.yaml
	[ "$status" -eq 2 ]
	[[ "$output" == *'weir.yaml:1:31: pools.app.keepalife: unknown key, did you mean "keepalive"?'* ]]
	[ ! -e run ]
	run "$BIN/healthd" -t -c weir.yaml
	[ "$status" -eq 2 ]
	[ "$(jq -r '.[] | "\(.file):\(.line):\(.col): \(.level) \(.path): \(.text)"' <<<"$output")" = \
		'weir.yaml:1:31: error pools.app.keepalife: unknown key, did you mean "keepalive"?' ]
}

@test "a file that cannot be read is named" {
	run "$BIN/proxyctl" -c nowhere.yaml check
	[ "$status" -eq 2 ]
	[[ "$output" == *"nowhere.yaml: cannot read: No such file or directory"* ]]
}

@test "\${ENV} is replaced, and an unset one is an error, every one of them" {
	config <<-'X'
	pools:
	  app: { servers: ["${WEIR_HOST}:${WEIR_PORT}"], retries: "${WEIR_RETRIES}" }
	  $$x: { servers: [x] }
	X
	unset WEIR_HOST WEIR_PORT WEIR_RETRIES
	refused <<-'X'
	weir.yaml:2:20: pools.app.servers[0]: ${WEIR_HOST}: the environment variable WEIR_HOST is not set
	weir.yaml:2:59: pools.app.retries: ${WEIR_RETRIES}: the environment variable WEIR_RETRIES is not set
	weir.yaml:3:3: pools.$$x: not a name, expected letters, digits, '.', '_' and '-', at most 64, the first no '.'
	X
	sed -i 3d weir.yaml
	export WEIR_HOST=10.0.0.1 WEIR_PORT=81 WEIR_RETRIES=7
	accepted
	run "$BIN/healthd" -T -c weir.yaml
	[ "$(jq -r '.[] | select(.path == "pools.app.servers[0].address").value' <<<"$output")" = 10.0.0.1:81 ]
	[ "$(jq -r '.[] | select(.path == "pools.app.retries").value' <<<"$output")" = 7 ]
}

@test "anchors, aliases and merge keys work; own keys win" {
	config <<-X
	pools:
	  users: &usual
	    servers: &servers ["127.0.0.1:9001"]
	    keepalive: 5
	    retries: 1
	  orders: { <<: *usual, retries: 0 }
	  other: { servers: *servers }
	X
	accepted
	run "$BIN/healthd" -T -c weir.yaml
	[ "$(jq -c '[.[] | select(.path | test("(keepalive|retries)$")) | [.path, .value, .origin]]' <<<"$output")" = \
		'[["pools.users.keepalive",5,"weir.yaml:4"],["pools.users.retries",1,"weir.yaml:5"],["pools.orders.keepalive",5,"weir.yaml:4"],["pools.orders.retries",0,"weir.yaml:6"],["pools.other.keepalive",32,"default"],["pools.other.retries",2,"default"]]' ]
}

@test "an alias bomb is refused at once, in little memory" {
	{
		echo 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]'
		for i in 1 2 3 4 5 6 7 8 9; do
			printf 'a%d: &a%d [' $i $i
			for _ in 1 2 3 4 5 6 7 8 9; do printf '*a%d, ' $((i - 1)); done
			echo "*a$((i - 1))]"
		done
	} >weir.yaml
	# Sanitizers need their own memory.
	[[ "$BIN" == *san* ]] || ulimit -v 1000000
	run timeout 60 "$BIN/healthd" -t -c weir.yaml
	[ "$status" -eq 2 ]
	[ "$(jq length <<<"$output")" = 1 ]
	[[ "$(jq -r '.[0].text' <<<"$output")" == "the document has over 1000000 values, aliases counted"* ]]
}

@test "hostile nesting is refused" {
	printf 'pools: %050000d' 0 | tr 0 '[' >weir.yaml
	refused <<-X
	weir.yaml:1:39: pools[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested deeper than 32 levels
	X
}

@test "a file over the limit is refused" {
	head -c 33M /dev/zero | tr '\0' '#' >weir.yaml
	refused <<-X
	weir.yaml: larger than 32 MB
	X
}

@test "tabs in the indentation, duplicate keys, a second document, bytes that are no text" {
	printf 'pools:\n\tapp: {}\n' >weir.yaml
	refused <<-X
	weir.yaml:2:1: a tab in the indentation, expected spaces
	X
	printf 'run_dir: a\npools: {}\nrun_dir: b\n' >weir.yaml
	refused <<-X
	weir.yaml:3:1: run_dir: duplicate key, the first one is at 1:1
	X
	printf 'run_dir: a\n---\nrun_dir: b\n' >weir.yaml
	refused <<-X
	weir.yaml:2:1: a second document, expected one a file
	X
	printf 'run_dir: "a\xff"\n' >weir.yaml
	refused <<-X
	weir.yaml:1:12: not UTF-8 (byte 0xff), expected UTF-8 text
	X
	printf 'pools: [a\n' >weir.yaml
	refused <<-X
	weir.yaml:2:1: not valid YAML: did not find expected ',' or ']', while parsing a flow sequence that begins at 1:8
	X
}

@test "what a value says cannot forge a line of the report" {
	printf 'log: { level: "x\\nweir.yaml:1:1: all is well\\e[2J" }\n' >weir.yaml
	run "$BIN/proxyctl" -c weir.yaml check
	[ "$status" -eq 2 ]
	[ "${#lines[@]}" = 1 ]
	[[ "$output" == *'"x\u000aweir.yaml:1:1: all is well\u001b[2J" is not known'* ]]
}

@test "names that stand for two things are refused" {
	config <<-X
	pools:
	  app:
	    servers:
	      - { name: a, address: "127.0.0.1:9001" }
	      - { name: b, address: "127.0.0.1:9001" }
	      - { name: a, address: "127.0.0.1:9002" }
	X
	refused <<-X
	weir.yaml:6:9: pools.app: two servers are called "a", the other one is at 4:9, expected names of their own
	X
}

@test "a run_dir too long for socket paths says how long it may be" {
	long=$(printf 'd%.0s' {1..80})
	config <<-X
	run_dir: /tmp/$long
	X
	refused <<-X
	weir.yaml:1:1: run_dir: "/tmp/$long" has 85 bytes, expected at most 81, so that the sockets in it have paths the system takes (107)
	X
}

@test "relative paths count from the file's folder, wherever the caller stands" {
	mkdir -p sub/etc
	echo 'run_dir: ../run' >sub/etc/weir.yaml
	cd /
	run "$BIN/healthd" -T -c "$T/sub/etc/weir.yaml"
	[ "$(jq -r '.[] | select(.path == "run_dir").value' <<<"$output")" = "$T/sub/etc/../run" ]
	[ "$(jq -r '.[] | select(.path == "state_dir").value' <<<"$output")" = "$T/sub/etc/state" ]
}

@test "every key stands in weir.yaml(5) with its type, range and default" {
	for program in tlsd routerd healthd; do
		"$BIN/$program" --schema >"$program.json"
		[ "$(jq 'length > 30' "$program.json")" = true ]
	done
	"$BIN/proxyctl" config --schema >proxyctl.json
	jq -e 'map(.path) | contains(["up.instances[].env", "tls.user", "run_dir"])' proxyctl.json
	run "$TOOLS/yaml5" proxyctl.json tlsd.json routerd.json healthd.json
	echo "$output"
	[ "$status" -eq 0 ]
	# The comparison itself finds what is missing.
	jq '. + [{path: "tls.made_up", type: "boolean", unit: null, default: "on", choices: null, min: null, max: null, required: false, restart: false, help: null}]' \
		tlsd.json >more.json
	run "$TOOLS/yaml5" more.json
	[ "$status" -eq 1 ]
	[[ "$output" == *'tls.made_up is not explained'* ]]
	# Of the section `up`, too, in both directions.
	jq 'map(if .path == "up.instances[].name" then .required = false else . end
		| select(.path != "up.instances[].config"))' proxyctl.json >other.json
	run "$TOOLS/yaml5" other.json
	[ "$status" -eq 1 ]
	[[ "$output" == *'up.instances[].name: expected the line "Text."'* ]]
	[[ "$output" == *'up.instances[].config is no key'* ]]
}

@test "wrong types, each where it stands" {
	config <<-X
	run_dir: [a]
	log: x
	shutdown_timeout: { a: 1 }
	http: { listen: { a: b }, hosts: 7, workers: x, access_log: [] }
	pools: []
	tls: yes
	health: [1]
	up: 5
	X
	refused <<-X
	weir.yaml:1:10: run_dir: found a list, expected a path
	weir.yaml:2:6: log: found "x", expected a mapping
	weir.yaml:3:19: shutdown_timeout: found a mapping, expected a duration from 0 to 1d
	weir.yaml:4:17: http.listen: found a mapping, expected a list of listeners
	weir.yaml:4:34: http.hosts: found "7", expected a list of hosts
	weir.yaml:4:46: http.workers: "x" is not valid, expected a whole number from 0 to 256
	weir.yaml:4:61: http.access_log: found an empty list, expected a mapping
	weir.yaml:5:8: pools: found an empty list, expected a mapping of names to pools
	weir.yaml:6:6: tls: found "yes", expected a mapping
	weir.yaml:7:9: health: found a list, expected a mapping
	weir.yaml:8:5: up: found "5", expected a mapping
	X
}

@test "a listener used twice is refused: in one section, and across them" {
	config <<-X
	tls:
	  listen:
	    - { address: "127.0.0.1:444", to: a, certificates: [{ self_signed: [localhost] }] }
	    - { address: "127.0.0.1:444", to: a, certificates: [{ self_signed: [localhost] }] }
	    - { address: "*:445", to: a, certificates: [{ self_signed: [localhost] }] }
	http:
	  listen:
	    - { name: a, from: tlsd }
	    - { name: b, address: "127.0.0.1:81" }
	    - { name: c, address: "127.0.0.1:81" }
	    - { name: d, address: "127.0.0.1:445" }
	    - { name: d, address: "127.0.0.1:82" }
	  hosts: [{ names: ["*"], routes: [{ path: /, respond: { body: x } }] }]
	X
	run "$BIN/proxyctl" -c weir.yaml check
	[ "$status" -eq 2 ]
	echo "$output"
	[[ "$output" == *'weir.yaml:4:'*'tls.listen[1].address: 127.0.0.1:444 is used twice, the first time in line 3'* ]]
	[[ "$output" == *'weir.yaml:10:'*'http.listen[2].address: 127.0.0.1:81 is used by listener "b" (line 9) already, expected another'* ]]
	[[ "$output" == *'weir.yaml:11:'*'http.listen[3].address: 127.0.0.1:445 is used by a listener of `tls` (line 5) already, expected another'* ]]
	[[ "$output" == *'weir.yaml:12:'*'http.listen[4].name: '* ]]
}

@test "socket paths too long for the system are refused wherever one can stand" {
	local long
	long=/$(printf 'x%.0s' {1..120})
	config <<-X
	tls: { listen: [{ address: "127.0.0.1:82", to: "unix:$long", certificates: [{ self_signed: [localhost] }] }] }
	http: { listen: [{ name: b, address: "unix:$long" }], hosts: [{ names: ["*"], routes: [{ path: /, pool: a }] }] }
	pools: { a: { servers: ["unix:$long"] } }
	X
	run "$BIN/proxyctl" -c weir.yaml check
	[ "$status" -eq 2 ]
	[ "$(grep -cE '107' <<<"$output")" = 3 ]
	[ "$(cut -d: -f2 <<<"$output" | sort -u | tr '\n' ' ')" = "1 2 3 " ]
}
