# What the stories share. Sourced, not run.
set -u
# Debian's own programs are meant, which have the modules that install-deps has installed.
PATH=/usr/bin:$PATH
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
B=${B:-build}
case $B in /*) ;; *) B=$PWD/$B ;; esac
BAD=0
T=$(mktemp -d "${TMPDIR:-/tmp}/landfall-flow-XXXXXX")
chmod 755 "$T"
ok() { echo "ok $1"; }
not_ok() { echo "not ok $1"; BAD=1; [ -z "${2:-}" ] || printf '# %s\n' "$2"; }
# check NAME COMMAND…: the command must succeed.
check() {
	local name=$1 said
	shift
	if said=$("$@" 2>&1); then ok "$name"; else not_ok "$name" "$(printf '%s' "$said" | tail -n 8)"; fi
}
same() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "expected [$2], got [$3]"; fi; }
has() { if [[ $3 == *"$2"* ]]; then ok "$1"; else not_ok "$1" "expected [$2] in [$(printf '%s' "$3" | head -c 600)]"; fi; }
# A short while, without a program that sleeps (those cost more than most of what is waited for): nobody writes to what is read.
exec {NOBODY}<> <(:)
nap() { read -r -t "$1" -u $NOBODY || true; }
# wait_for SECONDS COMMAND…: tried until it succeeds.
wait_for() {
	local until=$((SECONDS + $1)) asked us
	shift
	while asked=${EPOCHREALTIME/[.,]/}; ! "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $until ] || return 1
		# Twice as long as the question took, so that asking leaves time to what is waited for.
		us=$((2 * (${EPOCHREALTIME/[.,]/} - asked)))
		printf -v us 0.%06d $((us < 100000 ? 100000 : us > 900000 ? 900000 : us))
		nap $us
	done
}
# ask_postgres: from here on pg SQL asks the stack's Postgres, through one psql for all questions: some are asked ten times a
# second. To be said again when Postgres was away.
ask_postgres() {
	[ -z "${PG_PID:-}" ] || { kill "$PG_PID"; wait "$PG_PID"; } 2>/dev/null
	coproc PG { PGPASSFILE=$STACK/secrets/pgpass psql -qAtX -h 127.0.0.1 -p "$PGPORT" -U landfall_owner -d landfall 2>&1; }
	exec 7>&"${PG[1]}" 8<&"${PG[0]}"
	pg "set search_path = landfall"
}
pg() {
	local line
	printf '%s;\n\\echo the-end\n' "$1" >&7
	while IFS= read -r -t 60 line <&8 && [ "$line" != the-end ]; do printf '%s\n' "$line"; done
}
finish() { exit $BAD; }
