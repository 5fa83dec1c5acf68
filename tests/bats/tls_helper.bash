# tls_helper.bash: starts tlsd and its peers for tls.bats and interop.bats. Everything lives in
# $BATS_TEST_TMPDIR; every process that a test started is ended by its pid.

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BINS=$ROOT/${BUILD:-build/release}/bin
RELAY="$ROOT/tests/tools/tlsrelay.py"
# sanitizers' shadow memory is no growth of ours
case ${BUILD:-} in *san*) export RELAY_RSS_KB=400000 RELAY_MB=${RELAY_MB:-20} ;; esac

tls_setup() {
	D=$BATS_TEST_TMPDIR
	cd "$D"
	# Unix socket paths are short: 108 bytes
	RUN=$(mktemp -d /tmp/weir.XXXXXX)
	: >"$D/pids"
}

tls_teardown() {
	local pid name
	while read -r pid name; do
		kill -TERM "$pid" 2>/dev/null || true
	done <"$D/pids"
	while read -r pid name; do
		wait_gone "$pid" 5 || { kill -KILL "$pid" 2>/dev/null || true; }
	done <"$D/pids"
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then
		for name in "$D"/*.log; do
			[ -f "$name" ] && { echo "--- $name"; tail -40 "$name"; }
		done
	fi
	if grep -lE 'ERROR: (Address|Leak)Sanitizer|runtime error:|WARNING: ThreadSanitizer' "$D"/*.log 2>/dev/null; then
		cat "$D"/*.log
		return 1
	fi
	rm -rf "$RUN"
}

# spawn NAME COMMAND...: in the background, output in NAME.log, pid in $SPAWNED
spawn() {
	local name=$1
	shift
	"$@" >"$D/$name.log" 2>&1 3>&- &
	SPAWNED=$!
	echo "$SPAWNED $name" >>"$D/pids"
}

# a zombie of ours is gone too
wait_gone() { # PID SECONDS
	local i
	for i in $(seq $(($2 * 50))); do
		case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) in '' | Z) return 0 ;; esac
		sleep 0.02
	done
	return 1
}

# until COMMAND... succeeds, 15 s at most
until_ok() {
	local i
	for i in $(seq 300); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.05
	done
	echo "never came true: $*"
	return 1
}

# tlsd_config <LINES: weir.yaml with run_dir, state_dir and the given section
tlsd_config() {
	local lines
	lines=$(cat)
	{
		echo "run_dir: $RUN"
		echo "state_dir: $D/state"
		echo "tls:"
		echo "  workers: 2"
		# nobody shall wait long for what a test does not start
		grep -q handoff_timeout <<<"$lines" || echo "  handoff_timeout: 300ms"
		printf '%s\n' "$lines"
	} >"$D/weir.yaml"
}

tlsd_start() { # [ARGS...]
	spawn tlsd "$BINS/tlsd" -c "$D/weir.yaml" "$@"
	TLSD=$SPAWNED
	until_ok grep -q ' started ' "$D/tlsd.log"
}

ctl() { printf '%s\n' "$*" | socat -t 10 stdio "unix:$RUN/tlsd.0.sock"; }
# port of the n-th listener, from 0
tls_port() { ctl json status | jq -r ".listeners[$1].bound" | sed 's/.*://'; }
counter() { ctl json status | jq -r ".counters.$1"; }
failures() { ctl json status | jq -r ".handshake_failures.$1"; }
# counter NAME has reached N
reached() { [ "$(counter "$1")" -ge "$2" ]; }
failed_reached() { [ "$(failures "$1")" -ge "$2" ]; }

# cert NAME KIND DAYS SAN: NAME.crt, NAME.key, NAME.pem; KIND is ec or rsa
cert() {
	local alg=(-newkey rsa:2048)
	[ "$2" = ec ] && alg=(-newkey ec -pkeyopt ec_paramgen_curve:P-256)
	if [ "$3" -ge 0 ]; then
		openssl req -x509 "${alg[@]}" -nodes -keyout "$D/$1.key" -out "$D/$1.crt" -days "$3" \
			-subj "/CN=$1" -addext "subjectAltName=$4" 2>/dev/null
	else
		openssl req -new "${alg[@]}" -nodes -keyout "$D/$1.key" -out "$D/$1.csr" -subj "/CN=$1" 2>/dev/null
		printf 'subjectAltName=%s\n' "$4" >"$D/$1.ext"
		openssl x509 -req -in "$D/$1.csr" -key "$D/$1.key" -out "$D/$1.crt" -extfile "$D/$1.ext" \
			-not_before 20200101000000Z -not_after 20200201000000Z 2>/dev/null ||
			expired_cert "$1"
	fi
	cat "$D/$1.crt" "$D/$1.key" >"$D/$1.pem"
}

# openssl 3.0 cannot date back: `ca` can
expired_cert() {
	mkdir -p "$D/ca"
	: >"$D/ca/index.txt"
	echo 01 >"$D/ca/serial"
	printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s/ca/index.txt\nserial=%s/ca/serial\nnew_certs_dir=%s/ca\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n' "$D" "$D" "$D" >"$D/ca/ca.cnf"
	openssl ca -batch -config "$D/ca/ca.cnf" -selfsign -keyfile "$D/$1.key" -in "$D/$1.csr" -out "$D/$1.crt" \
		-notext -startdate 20200101000000Z -enddate 20200201000000Z -extfile "$D/$1.ext" 2>/dev/null
}

# s_client ARGS...: one handshake, everything it says
s_client() { openssl s_client -connect "127.0.0.1:$PORT" "$@" </dev/null 2>&1 || true; }
# which certificate (CN) a client gets
served() { s_client "$@" | sed -n 's/^subject=.*CN = \([^,]*\).*/\1/p' | head -1; }
serial_of() { openssl x509 -noout -serial -in "$1"; }
served_serial() { s_client "$@" | openssl x509 -noout -serial; }
