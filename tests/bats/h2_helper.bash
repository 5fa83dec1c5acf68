# h2_helper: what tests of HTTP/2 towards servers share: tests/tools/h2server.py, a routerd in front of it, and what both say.

# What h2server.py says: the port of a mode, and how often a line begins so.
mode_port() { sed -n "s/^port $1 //p" "$T/proc/h2.log"; }
seen() { grep -c "^$1" "$T/proc/h2.log"; }

# modes MODE..: h2server.py, and a routerd whose route /MODE leads to the port of each; TIMEOUTS and POOL are keys of theirs.
modes() {
	spawn h2 python3 "$TOOLS/h2server.py" "$@"
	wait_for "grep -qs '^ready' '$T/proc/h2.log'"
	PORT=$(free_port)
	{
		cat <<X
run_dir: run
http:
  workers: 1
  listen: [ { name: http, address: "127.0.0.1:$PORT" } ]
  access_log: { path: access.log, format: json }
  timeouts: { ${TIMEOUTS:-connect: 5s, response: 5s, read: 5s} }
  hosts:
    - names: ["*"]
      routes:
$(for m in "$@"; do echo "        - { path: /$m, pool: $m }"; done)
pools:
X
		for m in "$@"; do
			echo "  $m: { protocol: h2, ${POOL:-retries: 0}, servers: [ { name: s, address: \"127.0.0.1:$(mode_port "$m")\" } ] }"
		done
	} | config
	start routerd
	URL=http://127.0.0.1:$PORT
}

# app_behind POOL [HTTP]: a routerd with a pool of these keys behind /; HTTP: a further key of that section
app_behind() {
	PORT=$(free_port)
	config <<X
run_dir: run
http:
  workers: 1
  listen: [ { name: http, address: "127.0.0.1:$PORT" } ]
  access_log: { path: access.log, format: json }
  ${2:-}
  hosts: [ { names: ["*"], routes: [ { path: /, pool: app } ] } ]
pools:
  app: { $1 }
X
	start routerd
	URL=http://127.0.0.1:$PORT
}
