#!/usr/bin/env bats
# What servers of HTTP/2 may not do to us: each attack has its status, its word and its counter, and costs nobody else anything.

load helper
load h2_helper

log_says() { jq -e -s "any(.[]; .target == \"/$1\" and ($2))" access.log >/dev/null; }
event() { grep -E "upstream_h2_error pool=$1 .*reason=($2)\b" "$(log_of routerd.0)"; }
high_water() { awk '/VmHWM/ {print $2}' "/proc/$(pid_of routerd.0)/status"; }
# impatient MODE..: with deadlines that are met in the test, or that are not (PATIENCE=1m)
impatient() { TIMEOUTS="send: ${PATIENCE:-1s}, connect: 10s, response: ${PATIENCE:-1s}, read: ${PATIENCE:-1s}" modes "$@"; }
# ask MODE: the status, and "cut" behind it when the answer was cut off; `-` for no status
ask() {
	local code rc=0
	code=$(http -o got -w '%{http_code}' "${@:2}" "$URL/$1" 2>curl.err) || rc=$?
	echo "$code$([ $rc = 0 ] || echo ' cut')"
}

# attacks, and of each: how the answer ends for its client, the reasons of log and event. Beside each, a client of another pool is served.
@test "frames: each flood and each breach of the protocol by a server ends its connection, is counted and told, and costs no memory" {
	attacks='
		settings_flood|502|settings_flood|floods
		ping_flood|502|ping_flood,h2_flood|floods
		window_update_flood|502|window_update_flood|floods
		priority_flood|502|priority_flood|floods
		reset_flood|502|reset_flood|floods
		goaway_flood|502|goaway_flood|floods
		unknown_frames|502|unknown_frames|floods
		origin_frames|502|unknown_frames|floods
		continuation_flood|502|continuation_flood|floods
		empty_frames|200 cut|empty_frames|floods
		padded_nothing|200 cut|empty_frames|floods
		padding|200 cut|empty_frames|floods
		header_flood|200|header_flood|floods
		stray_resets|200|reset_flood|floods
		stray_frames|200|stray_frames|floods
		goaway_rising|502|h2_protocol_error|errors
		push|502|h2_protocol_error|errors
		unknown_stream|502|h2_protocol_error|errors
		even_stream|502|h2_protocol_error|errors
		idle_stream|502|h2_protocol_error|errors
		interleaved|502|h2_protocol_error|errors
		settings_on_stream|502|h2_protocol_error|errors
		settings_frame_size|502|h2_protocol_error|errors
		window_of_zero|502|h2_protocol_error|errors
		settings_window|502|h2_flow_control_error|errors
		conn_window_overflow|502|h2_flow_control_error|errors
		large_frame|502|h2_frame_size_error|errors
		settings_of_five|502|h2_frame_size_error|errors
		ping_of_seven|502|h2_frame_size_error|errors
		bad_hpack|502|h2_compression_error|errors
		bad_padding|200 cut|h2_protocol_error|errors
		data_first|502|h2_protocol_error|errors
		http1|502|h2_protocol_error,h2_frame_size_error|errors
	'
	PATIENCE=1m impatient ok $(echo "$attacks" | cut -d'|' -f1)
	[ "$(http "$URL/ok")" = ok ]
	before=$(high_water) floods=0 errors=0
	while IFS='|' read -r m expected reasons counter; do
		m=$(echo $m)
		[ -n "$m" ] || continue
		# Few events a second are told: it goes on until this one was.
		n=0
		while :; do
			got=$(ask "$m")
			n=$((n + 1))
			# Its head may not have left when the flood was noticed.
			[ "$got" = "$expected" ] || [[ "$expected" == 200* && "$got" == 502 ]] || { echo "$m: $got, not $expected"; false; }
			wait_for "[ \$(seen '$m closed') = $n ]"
			! event "$m" "${reasons//,/|}" || break
			[ $n -lt 200 ] || { echo "$m: no event"; grep "pool=$m" "$(log_of routerd.0)"; false; }
		done
		[ "$expected" = 200 ] || wait_for "log_says $m '.reason != null'" || { echo "$m: no reason"; false; }
		declare "$counter=$((${!counter} + n))"
		[ "$(http "$URL/ok")" = ok ]
	done <<<"$attacks"
	[ "$(counter h2_upstream_floods)" = "$floods" ]
	[ "$(counter h2_upstream_errors)" = "$errors" ]
	[ "$(seen 'ok connection')" = 1 ]
	wait_for all_is_quiet
	wait_for '[ "$(counter h2_upstream_connections)" = 1 ]'
	after=$(high_water)
	echo "VmHWM $before -> $after kB"
	case ${BUILD:-} in *san*) ;; *) [ $((after - before)) -lt 8000 ] ;; esac
}

