# bash completion for proxyctl

# The configuration named on the line, as `-c FILE`.
_proxyctl_config()
{
	local i

	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} == -c ]] && printf '%s\n' -c "${COMP_WORDS[i + 1]}"
	done
}

# The command on the line: the first word that is no option.
_proxyctl_command()
{
	local i

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-c) ((i++)) ;;
		-*) ;;
		*) printf '%s\n' "${COMP_WORDS[i]}"; return ;;
		esac
	done
}

# POOL/SERVER of all pools that the running routers know.
_proxyctl_servers()
{
	local config

	mapfile -t config < <(_proxyctl_config)
	"${COMP_WORDS[0]}" "${config[@]}" status --names 2>/dev/null
}

# Those of the words that begin like what is typed. Not by `compgen -W`, which would run what names
# of servers have in them: they come from daemons.
_proxyctl_offer()
{
	local word all=()

	read -r -d '' -a all <<<"$1"
	COMPREPLY=()
	for word in "${all[@]}"; do
		[[ ${word:0:${#2}} != "$2" ]] || COMPREPLY+=("$word")
	done
}

_proxyctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} before= i=$COMP_CWORD prev command words=

	# bash splits words at colons, which servers' names may have: it wants what stands behind the
	# last one.
	while ((i > 1)) && [[ ${COMP_WORDS[i]} =~ ^:+$ || ${COMP_WORDS[i - 1]} =~ ^:+$ ]]; do
		before=${COMP_WORDS[--i]}$before
	done
	prev=${COMP_WORDS[i - 1]}
	cur=$before$cur
	[[ ${COMP_WORDS[COMP_CWORD]} =~ ^:+$ ]] && before=$cur
	command=$(_proxyctl_command)
	case $prev in
	-c)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		COMPREPLY=("${COMPREPLY[@]#"$before"}")
		return
		;;
	--timeout | --expire) words='10s 1m 10m 1h' ;;
	--reason | --until | --type) return ;;
	esac
	if [[ -z $words ]]; then
		case $command in
		'') words='-c -h -v up status check config reload drain undrain disable enable weight cert ocsp events stop version help' ;;
		up) words='-i' ;;
		status) words='-j -w --names' ;;
		check) words='-j' ;;
		config) words='-j --schema' ;;
		cert) words='list reload -j' ;;
		ocsp) words='refresh -j -q --force --timeout' ;;
		events) words='--until --timeout --type --recent' ;;
		stop) words='--timeout' ;;
		help) words='up status check config reload drain undrain disable enable weight cert ocsp events stop version' ;;
		drain | undrain | disable | enable | weight)
			words='--wait --timeout --reason --expire'
			[[ $cur == -* ]] || words=$(_proxyctl_servers)
			;;
		esac
	fi
	_proxyctl_offer "$words" "$cur"
	COMPREPLY=("${COMPREPLY[@]#"$before"}")
}

complete -F _proxyctl proxyctl
