#!/usr/bin/env bats
# HTTP/2 on both sides where two things meet: much at once, ends in the middle, connections side by side.

load helper
load h2_helper

# in_front_of ORIGIN: a routerd that has it behind /
in_front_of() { app_behind "servers: [ { name: $1, address: \"127.0.0.1:$(port_of "$1")\" } ]"; }

@test "bodies of many requests that wait for a server's settings go at once, each whole" {
	modes settles_late
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
	modes much
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

@test "trailers that come in pieces are those of their answer, whatever comes in between on other connections" {
	modes split_trailers
	http --raw "$URL/split_trailers" -D head1 -o got1 -H 'TE: trailers' 3>&- &
	one=$!
	http --raw "$URL/split_trailers" -D head2 -o got2 -H 'TE: trailers' 3>&- &
	wait $one $!
	[ "$(sort <(sed -n 's/^x-conn: //p' head1 head2) | tr -d '\r\n')" = 12 ]
	for i in 1 2; do
		n=$(sed -n 's/^x-conn: //p' head$i | tr -d '\r')
		[ "$(grep -c "^x-mark-[0-9]*: $n\{20\}.\?\$" got$i)" = 20 ]
	done
	wait_for all_is_quiet
}

@test "a tunnel through a server of HTTP/2 outlives the configuration that it was opened with" {
	modes tunnel
	exec 6<>/dev/tcp/127.0.0.1/$PORT
	printf 'GET /tunnel HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n' >&6
	read -r -t 30 line <&6
	[[ $line == "HTTP/1.1 101"* ]]
	for i in 1 2 3; do
		sed -i "s/response: [0-9]*s/response: 1${i}s/" weir.yaml
		ctl routerd.0 reload
	done
	wait_for '[ "$(ctl routerd.0 json status | jq ".oldest_generation")" = 4 ]'
	[ "$(counter tunnels)" = 1 ]
	# The server answers it with trailers.
	printf x >&6
	timeout 30 cat <&6 >rest
	exec 6>&-
	wait_for all_is_quiet
}

@test "a client that waits for 100 Continue gets it, also when it has not read for a while" {
	origin o1
	in_front_of o1
	run python3 "$TOOLS/h2raw.py" "$PORT" continue_late
	[ "$output" = "status:100
status:200" ]
}

@test "a WebSocket for a server that takes no streams at all fails, and connects no more than its tries" {
	modes none_at_all
	upgrade=(-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==')
	[ "$(http -o got -w '%{http_code}' "${upgrade[@]}" "$URL/none_at_all")" = 502 ]
	[ "$(http -o got -w '%{http_code}' "$URL/none_at_all")" = 502 ]
	[ "$(seen 'none_at_all connection')" -le 3 ]
	wait_for all_is_quiet
}

@test "a server whose settings are there before the connection is noticed is not asked for more than they say" {
	POOL='retries: 0, streams: 1' modes none_at_all
	h2load -n 60 -c 1 -m 60 "$URL/none_at_all" >load
	wait_for '[ $(wc -l <access.log) = 60 ]'
	[ "$(jq -r .status access.log | sort | uniq -c | tr -s ' ')" = " 60 502" ]
	wait_for all_is_quiet
}

@test "a probe is answered by a server that says goodbye with it, and it is up" {
	spawn h2 python3 "$TOOLS/h2server.py" last_one goaway
	wait_for "grep -qs '^ready' '$T/proc/h2.log'"
	config <<X
run_dir: run
state_dir: state
pools:
  app:
    protocol: h2
    servers:
      - { name: last, address: "127.0.0.1:$(mode_port last_one)" }
      - { name: none, address: "127.0.0.1:$(mode_port goaway)" }
    check: { http: { status: 200 }, interval: 100ms, timeout: 2s, fall: 1, rise: 1 }
X
	start healthd
	probes() { ctl healthd.0 json show probes | jq -c '[.[] | [.server, .state, .reason]] | sort'; }
	wait_for '[ "$(probes)" = "[[\"last\",\"up\",\"\"],[\"none\",\"down\",\"stream_refused\"]]" ]'
}

@test "answers that a client asks for and does not take cost the memory of a few, and arrive whole in the end" {
	origin o1
	in_front_of o1
	kb() { sed -n "s/^$1:[^0-9]*\([0-9]*\) kB/\1/p" "/proc/$(pid_of routerd.0)/status"; }
	before=$(kb VmRSS)
	mkfifo go
	python3 "$TOOLS/h2raw.py" "$PORT" no_windows /bytes/300000 100 <go >got 3>&- &
	client=$!
	exec 5>go
	wait_for '[ "$(requests o1 | grep -c "\"request\"")" = 100 ]'
	wait_for '[ "$(counter requests_active)" = 100 ]'
	echo >&5
	wait $client
	exec 5>&-
	[ "$(grep -c '^end 300000$' got)" = 100 ]
	echo "$before $(kb VmHWM)"
	# Each by itself may have 128 kB ready: 20 MB in all, with the requests. Sanitizers have memory of their own.
	[[ ${BUILD:-} == *san ]] || [ $(($(kb VmHWM) - before)) -lt 13000 ]
	wait_for all_is_quiet
}

# unread_by_o1 [LIMITS]: a server behind a socket that holds little, so that uploads stand still early
unread_by_o1() {
	origin o1 --unix "$T/o1.sock"
	app_behind 'servers: [ { name: o1, address: "unix:o1.sock" } ]' "limits: { ${1:-body: 100m} }"
}

@test "an upload that is cancelled between its pieces leaves nothing to the next one of its connection" {
	origin o1
	in_front_of o1
	[ "$(python3 "$TOOLS/h2raw.py" "$PORT" cut_between /continue)" = "status:200 end" ]
	is_alive routerd.0
	wait_for all_is_quiet
}

@test "a header section that spans a reload is read to its end" {
	origin o1
	in_front_of o1
	mkfifo go
	python3 "$TOOLS/h2raw.py" "$PORT" half_section <go >got 3>&- &
	client=$!
	exec 5>go
	wait_for 'grep -q half got'
	# The limits that it began with are gone, and their memory is used for others.
	for i in 1 2 3; do
		sed -i "s/format: json.*}/format: json } # $i/" weir.yaml
		ctl routerd.0 reload
	done
	wait_for '[ "$(ctl routerd.0 json status | jq ".oldest_generation")" -gt 1 ]'
	echo >&5
	wait $client
	exec 5>&-
	[ "$(tail -1 got)" = "status:200 end" ]
}

@test "a body that has waited for its server is held to the same length as any other" {
	POOL='retries: 0' modes settles_late
	sed -i 's/^  workers: 1/  workers: 1\n  limits: { body: 1000 }/' weir.yaml
	ctl routerd.0 reload
	python3 "$TOOLS/h2raw.py" "$PORT" posts /settles_late 3 2000 >got
	cat got
	[ "$(sort -u got)" = "status:413 end" ]
	[ "$(python3 "$TOOLS/h2raw.py" "$PORT" posts /settles_late 3 1000 | sort -u)" = "status:200 end" ]
	wait_for all_is_quiet
}

@test "uploads that nobody takes hold no other upload of their connection" {
	unread_by_o1
	mkfifo go
	python3 "$TOOLS/h2raw.py" "$PORT" uploads /slow-read/60000 20 /echo <go >got 3>&- &
	client=$!
	exec 5>go
	wait_for '[ "$(wc -l <got)" = 2 ]'
	cat got
	[ "$(head -1 got)" = "open 20 stalled" ]
	[ "$(tail -1 got)" = "status:200 end" ]
	# A window each, of which the server's socket has had up to a half.
	[ "$(counter h2_body_memory)" -ge 1300000 ]
	[ "$(counter h2_body_memory)" -le 3300000 ]
	exec 5>&-
	wait $client
	[ "$(grep -c waits got)" = 20 ]
	wait_for '[ "$(counter h2_body_memory)" = 0 ]'
}

@test "the memory of bodies that nobody takes is bounded, and those who hold most of it pay" {
	unread_by_o1 'h2_body_memory: 2m'
	mkfifo go few
	python3 "$TOOLS/h2raw.py" "$PORT" uploads /slow-read/60000 2 /echo <few >got.few 3>&- &
	modest=$!
	exec 6>few
	wait_for '[ "$(wc -l <got.few)" = 2 ]'
	python3 "$TOOLS/h2raw.py" "$PORT" uploads /slow-read/60000 30 /echo <go >got 3>&- &
	greedy=$!
	exec 5>go
	wait_for '[ "$(wc -l <got)" = 2 ]'
	[ "$(tail -1 got)" = "status:200 end" ]
	[ "$(counter h2_body_memory)" -le 2097152 ]
	shed=$(counter h2_bodies_shed)
	[ "$shed" -ge 5 ]
	wait_for "grep -q 'warn h2_body_memory .*limit=2097152' '$(log_of routerd.0)'"
	exec 5>&- 6>&-
	wait $greedy
	wait $modest
	[ "$(grep -c '^status:503 end' got)" = "$shed" ]
	[ "$(grep -c '^waits' got)" = $((30 - shed)) ]
	[ "$(grep -c '^waits' got.few)" = 2 ]
	wait_for '[ "$(grep -c "\"reason\":\"h2_body_memory\"" access.log)" = "$shed" ]'
	wait_for '[ "$(counter h2_body_memory)" = 0 ]'
}
