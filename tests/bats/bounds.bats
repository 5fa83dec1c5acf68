#!/usr/bin/env bats
# limits.buffered: many clients who ask and do not read, or send what no server takes, cost so much memory and no more;
# who reads is served as ever.

load tls_helper

# routerd's, not tlsd's
counter() { ctl routerd.0 json status | jq ".counters.$1"; }
MB=$((1 << 20))
# in_front BUFFERED [POOL]: routerd and tlsd in front of o1, or of what POOL says
in_front() {
	PORT=$(free_port) TLS_PORT=$(free_port)
	cert good ec 30 DNS:a
	config <<Y
run_dir: run
state_dir: state
tls:
  workers: 1
  listen: [ { address: "127.0.0.1:$TLS_PORT", to: https, certificates: [ { cert: good.crt, key: good.key } ] } ]
http:
  workers: 1
  listen: [ { name: http, address: "127.0.0.1:$PORT" }, { name: https, from: tlsd } ]
  access_log: { path: access.log, format: json }
  limits: { buffered: $1 }
  hosts: [ { names: ["*"], routes: [ { path: /, pool: app } ] } ]
pools:
  app: { ${2:-servers: [ "127.0.0.1:$(port_of o1)" ]} }
Y
	start routerd
	start tlsd
	URL=http://127.0.0.1:$PORT
}
# hold NAME ARGS..: tests/tools/slowreaders.py, until `let_read NAME`; then what it says is in NAME.out
hold() {
	local name=$1
	shift
	mkfifo "$name.go"
	python3 "$TOOLS/slowreaders.py" "$@" <"$name.go" >"$name.out" 3>&- &
	echo $! >"$name.pid"
	exec {go}>"$name.go"
	echo $go >"$name.fd"
	wait_for "grep -qs open $name.out"
}
# let_read NAME [CUT]: as many of its answers were cut off as were shed
let_read() {
	local fd
	fd=$(cat "$1.fd")
	echo >&"$fd"
	exec {fd}>&-
	wait "$(cat "$1.pid")"
	cat "$1.out"
	[ "$(sed -n 's/^cut //p' "$1.out")" = "${2:-$(counter buffered_shed)}" ]
}
# at_rest LEAST MOST: buffered comes to rest between them
at_rest() {
	local before
	before=$(counter buffered)
	sleep 0.3
	[ "$(counter buffered)" = "$before" ] && [ "$before" -ge "$1" ] && [ "$before" -le "$2" ]
}
# fast N [ARGS]: a client who reads gets N bytes, whoever else does not
fast() {
	[ "$(http -o /dev/null -w '%{http_code} %{size_download}' "${@:2}" "$URL${FAST:-/bytes/$1}")" = "200 $1" ]
}

@test "from half of the limit on each slow reader costs less, nobody is cut off, and all arrives: plain and TLS" {
	origin o1
	in_front 8m
	for kind in h1 tls; do
		port=$PORT
		[ $kind = h1 ] || port=$TLS_PORT
		hold $kind "$port" $kind 80 /bytes/3000000
		wait_for "at_rest $((3 * MB)) $((8 * MB))"
		fast 30000000
		[ "$(counter buffered)" -le $((8 * MB)) ]
		let_read $kind 0
		wait_for '[ "$(counter buffered)" -lt 100000 ]'
	done
	[ "$(counter buffered_shed)" = 0 ]
	run ctl routerd.0 status
	assert_line --regexp '^buffered [0-9]+, 8388608 at most in each worker$'
	ctl routerd.0 json status | jq -e '.limits.buffered == 8388608 and .worker_buffered == [.counters.buffered]'
}

@test "beyond the limit those who stand still are cut off, with word, counter and event, and the others get all" {
	origin o1
	in_front 2m
	hold many "$PORT" h1 100 /bytes/3000000
	wait_for '[ "$(counter buffered_shed)" -ge 20 ]'
	wait_for "at_rest $MB $((2 * MB))"
	for i in 1 2 3; do fast 20000000; done
	# As they all begin at once, some stand still for longer than others. Most get all.
	let_read many
	shed=$(counter buffered_shed)
	[ "$shed" -le 60 ]
	wait_for "[ \$(jq -r 'select(.reason == \"buffer_memory\") | .status' access.log | grep -c 200) = $shed ]"
	[ "$(ctl routerd.0 json status | jq .reasons.buffer_memory)" = "$shed" ]
	wait_for "grep -q 'warn buffer_memory peer=127.0.0.1 held=[0-9]* buffered=[0-9]* limit=2097152 ' '$(log_of routerd.0)'"
	# Those who read were none of them.
	[ "$(jq -c 'select(.target == "/bytes/20000000") | [.status, .reason]' access.log | sort | uniq -c | tr -s ' ')" = ' 3 [200,null]' ]
	wait_for '[ "$(counter buffered)" -lt 100000 ]'
}

