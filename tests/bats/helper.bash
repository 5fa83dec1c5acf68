# helper.bash: what every bats file here stands on. First line of a file: `load helper`.
#
# Each test has a folder of its own, $T. Nothing is shared, so tests may run side by side.
#
#   config <<EOF .. EOF      write $T/weir.yaml from stdin (say `run_dir: run`: relative to the file)
#   start PROGRAM [ARGS..]   start a daemon and wait until it says that it is ready. Its name here is
#                            PROGRAM.INSTANCE (`start routerd -i a` is routerd.a). -c is $T/weir.yaml
#                            unless given. Fails with the daemon's log when it does not come up.
#   spawn NAME COMMAND..     start any other process; end it with the test
#   origin NAME [ARGS..]     start tests/tools/origin.py (see there for what its paths do);
#                            its port is then `port_of NAME`, its log `requests NAME` (JSON lines)
#   port_of NAME             the port that a spawned program printed as "port N"
#   release NAME KEY         let origin NAME answer what asked for its /held/KEY
#   full_queue NAME          start a server that takes no connection, and does not refuse it either: see `port_of NAME`
#   free_port                a port that nobody has, never the same one twice (tests/tools/freeport.py)
#   pid_of NAME, log_of NAME its process and the file with its stdout and stderr
#   is_alive NAME            runs and is no zombie
#   stop NAME [SIGNAL]       send SIGNAL (TERM) and wait for its end (20 s); $status is its exit code
#   kill_hard NAME           kill -9, and wait for its end
#   needs_root WHAT          skip where only root may: daemons let nobody else look into them, nor trace them
#   ctl PROGRAM.INSTANCE WORDS..   one line to its control socket ($T/run/..sock), the answer on stdout
#   pctl WORDS..             proxyctl with that configuration
#   pid_by_name NAME         the process of a daemon that `pctl status` shows
#   counter NAME             a counter of routerd.0; all_is_quiet: nothing is in progress in it
#   raw ARGS..               tests/tools/rawclient.py to $PORT
#   wait_for 'CONDITION' [S] repeat a shell condition until it is true; fails after S (30) seconds,
#                            SLOWNESS times as many (2 when a sanitizer slows the build down)
#   until_ok COMMAND..       the same of a command: what others write into logs may come a moment later
#   http ARGS..              curl: silent, 30 s at most, no proxies, no configuration
#
# Machines stand still for a second now and then. Deadlines are for what never comes: long ones cost a
# test that passes nothing. What must be soon is asked of clocks and counters, with room for that.
#
# $BIN is the folder of the built programs, $ROOT the project, $TOOLS tests/tools. setup and teardown
# are here already; a file that defines its own calls weir_setup and weir_teardown. Teardown ends what
# was started (exactly that, by pid); it fails the test when a daemon does not end in 15 s or when a
# sanitizer spoke in anything that ran. When a test fails, the end of each log is printed.

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
TOOLS=$ROOT/tests/tools
BIN=$ROOT/bin
[ -n "${BUILD:-}" ] && BIN=$ROOT/$BUILD/bin
export ROOT TOOLS BIN
case ${BUILD:-} in */san | */tsan) : "${SLOWNESS:=2}" ;; *) : "${SLOWNESS:=1}" ;; esac
for lib in bats-support bats-assert bats-file; do
	for at in /usr/lib/bats /usr/lib /usr/share/bats; do
		[ -f "$at/$lib/load.bash" ] && { load "$at/$lib/load.bash"; break; }
	done
