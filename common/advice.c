#include "common/advice.h"

#include <string.h>

#include "common/tsql.h"

#define BACKUP "BACKUP DATABASE {db} TO DISK = N'full.bak' WITH CHECKSUM, INIT;"

/*
 * Sources: Microsoft's documentation of BACKUP, ALTER DATABASE SET RECOVERY, Transparent data encryption (remove:
 * SET ENCRYPTION OFF, then wait until sys.dm_database_encryption_keys shows encryption_state 1) and DBCC CHECKDB.
 */
static const struct { const char *word, *says, *tsql; } table[] = {
	{ "not-a-backup", "it is no SQL Server backup; send the file that BACKUP wrote, as it is: not zipped, not scripted, not the .mdf", BACKUP },
	{ "encrypted", "it is encrypted by BACKUP WITH ENCRYPTION, and nobody can restore it without the certificate; take it again without",
	  BACKUP "\n-- without the ENCRYPTION option; in a maintenance plan, untick \"Backup encryption\"" },
	{ "newer-than-target", "its SQL Server is newer than the one it is to go to, which no backup can cross; tell us, there may be a newer one", NULL },
	{ "older-than-supported", "its SQL Server is older than can be migrated in one step; tell us", NULL },
	{ "simple-recovery", "the recovery model is SIMPLE, so there will be no log backups: everything after this backup needs another one",
	  "ALTER DATABASE {db} SET RECOVERY FULL;\n" BACKUP },
	{ "copy-only", "it is a copy-only backup; differentials do not build on it", BACKUP "\n-- without COPY_ONLY" },
	{ "tde", "the database is encrypted (TDE); the target needs its certificate, or switch it off before the backup",
	  "ALTER DATABASE {db} SET ENCRYPTION OFF;\n"
	  "SELECT encryption_state FROM sys.dm_database_encryption_keys WHERE database_id = DB_ID({text}); -- wait until it is 1\n" BACKUP },
	{ "stripe-member", "it is one stripe of several; all of them are needed", NULL },
	{ "damaged-page", "it holds damaged pages and will not be restored; check the source, and take it again",
	  "DBCC CHECKDB ({db}) WITH NO_INFOMSGS, ALL_ERRORMSGS;\n" BACKUP },
	{ "damaged-at-source", "the source was damaged when it was taken; check it, and take it again",
	  "DBCC CHECKDB ({db}) WITH NO_INFOMSGS, ALL_ERRORMSGS;\n" BACKUP },
	{ "media-password", "it has a media password and will not be restored; take it again without", BACKUP "\n-- without MEDIAPASSWORD" },
	{ "trailing-bytes", "there are bytes after its end that do not belong to it; transfer it again in binary mode", NULL },
	{ "partial-backup", "it holds some files or filegroups only; the whole database is needed", BACKUP },
	{ "tail-norecovery", "it is the tail: the old database is stopped", NULL },
};

static int
find(const char *finding)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(table[i].word, finding) == 0)
			return (int)i;
	return -1;
}

const char *
advice_sentence(const char *finding)
{
	int i = find(finding);

	return i < 0 ? NULL : table[i].says;
}

char *
advice_tsql(TALLOC_CTX *parent, const char *finding, const char *database)
{
	int i = find(finding);
	char *s;

	if (i < 0 || table[i].tsql == NULL)
		return NULL;
	s = talloc_strdup(parent, "");
	for (const char *at = table[i].tsql; *at != '\0';) {
		if (strncmp(at, "{db}", 4) == 0) {
			s = talloc_strdup_append(s, tsql_name(s, database));
			at += 4;
		} else if (strncmp(at, "{text}", 6) == 0) {
			s = talloc_strdup_append(s, tsql_text(s, database));
			at += 6;
		} else {
			s = talloc_strndup_append(s, at++, 1);
		}
	}
	return s;
}
