#include "tests/sqlserver/run.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/standin/fidelity_rows.h"

enum { FILES_MAX = 256, KEPT_MAX = 8, OLDEST_MAJOR = 13 };

static const char *const databases[] = { "m1", "m2", "Sales", "Other", "Simple", "Chain", "end", "stop" };

struct run {
	struct run_settings *set;
	TALLOC_CTX *mem;
	struct talker *control; /* stays in master */
	struct report *report;
	struct fidelity_names names;
	char *here;             /* the run's folder as we see it */
	char *prefix, *stranger_password;
	char *media[FILES_MAX]; /* files that stay; what rows make is removed after each */
	size_t n_media;
	struct { const char *name; char *rows; } kept[KEPT_MAX];
	bool asked, spoilt; /* what --only, and what --spoil named, was met */
};

volatile sig_atomic_t run_stopped;

/* ---- asking ----------------------------------------------------------------------------------------------------------- */

static char *
filled(struct run *r, const char *text)
{
	return fidelity_fill(r->mem, text, &r->names);
}

static bool
control_says(struct run *r, const char *heading, const char *text, struct err *err)
{
	char *sql = filled(r, text);
	char *what;

	server_ask(&r->set->server, r->control, heading, sql);
	if (!server_refused(r->control))
		return true;
	what = talloc_asprintf(r->mem, "%s", r->control->text[0] == '\0' ? r->control->tokens : r->control->text);
	return err_set(err, ERR_OPERATOR, 0, "%.200s: %.200s", sql, what);
}

static bool
is_wanted(struct run *r, const char *name)
{
	bool wanted = r->set->only == NULL || strcmp(r->set->only, name) == 0;

	r->asked = r->asked || wanted;
	return wanted;
}

/* A statement that prepares, and back to master. */
static bool
must(struct run *r, const char *heading, const char *text, struct err *err)
{
	return control_says(r, heading, text, err) && control_says(r, NULL, "USE [master]", err);
}

static void
add_answer(struct run *r, const char *name, const char *sql, const char *expected, const char *got, const char *said, bool same)
{
	report_add(r->report, &(struct report_answer){ .name = name, .statement = sql, .expected = expected, .got = got, .said = said }, same);
}

/* ---- files ------------------------------------------------------------------------------------------------------------- */

static bool
is_medium(const struct run *r, const char *name)
{
	for (size_t i = 0; i < r->n_media; i++)
		if (strcmp(r->media[i], name) == 0)
			return true;
	return false;
}

static void
each_file(struct run *r, void (*do_it)(struct run *r, const char *name))
{
	DIR *d = opendir(r->here);

	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			do_it(r, e->d_name);
	if (d != NULL)
		closedir(d);
}

/* The server must be able to read what we made, and a BACKUP to open it. What the server made is not ours to open. */
static void
keep_file(struct run *r, const char *name)
{
	(void)chmod(talloc_asprintf(r->mem, "%s/%s", r->here, name), 0666);
	if (r->n_media < FILES_MAX)
		r->media[r->n_media++] = talloc_strdup(r->mem, name);
}

static void
remove_file(struct run *r, const char *name)
{
	if (!is_medium(r, name))
		unlink(talloc_asprintf(r->mem, "%s/%s", r->here, name));
}

/* ---- a beginning and an end ---------------------------------------------------------------------------------------------- */

/* A server of which nothing is known yet is asked for its release: 13 is 2016, 14 2017, 15 2019, 16 2022, 17 2025. */
static bool
learn_release(struct run *r, struct err *err)
{
	static const int years[] = { 2016, 2017, 2019, 2022, 2025 };
	int major;

	if (!control_says(r, NULL, "SELECT CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion'))", err))
		return false;
	major = r->control->rows[0] == '\'' ? atoi(r->control->rows + 1) : 0;
	if (major < OLDEST_MAJOR)
		return err_set(err, ERR_OPERATOR, 0, "the server calls itself %.40s; the rows hold from SQL Server 2016 (13) on", r->control->rows);
	major -= OLDEST_MAJOR;
	r->names.release = years[major < 5 ? major : 4];
	printf("# SQL Server %d, version %s", r->names.release, r->control->rows);
	r->report = report_new(r->mem, talloc_asprintf(r->mem, "SQL Server %d, version %s", r->names.release, r->control->rows));
	return true;
}

