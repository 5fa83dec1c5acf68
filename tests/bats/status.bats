#!/usr/bin/env bats
# What routerd knows of its servers, how old that is, and what it shows.

load pools_helper

CHECK='check: { http: { path: /health }, interval: 200ms, timeout: 10s, fall: 1, rise: 1 }'

@test "status says what goes on, as text and as JSON" {
	origins a b
	pool <<-X
		a $(at a) weight: 2
		b $(at b) backup: true
	X
	start routerd
	names 3
	# A request has ended when all of it has: after its answer was read.
	wait_for '[ "$(ctl routerd.0 json status | jq "[.counters.responses_2xx, .listeners[0].connections]" -c)" = "[3,0]" ]'
	ctl routerd.0 json status >s.json
	jq -e '.program == "routerd" and .generation == 1 and .workers == 2 and .state == "running"' s.json
	jq -e '.counters.requests == 3 and .counters.responses_2xx == 3 and .counters.connections_accepted == 3' s.json
	jq -e '.limits | .connections > 100 and .head == 32768 and .fields == 128 and .request_line == 8192
		and .body == 104857600 and .response_head == 65536 and .body_rate == 64' s.json
	jq -e --arg a "127.0.0.1:$PORT" '.listeners == [{ name: "http", address: $a, connections: 0, accepted: 3 }]' s.json
	jq -e '.pools[0] | .name == "app" and .balance == "round_robin" and .stale == false and .knowledge_age_ms == null' s.json
	jq -e '.pools[0].servers[0] | .name == "a" and .verdict == "up" and .weight == 2 and .requests == 3
		and .errors == 0 and .inflight == 0 and .backup == false and .fails == 0 and .blocked_ms == 0 and .age_ms == null' s.json
	jq -e '.pools[0].servers[1] | .backup == true and .requests == 0' s.json
	ctl routerd.0 status >s.txt
	grep -q '^2 workers, [0-9]* connections at most$' s.txt
	grep -q "^listener http 127.0.0.1:$PORT: 0 connections, 3 accepted" s.txt
	grep -q "^  a 127.0.0.1:$(port_of a) up for .*, weight 2, 0 in flight, 3 requests, 0 errors" s.txt
}

@test "a request in flight is counted while it lasts" {
	origins a
	pool <<<"a $(at a)"
	start routerd
	get /held/one >slow.out &
	local waiting=$!
	wait_for '[ "$(field a inflight)" = 1 ]'
	[ "$(ctl routerd.0 json status | jq .pools[0].active)" = 1 ]
	release a one
	wait $waiting
	wait_for '[ "$(field a inflight)" = 0 ]'
	wait_for '[ "$(ctl routerd.0 json status | jq .pools[0].active)" = 0 ]'
}

