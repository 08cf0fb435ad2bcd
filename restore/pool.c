#include "restore/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"

/* An idle run is visited every 15 s. */
enum { CONVERSATIONS_MAX = 128, CONNECTIONS_MAX = 16, IDLE_MS = 40000 };

struct kept {
	int64_t run, since;
	char replica[130];
	struct mssql *ms;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept conversations[CONVERSATIONS_MAX]; /* the oldest first */
static size_t n_conversations;
static struct { struct db *db; int64_t since; } connections[CONNECTIONS_MAX];
static size_t n_connections;

/* With the lock held. */
static struct mssql *
take(size_t i)
{
	struct mssql *ms = conversations[i].ms;

	memmove(&conversations[i], &conversations[i + 1], (--n_conversations - i) * sizeof(conversations[0]));
	return ms;
}

struct mssql *
pool_conversation(int64_t run, const char *replica)
{
	struct mssql *ms = NULL;

	pthread_mutex_lock(&lock);
	for (size_t i = n_conversations; i-- > 0 && ms == NULL;)
		if (conversations[i].run == run && strcmp(conversations[i].replica, replica) == 0)
			ms = take(i);
	pthread_mutex_unlock(&lock);
	return ms;
}

void
pool_conversation_keep(int64_t run, const char *replica, struct mssql *ms)
{
	struct mssql *over = NULL;
	struct kept k = { .run = run, .since = steady_ms(), .ms = ms };

	if (ms == NULL)
		return;
	if (mssql_is_dead(ms) || (size_t)snprintf(k.replica, sizeof(k.replica), "%s", replica) >= sizeof(k.replica)) {
		talloc_free(ms);
		return;
	}
	talloc_steal(NULL, ms);
	pthread_mutex_lock(&lock);
	if (n_conversations == CONVERSATIONS_MAX)
		over = take(0);
	conversations[n_conversations++] = k;
	pthread_mutex_unlock(&lock);
	talloc_free(over);
}

struct db *
pool_db(const struct config *config)
{
	struct db_where where;
	struct db *db = NULL;

	pthread_mutex_lock(&lock);
	if (n_connections > 0)
		db = connections[--n_connections].db;
	pthread_mutex_unlock(&lock);
	if (db != NULL) {
		db_notified(db); /* one that Postgres has closed is found out and comes back with the first question */
		return db;
	}
	config_where(config, &config->postgres.restore, "landfall-restore lane", &where);
	return db_new(NULL, &where);
}

void
pool_db_keep(struct db *db)
{
	bool kept;

	pthread_mutex_lock(&lock);
	kept = n_connections < CONNECTIONS_MAX && db_fd(db) >= 0;
	if (kept) {
		connections[n_connections].since = steady_ms();
		connections[n_connections++].db = db;
	}
	pthread_mutex_unlock(&lock);
	if (!kept)
		talloc_free(db);
}

/* One that nobody used for a while, or NULL. */
static void *
unused(int64_t before)
{
	void *old = NULL;

	pthread_mutex_lock(&lock);
	if (n_conversations > 0 && conversations[0].since < before) {
		old = take(0);
	} else if (n_connections > 0 && connections[0].since < before) {
		old = connections[0].db;
		memmove(&connections[0], &connections[1], --n_connections * sizeof(connections[0]));
	}
	pthread_mutex_unlock(&lock);
	return old;
}

void
pool_turn(void)
{
	void *old;

	while ((old = unused(steady_ms() - IDLE_MS)) != NULL)
		talloc_free(old);
}
