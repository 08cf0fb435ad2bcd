# What the stories about clients share: a stack that only receives, one log backup $F, and every client behind the same
# five verbs. Sourced, not run. ROWS says how large $F is: 2 KB each.
. "$(dirname "${BASH_SOURCE[0]}")/../flow/lib.sh"
: "${ROWS:=4000}"
STACK=$T/stack
CLIENTS_DIR=$PWD/tests/clients
end_all() {
	fusermount3 -quz "$T/mnt" 2>/dev/null
	kill $(jobs -p) 2>/dev/null
	B=$B deploy/dev down "$STACK" >/dev/null 2>&1
	rm -rf "$T"
}
trap end_all EXIT
B=$B deploy/dev up "$STACK" >"$T/up.log" 2>&1 || { not_ok "the stack comes up" "$(tail -n 5 "$T/up.log")"; finish; }
. "$STACK/env"
ok "the stack comes up"
sql() { "$LANDFALL_SQL" --server "$LANDFALL_ONPREM" --user sa --password-file "$LANDFALL_SQL_PASSWORD_FILE" --ca "$LANDFALL_CA_FILE" "$@" 2>&1; }
K=$T/k
ssh-keygen -q -t ed25519 -N '' -f "$K"
M=$($LANDFALL migration create --customer Clients --region uk --cluster dev --database Tickets --no-uat --json | jq -r .id)
$LANDFALL key add "$M" --file "$K.pub" >/dev/null
$LANDFALL migration hold "$M" --reason "clients are tried" >/dev/null
echo "BACKUP DATABASE [Tickets] TO DISK = N'$LANDFALL_ONPREM_BACKUP_DIR/full.bak' WITH INIT" | sql >/dev/null
printf "DECLARE @i int = 1\nWHILE @i < $ROWS BEGIN INSERT INTO dbo.ticket (id, agent_id, subject, body) VALUES (@i, 1, N'x', REPLICATE(N'y', 1500)) SET @i = @i + 1 END\n" | sql --database Tickets >/dev/null
F=$LANDFALL_ONPREM_BACKUP_DIR/log.trn
echo "BACKUP LOG [Tickets] TO DISK = N'$F' WITH INIT" | sql >/dev/null
SIZE=$(stat -c %s "$F") SHA=$(sha256sum <"$F" | cut -d ' ' -f 1)
[ "$SIZE" -gt $((ROWS * 2000)) ] && ok "a log of some size" || not_ok "a log of some size" "$SIZE bytes"
PART=$T/part.trn
head -c $((SIZE / 5)) "$F" >"$PART"
PORT=$LANDFALL_SFTP_PORT
WHERE=$M@127.0.0.1

file() { $LANDFALL file list "$M" --json | jq -r --arg n "$1" ".[] | select(.name == \$n) | .$2"; }
is() { [ "$(file "$1" state)" = "$2" ]; }
becomes() { if wait_for 30 is "$1" "$2"; then ok "$1 is $2"; else not_ok "$1 is $2" "it is $(file "$1" state): $(file "$1" reason)"; fi; }
# arrives NAME: to its last byte.
arrives() {
	becomes "$1" arrived
	same "$1 is what was sent" "$SHA $SIZE" "$(file "$1" sha256) $(file "$1" bytes)"
}

# ---- every client, behind the same verbs ----------------------------------------------------------------------------
# client NAME VERB LOCAL REMOTE leaves the command in CMD; false when the client has no such verb. Verbs: put resume get
# list rm. PORT says where to; a client's own name for the server's key does not depend on it.
SSH=(-oUserKnownHostsFile="$LANDFALL_SFTP_KNOWN_HOSTS" -oHostKeyAlias="[127.0.0.1]:$LANDFALL_SFTP_PORT" -oIdentitiesOnly=yes -oBatchMode=yes -i "$K")
batch() { BATCH=$(mktemp "$T/batch-XXXXXX"); printf '%s\n' "$1" >"$BATCH"; }
client() {
	CMD=()
	"client_$1" "$2" "$3" "$4" && [ ${#CMD[@]} -gt 0 ]
}
client_sftp() {
	case $1 in
	put) batch "put \"$2\" $3" ;;
	put_times) batch "put -p \"$2\" $3" ;;
	resume) batch "reput \"$2\" $3" ;;
	get) batch "get $3 \"$2\"" ;;
	list) batch "ls -l" ;;
	rm) batch "rm $3" ;;
	esac
	CMD=(sftp -q -b "$BATCH" "${SSH[@]}" -P "$PORT" "$WHERE")
}
client_scp() { # it cannot resume: it begins anew
	case $1 in
	put | resume) CMD=(scp -q "${SSH[@]}" -P "$PORT" "$2" "$WHERE:$3") ;;
	get) CMD=(scp -q "${SSH[@]}" -P "$PORT" "$WHERE:$3" "$2") ;;
	esac
}
lftp_says() { CMD=(lftp -c "set sftp:connect-program 'ssh -a -x ${SSH[*]}'; set net:max-retries 1; set cmd:fail-exit yes; open -u $M,x sftp://127.0.0.1:$PORT; $1"); }
client_lftp() {
	case $1 in
	put) lftp_says "put $2 -o $3" ;;
	resume) lftp_says "put -c $2 -o $3" ;;
	get) lftp_says "get $3 -o $2" ;;
	list) lftp_says "ls" ;;
	rm) lftp_says "rm $3" ;;
	esac
}
client_lftp_temp() { # .in.NAME, then its own name; it begins anew
	case $1 in
	put | resume) lftp_says "set xfer:use-temp-file yes; put $2 -o $3" ;;
	*) client_lftp "$@" ;;
	esac
}
client_curl() {
	local u=sftp://127.0.0.1:$PORT/
	CMD=(curl -sS --insecure --key "$K" --pubkey "$K.pub" -u "$M:")
	case $1 in
	put) CMD+=(-T "$2" "$u$3") ;;
	put_for_2s) CMD+=(--max-time 2 --limit-rate 1M -T "$2" "$u$3") ;;
	resume) CMD+=(-C - -T "$2" "$u$3") ;;
	get) CMD+=(-o "$2" "$u$3") ;;
	list) CMD+=("$u") ;;
	rm) CMD+=(-Q "rm /$3" -o /dev/null "$u") ;;
	esac
}
has_putty() { command -v psftp pscp puttygen >/dev/null; }
if has_putty; then
	puttygen "$K" -o "$K.ppk" -O private --new-passphrase /dev/null
	PUTTY=(-batch -hostkey "$(ssh-keygen -lf "$LANDFALL_SFTP_KNOWN_HOSTS" | awk 'NR == 1 { print $2 }')" -i "$K.ppk")
