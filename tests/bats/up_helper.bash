# up_helper.bash: the demo as it is delivered, on ports of our own, under proxyctl up.
#
#   demo [SED-ARGS..]  demo.yaml, with what sed makes of it besides; its ports are $HTTPS, $HTTP, $A1, $A2 and $A3
#   up                 start it, and wait until its three servers are well
#   pctl WORDS..       proxyctl with demo.yaml
#   verdicts           those of the three servers

load helper

pctl() { "$BIN/proxyctl" -c "$T/demo.yaml" "$@"; }
verdicts() { pctl status -j | jq -r '[.pools[0].servers[].verdict] | join(" ")'; }

demo() {
	HTTPS=$(free_port)
	HTTP=$(free_port)
	A1=$(free_port)
	A2=$(free_port)
	A3=$(free_port)
	sed -e "s/\\b8443\\b/$HTTPS/; s/\\b8080\\b/$HTTP/; s/\\b9001\\b/$A1/; s/\\b9002\\b/$A2/; s/\\b9003\\b/$A3/" "$@" \
		"$ROOT/examples/demo.yaml" >demo.yaml
	cp "$ROOT/examples/demo-app.yaml" .
}

up() {
	spawn up "$BIN/proxyctl" -c demo.yaml up
	wait_for 'grep -q "^ready: " "$(log_of up)" || ! is_alive up'
	is_alive up
	wait_for '[ "$(verdicts)" = "up up up" ]'
}
