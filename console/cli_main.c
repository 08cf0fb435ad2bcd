/*
 * landfall: the command line. Noun first; every command knows --json and --help; exit codes are stable.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/lsn.h"
#include "console/cli.h"
#include "console/cmd_inspect.h"

static const struct cli_command commands[] = {
	{ "db", "migrate", cmd_db_migrate, "db migrate", "applies the schema and writes the clusters of the configuration" },
	{ "migration", "create", cmd_migration_create,
	  "migration create --customer C --region R --cluster K --database D [--from intake.yaml] [--encryption refuse|allow] [--no-uat]",
	  "makes a migration; prints its id, which is the SFTP user name" },
	{ "migration", "list", cmd_migration_list, "migration list [--stage S] [--region R] [--customer C] [--after M] [--limit N]",
	  "migrations with their stage, by id; those of one stage, region, or customer (a part of the name). A terminal gets 200 at a time\n"
	  "      and is told how many more there are; --json has all, or N" },
	{ "migration", "show", cmd_migration_show, "migration show M [--run uat|production]", "runs, gates, files and what is missing" },
	{ "migration", "plan", cmd_migration_plan, "migration plan M [--run uat|production] [--sql] [--detailed-exitcode]",
	  "a dry run: what will be restored, as which statements, and why each other file will not; with --detailed-exitcode it ends with\n      0 when"
	  " nothing is to do and the chain is complete, 2 when something is to do or missing, 1 when it fails" },
	{ "migration", "skip", cmd_migration_skip, "migration skip M FILE --reason R", "takes a backup out of the plan; never one that is restored" },
	{ "migration", "unskip", cmd_migration_unskip, "migration unskip M FILE", "puts it back" },
	{ "migration", "stop-at", cmd_migration_stop_at, "migration stop-at M TIME --reason R [--run uat|production] | migration stop-at M --clear [--run …]",
	  "the run ends at that time instead of at the tail, and what came after is left behind: 2026-11-23T05:16:00 is the source's\n      local time; with a"
	  " zone (Z, +02:00) it is turned into that by the zone in the backups' headers. --clear: at the tail again" },
	{ "migration", "preflight", cmd_migration_preflight, "migration preflight M [--run uat|production] [--now [--timeout 1m]]",
	  "what the target's servers said before anything is restored, and who must act (exit 6: something blocks, or nothing was asked yet);\n"
	  "      with --now they are asked anew first, as soon as no statement of the run is under way" },
	{ "migration", "hold", cmd_migration_hold, "migration hold M --reason R [--run uat|production]", "nothing is restored until it is released" },
	{ "migration", "release", cmd_migration_release, "migration release M [--run uat|production]", "goes on" },
	{ "migration", "retry", cmd_migration_retry, "migration retry M [--run uat|production]", "tries a failed run again" },
	{ "migration", "clock", cmd_migration_clock, "migration clock M start|stop", "the customer's downtime begins or ends" },
	{ "migration", "cutover", cmd_migration_cutover,
	  "migration cutover M [--run uat|production] [--last-file F] [--wait[=30m]] [--timeout 30m] [--then-recover --yes --confirm M]",
	  "the source is off: restores the tail and stops at the gates" },
	{ "migration", "recover", cmd_migration_recover, "migration recover M [--run uat|production] [--wait[=30m]] [--timeout 30m] [--yes --confirm M]",
	  "the point of no return: the primary comes ONLINE" },
	{ "migration", "cancel", cmd_migration_cancel, "migration cancel M [--run uat|production] --reason R [--now]",
	  "stops a run when the statement that runs has ended (--now: breaks it off); the copy is kept RESTORING" },
	{ "migration", "drop", cmd_migration_drop, "migration drop M --run uat|production --yes --confirm TARGET_DATABASE",
	  "throws the copy of a cancelled run, or of a rehearsal, away on every replica" },
	{ "migration", "restart", cmd_migration_restart, "migration restart M [--run uat|production] [--now] [--yes --confirm M]",
	  "throws the copy away and begins the chain again; says first what that costs" },
	{ "migration", "backout", cmd_migration_backout, "migration backout M --reason R",
	  "back to the source: stops everything and says what to switch on there, in order" },
	{ "migration", "confirm", cmd_migration_confirm, "migration confirm M ACT",
	  "the second person's word, where the cluster's policy wants one (recover, drop, backout after RECOVERY)" },
	{ "migration", "priority", cmd_migration_priority, "migration priority M high|normal|low --reason R [--run uat|production]",
	  "whether its turn comes before or after the others of its cluster; a cutover is before all of them anyway" },
	{ "migration", "primary", cmd_migration_primary, "migration primary M --replica NAME --reason R [--run uat|production]",
	  "chooses the replica that RECOVERY will be on; until RECOVERY was sent (a rehearsal: until its copy is begun)" },
	{ "migration", "leave-out", cmd_migration_leave_out, "migration leave-out M --replica NAME --reason R", "goes on without one replica" },
	{ "migration", "verify", cmd_migration_verify, "migration verify M [--run uat|production] [--wait[=30m]] [--timeout 30m]", "verifies again" },
	{ "migration", "report", cmd_migration_report, "migration report M [--run uat|production] [--format text|json|html]", "the verification's report" },
	{ "key", "add", cmd_key_add, "key add M --file K.pub [--from ADDRESS,…] [--expires DATE]", "lets a customer's SSH public key in" },
	{ "key", "list", cmd_key_list, "key list M", "the keys of a migration" },
	{ "key", "revoke", cmd_key_revoke, "key revoke M FINGERPRINT", "shuts a key out and ends its sessions" },
	{ "file", "list", cmd_file_list, "file list M", "files of a migration" },
	{ "file", "skip", cmd_migration_skip, "file skip M FILE --reason R", "the same as migration skip" },
	{ "file", "unskip", cmd_migration_unskip, "file unskip M FILE", "the same as migration unskip" },
	{ "file", "accept-as-tail", cmd_file_accept, "file accept-as-tail M FILE --reason R", "takes a backup for the last one although no log says so by having been taken WITH NORECOVERY" },
	{ "upload", "list", cmd_upload_list, "upload list [--live]", "what is being received, how fast and by whom; without --live what is partial too" },
	{ "upload", "kick", cmd_upload_kick, "upload kick SESSION", "ends a session; its upload stays partial" },
	{ "notify", "list", cmd_notify_list, "notify list", "messages to customers: sent, waiting, given up, and why" },
	{ "notify", "retry", cmd_notify_retry, "notify retry ID", "sends one again" },
	{ "notify", "test", cmd_notify_test, "notify test ADDRESS", "sends a test by mail and tells what the relay said" },
	{ "outbox", "add", cmd_outbox_add, "outbox add M FILE [--as NAME] [--replace]", "puts a file into the customer's outbox/" },
	{ "outbox", "list", cmd_outbox_list, "outbox list M", "what is in it" },
	{ "outbox", "remove", cmd_outbox_remove, "outbox remove M NAME", "takes a file out of it" },
	{ "queue", NULL, cmd_queue, "queue [--limit N]", "what runs, what waits and why, per cluster; 200 of each, or N" },
	{ "status", NULL, cmd_status, "status", "Postgres, workers, clusters" },
	{ "doctor", NULL, cmd_doctor, "doctor [--nagios] [--strict]", "looks whether everything is as it must be, and says what to do about what is not" },
};

static void
help(FILE *out, const char *noun)
{
	fprintf(out, "usage: landfall [--config FILE] NOUN VERB …\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (noun == NULL || strcmp(commands[i].noun, noun) == 0)
			fprintf(out, "  landfall %s\n      %s\n", commands[i].usage, commands[i].help);
	if (noun == NULL || strcmp(noun, "inspect") == 0)
		fprintf(out, "  landfall inspect [--json | --columns] [--target RELEASE] FILE…\n  landfall inspect --chain [--stop-at TIME] [--json] FILE…\n"
		        "      reads backup files, without any server; plans their restore order\n");
	fprintf(out, "\nEvery command knows --json and --help; whatever asks for an act knows --once GUID: asked again under it, it is done once. The configuration is --config, LANDFALL_CONFIG, or /etc/landfall/landfall.yaml.\n"
	        "Exit: 0 fine, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 conflict, 6 not ready (gate, gap, hold),\n"
	        "7 not verified or damaged, 8 warnings (--strict), 9 time limit, 10 Postgres not reachable.\n");
}

static bool
is_noun(const char *word)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].noun, word) == 0)
			return true;
	return strcmp(word, "inspect") == 0;
}

/* Takes out the options that every command knows, wherever they stand; returns how many words are left. */
static int
take_common(struct cli *c, int argc, char **argv, bool *wants_help)
{
	int n = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) { /* what follows are words, whatever they look like */
			while (i < argc)
				argv[n++] = argv[i++];
		} else if (strcmp(argv[i], "--json") == 0)
			c->json = true;
		else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			*wants_help = true;
		else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
			c->config_path = argv[++i];
		else if (strncmp(argv[i], "--config=", 9) == 0)
			c->config_path = argv[i] + 9;
		else if (strcmp(argv[i], "--once") == 0 && i + 1 < argc)
			c->once = argv[++i];
		else if (strncmp(argv[i], "--once=", 7) == 0)
			c->once = argv[i] + 7;
		else
			argv[n++] = argv[i];
	}
	return n;
}