@test "show servers state: HAProxy's format through socat" {
	origins a b
	pool "$CHECK" <<-X
		web1 $(at a) weight: 3
		web2 $(at b)
		web3 127.0.0.1:9 down: true
	X
	start healthd
	start routerd
	wait_for '[ "$(field web1 verdict) $(field web2 verdict)" = "up up" ]'
	set_health b 500
	wait_for '[ "$(field web2 verdict)" = down ]'
	echo "show servers state app" | socat -t 5 stdio UNIX-CONNECT:run/routerd.0.sock >state
	[ "$(sed -n 1p state)" = 1 ]
	[ "$(sed -n 2p state)" = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port" ]
	# The tenth column, seconds since the last change, is what the clock says.
	[ "$(sed -n 3p state | cut -d' ' -f1-9,11-)" = "1 app 1 web1 127.0.0.1 2 0 3 3 15 3 1 6 0 0 0 - $(port_of a) - 0 0 - - 0" ]
	[ "$(sed -n 4p state | cut -d' ' -f1-9,11-)" = "1 app 2 web2 127.0.0.1 0 0 1 1 17 2 0 6 0 0 0 - $(port_of b) - 0 0 - - 0" ]
	[ "$(sed -n 5p state | cut -d' ' -f1-9)" = "1 app 3 web3 127.0.0.1 0 4 1 1" ]
	[ "$(awk 'NR > 2 { print NF }' state | sort -u)" = 25 ]
	untimed() { cut -d' ' -f1-9,11-; }
	[ "$(ctl routerd.0 show servers state | untimed)" = "$(ctl routerd.0 show servers state app | untimed)" ]
	run ctl routerd.0 show servers state nosuch
	[[ $output == "error: no pool is called 'nosuch'"* ]]
}

@test "a verdict is obeyed within a heartbeat" {
	origins a b
	pool "$CHECK" <<-X
		a $(at a)
		b $(at b)
	X
	start healthd
	start routerd
	wait_for '[ "$(field a verdict) $(field b verdict)" = "up up" ]'
	set_health a 503
	wait_for 'ctl healthd.0 json show probes | jq -e ".[] | select(.server == \"a\" and .state == \"down\")"'
	wait_for '[ "$(field a verdict) $(field a reason)" = "down http_503" ]' 3
	[ "$(names 4)" = bbbb ]
	[ "$(field a age_ms)" -lt 4000 ]
	set_health a 200
	wait_for '[ "$(field a verdict)" = up ]'
	case $(names 4) in abab | baba) ;; *) return 1 ;; esac
	until_ok grep -q 'warn server_down pool=app server=a reason=http_503 by=probe' "$(log_of routerd.0)"
}

@test "a server known to be down gets nothing, however much is asked" {
	origins a b
	pool "$CHECK" <<-X
		a $(at a)
		b $(at b)
	X
	start healthd
	set_health a 503
	start routerd
	wait_for '[ "$(field a verdict)" = down ]'
	local before
	before=$(count a)
	seq 60 | xargs -P 6 -I{} curl -q -sS -m 60 --noproxy '*' -o /dev/null "http://127.0.0.1:$PORT/"
	[ "$(count a)" = "$before" ]
	[ "$(count b)" -ge 60 ]
}

@test "healthd is killed: the last verdicts stand, their age shows, a down server gets trials" {
	origins a b
	pool "$CHECK
    passive: { max_fails: 3, fail_timeout: 2s }" <<-X
		a $(at a)
		b $(at b)
	X
	start healthd
	start routerd
	wait_for '[ "$(field a verdict) $(field b verdict)" = "up up" ]'
	set_health a 503
	wait_for '[ "$(field a verdict)" = down ]'
	kill_hard healthd.0
	# Within the time to live nothing changes.
	[ "$(names 4)" = bbbb ]
	wait_for '[ "$(ctl routerd.0 json status | jq .pools[0].stale)" = true ]'
	[ "$(field a verdict)" = down ]
	[ "$(field b verdict)" = up ]
	[ "$(field b stale)" = true ]
	[ "$(ctl routerd.0 json status | jq .pools[0].knowledge_age_ms)" -gt 4000 ]
	[ "$(field b age_ms)" -gt 4000 ]
	until_ok grep -q 'warn health_stale pool=app' "$(log_of routerd.0)"
	# It is well for requests: the trial brings it back.
	for _ in 1 2 3 4; do [ "$(code)" = 200 ]; done
	wait_for 'code; [ "$(field a verdict) $(field a reason)" = "up passive_veto" ]'
	# healthd is back and says the same as before: down, by its own word.
	start healthd
	wait_for '[ "$(field a verdict) $(field a stale)" = "down false" ]'
	[ "$(names 4)" = bbbb ]
}

@test "without healthd all servers are used, and nothing waits" {
	origins a b
	pool "$CHECK" <<-X
		a $(at a)
		b $(at b)
	X
	start routerd
	[ "$(names 4)" = abab ]
	[ "$(field a verdict)" = unknown ]
}

@test "a name that cannot be resolved does not stop the start; the others serve" {
	origins b
	pool <<-X
		a no-such-host.invalid:80
		b $(at b)
	X
	start routerd
	[ "$(names 4)" = bbbb ]
	wait_for '[ "$(field a verdict) $(field a reason)" = "down no_address" ]'
	[ "$(field a connects_to)" = null ]
	ctl routerd.0 show servers state app | awk '$4 == "a" { exit !($5 == "-" && $6 == 0 && $7 == 32 && $18 == "no-such-host.invalid") }'
}