done
export ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:exitcode=99${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
# Where other users may read it: the project may stand where they must not go.
[ -f "$BATS_RUN_TMPDIR/tsan.supp" ] || { chmod 711 "$BATS_RUN_TMPDIR"; cp "$TOOLS/tsan.supp" "$BATS_RUN_TMPDIR/"; }
export TSAN_OPTIONS="exitcode=98:suppressions=$BATS_RUN_TMPDIR/tsan.supp${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
export PYTHONUNBUFFERED=1 # what a spawned program prints is waited for
export NODE_NO_WARNINGS=1 # Debian's Node has some that others have not, among what it prints
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NOTIFY_SOCKET LISTEN_FDS LISTEN_PID
# Nor is whoever runs them to be seen: how his tools write and sort, what others may read of his files.
unset WEIR_CONFIG SSL_CERT_FILE SSL_CERT_DIR OPENSSL_CONF NO_COLOR LANGUAGE
export LC_ALL=C.UTF-8
umask 022

setup() { weir_setup; }
teardown() { weir_teardown; }

weir_setup() {
	T=$BATS_TEST_TMPDIR
	# A socket's path has room for 107 bytes; leave 60 for what stands in run_dir.
	if [ ${#T} -gt 45 ]; then
		T=$(mktemp -d /tmp/weir.XXXXXX)
		chmod 711 "$T"
		WEIR_OWN_T=1
	fi
	export T
	mkdir -p "$T/proc"
	# What sanitizers say goes into files of its own, by all that runs below here, as whichever user: it
	# counts also when the exit code and the output of who said it are nobody's business.
	mkdir -p -m 1777 "$T/proc/sanitizers"
	export ASAN_OPTIONS="$ASAN_OPTIONS:log_path=$T/proc/sanitizers/asan"
	export UBSAN_OPTIONS="$UBSAN_OPTIONS:log_path=$T/proc/sanitizers/ubsan"
	export TSAN_OPTIONS="$TSAN_OPTIONS:log_path=$T/proc/sanitizers/tsan"
	cd "$T" || return 1
}

config() { cat >"$T/weir.yaml"; }

pid_of() { cat "$T/proc/$1.pid"; }
log_of() { echo "$T/proc/$1.log"; }

_is_running() { # PID
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	stat=${stat##*) }
	[ "${stat%% *}" != Z ]
}
is_alive() { [ -f "$T/proc/$1.pid" ] && _is_running "$(pid_of "$1")"; }

spawn() {
	local name=$1
	shift
	"$@" </dev/null >>"$T/proc/$name.log" 2>&1 3>&- 4>&- &
	echo $! >"$T/proc/$name.pid"
}

start() {
	local program=$1 instance=0 conf=$T/weir.yaml args=() name fifo line='' part
	shift
	while [ $# -gt 0 ]; do
		case $1 in
		-i) instance=$2; shift 2 ;;
		-c) conf=$2; shift 2 ;;
		*) args+=("$1"); shift ;;
		esac
	done
	name=$program.$instance
	fifo=$T/proc/$name.ready
	[ -p "$fifo" ] || mkfifo "$fifo"
	exec 9<>"$fifo"
	"$BIN/$program" -c "$conf" -i "$instance" -r 9 "${args[@]}" \
		</dev/null >>"$T/proc/$name.log" 2>&1 3>&- 4>&- &
	echo $! >"$T/proc/$name.pid"
	local deadline=$((SECONDS + 40 * SLOWNESS))
	while [ $SECONDS -lt $deadline ]; do
		# The time may be up in the middle of the line: what was read counts.
		if read -r -t 0.2 -u 9 part; then
			line+=$part
			exec 9>&-
			[ "$line" = ready ] && return 0
			echo "$name said '$line' instead of 'ready'" >&2
			return 1
		fi
		line+=$part
		is_alive "$name" || break
	done
	exec 9>&-
	if is_alive "$name"; then
		echo "$name was not ready within $((40 * SLOWNESS)) s" >&2
	else
		wait "$(pid_of "$name")" 2>/dev/null
		echo "$name ended with $? before it was ready" >&2
	fi
	return 1
}

origin() {
	local name=$1
	shift
	spawn "$name" python3 "$TOOLS/origin.py" --log "$T/proc/$name.requests" "$@"
	wait_for "grep -qs '^ready' '$T/proc/$name.log'"
}
requests() { cat "$T/proc/$1.requests" 2>/dev/null; }
full_queue() {
	spawn "$1" python3 "$TOOLS/fullqueue.py"
	wait_for "[ -n \"\$(port_of $1)\" ]"
}
release() { http -o /dev/null "http://127.0.0.1:$(port_of "$1")/release/$2"; }
port_of() { sed -n 's/^port \([0-9]*\)$/\1/p' "$T/proc/$1.log" | head -1; }

free_port() { python3 "$TOOLS/freeport.py" "${WEIR_PORTS:-$BATS_RUN_TMPDIR/ports}"; }

wait_for() {
	local seconds=$((${2:-30} * SLOWNESS))
	local deadline=$((SECONDS + seconds))
	until eval "$1" >/dev/null 2>&1; do
		if [ $SECONDS -ge $deadline ]; then
			echo "still not true after $seconds s: $1" >&2
			return 1
		fi
		sleep 0.05
	done
}

until_ok() {
	local deadline=$((SECONDS + 30 * SLOWNESS))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || { echo "never came true: $*"; return 1; }
		sleep 0.05
	done
}

# Wait for the end of a process of ours; status is its exit code, 143 and the like for signals.
_reap() { # NAME SECONDS
	local pid deadline=$((SECONDS + $2))
	pid=$(pid_of "$1")
	while _is_running "$pid"; do
		[ $SECONDS -ge $deadline ] && return 1
		sleep 0.02
	done
	status=0
	wait "$pid" 2>/dev/null || status=$?
	rm -f "$T/proc/$1.pid"
}

stop() {
	kill "-${2:-TERM}" "$(pid_of "$1")" || return 1
	_reap "$1" $((20 * SLOWNESS)) && return 0
	echo "$1 did not end within $((20 * SLOWNESS)) s" >&2
	return 1
}

kill_hard() {
	kill -KILL "$(pid_of "$1")" || return 1
	_reap "$1" 10
}

needs_root() { [ "$(id -u)" -eq 0 ] || skip "needs root to $1"; }

ctl() {
	local to=$1
	shift
	echo "$*" | socat -t $((30 * SLOWNESS)) -T $((30 * SLOWNESS)) stdio "UNIX-CONNECT:$T/run/$to.sock"
}

pctl() { "$BIN/proxyctl" -c "$T/weir.yaml" "$@"; }
pid_by_name() { pctl status -j | jq -r ".daemons[] | select(.name == \"$1\" and .answer == \"ok\") | .pid"; }
counter() { ctl routerd.0 json status | jq ".counters.$1"; }
all_is_quiet() {
	ctl routerd.0 json status | jq -e '.counters.requests_active == 0 and .counters.tunnels == 0
		and all(.pools[]; .active == 0 and .retrying == 0 and all(.servers[]; .inflight == 0))'
}

raw() { python3 "$TOOLS/rawclient.py" "$PORT" "$@"; }
http() { curl -q -sS -m 30 --noproxy '*' "$@"; }

weir_teardown() {
	local f name code=0 is_daemon
	# All are asked first, then each is waited for.
	for f in "$T"/proc/*.pid; do
		[ -f "$f" ] && kill -TERM "$(cat "$f")" 2>/dev/null
	done
	for f in "$T"/proc/*.pid; do
		[ -f "$f" ] || continue
		name=${f##*/}
		name=${name%.pid}
		is_daemon=0
		[ -p "$T/proc/$name.ready" ] && is_daemon=1
		# What drains because of open connections is asked twice: the second TERM ends it.
		_reap "$name" 2 && continue
		kill -TERM "$(cat "$f")" 2>/dev/null
		_reap "$name" 13 && continue
		kill -KILL "$(cat "$f")" 2>/dev/null
		_reap "$name" 5
		[ $is_daemon = 1 ] && { echo "$name did not end after two SIGTERM"; code=1; }
	done
	for f in "$T"/proc/sanitizers/*; do
		[ -s "$f" ] || continue
		echo "a sanitizer spoke, ${f##*/}"
		head -n 80 "$f"
		code=1
	done
	for f in "$T"/proc/*.log; do
		[ -f "$f" ] || continue
		# The last is a sanitizer that could not write into its file.
		if grep -qE '(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:|Assertion .* failed|^ERROR: Can.t open file' "$f"; then
			echo "a sanitizer or an assertion spoke in ${f##*/}"
			code=1
		fi
	done
	if [ $code != 0 ] || [ "${BATS_TEST_COMPLETED:-}" != 1 ]; then
		for f in "$T"/proc/*.log; do
			[ -s "$f" ] || continue
			echo "--- ${f##*/}"
			tail -n 60 "$f"
		done
	fi
	cd / || true
	[ -n "${WEIR_OWN_T:-}" ] && rm -rf "$T"
	return $code
}