static int
run(struct cli *c, int n, char **words)
{
	if (strcmp(words[0], "inspect") == 0) { /* has options of its own and needs no configuration */
		c->argc = n - 1;
		c->argv = words + 1;
		return cmd_inspect(c);
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		bool alone = commands[i].verb == NULL;

		if (strcmp(words[0], commands[i].noun) != 0 || (!alone && (n < 2 || strcmp(words[1], commands[i].verb) != 0)))
			continue;
		c->argc = n - (alone ? 1 : 2);
		c->argv = words + (alone ? 1 : 2);
		c->usage = commands[i].usage;
		return commands[i].run(c);
	}
	cli_fail(c, CLI_USAGE, "there is no command %s%s%s", words[0], n > 1 ? " " : "", n > 1 ? words[1] : "");
	if (!c->json)
		help(stderr, is_noun(words[0]) ? words[0] : NULL);
	return CLI_USAGE;
}

int
main(int argc, char **argv)
{
	struct cli c = { .mem = talloc_new(NULL) };
	bool wants_help = false;
	int n, code;

	log_begin("landfall");
	n = take_common(&c, argc - 1, argv + 1, &wants_help);
	if (wants_help || n == 0) {
		help(wants_help ? stdout : stderr, n > 0 && is_noun(argv[1]) ? argv[1] : NULL);
		code = wants_help ? CLI_FINE : CLI_USAGE;
	} else if (c.once != NULL && !guid_parse(c.once, &(struct guid){ { 0 } })) {
		code = cli_fail(&c, CLI_USAGE, "--once takes a GUID, not %s", c.once);
	} else {
		code = run(&c, n, argv + 1);
	}
	talloc_free(c.mem);
	return code;
}
