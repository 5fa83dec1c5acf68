# uptls_helper.bash: servers behind TLS: authorities and certificates made here, routerd, the tlsd that shakes hands
# with servers, and what they count.
#
#   authority NAME          NAME.crt, NAME.key: a certificate authority
#   leaf NAME SAN [CA] [START END]   NAME.pem (certificate and key) of that authority (ca); dates as 20200101000000Z
#   tls_site [KEYS] [POLICY] [SERVERS]  (TLS_TIMEOUT: what connecting and handshakes have) weir.yaml: pool `app` with KEYS (flow YAML lines), policy `p`, the servers
#   both                    start tlsd in the role connect, then routerd; $PORT is its listener
#   connect_start           the first of them

load helper

uptls_setup() {
	weir_setup
	authority ca
	leaf good DNS:localhost,IP:127.0.0.1
}
setup() { uptls_setup; }

authority() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.crt" -days 30 \
		-subj "/CN=authority $1" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign,cRLSign 2>/dev/null
	mkdir -p "$1.d"
	: >"$1.d/index.txt"
	echo 1000 >"$1.d/serial"
	echo 1000 >"$1.d/crlnumber"
	cat >"$1.d/ca.cnf" <<X
[ca]
default_ca = d
[d]
database = $T/$1.d/index.txt
serial = $T/$1.d/serial
crlnumber = $T/$1.d/crlnumber
new_certs_dir = $T/$1.d
certificate = $T/$1.crt
private_key = $T/$1.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = p
unique_subject = no
[p]
commonName = supplied
X
}

leaf() {
	local ca=${3:-ca} dates=()
	[ -z "${4:-}" ] || dates=(-startdate "$4" -enddate "$5")
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
	printf 'subjectAltName=%s\n' "$2" >"$1.ext"
	openssl ca -batch -config "$ca.d/ca.cnf" -in "$1.csr" -out "$1.crt" -notext -extfile "$1.ext" "${dates[@]}" 2>/dev/null
	cat "$1.crt" "$1.key" >"$1.pem"
}

tls_site() { # [KEYS] [POLICY] [SERVERS..]
	local keys=$1 policy=${2:-ca: ca.crt}
	shift 2
	[ -n "${PORT:-}" ] || PORT=$(free_port)
	{
		cat <<-X
		run_dir: run
		state_dir: state
		http:
		  workers: 1
		  timeouts: { connect: ${TLS_TIMEOUT:-20s}, tls: ${TLS_TIMEOUT:-20s} }
		  access_log: { path: access.log, format: json }
		  listen: [{ name: http, address: "127.0.0.1:$PORT" }]
		  hosts: [{ names: ["*"], routes: [{ path: /, pool: app }] }]
		upstream_tls:
		  watch: 200ms
		  policies:
		    p: { $policy }
		pools:
		  app:
		    tls: p
		X
		[ -z "$keys" ] || printf '    %s\n' "$keys"
		echo '    servers:'
		printf '      - { %s }\n' "$@"
	} >weir.yaml
}

connect_start() { start tlsd -i connect --role connect; }
both() {
	connect_start
	start routerd
}
# Both, with the configuration as it is now
as_it_is() {
	if is_alive routerd.0; then
		ctl routerd.0 reload && ctl tlsd.connect reload
	else
		both
	fi
}

get() { http "http://127.0.0.1:$PORT${1:-/echo}"; }
code() {
	touch access.log
	wc -l <access.log >lines.before
	http -o body -w '%{http_code}\n' "http://127.0.0.1:$PORT${1:-/echo}"
}
# what the access log says of the reason of the last `code`
reason() {
	wait_for '[ "$(wc -l <access.log)" -gt "$(cat lines.before)" ]'
	tail -1 access.log | jq -r '.reason // ""'
}
tls_count() { ctl tlsd.connect json status | jq ".counters.$1"; }
tls_failed() { ctl tlsd.connect json status | jq ".handshake_failures.$1"; }
server_of() { echo "name: $1, address: \"127.0.0.1:$(port_of "$1")\""; }
# probe_is JSON: one of those that the file's `probes` shows is this
probe_is() { wait_for "probes | jq -e 'any(. == $1)'" || { probes; false; }; }
opens() { requests "$1" | jq -c 'select(.event == "open")'; }
