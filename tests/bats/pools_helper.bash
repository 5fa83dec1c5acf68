# pools_helper.bash: one pool behind a routerd, for balance, passive, status and drain.
#
#   origins a b ..        start these origins
#   pool [KEYS] <<SERVERS configuration with pool `app`: stdin has its servers, one a line, as
#                         "name address [more keys]"; KEYS are further keys of the pool, as flow YAML
#                         ("check: {..}, passive: {..}"). $PORT is routerd's listener.
#   get [PATH]            one request; its body
#   names N               who answered N requests, one letter each
#   code [PATH]           status of one request
#   codes N               statuses of N requests, one after the other on one connection
#   field POOL-SERVER F   a field of a server in `json status`, by routerd.0
#   count NAME            requests that origin NAME has read, probes not counted
#   set_health NAME CODE  what its /health says from now on

load helper

origins() { for name in "$@"; do origin "$name" --name "$name"; done; }
at() { echo "127.0.0.1:$(port_of "$1")"; }

pool() {
	[ -n "${PORT:-}" ] || PORT=$(free_port)
	{
		cat <<-X
		run_dir: run
		state_dir: state
		http:
		  workers: 2
		  listen: [{ name: http, address: "127.0.0.1:$PORT" }]
		  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
		pools:
		  app:
		X
		[ -z "${1:-}" ] || printf '    %s\n' "$1"
		echo '    servers:'
		local name address more
		while read -r name address more; do
			echo "      - { name: $name, address: \"$address\"${more:+, $more} }"
		done
	} >weir.yaml
}

get() { http "http://127.0.0.1:$PORT${1:-/echo}"; }
code() { http -o /dev/null -w '%{http_code}\n' "http://127.0.0.1:$PORT${1:-/echo}"; }
codes() { http -o /dev/null -w "%{http_code} " "http://127.0.0.1:$PORT/echo?[1-$1]"; }
names() {
	local i all=
	for ((i = 0; i < $1; i++)); do all+=$(get | jq -r '.name // "-"'); done
	echo "$all"
}
server() { ctl routerd.0 json status | jq -c --arg s "$1" '.pools[0].servers[] | select(.name == $s)'; }
field() { server "$1" | jq -r ".$2"; }
count() { requests "$1" | jq -s '[.[] | select(.event == "request" and (.target | startswith("/health") or startswith("/set-") | not))] | length'; }
set_health() { http -X PUT -o /dev/null "http://$(at "$1")/set-health/$2"; }
