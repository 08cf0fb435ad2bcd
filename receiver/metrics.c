#include "receiver/metrics.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "landfall_receiver_"

/* help is the name's, so only its first row has one; what has no help is a further series of the row above. */
static const struct row { const char *name, *label, *help; } rows[METRIC_N] = {
	[METRIC_CONNECTIONS] = { "connections_total", "", "Connections that came." },
	[METRIC_REFUSED_PENALTY] = { "connections_refused_total", "reason=\"penalty\"", "Connections that were not let in." },
	[METRIC_REFUSED_FULL] = { "connections_refused_total", "reason=\"full\"", NULL },
	[METRIC_REFUSED_SHARE] = { "connections_refused_total", "reason=\"share\"", NULL },
	[METRIC_REFUSED_CROWD] = { "connections_refused_total", "reason=\"crowd\"", NULL },
	[METRIC_KEYS_KNOWN] = { "keys_offered_total", "outcome=\"known\"", "Public keys that clients asked about before they signed." },
	[METRIC_KEYS_UNKNOWN] = { "keys_offered_total", "outcome=\"unknown\"", NULL },
	[METRIC_LOGINS_ACCEPTED] = { "logins_total", "outcome=\"accepted\"", "Log-ins whose signature was right." },
	[METRIC_LOGINS_TOO_MANY] = { "logins_total", "outcome=\"too_many_sessions\"", NULL },
	[METRIC_LOGINS_DENIED] = { "logins_total", "outcome=\"denied\"", NULL },
	[METRIC_STRANGERS_GONE] = { "connections_without_login_total", "", "Connections that spoke, were let in and never logged in." },
	[METRIC_SHUT_OUTS] = { "shut_outs_total", "", "Times that an address was shut out after failed log-ins." },
	[METRIC_SESSIONS_STRANGERS] = { "sessions", "state=\"before_login\"", "Processes that serve a connection, or read a file again." },
	[METRIC_SESSIONS_IN] = { "sessions", "state=\"logged_in\"", NULL },
	[METRIC_SESSIONS_READERS] = { "sessions", "state=\"reader\"", NULL },
	[METRIC_ENDED_ITSELF] = { "sessions_ended_total", "cause=\"client\"", "Sessions that had logged in and ended, by why." },
	[METRIC_ENDED_CPU] = { "sessions_ended_total", "cause=\"cpu\"", NULL },
	[METRIC_ENDED_KEY] = { "sessions_ended_total", "cause=\"key_not_valid\"", NULL },
	[METRIC_ENDED_KICKED] = { "sessions_ended_total", "cause=\"kicked\"", NULL },
	[METRIC_ENDED_MADE_ROOM] = { "sessions_ended_total", "cause=\"made_room\"", NULL },
	[METRIC_ENDED_STUCK] = { "sessions_ended_total", "cause=\"protocol\"", NULL },
	[METRIC_ENDED_DRAINED] = { "sessions_ended_total", "cause=\"restart\"", NULL },
	[METRIC_ENDED_DIED] = { "sessions_ended_total", "cause=\"died\"", NULL },
	[METRIC_RECEIVED_BYTES] = { "received_bytes_total", "", "SFTP bytes that came from customers." },
	[METRIC_SENT_BYTES] = { "sent_bytes_total", "", "SFTP bytes that went to customers." },
	[METRIC_REQUESTS] = { "requests_total", "", "SFTP requests that were answered." },
	[METRIC_REQUESTS_REFUSED] = { "requests_refused_total", "", "Requests with names that were refused." },
	[METRIC_UPLOADS_BEGUN] = { "uploads_begun_total", "", "Uploads that were begun or resumed." },
	[METRIC_UPLOADS_ARRIVED] = { "uploads_ended_total", "verdict=\"arrived\"", "Uploads that ended, by what they were then." },
	[METRIC_UPLOADS_PARTIAL] = { "uploads_ended_total", "verdict=\"partial\"", NULL },
	[METRIC_UPLOADS_NOT_NAMED] = { "uploads_ended_total", "verdict=\"whole_not_named\"", NULL },
	[METRIC_UPLOADS_OTHER] = { "uploads_ended_total", "verdict=\"other\"", NULL },
	[METRIC_UPLOADS_REPLACED] = { "uploads_ended_total", "verdict=\"replaced\"", NULL },
	[METRIC_UPLOADS_FAILED] = { "uploads_ended_total", "verdict=\"not_recorded\"", NULL },
	[METRIC_UPLOADS_NOT_A_BACKUP] = { "uploads_refused_total", "reason=\"not_a_backup\"", "Uploads that were refused for what they hold." },
	[METRIC_UPLOADS_ENCRYPTED] = { "uploads_refused_total", "reason=\"encrypted\"", NULL },
	[METRIC_UPLOADS_NEWER] = { "uploads_refused_total", "reason=\"newer_than_target\"", NULL },
	[METRIC_UPLOADS_QUOTA] = { "uploads_refused_total", "reason=\"quota\"", NULL },
	[METRIC_UPLOADS_REFUSED] = { "uploads_refused_total", "reason=\"another\"", NULL },
	[METRIC_ARRIVED_BYTES] = { "arrived_bytes_total", "", "Bytes of the backups that arrived." },
	[METRIC_UPLOADS_NOW] = { "uploads_in_progress", "", "Uploads that are open." },
	[METRIC_UPLOADS_STALLED] = { "uploads_stalled", "", "Of these, those of which nothing came for ten seconds." },
	[METRIC_JOURNAL_RECORDS] = { "journal_records_total", "", "Records that were made durable." },
	[METRIC_JOURNAL_BYTES] = { "journal_written_bytes_total", "", "Their bytes." },
	[METRIC_JOURNAL_FLUSHES] = { "journal_flushes_total", "", "Groups of records that went to the disk together." },
	[METRIC_JOURNAL_SECONDS] = { "journal_flush_seconds_total", "", "Time that took, with the file work before and behind them." },
	[METRIC_JOURNAL_FAILURES] = { "journal_failures_total", "", "Records that could not be made durable." },
	[METRIC_JOURNAL_SIZE] = { "journal_size_bytes", "", "The journal's length." },
	[METRIC_FEED_WAITING] = { "feed_waiting_records", "", "Records that Postgres has not been told yet." },
	[METRIC_POSTGRES_UP] = { "postgres_up", "", "1 when Postgres answered the last time." },
	[METRIC_SPOOL_FREE] = { "spool_free_bytes", "", "Free space of the spool's file system." },
	[METRIC_SPOOL_SIZE] = { "spool_size_bytes", "", "Its size." },
	[METRIC_SPOOL_FILES_FREE] = { "spool_free_inodes", "", "Files that it can still hold." },
	[METRIC_SPAWNER_RESTARTS] = { "spawner_restarts_total", "", "Times that the spawner died and was started again." },
	[METRIC_LANDLOCK] = { "landlock", "", "1 when the kernel's Landlock locks sessions up besides seccomp." },
	[METRIC_START_TIME] = { "start_time_seconds", "", "When the program began, in Unix seconds." },
};

static bool
is_counter(const char *name)
{
	size_t n = strlen(name), end = strlen("_total");

	return n > end && strcmp(name + n - end, "_total") == 0;
}

char *
metrics_text(TALLOC_CTX *parent, const double values[METRIC_N])
{
	char *text = talloc_strdup(parent, "");

	for (int i = 0; i < METRIC_N; i++) {
		const struct row *r = &rows[i];
		bool is_whole = values[i] < 1e18 && values[i] == (double)(int64_t)values[i];

		if (r->help != NULL)
			text = talloc_asprintf_append_buffer(text, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", r->name, r->help, r->name,
			                                     is_counter(r->name) ? "counter" : "gauge");
		text = talloc_asprintf_append_buffer(text, PREFIX "%s%s%s%s ", r->name, r->label[0] == '\0' ? "" : "{", r->label,
		                                     r->label[0] == '\0' ? "" : "}");
		text = talloc_asprintf_append_buffer(text, is_whole ? "%.0f\n" : "%.6f\n", values[i]);
	}
	return text;
}
