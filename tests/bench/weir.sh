# weir.sh: weir as a peer of a benchmark harness whose peer files define CAPS, peer_version and
# peer_start, and start processes with `spawn LABEL command..`. Ports, origins, certificates, the
# number of workers and the scratch folder D are in the environment. Programs: bin/ of the checkout
# that this file stands in. tests/bench/run uses the same configuration.
CAPS="plain ws tls rsa h2"
WEIR_BIN=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/bin
peer_version() { "$WEIR_BIN/routerd" -v; }
weir_conf() {
	local pool=o grpc='' grpc_pool=''
	if [ -n "${PORT_GRPC:-}" ]; then # tests/bench/run's gRPC scenario
		pool=g
		grpc="    - { name: grpc, address: \"127.0.0.1:$PORT_GRPC\", h2c: on, backlog: 8192 }"
		grpc_pool="  g: { protocol: h2, keepalive: 128, servers: [ \"127.0.0.1:$GRPC_ORIGIN\" ] }"
	fi
	cat <<X
run_dir: $D/run
state_dir: $D/state
log: { level: warn }
tls:
  workers: $W
  listen:
    - { address: "127.0.0.1:$PORT_TLS", to: https, alpn: [h2, http/1.1], backlog: 8192, certificates: [{ cert: $EC_CRT, key: $EC_KEY }] }
    - { address: "127.0.0.1:$PORT_RSA", to: https, alpn: [h2, http/1.1], backlog: 8192, certificates: [{ cert: $RSA_CRT, key: $RSA_KEY }] }
http:
  workers: $W
  listen:
    - { name: plain, address: "127.0.0.1:$PORT", backlog: 8192 }
    - { name: https, from: tlsd, backlog: 8192 }
$grpc
  timeouts: { keepalive: 300s, tunnel: 300s }
  limits: { body: 0 }
  hosts:
    - names: ["*"]
      routes: [{ path: /, pool: $pool }]
pools:
  o:
    keepalive: 1024
    idle_timeout: 300s
    servers:
      - { name: s1, address: "127.0.0.1:$O1" }
      - { name: s2, address: "127.0.0.1:$O2" }
$grpc_pool
X
}
peer_start() {
	weir_conf >"$D/weir.yaml"
	spawn routerd "$WEIR_BIN/routerd" -c "$D/weir.yaml"
	[ -x "$WEIR_BIN/tlsd" ] && spawn tlsd "$WEIR_BIN/tlsd" -c "$D/weir.yaml"
	return 0
}