static bool
draw_names(struct run *r, struct err *err)
{
	uint8_t seed[16];
	char *hex = talloc_strdup(r->mem, "");

	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return err_errno(err, errno, "getrandom");
	for (size_t i = 0; i < sizeof(seed); i++)
		hex = talloc_asprintf_append_buffer(hex, "%02x", seed[i]);
	r->prefix = talloc_asprintf(r->mem, "landfall_%.8s_", hex);
	r->stranger_password = talloc_asprintf(r->mem, "Lf1!%s", hex + 8);
	r->here = talloc_asprintf(r->mem, "%s/%srun", r->set->backup_dir_here, r->prefix);
	r->names.prefix = r->prefix;
	r->names.folder = talloc_asprintf(r->mem, "%s/%srun", r->set->backup_dir, r->prefix);
	r->names.stop_at = "";
	return true;
}

/* The server is another user: it must be able to write here, and we to read and remove what it wrote. */
static bool
make_folder(struct run *r, struct err *err)
{
	if (mkdir(r->here, 0777) != 0 || chmod(r->here, 0777) != 0)
		return err_errno(err, errno, "%s, in which the run's backups would lie", r->here);
	return true;
}

static bool
make_media(struct run *r, struct err *err)
{
	size_t n;
	const char *const *steps = fidelity_media(&n);

	for (size_t i = 0; i < n && !run_stopped; i++)
		if (!must(r, "preparing", steps[i], err))
			return false;
	if (!fidelity_bad_media(r->mem, r->here, err))
		return err_under(err, "the server's backups must be readable by whoever runs this");
	/* Rows restore beside nothing but each other. */
	for (size_t i = 2; i < 5; i++)
		if (!must(r, NULL, talloc_asprintf(r->mem, "DROP DATABASE [#%s]", databases[i]), err))
			return false;
	each_file(r, keep_file);
	return true;
}

static bool
make_stranger(struct run *r, struct err *err)
{
	return control_says(r, NULL, talloc_asprintf(r->mem, "CREATE LOGIN [#stranger] WITH PASSWORD = N'%s'", r->stranger_password), err) ||
	       err_set(err, ERR_OPERATOR, 0, "a log-in without rights could not be made, which takes a sysadmin's right: %.200s", r->control->text);
}

static bool
drop(struct run *r, const char *database, struct err *err)
{
	return must(r, NULL, talloc_asprintf(r->mem, "DROP DATABASE IF EXISTS [#%s]", database), err);
}