@test "answers: each that breaks a rule is refused or cut off alone, with its reason; the connection and what is on it go on" {
	attacks='
		upper_case|502|bad_field_name
		crlf_value|502|bad_field_value
		nul_value|502|bad_field_value
		blank_value|502|bad_field_value
		crlf_name|502|bad_field_name
		colon_name|502|bad_field_name
		two_lengths|502|dup_content_length
		bad_length|502|bad_content_length
		empty_name|502|empty_field_name
		connection_field|502|connection_field
		transfer_encoding|502|connection_field
		keep_alive|502|connection_field
		proxy_connection|502|connection_field
		upgrade|502|connection_field
		te_field|502|connection_field
		no_status|502|bad_pseudo_header
		two_status|502|bad_pseudo_header
		late_status|502|bad_pseudo_header
		request_pseudo|502|bad_pseudo_header
		bad_status|502|bad_status
		status_99|502|bad_status
		status_600|502|bad_status
		status_2000|502|bad_status
		last_interim|502|bad_status
		switching|502|unexpected_101
		data_after_interim|502|data_before_head
		interims|502|too_many_interim_responses
		many_fields|502|too_many_fields
		hpack_bomb|502|head_too_long
		long_continuation|502|head_too_long
		length_no_body|502|content_length_mismatch
		long_body|200 cut|content_length_mismatch
		short_body|200 cut|content_length_mismatch
		bad_trailer|200 cut|bad_pseudo_header
		upper_trailer|200 cut|bad_field_name
		connection_trailer|200 cut|connection_field
		many_trailers|200 cut|too_many_fields
		trailer_bomb|200 cut|trailer_too_long
		trailers_go_on|200 cut|bad_trailer
		window_overflow|502|h2_flow_control_error
	'
	PATIENCE=1m impatient ok $(echo "$attacks" | cut -d'|' -f1)
	[ "$(http "$URL/ok")" = ok ]
	before=$(high_water) n=0
	while IFS='|' read -r m expected reason; do
		m=$(echo $m)
		[ -n "$m" ] || continue
		for i in 1 2; do
			got=$(ask "$m")
			[ "$got" = "$expected" ] || [[ "$expected" == 200* && "$got" == 502 ]] || { echo "$m: $got, not $expected"; false; }
		done
		wait_for "log_says $m '.reason == \"$reason\"'" || { echo "$m:"; grep "/$m" access.log; false; }
		# Both on one connection: only the streams were reset.
		[ "$m" = long_continuation ] || [ "$(seen "$m connection")" = 1 ] || { echo "$m: $(seen "$m connection") connections"; false; }
		n=$((n + 2))
	done <<<"$attacks"
	# Nobody broke HTTP with too many interim answers, each of them was right.
	[ "$(counter bad_responses)" = $((n - 2)) ]
	[ "$(counter h2_upstream_floods)" = 0 ]
	[ "$(http "$URL/ok")" = ok ]
	wait_for all_is_quiet
	after=$(high_water)
	echo "VmHWM $before -> $after kB"
	case ${BUILD:-} in *san*) ;; *) [ $((after - before)) -lt 8000 ] ;; esac
}

