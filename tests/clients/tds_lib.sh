# What the stories about TDS clients share: a stand-in that takes clients in clear and over TLS, real LSNs to compare
# with, and every client behind the same six claims. Sourced, not run.
#
# A client's program gets WIRE_HOST, WIRE_PORT, WIRE_TLS (0, 1, or login), WIRE_CA, WIRE_USER, WIRE_PASSWORD_FILE, and, each on
# a path or name of its own, WIRE_FULL (a backup), WIRE_LATE (a log that does not follow it), WIRE_FIRST_LSN and
# WIRE_LAST_LSN (of WIRE_FULL, read from the file by `landfall inspect`), WIRE_DB and WIRE_DIR. It prints ok and not ok.
. "$(dirname "${BASH_SOURCE[0]}")/../flow/lib.sh"
CLIENTS=$PWD/tests/clients
pids=
end_wire() {
	kill $pids 2>/dev/null
	wait 2>/dev/null
	rm -rf "$T"
}
trap end_wire EXIT

wire_certificates() {
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout "$T/ca.key" -out "$T/ca.pem" 2>/dev/null
	openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$T/key.pem" -out "$T/csr" 2>/dev/null
	printf 'subjectAltName=IP:127.0.0.1,DNS:127.0.0.1,DNS:localhost\n' >"$T/san"
	openssl x509 -req -in "$T/csr" -CA "$T/ca.pem" -CAkey "$T/ca.key" -CAcreateserial -days 2 -extfile "$T/san" -out "$T/cert.pem" 2>/dev/null
	(umask 077; printf 'Sa1!secret\n' >"$T/sa"; printf 'Wrong1!\n' >"$T/wrong")
}
# wire_start NAME ENCRYPTION
wire_start() {
	"$B/landfall-standin" --dir "$T/$1" --listen 127.0.0.1:0 --tls-cert "$T/cert.pem" --tls-key "$T/key.pem" --encryption "$2" \
		--server-name "$1" --admin-user sa --admin-password-file "$T/sa" --ready-file "$T/$1.ready" 2>>"$T/$1.log" &
	pids="$pids $!"
	wait_for 10 test -s "$T/$1.ready" || { not_ok "the stand-in $1 starts" "$(tail -n 3 "$T/$1.log")"; finish; }
}
wire_port() { cut -d ' ' -f 1 "$T/$1.ready"; }
wire_sql() {
	local server=$1
	shift
	"$B/landfall-sql" --server "127.0.0.1:$(wire_port "$server")" --user "${SQL_USER:-sa}" --password-file "${SQL_PASSWORD:-$T/sa}" --ca "$T/ca.pem" "$@" 2>&1
}
# wire_knob SERVER NAME VALUE
wire_knob() { echo "EXEC standin.wire N'$2', N'$3'" | wire_sql "$1"; }

wire_certificates
wire_start standin login
wire_sql standin >"$T/out" <<SQL
CREATE DATABASE [Sales]
GO
USE [Sales]
CREATE TABLE dbo.ticket (id int NOT NULL PRIMARY KEY, subject nvarchar(1000) NOT NULL)
GO
DECLARE @i int = 0
WHILE @i < 2000 BEGIN INSERT INTO dbo.ticket VALUES (@i, REPLICATE(N'y', 500)) SET @i = @i + 1 END
GO
BACKUP DATABASE [Sales] TO DISK = N'$T/full.bak' WITH INIT
GO
INSERT INTO dbo.ticket VALUES (9001, N'x')
BACKUP LOG [Sales] TO DISK = N'$T/first.trn' WITH INIT
GO
INSERT INTO dbo.ticket VALUES (9002, N'x')
BACKUP LOG [Sales] TO DISK = N'$T/late.trn' WITH INIT
GO
EXEC standin.knob N'delay_ms', 10
GO
SQL
test -s "$T/late.trn" || { not_ok "the backups are made" "$(tail -n 3 "$T/out")"; finish; }
header() { "$B/landfall" inspect --json "$T/full.bak" | jq -r ".[0].sets[0].$1"; }
export WIRE_HOST=localhost WIRE_CA=$T/ca.pem WIRE_USER=sa WIRE_PASSWORD_FILE=$T/sa WIRE_FULL=$T/full.bak WIRE_LATE=$T/late.trn WIRE_DIR=$T
WIRE_FIRST_LSN=$(header FirstLSN) WIRE_LAST_LSN=$(header LastLSN)
export WIRE_FIRST_LSN WIRE_LAST_LSN
[ ${#WIRE_FIRST_LSN} -gt 12 ] || { not_ok "the backup's LSNs are known" "$WIRE_FIRST_LSN"; finish; }

# Every client has said these six things when it came through: what it says besides is its own.
WIRE_CLAIMS="logs in|HEADERONLY with exact LSNs|RESTORE with progress|an error with number, state and class|cancels and goes on|a transaction"
# wire_client NAME TLS COMMAND…: its lines, with its name in front. WIRE_VIA: a port in place of the server's own.
wire_client() {
	local name=$1 claim
	export WIRE_TLS=$2 WIRE_PORT=${WIRE_VIA:-$(wire_port standin)} WIRE_DB
	case $2 in
	1) name="$1 over TLS" ;;
	login) name="$1 with TLS for the log-in" ;;
	*) name="$1 in clear" ;;
	esac
	WIRE_DB=db_$(echo "$name" | tr -c 'a-zA-Z0-9\n' _)
	shift 2
	timeout 120 "$@" >"$T/said" 2>"$T/said.err" || not_ok "$name: it comes to its end" "exit $?: $(tail -n 4 "$T/said.err" | tr '\n' ' ' | tail -c 500)"
	grep -E '^(ok|not ok|#) ' "$T/said" | sed "s/^ok /ok $name: /; s/^not ok /not ok $name: /"
	sed -n "s/^SKIP /SKIP $name: /p" "$T/said"
	grep -q '^not ok' "$T/said" && BAD=1
	while read -r claim; do
		grep -qE "^(not ok|ok|SKIP) $claim" "$T/said" || not_ok "$name: $claim" "it said nothing of it: $(tail -n 4 "$T/said.err" | tr '\n' ' ' | tail -c 500)"
	done < <(echo "$WIRE_CLAIMS" | tr '|' '\n')
}