/* As far as it goes; what is left behind is named. A line that ended under a row is not what keeps it from being done. */
static void
take_away(struct run *r)
{
	struct err err = { 0 };
	struct talker *again = strstr(r->control->tokens, "end") == NULL ? NULL :
		server_open(r->mem, &r->set->server, r->set->user, r->set->password, &err);

	if (again != NULL)
		r->control = again;
	for (size_t i = 0; i < sizeof(databases) / sizeof(databases[0]); i++) {
		if (!drop(r, databases[i], &err))
			fprintf(stderr, "database %s%s is left behind: %s; drop it by hand\n", r->prefix, databases[i], err.text);
		/* Its rows in msdb; the stand-in has no such procedure. */
		control_says(r, NULL, talloc_asprintf(r->mem, "EXEC msdb.dbo.sp_delete_database_backuphistory N'#%s'", databases[i]), &err);
	}
	if (!control_says(r, NULL, "DROP LOGIN [#stranger]", &err))
		fprintf(stderr, "log-in %sstranger is left behind: %s; drop it by hand\n", r->prefix, err.text);
	r->n_media = 0;
	each_file(r, remove_file);
	if (rmdir(r->here) != 0)
		fprintf(stderr, "%s is left behind: %s\n", r->here, strerror(errno));
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------ */

static bool
begin_row(struct run *r, struct err *err)
{
	if (!drop(r, "m1", err) || !drop(r, "m2", err))
		return false;
	each_file(r, remove_file);
	return true;
}

static bool
prepare_row(struct run *r, const struct fidelity_row *row, struct talker **inside, struct err *err)
{
	for (size_t i = 0; i < FIDELITY_BEFORE && row->before[i] != NULL; i++) {
		if (strncmp(row->before[i], "inside:", 7) != 0) {
			if (!must(r, row->name, row->before[i], err))
				return false;
			continue;
		}
		*inside = server_open(r->mem, &r->set->server, r->set->user, r->set->password, err);
		if (*inside == NULL)
			return false;
		server_ask(&r->set->server, *inside, NULL, talloc_asprintf(r->mem, "USE [%s]", filled(r, row->before[i] + 7)));
		if (server_refused(*inside))
			return err_set(err, ERR_OPERATOR, 0, "another session cannot enter: %.200s", (*inside)->text);
	}
	return true;
}

/* Out of the database before the line ends: a server may take its time over an ended session. */
static void
leave(struct run *r, struct talker *t)
{
	if (t == NULL)
		return;
	server_ask(&r->set->server, t, NULL, "USE [master]");
	talloc_free(t);
}

static const char *
expected_tokens(struct run *r, const char *name, const char *tokens)
{
	if (r->set->spoil == NULL || strcmp(name, r->set->spoil) != 0)
		return filled(r, tokens);
	r->spoilt = true;
	return "E1.1.1 D2:0";
}

static bool
ask_row(struct run *r, const struct fidelity_row *row, struct err *err)
{
	bool by_stranger = strncmp(row->statement, "stranger:", 9) == 0;
	const char *sql = filled(r, row->statement + (by_stranger ? 9 : 0)), *says = row->says == NULL ? "" : filled(r, row->says);
	const char *expected = expected_tokens(r, row->name, row->tokens);
	struct talker *t = server_open(r->mem, &r->set->server, by_stranger ? filled(r, "#stranger") : r->set->user,
		by_stranger ? r->stranger_password : r->set->password, err);
	bool same_tokens, same_words;

	if (t == NULL)
		return false;
	server_ask(&r->set->server, t, row->name, sql);
	same_tokens = strcmp(t->tokens, expected) == 0;
	same_words = strncmp(t->text, says, strlen(says)) == 0;
	add_answer(r, row->name, sql, same_words ? expected : talloc_asprintf(r->mem, "%s \"%s\"", expected, says), t->tokens, t->text, same_tokens && same_words);
	leave(r, t);
	return true;
}

/* What a row needs first may itself be answered otherwise than expected: that is a difference, and the next row goes on. */
static bool
play_row(struct run *r, const struct fidelity_row *row, struct err *err)
{
	struct err before = { 0 };
	struct talker *inside = NULL;
	bool good = true;

	if (!begin_row(r, err))
		return err_under(err, "before %s", row->name);
	if (prepare_row(r, row, &inside, &before))
		good = ask_row(r, row, err);
	else
		add_answer(r, row->name, filled(r, row->statement), filled(r, row->tokens), "not asked: what comes before it failed", before.text, false);
	leave(r, inside);
	return good;
}

static bool
play_rows(struct run *r, struct err *err)
{
	size_t n;
	const struct fidelity_row *rows = fidelity_rows(&n);

	for (size_t i = 0; i < n && !run_stopped; i++) {
		const char *why = fidelity_only_standin(&rows[i]);

		if (!is_wanted(r, rows[i].name))
			continue;
		if (why != NULL)
			report_not_asked(r->report, rows[i].name, why);
		else if (!play_row(r, &rows[i], err))
			return false;
	}
	return true;
}

/* ---- columns ------------------------------------------------------------------------------------------------------------- */

static void
play_columns(struct run *r)
{
	size_t n;
	const struct fidelity_columns *c = fidelity_columns(&n);

	for (size_t i = 0; i < n && !run_stopped; i++) {
		char *sql = talloc_asprintf(r->mem, "RESTORE %s FROM DISK = N'%s/full.bak'", c[i].kind, r->names.folder);
		char *name = talloc_asprintf(r->mem, "columns of %s", c[i].kind);

		if (r->names.release < c[i].from || r->names.release > c[i].to || !is_wanted(r, name))
			continue;
		server_ask(&r->set->server, r->control, name, sql);
		add_answer(r, name, sql, c[i].list, r->control->names, r->control->text, strcmp(r->control->names, c[i].list) == 0);
	}
}

/* ---- the chain -------------------------------------------------------------------------------------------------------------- */

static const char *
kept(const struct run *r, const char *name)
{
	for (size_t i = 0; i < KEPT_MAX && r->kept[i].name != NULL; i++)
		if (strcmp(r->kept[i].name, name) == 0)
			return r->kept[i].rows;
	return "";
}

static void
keep(struct run *r, const char *name, const char *rows)
{
	size_t i = 0;

	/* The first value is a text, and stands in quotes. */
	if (strcmp(name, "~") == 0) {
		r->names.stop_at = talloc_strndup(r->mem, rows + (rows[0] == '\''), strcspn(rows + (rows[0] == '\''), "'"));
		return;
	}
	while (i < KEPT_MAX - 1 && r->kept[i].name != NULL)
		i++;
	r->kept[i].name = name;
	r->kept[i].rows = talloc_strdup(r->mem, rows);
}

/* A step without a name prepares, and must succeed for the rest to mean anything. */
static bool
play_step(struct run *r, const struct fidelity_step *step, struct err *err)
{
	const struct talker *t = r->control;
	const char *sql = filled(r, step->statement), *name = step->name, *want;

	if (name == NULL)
		return must(r, "preparing", step->statement, err);
	server_ask(&r->set->server, r->control, name, sql);
	if (step->keeps != NULL)
		keep(r, step->keeps, t->rows);
	if (step->tokens != NULL) {
		want = expected_tokens(r, name, step->tokens);
		add_answer(r, name, sql, want, t->tokens, t->text, strcmp(want, t->tokens) == 0);
	} else if (step->equals != NULL) {
		want = step->equals[0] == '\'' ? talloc_asprintf(r->mem, "%s\n", step->equals) : kept(r, step->equals);
		add_answer(r, name, sql, want, t->rows, t->text, want[0] != '\0' && strcmp(want, t->rows) == 0);
	} else {
		add_answer(r, name, sql, "rows", t->rows, t->text, t->rows[0] != '\0');
	}
	return control_says(r, NULL, "USE [master]", err);
}

static bool
play_chain(struct run *r, struct err *err)
{
	size_t n;
	const struct fidelity_step *steps = fidelity_chain(&n);

	for (size_t i = 0; is_wanted(r, "chain") && i < n && !run_stopped; i++)
		if (!play_step(r, &steps[i], err))
			return err_under(err, "the chain");
	return true;
}

/* ---- all of it ----------------------------------------------------------------------------------------------------------------- */

static bool
play(struct run *r, struct err *err)
{
	bool good = make_stranger(r, err) && make_media(r, err) && play_rows(r, err);

	if (good) {
		play_columns(r);
		good = play_chain(r, err);
	}
	if (run_stopped)
		return err_set(err, ERR_AGAIN, 0, "it was told to stop");
	if (good && !r->asked)
		return err_set(err, ERR_OPERATOR, 0, "there is no row called %s; answers.tsv of a whole run has their names", r->set->only);
	if (good && r->set->spoil != NULL && !r->spoilt)
		return err_set(err, ERR_OPERATOR, 0, "there is no row called %s to be spoilt", r->set->spoil);
	return good;
}

bool
run_all(TALLOC_CTX *mem, struct run_settings *settings, size_t *differences, struct err *err)
{
	struct run r = { .set = settings, .mem = mem };
	struct err at_end = { 0 };
	bool good;

	r.control = server_open(mem, &settings->server, settings->user, settings->password, err);
	if (r.control == NULL || !learn_release(&r, err) || !draw_names(&r, err) || !make_folder(&r, err))
		return false;
	good = play(&r, err);
	take_away(&r);
	*differences = report_differences(r.report);
	/* What was found counts also where the run could not go on. */
	if (!report_end(r.report, settings->out, &at_end) && good)
		return err_set(err, at_end.kind, at_end.code, "%s", at_end.text);
	return good;
}
