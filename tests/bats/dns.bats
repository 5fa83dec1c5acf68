#!/usr/bin/env bats
# Servers by name, with a name server that says what the test wants: it is followed, and never waited for.

load pools_helper

# The daemons see a resolv.conf of ours, in a mount namespace of their own.
setup() {
	weir_setup
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	echo 'nameserver 127.0.0.99' >resolv.conf
	echo 'options timeout:1' >>resolv.conf
	: >names
	mkdir bin
	local d real=$BIN
	for d in routerd healthd; do
		cat >bin/$d <<-X
		#!/bin/sh
		exec unshare -m --propagation private sh -c 'mount --bind "$T/resolv.conf" /etc/resolv.conf && exec "\$0" "\$@"' "$real/$d" "\$@"
		X
		chmod +x bin/$d
	done
	unshare -m --propagation private mount --bind resolv.conf /etc/resolv.conf 2>/dev/null || skip "no mount namespaces here"
	BIN=$T/bin
}

named() {
	spawn named python3 "$TOOLS/nameserver.py" names
	wait_for 'grep -q ready "$(log_of named)" || ! is_alive named'
	is_alive named || skip "port 53 of 127.0.0.99 is not ours to have"
}

# Two servers at one port of two addresses: only the name can tell them apart.
two_homes() {
	P=$(free_port)
	origin a --name a --host 127.0.0.2 --port "$P"
	origin b --name b --host 127.0.0.3 --port "$P"
}

@test "a name is followed by its time to live, and no request is lost on the way" {
	two_homes
	echo 'app.test 1 127.0.0.2' >names
	named
	pool <<<"s app.test:$P"
	start routerd
	[ "$(names 2)" = aa ]
	spawn load bash -c "while :; do curl -q -sS -f -m 60 --noproxy '*' -o /dev/null http://127.0.0.1:$PORT/ || echo lost; done"
	echo 'app.test 1 127.0.0.3' >names
	# A second of life is stretched to five.
	wait_for '[ "$(get | jq -r .name)" = b ]'
	[ "$(field s connects_to)" = "127.0.0.3:$P" ]
	# The name is gone, then the name server: what was known stays.
	: >names
	local asked
	asked=$(grep -c app.test "$(log_of named)")
	wait_for '[ "$(grep -c app.test "$(log_of named)")" -gt '"$asked"' ]'
	[ "$(names 3)" = bbb ]
	kill_hard named
	[ "$(names 3)" = bbb ]
	[ "$(field s verdict)" = unknown ] || [ "$(field s verdict)" = up ]
	kill_hard load
	run ! grep lost "$(log_of load)"
}

@test "a name server that says nothing holds up neither start, reload nor requests; when it speaks, it is heard" {
	two_homes
	echo silent >names
	named
	pool <<-X
	s app.test:$P
	t 127.0.0.3:$P
	X
	local began=$SECONDS
	start healthd
	start routerd
	# Who waits for an answer waits for 15 s: four times, each for longer.
	[ $((SECONDS - began)) -le 12 ]
	[ "$(names 4)" = bbbb ]
	[ "$(field s reason)" = no_address ] || [ "$(field s verdict)" = unknown ]
	began=$SECONDS
	ctl routerd.0 reload | grep -q '^generation 2'
	[ $((SECONDS - began)) -le 12 ]
	began=$SECONDS
	[ "$(names 4)" = bbbb ]
	[ $((SECONDS - began)) -le 12 ]
	echo 'app.test 60 127.0.0.2' >names
	wait_for 'names 2 | grep -q a'
	# Slow is as good as fast, once it is known.
	[ "$(field s connects_to)" = "127.0.0.2:$P" ]
}
