# What the documents show is what happens: the README's tour, every file of examples/, every
# configuration in a man page.
load helper

# In the current folder a tree as after `make`, with the demo on ports of our own.
tree() {
	local port
	ln -s "$BIN" bin
	cp -r "$ROOT/examples" .
	PORTS=()
	for port in 8443 8080 9001 9002 9003 8444 9443; do
		PORTS+=("$port=$(free_port)")
		sed -i "s/\\b$port\\b/${PORTS[-1]#*=}/" examples/*.yaml
	done
	# the certificates, as the example says it
	sed -n '/^#   mkdir -p pki/,/^#$/s/^#   //p' examples/mtls.yaml >make-pki
	(cd examples && sh -eu ../make-pki 2>/dev/null)
}

@test "the README's tour prints what it shows" {
	tree
	spawn up bin/proxyctl -c examples/demo.yaml up
	wait_for 'grep -q "^ready: " "$(log_of up)" || ! is_alive up'
	wait_for '[ "$(bin/proxyctl -c examples/demo.yaml status -j | jq "[.pools[0].servers[].reason] | unique == [\"\"]")" = true ]'
	run "$TOOLS/tour" "$ROOT/README.md" "Five minutes" "${PORTS[@]}"
	echo "$output"
	assert_success
	[ "$(grep -c "^as shown: " <<<"$output")" -ge 8 ]
}

# Commands of man pages: the displayed lines and literal blocks that begin with one of our words.
commands() { # PAGE
	awk '/^\.Bd -literal/ { inside = 1; first = 1; next }
		/^\.Ed/ { if (use) print text; inside = use = 0; text = ""; next }
		inside && first { first = 0; use = /^(proxyctl|echo) / }
		inside && use { text = text " " $0 }
		/^\.Dl (\$ )?(echo|proxyctl|cachectl) / { sub(/^\.Dl (\$ )?/, ""); print }' "$1" | sed 's/\\(dq/"/g'
}

@test "every command in a man page does what it says there" {
	tree
	ln -s examples/run run
	spawn up bin/proxyctl -c examples/demo.yaml up
	wait_for 'grep -q "^ready: " "$(log_of up)" || ! is_alive up'
	server_is() { [ "$(bin/proxyctl -c examples/demo.yaml status -j | jq -r '.pools[0].servers[2].verdict')" = "$1" ]; }
	wait_for 'server_is up'
	local page line pid count=0
	export PATH=$T/bin:$PATH WEIR_CONFIG=$T/examples/demo.yaml
	ssh() { [ "$*" = "app1 upgrade" ]; }
	export -f ssh
	pid=$(bin/proxyctl status -j | jq '.daemons[] | select(.name == "routerd.app3").pid')
	for page in "$ROOT"/*/*.[78]; do
		while read -r line; do
			line=${line//\/etc\/weir\/weir.yaml/$WEIR_CONFIG}
			if [[ $line == *"--until server_up"* ]]; then
				spawn waits bash -c "$line"
				# What comes before it listens is not heard, so it comes again.
				while is_alive waits; do
					kill -STOP "$pid"
					wait_for 'server_is down'
					kill -CONT "$pid"
					wait_for 'server_is up'
				done
				_reap waits 60
				output=$(cat "$(log_of waits)")
				[[ $output == *'"type":"server_up"'*'"server":"app3"'* ]]
			else
				run bash -c "$line" </dev/null
			fi
			echo "$line: $status: $output"
			[ "$status" -eq 0 ]
			[[ $output != error:* ]]
			[ -n "$output" ] || [[ $line == *" -q" ]]
			count=$((count + 1))
		done < <(commands "$page")
	done
	[ "$count" -ge 8 ]
}

@test "the example with certificates on every way: who has none gets in nowhere, and the server hears whose it is" {
	tree
	spawn up bin/proxyctl -c examples/mtls.yaml up
	wait_for 'grep -q "^ready: " "$(log_of up)" || ! is_alive up'
	# the command that it shows
	sed -n 's/^#   \(curl .*\)/\1/p' examples/mtls.yaml >try
	[ -s try ]
	wait_for '(cd examples && sh ../try 2>/dev/null) | jq -e ".headers | .[\"X-SSL-Client-Verify\"] == \"SUCCESS\" and .[\"X-SSL-Client-S-DN\"] == \"CN=joe\" and .[\"X-User\"] == \"joe\""'
	wait_for 'grep -qE "^127\.0\.0\.1 joe \[.* \+0000\] \"GET /echo HTTP/[12]\.[01]\" 200 [0-9]+ [0-9.]+s app \"curl/[^\"]*\"$" examples/run/mtls/access.log'
	wait_for '[ "$(bin/proxyctl -c examples/mtls.yaml status -j | jq -r ".pools[0].servers[0].views[\"routerd.0\"]")" = up ]'
	# What is refused behind the handshake is heard in reading, or in writing.
	run http --cacert examples/pki/ca.crt "https://localhost:$(sed -n 's/.*localhost:\([0-9]*\).*/\1/p' try)/"
	[[ "$status" =~ ^(55|56)$ ]]
	[ "$(grep -c headers <<<"$output")" = 0 ]
	run http --cacert examples/pki/ca.crt "https://127.0.0.1:$(sed -n 's/.*"127.0.0.1:\([0-9]*\)".*/\1/p' examples/mtls-app.yaml)/"
	[[ "$status" =~ ^(55|56)$ ]]
	[ "$(grep -c headers <<<"$output")" = 0 ]
	run bin/proxyctl -c examples/mtls.yaml cert list
	[[ "$output" == *"policy inside"* ]]
}

@test "what make install puts in place is whole, and runs from there" {
	local variant=${BUILD:-build/release}
	make -s -C "$ROOT" VARIANT="${variant##*/}" DESTDIR="$T/root" PREFIX=/usr install >install.log 2>&1 || fail "$(cat install.log)"
	local at=$T/root/usr p page
	for p in tlsd routerd healthd cachectl proxyctl; do
		[ "$("$at/bin/$p" -v)" = "$("$BIN/$p" -v)" ]
		[ -s "$at/share/man/man8/$p.8" ]
	done
	for page in man5/weir.yaml.5 man7/weir-control.7 man7/weir-bus.7; do [ -s "$at/share/man/$page" ]; done
	bash -n "$at/share/bash-completion/completions/proxyctl"
	[ "$(cd "$at/share/doc/weir/examples" && ls)" = "$(cd "$ROOT/examples" && ls *.yaml)" ]
	# The installed proxyctl starts the daemons that stand beside it.
	tree
	spawn up "$at/bin/proxyctl" -c examples/demo.yaml up
	wait_for 'grep -q "^ready: " "$(log_of up)" || ! is_alive up'
	# (nobody else may look into it)
	[ "$(id -u)" -ne 0 ] ||
		[ "$(readlink -f "/proc/$("$at/bin/proxyctl" -c examples/demo.yaml status -j | jq '.daemons[] | select(.name == "routerd.0").pid')/exe")" = "$at/bin/routerd" ]
}

@test "every file of examples/ passes check" {
	tree
	local file
	[ "$(ls examples/*.yaml | wc -l)" -ge 2 ]
	for file in examples/*.yaml; do
		PORT=9001 NAME=app1 run bin/proxyctl -c "$file" check
		echo "$file: $output"
		[ "$status" -eq 0 ]
		assert_line ok
	done
}

# Literal blocks that begin with a key, each in a file block-N.yaml.
blocks() { # PAGE
	awk -v page="$(basename "$1")" '
		/^\.Bd -literal/ { inside = 1; first = 1; next }
		/^\.Ed/ { inside = 0; next }
		inside && first { first = 0; use = /^[a-z_]+:( |$)/; if (use) file = page "-" ++n ".yaml" }
		inside && use { gsub(/\\e/, "\\"); gsub(/\\&/, ""); print > file }' "$1"
}

@test "every configuration in a man page passes check" {
	local page file count=0
	for page in "$ROOT"/*/*.[578]; do blocks "$page"; done
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout privkey.pem \
		-out fullchain.pem -days 9 -subj /CN=www.example.com 2>/dev/null
	cat fullchain.pem privkey.pem >site.pem
	for file in *.yaml; do
		run "$BIN/proxyctl" -c "$file" check
		echo "$file: $output"
		[ "$status" -eq 0 ]
		[ "${lines[-1]}" = ok ]
		count=$((count + 1))
	done
	[ "$count" -ge 7 ]
}

# The services that proxyctl's page shows, as service-N.service here, with our paths.
services() {
	awk '/^\.Bd -literal/ { inside = 1; first = 1; next }
		/^\.Ed/ { inside = 0; next }
		inside && first { first = 0; use = /^\[Service\]/; if (use) { file = "service-" ++n ".service"; print "[Unit]\nDescription=weir" > file } }
		inside && use { print > file }' "$ROOT/proxyctl/proxyctl.8"
	sed -i "s#/usr/bin/#$BIN/#; s#/etc/weir/weir.yaml#$T/weir.yaml#" service-*.service
}

@test "the services for systemd in a man page are right, start what they say, reload it, and end it in their time" {
	services
	[ "$(ls service-*.service)" = $'service-1.service\nservice-2.service' ]
	local file
	if command -v systemd-analyze >/dev/null; then
		for file in service-*.service; do
			run systemd-analyze verify --man=no "./$file"
			echo "$output"
			[ "$status" -eq 0 ]
			[ "$output" = "" ]
		done
	fi
	config <<-EOF
	run_dir: run
	state_dir: state
	http:
	  listen: [{ name: http, address: "127.0.0.1:$(free_port)" }]
	  hosts: [{ names: ["*"], routes: [{ path: /, respond: { status: 200, body: ok } }] }]
	EOF
	key() { sed -n "s/^$1=//p" "$file"; }
	for file in service-*.service; do
		: >told
		spawn told socat -u "UNIX-RECV:$T/notify.sock" "OPEN:$T/told,append"
		wait_for '[ -S notify.sock ]'
		# shellcheck disable=SC2046
		spawn main env $(key Environment) NOTIFY_SOCKET="$T/notify.sock" $(key ExecStart)
		if [ "$(key Type)" = notify ]; then
			wait_for 'grep -q READY=1 told'
			# Listeners are kept by whoever says that he does, and there is room for them.
			until_ok grep -q FDSTORE=1 told
			[ "$(key Environment)" = "FDSTORE=$(key FileDescriptorStoreMax)" ]
		else
			wait_for 'grep -q "^ready: " "$(log_of main)"'
		fi
		wait_for '[ "$(ctl routerd.0 json status | jq .generation)" = 1 ]'
		MAINPID=$(pid_of main) bash -c "$(key ExecReload)" >reload.log
		wait_for '[ "$(ctl routerd.0 json status | jq .generation)" = 2 ]'
		stop main
		[ "$status" -eq 0 ]
		kill_hard told
		rm -f notify.sock
		# It is given longer than we take at most: 30 s by default, and 3 s until up kills.
		[ -z "$(key TimeoutStopSec)" ] || [ "$(key TimeoutStopSec)" -gt 33 ]
	done
}