@test "streams of HTTP/2 that are not taken are bounded, from servers of both versions: who has most of them pays" {
	origin o1
	mkdir -p docs
	head -c 20000000 /dev/zero >docs/large
	head -c 10000 /dev/zero >docs/small
	port=$(free_port)
	spawn nghttpd nghttpd -a 127.0.0.1 -d docs -m 1000 --no-tls "$port"
	wait_for "(: </dev/tcp/127.0.0.1/$port) 2>/dev/null"
	for app in "servers: [ \"127.0.0.1:$(port_of o1)\" ]" "protocol: h2, servers: [ \"127.0.0.1:$port\" ]"; do
		in_front 4m "$app"
		FAST=/large path=/large small=/small
		[[ "$app" == *h2* ]] || FAST=/bytes/20000000 path=/bytes/1000000 small=/bytes/10000
		hold many "$PORT" h2w 5 $path 100
		wait_for '[ "$(counter buffered_shed)" -ge 200 ]'
		wait_for "at_rest $MB $((4 * MB))"
		hold few "$PORT" h2w 1 $small 2
		fast 20000000
		fast 20000000 --http2-prior-knowledge
		kill "$(cat many.pid)"
		wait_for '[ "$(counter requests_active)" = 2 ]' || { grep "$small" access.log; false; }
		let_read few 0
		rm -f ./*.go
		stop tlsd.0
		stop routerd.0
		rm access.log
	done
}

@test "small answers that wait in frames count, too: a connection of HTTP/2 that takes none of them goes" {
	origin o1
	in_front 2m
	sed -i "s|routes: \[|&{ path: /text, respond: { status: 200, body: \"$(printf '%04000d' 0)\" } }, |; s|limits: {|& h2_streams: 1000,|" weir.yaml
	ctl routerd.0 reload
	# At least 16 kB wait on each, however little is left: 4.7 MB.
	hold many "$PORT" h2 300 /text 200
	wait_for '[ "$(counter buffered_shed)" -ge 1 ]'
	wait_for "at_rest $MB $((2 * MB))"
	fast 20000000
	kill "$(cat many.pid)"
	wait_for '[ "$(counter buffered)" -lt 100000 ]'
}

# in_front_of_dead BUFFERED: /dead leads to a server that does not take connections: its queue is full
in_front_of_dead() {
	full_queue dead
	in_front "$1"
	sed -i "s|routes: \[|&{ path: /dead, pool: dead }, |; s|^pools:|&\n  dead: { servers: [ \"127.0.0.1:$(port_of dead)\" ] }|; s|limits:|timeouts: { connect: 10m }\n  &|" weir.yaml
	ctl routerd.0 reload
}

@test "uploads in HTTP/2 that wait for a server are bounded by that, too: they go, and who reads does not" {
	origin o1
	in_front_of_dead 2m
	mkfifo go
	python3 "$TOOLS/h2raw.py" "$PORT" uploads /dead 60 /echo <go >got 3>&- &
	client=$!
	exec {go}>go
	wait_for '[ "$(counter buffered_shed)" -ge 20 ]'
	wait_for 'grep -qs "^status:200" got'
	wait_for '[ "$(counter buffered)" -le $((2 * MB)) ]'
	fast 20000000
	echo >&$go
	exec {go}>&-
	wait $client
	cat got
	[ "$(grep -c '^status:503 end' got)" -ge 20 ]
	refute grep -v '^open\|^status:200 end\|^status:503 end\|^waits' got
	until_ok jq -e -s 'map(select(.target == "/dead" and .status == 503) | .reason) | unique == ["buffer_memory"]' access.log
}

@test "bodies that are kept for their server are bounded by that, too" {
	origin o1
	in_front_of_dead 2m
	head -c 60000 /dev/zero >up
	h2load -n 60 -c 1 -m 60 -d up "$URL/dead" >load.log 3>&- &
	client=$!
	wait_for '[ "$(counter buffered_shed)" -ge 20 ]'
	wait_for '[ "$(counter buffered)" -le $((2 * MB)) ]'
	fast 20000000
	wait_for '[ $(($(counter responses_5xx) + $(counter requests_active))) = 60 ]'
	kill $client
	until_ok jq -e -s 'map(select(.target == "/dead" and .status == 503) | .reason) | unique == ["buffer_memory"]' access.log
}