@test "DATA that has no place does not reach the client: behind the end, a second answer, the body of HEAD, 204 and 304" {
	PATIENCE=1m impatient data_after_end second_answer body_of_head body_of_204 body_of_304
	for m in data_after_end second_answer; do
		for i in 1 2 3; do [ "$(http "$URL/$m")" = ok ]; done
	done
	for m in body_of_204 body_of_304 body_of_head; do
		args=(-i)
		[ $m != body_of_head ] || args=(-I)
		http "${args[@]}" "$URL/$m" >got 2>/dev/null || true
		! grep -q '^body' got || { echo "$m"; cat got; false; }
		wait_for "log_says $m '.reason | IN(\"unexpected_body\", \"content_length_mismatch\", \"h2_protocol_error\")'" || { cat access.log; false; }
	done
	wait_for all_is_quiet
}

@test "a server that ignores the window loses the connection, whatever its client reads, and it costs a window" {
	# Streams that time out may have something on its way, too.
	PATIENCE=1m impatient greedy ok
	[ "$(http "$URL/ok")" = ok ]
	before=$(high_water)
	local slow=()
	for i in 1 2 3 4; do
		curl -q -s --noproxy '*' -m 200 --limit-rate 1k -o "slow$i" "$URL/greedy" 3>&- &
		slow+=($!)
	done
	# A stream's window ends the stream; what comes behind that breaks the connection's, or is a flood.
	wait_for '[ $(($(counter h2_upstream_errors) + $(counter h2_upstream_floods))) -ge 1 ]'
	wait_for "event greedy 'h2_flow_control_error|stray_frames'"
	wait_for all_is_quiet
	after=$(high_water)
	echo "VmHWM $before -> $after kB"
	case ${BUILD:-} in *san*) ;; *) [ $((after - before)) -lt 8000 ] ;; esac
	[ "$(http "$URL/ok")" = ok ]
	wait_for "log_says greedy '.status == 200 and .reason == \"h2_flow_control_error\"'"
	kill "${slow[@]}" 2>/dev/null || true
}

@test "a server that resets each stream at once, or says goodbye each time, costs each client its tries, and nobody a flood" {
	POOL='retries: 2, retry_budget: { min: 1000 }, passive: { max_fails: 0 }' PATIENCE=1m impatient reset refused goaway ok
	for m in reset refused goaway; do
		h2load --h1 -n 200 -c 20 -t 1 "$URL/$m" >load.log
		grep -q 'status codes: 0 2xx, 0 3xx, 0 4xx, 200 5xx' load.log || { cat load.log; false; }
		# One server: there is no other to try, but a race with its goodbye is run once more.
		[ "$(seen "$m request")" -le 600 ]
	done
	[ "$(counter h2_upstream_resets)" -ge 200 ]
	# Each is counted, few are told, none of the refusals is.
	wait_for "grep -q ' upstream_h2_reset ' '$(log_of routerd.0)'"
	grep ' upstream_h2_reset ' "$(log_of routerd.0)" >resets
	told=$(wc -l <resets)
	refute grep -v 'warn upstream_h2_reset pool=reset server=s code=INTERNAL_ERROR ' resets
	# Five a second, and the load took no more than a few.
	[ "$told" -le 100 ]
	[ "$told" -lt "$(counter h2_upstream_resets)" ]
	[ "$(counter h2_upstream_refused)" -ge 400 ]
	[ "$(counter h2_upstream_goaways)" -ge 5 ]
	[ "$(counter h2_upstream_floods)" = 0 ]
	[ "$(seen 'reset connection')" -le 20 ]
	wait_for "log_says reset '.reason == \"reset_by_server\"'"
	wait_for "log_says refused '.reason == \"refused_by_server\"'"
	wait_for "log_says goaway '.reason == \"refused_by_server\"'"
	[ "$(http "$URL/ok")" = ok ]
	wait_for all_is_quiet
}