@test "a server by name: localhost, whichever of its addresses works" {
	origins a
	pool <<<"a localhost:$(port_of a)"
	start routerd
	# Its name has been looked up before the first request can come.
	[ "$(code)" = 200 ]
	[ "$(field a address)" = "localhost:$(port_of a)" ]
	[ "$(field a connects_to)" = "$(at a)" ]
}

@test "a Unix socket is a server like any other" {
	spawn u python3 "$TOOLS/origin.py" --unix "$T/u.sock" --name u
	wait_for "grep -qs ^ready '$T/proc/u.log'"
	pool <<<"u unix:$T/u.sock"
	start routerd
	[ "$(names 2)" = uu ]
	[ "$(field u connects_to)" = "unix:$T/u.sock" ]
}

@test "hostile bytes on the bus end nothing and change nothing" {
	origins a b
	pool "$CHECK" <<-X
		a $(at a)
		b $(at b)
	X
	start healthd
	start routerd
	wait_for '[ "$(field a verdict) $(field b verdict)" = "up up" ]'
	spawn evil python3 -c '
import os, socket, threading
def serve(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(8)
    while True:
        c, _ = s.accept()
        try:
            c.sendall(b"\0SP\0\0\x20\0\0")
            m = b"health.app {\"v\":1,\"servers\":[{]}"
            c.sendall(b"\x01" + len(m).to_bytes(8, "big") + m)
            c.sendall(b"\xff" * 4096)
        except OSError:
            pass
        c.close()
for end in "pub", "sub":
    threading.Thread(target=serve, args=("run/bus/evil.0." + end,)).start()
'
	wait_for '[ "$(ctl routerd.0 json status | jq .bus.malformed)" -ge 2 ]'
	is_alive routerd.0
	case $(names 4) in abab | baba) ;; *) return 1 ;; esac
	[ "$(field a verdict) $(field b verdict)" = "up up" ]
}

@test "a reload resets nothing that is known of a server; another address is another server" {
	origins a b c
	pool "$CHECK" <<-X
		a $(at a)
		b $(at b)
	X
	start healthd
	start routerd
	wait_for '[ "$(field a verdict) $(field b verdict)" = "up up" ]'
	set_health a 503
	wait_for '[ "$(field a verdict)" = down ]'
	names 5
	# Another weight, another order, and a's address stays; b moves.
	pool "$CHECK" <<-X
		b $(at c)
		a $(at a) weight: 7
	X
	spawn look bash -c "while :; do curl -q -sS -m 60 --noproxy '*' http://127.0.0.1:$PORT/echo; echo; done"
	wait_for 'grep -q "\"name\": \"b\"" "$(log_of look)"'
	"$BIN/proxyctl" -c weir.yaml reload
	# Not for a moment was a asked.
	[ "$(field a verdict) $(field a reason)" = "down http_503" ]
	[ "$(field a weight)" = 7 ]
	wait_for '[ "$(field b verdict)" = up ] && grep -q "\"name\": \"c\"" "$(log_of look)"'
	kill_hard look
	[ "$(grep -o '"name": "[abc]"' "$(log_of look)" | sort -u | tr -dc 'abc\n"' | cut -d'"' -f4 | tr '\n' ' ')" = "b c " ]
	set_health a 200
	wait_for '[ "$(field a verdict)" = up ]'
}

@test "numbers of a server go on over a reload" {
	origins a
	pool <<<"a $(at a)"
	start routerd
	names 3
	[ "$(field a requests)" = 3 ]
	get /held/one >slow.out &
	local waiting=$!
	wait_for '[ "$(field a inflight)" = 1 ]'
	ctl routerd.0 reload
	[ "$(field a requests) $(field a inflight)" = "4 1" ]
	release a one
	wait $waiting
	wait_for '[ "$(field a inflight)" = 0 ]'
	[ "$(ctl routerd.0 json status | jq .counters.requests)" = 4 ]
}
