#include "console/notify.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/advice.h"
#include "common/log.h"
#include "common/text.h"
#include "console/mail.h"

enum { IDLE_MS = 15000, AWAY_MS = 2000 };

struct notifier {
	const struct config *config;
	struct db *db;
	pthread_t thread;
	int wake;
	atomic_bool ends;
};

/* ---- words ------------------------------------------------------------------------------------------------------ */

char *
notice_subject(TALLOC_CTX *parent, const struct notice *n)
{
	if (strcmp(n->kind, "refused") == 0)
		return talloc_asprintf(parent, "[%s] an upload cannot be used", n->migration);
	return talloc_strdup(parent, "Landfall: messages arrive here");
}

static char *
refused_text(TALLOC_CTX *mem, const struct notice *n)
{
	char *s = talloc_asprintf(mem, "Hello%s%s,\n\nthe upload %s for your migration %s, database %s, cannot be used:\n\n  %s\n",
	                          n->contact[0] == '\0' ? "" : " ", text_shown(mem, n->contact), text_shown(mem, n->file), n->migration,
	                          text_shown(mem, n->database), text_shown(mem, n->reason));
	json_t *word;
	size_t i;

	json_array_foreach(n->findings, i, word) {
		char *tsql = advice_tsql(mem, json_string_value(word), n->database), *save = NULL;

		if (tsql == NULL)
			continue;
		s = talloc_strdup_append(s, "\nThis would make it right, in Management Studio on the old server:\n\n");
		for (char *line = strtok_r(tsql, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
			s = talloc_asprintf_append(s, "  %s\n", text_shown(mem, line));
	}
	return talloc_strdup_append(s, "\nThen upload the new file, under the same name or another; nothing else has to be done.\n"
	                            "STATUS.txt in your SFTP folder says where the migration stands.\n");
}

char *
notice_text(TALLOC_CTX *parent, const struct notice *n)
{
	if (strcmp(n->kind, "refused") == 0)
		return refused_text(parent, n);
	return talloc_strdup(parent, "Somebody asked for a test. It has arrived, so messages of migrations will, too.\n");
}

/* ---- sending ----------------------------------------------------------------------------------------------------------- */

static bool
send_notice(struct notifier *x, TALLOC_CTX *mem, const struct notice *n, struct err *err)
{
	const struct config_mail *relay = &x->config->console.mail;
	const char *domain = strchr(relay->from, '@') == NULL ? "landfall" : strchr(relay->from, '@') + 1;
	time_t now = time(NULL);
	struct tm tm;
	char date[64];
	struct mail m = {
		.subject = notice_subject(mem, n), .text = notice_text(mem, n), .date = date,
		.id = talloc_asprintf(mem, "event-%lld-%lld@%s", (long long)n->event, (long long)n->id, domain),
		.thread = n->migration[0] == '\0' ? NULL : talloc_asprintf(mem, "%s@%s", n->migration, domain),
	};

	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", gmtime_r(&now, &tm));
	if (strncmp(n->target, "mail:", 5) != 0)
		return err_set(err, ERR_REFUSED, 0, "nobody knows how to send to that");
	m.to = n->target + 5;
	return mail_send(relay, &m, err);
}

/* False: there is nothing more to send now, or Postgres is away. */
static bool
send_one(struct notifier *x)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct err err = { 0 }, refused = { 0 };
	struct notice n = { 0 };
	bool got = false, good;

	if (!notify_claim(x->db, mem, &n, &got, &err)) {
		log_warning("the outbox cannot be read", "error", err.text, NULL);
	} else if (got) {
		good = send_notice(x, mem, &n, &refused);
		if (good)
			log_info("a message was sent", "migration", n.migration, "kind", n.kind, NULL);
		else
			log_warning("a message could not be sent", "migration", n.migration, "kind", n.kind, "error", refused.text, NULL);
		if (!notify_end(x->db, &n, good ? NULL : refused.text, refused.kind == ERR_REFUSED, &err))
			log_warning("a message's end cannot be recorded; it may go out twice", "error", err.text, NULL);
	}
	json_decref(n.findings);
	talloc_free(mem);
	return got;
}

static void *
run(void *ctx)
{
	struct notifier *x = ctx;
	struct err err = { 0 };
	bool woken;

	while (!atomic_load(&x->ends)) {
		while (!atomic_load(&x->ends) && send_one(x))
			;
		err_clear(&err);
		if (!atomic_load(&x->ends) && !db_wait(x->db, IDLE_MS, x->wake, &woken, &err))
			usleep(AWAY_MS * 1000);
	}
	return NULL;
}

static int
end(struct notifier *x)
{
	uint64_t one = 1;

	atomic_store(&x->ends, true);
	if (write(x->wake, &one, sizeof(one)) < 0)
		log_warning("the notifier cannot be woken", NULL);
	pthread_join(x->thread, NULL);
	close(x->wake);
	return 0;
}

struct notifier *
notifier_start(TALLOC_CTX *parent, const struct config *config, struct err *err)
{
	struct notifier *x = talloc_zero(parent, struct notifier);
	struct db_where where;

	x->config = config;
	config_where(config, &config->postgres.console, "landfall-console notify", &where);
	x->db = db_new(x, &where);
	x->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	db_listen(x->db, "landfall_event", err);
	err_clear(err);
	if (!mail_prepare() || pthread_create(&x->thread, NULL, run, x) != 0) {
		err_set(err, ERR_OPERATOR, 0, "the thread that sends messages cannot start");
		talloc_free(x);
		return NULL;
	}
	talloc_set_destructor(x, end);
	return x;
}
