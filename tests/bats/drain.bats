#!/usr/bin/env bats
# Operators' decisions: who obeys, when, and what survives.

load pools_helper

two() {
	origins a b
	pool <<-X
		a $(at a)
		b $(at b)
	X
	start routerd
}

@test "drain --wait returns when nothing is in flight there, and new requests go elsewhere at once" {
	two
	get /held/one | wc -c >slow.out &
	local waiting=$!
	wait_for '[ "$(field a inflight)" = 1 ]'
	pctl drain app/a >drained.out 2>&1 &
	wait_for '[ "$(field a verdict) $(field a reason)" = "drain operator" ]'
	[ "$(names 4)" = bbbb ]
	spawn wait "$BIN/proxyctl" -c weir.yaml drain app/a --wait --timeout 60s
	[ "$(names 4)" = bbbb ]
	is_alive wait
	release a one
	_reap wait 60
	[ "$status" = 0 ]
	[ "$(field a inflight)" = 0 ]
	wait $waiting
	[ "$(cat slow.out)" -gt 0 ]
	wait_for "grep -q 'info server_drain pool=app server=a reason=operator by=operator' '$(log_of routerd.0)'"
	run pctl undrain app/a --wait
	assert_success
	[ "$(field a verdict)" = up ]
	[[ $(names 4) == *a* ]]
}

@test "drain --wait that is not done in time fails and says what is in flight" {
	two
	get /held/one >slow.out &
	local waiting=$!
	wait_for '[ "$(field a inflight)" = 1 ]'
	run pctl drain app/a --wait --timeout 2s
	assert_failure 1
	[[ $output == *"routerd.0: 1 still in flight"* ]]
	release a one
	wait $waiting
}

@test "a drain costs no request, however many are under way" {
	two
	local loops=()
	for _ in 1 2 3 4; do
		(
			for _ in $(seq 40); do http -o /dev/null -w '%{http_code}\n' "http://127.0.0.1:$PORT/"; done >>"codes.$BASHPID"
		) &
		loops+=($!)
	done
	for _ in 1 2 3; do
		pctl drain app/a --wait
		pctl undrain app/a --wait
	done
	wait "${loops[@]}"
	[ "$(cat codes.* | sort | uniq -c | tr -s ' ')" = " 160 200" ]
}

@test "disable, enable and weight are adopted by all workers when the command returns" {
	two
	pctl disable app/b
	[ "$(names 4)" = aaaa ]
	[ "$(field b verdict) $(field b reason)" = "maint operator" ]
	pctl enable app/b
	pctl weight app/a 3
	[ "$(field a weight)" = 3 ]
	[ "$(names 8 | tr -d b)" = aaaaaa ]
	pctl weight app/a 0
	[ "$(names 4)" = bbbb ]
	pctl weight app/a default
	[ "$(field a weight)" = 1 ]
}

@test "decisions survive kill -9: not one request goes to a drained server afterwards" {
	two
	pctl drain app/a --wait
	local before
	before=$(count a)
	kill_hard routerd.0
	start routerd
	[ "$(names 10)" = bbbbbbbbbb ]
	[ "$(count a)" = "$before" ]
	[ "$(field a verdict)" = drain ]
}

@test "decisions hold for routers that start later, and for every instance" {
	two
	pctl disable app/a
	local first=$PORT
	PORT=$(free_port)
	sed "s/127.0.0.1:$first/127.0.0.1:$PORT/" weir.yaml >second.yaml
	start routerd -i 1 -c "$T/second.yaml"
	[ "$(names 4)" = bbbb ]
	pctl enable app/a --wait
	[[ $(names 4) == *a* ]]
	PORT=$first
	[[ $(names 4) == *a* ]]
}

@test "a file that is not right leaves the last good copy in force, and an event says so" {
	two
	pctl drain app/a --wait
	echo 'entries: [' >state/overrides.yaml
	run ctl routerd.0 overrides reload
	[[ $output == "error: "*overrides.yaml* ]]
	[ "$(names 4)" = bbbb ]
	[ "$(field a verdict)" = drain ]
	until_ok grep -q 'warn overrides_rejected' "$(log_of routerd.0)"
	[[ $(ctl routerd.0 json status | jq -r .overrides.error) == *overrides.yaml* ]]
	# A start with it uses what the configuration says, and still says so.
	stop routerd.0
	: >"$(log_of routerd.0)"
	start routerd
	until_ok grep -q 'warn overrides_rejected' "$(log_of routerd.0)"
	rm state/overrides.yaml
	ctl routerd.0 overrides reload
	[ "$(field a verdict)" = up ]
	[ "$(ctl routerd.0 json status | jq .overrides.error)" = null ]
}

@test "a decision that has expired is over without anybody's help" {
	two
	pctl drain app/a --expire 5s
	[ "$(field a verdict)" = drain ]
	wait_for '[ "$(field a verdict)" = up ]'
	[[ $(names 4) == *a* ]]
}

@test "overrides state answers for one server" {
	two
	run ctl routerd.0 json overrides state app/a
	echo "$output" | jq -e '.adopted == true and .inflight == 0 and .verdict == "up" and .generation == 1 and .weight == 1'
	run ctl routerd.0 json overrides state app/nosuch
	echo "$output" | jq -e '.adopted == true and .inflight == 0'
	run ctl routerd.0 overrides state
	[[ $output == "error: usage: overrides state POOL/SERVER"* ]]
}

@test "entries that match nothing are counted" {
	two
	mkdir -p state
	pctl drain app/a
	sed -Ei 's/server: "?a"?/server: gone/' state/overrides.yaml
	ctl routerd.0 overrides reload
	[ "$(ctl routerd.0 json status | jq -c '[.overrides.entries, .overrides.unmatched]')" = "[1,1]" ]
}

@test "status shows who decided what, why, and until when; what has been taken back or expired is gone" {
	two
	pctl drain app/a --reason "kernel update" --expire 2h
	pctl weight app/b 7
	run pctl status
	assert_line --regexp '^DECISION +SERVER +BY +AGE +ENDS IN +WHY$'
	assert_line --regexp '^drain +app/a +[^ ]+ +[0-9.]+s +(1h59m|2h00m) +kernel update$'
	assert_line --regexp '^weight 7 +app/b +[^ ]+ +[0-9.]+s +- *$'
	[ "$(pctl status -j | jq -c '[.decisions[] | {decision, pool, server, reason, weight}]')" = \
		'[{"decision":"drain","pool":"app","server":"a","reason":"kernel update","weight":null},{"decision":"weight","pool":"app","server":"b","reason":"","weight":7}]' ]
	pctl undrain app/a
	pctl weight app/b default
	pctl disable app/b --expire 1s
	wait_for '[ "$(pctl status -j | jq ".decisions | length")" = 0 ]'
	run pctl status
	refute_line --partial DECISION
}
