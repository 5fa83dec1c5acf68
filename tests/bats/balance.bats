#!/usr/bin/env bats
# Which server gets a request.

load pools_helper

@test "weights 5,1,1: a a b a c a a, exact over the workers" {
	origins a b c
	pool <<-X
		a $(at a) weight: 5
		b $(at b)
		c $(at c)
	X
	start routerd
	[ "$(names 14)" = aabacaaaabacaa ]
}

@test "weights 3,3,1: a b c a b a b" {
	origins a b c
	pool <<-X
		a $(at a) weight: 3
		b $(at b) weight: 3
		c $(at c)
	X
	start routerd
	[ "$(names 7)" = abcabab ]
}

@test "shares are exact when many ask at once" {
	origins a b c
	pool <<-X
		a $(at a) weight: 5
		b $(at b)
		c $(at c)
	X
	start routerd
	seq 140 | xargs -P 8 -I{} curl -q -sS -m 60 --noproxy '*' -o /dev/null "http://127.0.0.1:$PORT/"
	[ "$(count a) $(count b) $(count c)" = "100 20 20" ]
}

@test "a backup gets nothing while a primary is usable, and all of them share when none is" {
	origins a b c
	pool 'check: { http: { path: /health }, interval: 200ms, timeout: 10s, fall: 1, rise: 1 }' <<-X
		a $(at a)
		b $(at b) backup: true
		c $(at c) backup: true
	X
	start healthd
	start routerd
	wait_for '[ "$(field a verdict) $(field b verdict) $(field c verdict)" = "up up up" ]'
	[ "$(names 4)" = aaaa ]
	set_health a 503
	wait_for '[ "$(field a verdict)" = down ]'
	case $(names 4) in bcbc | cbcb) ;; *) return 1 ;; esac
	set_health a 200
	wait_for '[ "$(field a verdict)" = up ]'
	[ "$(names 4)" = aaaa ]
}

@test "down and weight 0: no request goes there" {
	origins a b c
	pool <<-X
		a $(at a) down: true
		b $(at b)
		c $(at c) weight: 0
	X
	start routerd
	[ "$(names 6)" = bbbbbb ]
	[ "$(field a verdict) $(field a reason)" = "maint config" ]
	[ "$(field c weight)" = 0 ]
}

@test "a server that cannot be connected to: the request goes elsewhere, unseen" {
	origins b c
	pool <<-X
		a 127.0.0.1:$(free_port)
		b $(at b)
		c $(at c)
	X
	start routerd
	for _ in $(seq 12); do [ "$(code)" = 200 ]; done
	[ "$(http -d x "http://127.0.0.1:$PORT/echo" | jq -r .body)" = x ]
	[ "$(field a errors)" -ge 1 ]
	[ "$(field a retried)" = "$(field a errors)" ]
}

@test "nobody can be connected to: 502, and 503 no_server when all are out" {
	pool 'passive: { max_fails: 1, fail_timeout: 30s }' <<-X
		a 127.0.0.1:$(free_port)
		b 127.0.0.1:$(free_port)
	X
	start routerd
	[ "$(code)" = 502 ]
	[ "$(code)" = 503 ]
	[ "$(ctl routerd.0 json status | jq .counters.no_server)" -ge 1 ]
	# The main thread says so, after the worker that found out has answered.
	wait_for "grep -q 'warn pool_empty pool=app' '$(log_of routerd.0)'"
}

@test "a reload changes the weights and goes on where the turn stands" {
	origins a b
	pool <<-X
		a $(at a)
		b $(at b)
	X
	start routerd
	[ "$(names 3)" = aba ]
	pool <<-X
		a $(at a) weight: 3
		b $(at b)
	X
	ctl routerd.0 reload
	local got
	got=$(names 8)
	[ "$(tr -d b <<<"$got")" = aaaaaa ]
	[ "$(field a requests)" = 8 ]
}

@test "a reload that only repeats does not begin with the first server again" {
	origins a b
	pool <<-X
		a $(at a)
		b $(at b)
	X
	start routerd
	local got=
	for _ in 1 2 3 4; do
		got+=$(names 1)
		ctl routerd.0 reload
	done
	[ "$got" = abab ]
}