fi
client_psftp() {
	case $1 in
	put) batch "put \"$2\" $3" ;;
	resume) batch "reput \"$2\" $3" ;;
	get) batch "get $3 \"$2\"" ;;
	list) batch "ls" ;;
	rm) batch "del $3" ;;
	esac
	CMD=(psftp "${PUTTY[@]}" -P "$PORT" -b "$BATCH" "$WHERE")
}
client_pscp() { # it cannot resume: it begins anew
	case $1 in
	put | resume) CMD=(pscp -q "${PUTTY[@]}" -P "$PORT" -sftp -p "$2" "$WHERE:$3") ;;
	get) CMD=(pscp -q "${PUTTY[@]}" -P "$PORT" -sftp "$WHERE:$3" "$2") ;;
	list) CMD=(pscp "${PUTTY[@]}" -P "$PORT" -sftp -ls "$WHERE:") ;;
	esac
}
client_rclone() { # it cannot resume: it begins anew
	CMD=(rclone --config /dev/null --retries 1 --low-level-retries 1 --sftp-host 127.0.0.1 --sftp-port "$PORT" --sftp-user "$M" --sftp-key-file "$K")
	case $1 in
	put | resume) CMD+=(copyto "$2" ":sftp:$3") ;;
	get) CMD+=(copyto ":sftp:$3" "$2") ;;
	list) CMD+=(lsl :sftp:) ;;
	rm) CMD+=(deletefile ":sftp:$3") ;;
	esac
}
client_paramiko() { CMD=(/usr/bin/python3 "$CLIENTS_DIR/with_paramiko.py" "$PORT" "$M" "$K" "$@"); }
client_asyncssh() { CMD=(/usr/bin/python3 -W ignore "$CLIENTS_DIR/with_asyncssh.py" "$PORT" "$M" "$K" "$@"); }
client_winscp() { CMD=(/usr/bin/python3 "$CLIENTS_DIR/winscp.py" "$PORT" "$M" "$K" "$@"); }
client_sshfs() { # through a mounted folder, see mounted()
	case $1 in
	put) CMD=(cp "$2" "$T/mnt/$3") ;;
	resume) CMD=(sh -c 'tail -c "+$(($(stat -c %s "$2") + 1))" "$1" >>"$2"' sh "$2" "$T/mnt/$3") ;;
	get) CMD=(cp "$T/mnt/$3" "$2") ;;
	list) CMD=(ls -l "$T/mnt") ;;
	rm) CMD=(rm "$T/mnt/$3") ;;
	esac
}
mkdir "$T/mnt"
is_mounted() { mountpoint -q "$T/mnt"; }
# mounted: SSHFS is the pid of the sshfs that serves $T/mnt. It asks ssh, and ssh takes what the others take.
mounted() {
	local s=() o
	for o in "${SSH[@]}"; do case $o in -o*) s+=(-o "${o#-o}") ;; esac; done
	sshfs -f -p "$PORT" "${s[@]}" -o IdentityFile="$K" "$WHERE:/" "$T/mnt" >"$T/sshfs.said" 2>&1 &
	SSHFS=$!
	wait_for 20 is_mounted
}
unmounted() { fusermount3 -quz "$T/mnt"; wait "$SSHFS" 2>/dev/null; }

# here CLIENT: it can be tried; otherwise says why not.
here() {
	case $1 in
	psftp | pscp) has_putty || { echo "SKIP $1: putty-tools is not installed"; return 1; } ;;
	paramiko | winscp) /usr/bin/python3 -c 'import paramiko' 2>/dev/null || { echo "SKIP $1: python3-paramiko is not installed"; return 1; } ;;
	asyncssh) /usr/bin/python3 -W ignore -c 'import asyncssh' 2>/dev/null || { echo "SKIP asyncssh: python3-asyncssh is not installed"; return 1; } ;;
	sshfs)
		command -v sshfs >/dev/null || { echo "SKIP sshfs: it is not installed"; return 1; }
		[ -r /dev/fuse ] && [ -w /dev/fuse ] || { echo "SKIP sshfs: there is no /dev/fuse that we may open"; return 1; }
		mounted && { unmounted; return; }
		# What else can go wrong is a failure, and is met where it is used.
		! grep -q 'mount failed: Operation not permitted' "$T/sshfs.said" || { echo "SKIP sshfs: nothing may be mounted here"; return 1; } ;;
	lftp_temp) here lftp ;;
	*) command -v "$1" >/dev/null || { echo "SKIP $1: it is not installed"; return 1; } ;;
	esac
}
CLIENTS="sftp scp lftp lftp_temp curl psftp pscp rclone paramiko asyncssh sshfs winscp"
