# tls_helper.bash: on top of helper.bash, what tls.bats and interop.bats share: certificates, tlsd's
# configuration, openssl as a client, tests/tools/tlsrelay.py as both ends of a relay.

load helper

RELAY=$TOOLS/tlsrelay.py
# sanitizers' shadow memory is no growth of ours
case ${BUILD:-} in *san*) export RELAY_RSS_KB=400000 RELAY_MB=${RELAY_MB:-20} ;; esac

tls_setup() {
	weir_setup
	D=$T
	RUN=$T/run
	mkdir -p "$RUN"
}
setup() { tls_setup; }

# tlsd_config <LINES: weir.yaml with run_dir, state_dir and the given section
tlsd_config() {
	local lines
	lines=$(cat)
	config <<X
run_dir: run
state_dir: state
tls:
  workers: 2
$(grep -q handoff_timeout <<<"$lines" || echo '  handoff_timeout: 300ms') # nobody waits for what a test does not start
$lines
X
}

LOG=proc/tlsd.0.log
tlsd_start() { # [ARGS...]
	start tlsd "$@"
	TLSD=$(pid_of tlsd.0)
}

# inherited PORT [SNDBUF]: tlsd with a listener that its starter has opened there, with that send buffer
inherited() {
	spawn tlsd.0 python3 -c '
import os, socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if sys.argv[2]: s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, int(sys.argv[2]))
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(16)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[3], sys.argv[3:])' "$1" "${2:-}" "$BIN/tlsd" -c weir.yaml
	until_ok grep -q ' started ' "$LOG"
	TLSD=$(pid_of tlsd.0)
	PORT=$1
}

tlsctl() { ctl tlsd.0 "$@"; }
# port of the n-th listener, from 0
tls_port() { tlsctl json status | jq -r ".listeners[$1].bound" | sed 's/.*://'; }
counter() { tlsctl json status | jq -r ".counters.$1"; }
failures() { tlsctl json status | jq -r ".handshake_failures.$1"; }
open_now() { tlsctl json status | jq .connections.open; }
none_open() { [ "$(open_now)" = 0 ]; }
# counter NAME has reached N
reached() { [ "$(counter "$1")" -ge "$2" ]; }
failed_reached() { [ "$(failures "$1")" -ge "$2" ]; }
# what routerd (instance 0 or this one) has taken over
handed() { ctl "routerd.${1:-0}" json status | jq .counters.connections_handed_over; }
ticks() { awk '{print $14 + $15}' "/proc/$TLSD/stat"; }

# cert NAME KIND DAYS SAN: NAME.crt, NAME.key, NAME.pem; KIND is ec or rsa; -1 days: expired in 2020
cert() {
	local alg=(-newkey rsa:2048)
	[ "$2" = ec ] && alg=(-newkey ec -pkeyopt ec_paramgen_curve:P-256)
	if [ "$3" -ge 0 ]; then
		openssl req -x509 "${alg[@]}" -nodes -keyout "$D/$1.key" -out "$D/$1.crt" -days "$3" \
			-subj "/CN=$1" -addext "subjectAltName=$4" 2>/dev/null
	else
		openssl req -new "${alg[@]}" -nodes -keyout "$D/$1.key" -out "$D/$1.csr" -subj "/CN=$1" 2>/dev/null
		printf 'subjectAltName=%s\n' "$4" >"$D/$1.ext"
		sign_between "$1" 20200101000000Z 20200201000000Z
	fi
	cat "$D/$1.crt" "$D/$1.key" >"$D/$1.pem"
}

# sign_between NAME START END: sign NAME.csr with its own key; only `openssl ca` takes both dates
sign_between() {
	mkdir -p "$D/ca"
	: >"$D/ca/index.txt"
	echo 01 >"$D/ca/serial"
	cat >"$D/ca/ca.cnf" <<X
[ca]
default_ca = d
[d]
database = $D/ca/index.txt
serial = $D/ca/serial
new_certs_dir = $D/ca
default_md = sha256
policy = p
unique_subject = no
[p]
commonName = supplied
X
	openssl ca -batch -config "$D/ca/ca.cnf" -selfsign -keyfile "$D/$1.key" -in "$D/$1.csr" -out "$D/$1.crt" \
		-notext -startdate "$2" -enddate "$3" -extfile "$D/$1.ext" 2>/dev/null
}

# s_client ARGS...: one handshake, everything it says
s_client() { openssl s_client -connect "127.0.0.1:$PORT" "$@" </dev/null 2>&1 || true; }
# session ARGS...: a handshake that lasts until its ticket is in s.pem
session() {
	local pid
	rm -f s.pem
	[ -p session.in ] || mkfifo session.in
	exec 6<>session.in
	openssl s_client -connect "127.0.0.1:$PORT" "$@" -sess_out s.pem <session.in >/dev/null 2>&1 3>&- 4>&- 6>&- &
	pid=$!
	until_ok grep -qs 'END SSL SESSION' s.pem || { kill "$pid"; return 1; }
	exec 6>&- # the end of its input
	wait "$pid" || true
}
# chat ARGS...: an s_client that is told by `say LINE` and overheard by `hear PATTERN [TIMES]`
chat() {
	! is_alive chat || kill_hard chat
	rm -f chat.in proc/chat.log
	mkfifo chat.in
	exec 6<>chat.in
	spawn chat bash -c "exec openssl s_client -connect 127.0.0.1:$PORT $* <chat.in 6>&-"
}
say() { printf "$1\n" >&6; }
heard() { [ "$(grep -c -- "$1" proc/chat.log)" -ge "$2" ]; }
hear() { until_ok heard "$1" "${2:-1}"; }
# which certificate (CN) a client gets
served() { s_client "$@" | sed -n 's/^subject=.*CN = \([^,]*\).*/\1/p' | head -1; }
stapled() { s_client -status "$@" | grep -c 'OCSP Response Status: successful'; }
serial_of() { openssl x509 -noout -serial -in "$1"; }
served_serial() { s_client "$@" | openssl x509 -noout -serial; }

# suites VERSION: those that can be handed over, by OpenSSL's names
suites() {
	[ "$1" = 1.3 ] && echo TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256 ||
		echo ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305
}

simple() { # a listener that relays bytes as they are to b.sock
	cert site ec 30 DNS:localhost
	tlsd_config <<X
  handshake_timeout: ${1:-10s}
  handoff_timeout: ${2:-5s}
  listen:
    - { address: "127.0.0.1:0", to: "unix:$RUN/b.sock", relay: none, certificates: [{ cert: site.crt, key: site.key }] }
X
	tlsd_start
	PORT=$(tls_port 0)
}

relay() { python3 "$RELAY" "$1" "$PORT" "$RUN/b.sock" "${@:2}"; }