@test "who shares a connection with a flood is cut off or asked again elsewhere, and the next ones get another connection" {
	spawn h2 python3 "$TOOLS/h2server.py" flood_beside ok
	wait_for "grep -qs '^ready' '$T/proc/h2.log'"
	app_behind "protocol: h2, passive: { max_fails: 0 }, retry_budget: { min: 100 }, servers: [ { name: bad, address: \"127.0.0.1:$(mode_port flood_beside)\" }, { name: ok, address: \"127.0.0.1:$(mode_port ok)\" } ]"
	# One has the beginning of its answer, on a connection that is flooded then.
	curl -q -s --noproxy '*' -m 100 --no-buffer "$URL/" >first 3>&- &
	client=$!
	wait_for '[ -s first ]'
	for i in 1 2 3 4 5 6; do [ "$(http "$URL/")" = ok ] || [ "$(seen 'flood_beside connection')" -gt 1 ]; [ "$(counter h2_upstream_floods)" = 0 ] || break; done
	rc=0
	wait $client || rc=$?
	[ $rc != 0 ]
	[ "$(cat first)" = part ]
	[ "$(counter h2_upstream_floods)" = 1 ]
	wait_for "jq -e -s 'any(.reason == \"settings_flood\" and .status == 200)' access.log"
	until_ok jq -e -s 'map(select(.status == 502)) == []' access.log
	wait_for all_is_quiet
}

@test "a server that says nothing at all, or stops within a section of headers, holds up nobody but those that asked" {
	PATIENCE=3s impatient mute half_section ok
	clients=
	for i in 1 2 3; do
		http -o "got$i" -w '%{http_code}\n' "$URL/mute" >"code$i" 3>&- &
		clients+=" $!"
	done
	wait $clients
	cat code1 code2 code3 >codes
	[ "$(sort -u codes)" = 504 ]
	[ "$(ask half_section)" = 504 ]
	wait_for "log_says half_section '.reason == \"response_timeout\"'"
	# The next one does not wait behind it: that would be in vain, too.
	[ "$(http "$URL/half_section")" = ok ]
	[ "$(seen 'half_section connection')" = 2 ]
	[ "$(http "$URL/ok")" = ok ]
	wait_for all_is_quiet
}

@test "a server that wants a table of 4 GB and frames of 16 MB gets neither" {
	TIMEOUTS='send: 4s, connect: 10s, response: 1m, read: 1m' modes large_table
	http -o /dev/null "$URL/large_table"
	before=$(high_water)
	head -c 3000000 /dev/zero >up
	[ "$(http -o got -w '%{http_code}' -H Expect: --data-binary @up "$URL/large_table")" = 200 ]
	for i in $(seq 20); do http -o /dev/null $(for j in $(seq 15); do echo -H "X-$i-$j:$(head -c 600 /dev/urandom | base64 -w0)"; done) "$URL/large_table"; done
	after=$(high_water)
	echo "VmHWM $before -> $after kB"
	case ${BUILD:-} in *san*) ;; *) [ $((after - before)) -lt 4000 ] ;; esac
	[ "$(seen 'large_table connection')" = 1 ]
	wait_for all_is_quiet
}

@test "interim answers of a server are bounded in number, whatever they weigh" {
	PATIENCE=3s impatient interim_bomb endless_interim ok
	before=$(high_water)
	ask interim_bomb >code
	[ "$(cat code)" = 502 ] || { cat code; false; }
	wait_for "log_says interim_bomb '.reason == \"too_many_interim_responses\"'"
	# As many as are allowed, and no answer behind them.
	[ "$(ask endless_interim)" = 504 ]
	[ "$(http "$URL/ok")" = ok ]
	after=$(high_water)
	case ${BUILD:-} in *san*) ;; *) [ $((after - before)) -lt 8000 ] ;; esac
	wait_for all_is_quiet
}
