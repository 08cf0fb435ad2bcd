#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "tests/fuzz/fuzz.h"
#include "tests/standin/tsql.h"
#include "tests/standin/tsql_lex.h"

/*
 * T-SQL that somebody sends: cut into tokens, read by the grammar, and put into a log. The tokens stand in the
 * batch in order; a batch that is understood is understood again with blanks behind it; what is not has one of the
 * server's numbers and a line that the batch has; and no password is left in what the log gets.
 */

static void
check_tokens(const char *batch, size_t len)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct tsql_tokens tokens;
	struct err err = { 0 };
	size_t at = 0;
	int line = 1;

	if (!tsql_lex(mem, batch, &tokens, &err)) {
		if (err.code < 100 || err.code > 999 || err.text[0] == '\0')
			fuzz_broken("no number of the server's: %d %s", err.code, err.text);
	} else {
		for (size_t i = 0; i < tokens.n; i++) {
			const struct tsql_token *t = &tokens.at[i];

			if (t->from < at || t->to <= t->from || t->to > len || t->line < line || t->text == NULL)
				fuzz_broken("token %zu from %zu to %zu on line %d, after %zu on line %d", i, t->from, t->to, t->line, at, line);
			at = t->to;
			line = t->line;
		}
	}
	talloc_free(mem);
}

static bool
parse(const char *batch, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct tsql_statement *list = NULL;
	int line = 0, lines = 1;
	bool good = tsql_parse(mem, batch, &list, &line, err);

	for (const char *p = batch; *p != '\0'; p++)
		lines += *p == '\n';
	if (!good && (err->code < 100 || err->text[0] == '\0' || line < 1 || line > lines))
		fuzz_broken("%d on line %d of %d: %s", err->code, line, lines, err->text);
	talloc_free(mem);
	return good;
}

static void
check_log(const char *batch)
{
	char *once = tsql_without_passwords(NULL, batch), *twice = tsql_without_passwords(once, once);

	if (strcmp(once, twice) != 0)
		fuzz_broken("what is fit for a log changes again");
	talloc_free(once);
}

static void
check_parameters(const char *text)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct tsql_variable *list = NULL;
	struct err err = { 0 };
	size_t n = 0;

	if (tsql_parse_parameters(mem, text, &list, &n, &err))
		for (size_t i = 0; i < n; i++)
			if (list[i].name == NULL || list[i].name[0] != '@')
				fuzz_broken("parameter %zu has no name", i);
	talloc_free(mem);
}

int
LLVMFuzzerTestOneInput(const uint8_t *mem, size_t len)
{
	char *batch = talloc_strndup(NULL, (const char *)mem, len), *longer = talloc_asprintf(batch, "%s \t\n ", batch);
	struct err first = { 0 }, second = { 0 };
	bool good = parse(batch, &first);

	check_tokens(batch, strlen(batch));
	if (parse(longer, &second) != good || first.code != second.code)
		fuzz_broken("with blanks behind it: %d %s, without: %d %s", second.code, second.text, first.code, first.text);
	check_log(batch);
	check_parameters(batch);
	talloc_free(batch);
	return 0;
}

void
fuzz_seeds(const struct fuzz_taker *taker)
{
	static const struct { const char *name, *text; } seeds[] = {
		{ "select", "SELECT TOP (5) a.id, b.[na]]me], N'x''y' + 'z', CASE WHEN a.x IS NULL THEN 1 ELSE -2.5e3 END AS c FROM dbo.t a\n"
		            "LEFT JOIN db.dbo.\"u\" b ON a.id = b.id WHERE a.x LIKE '%q' AND b.y IN (1, 0x1F) GROUP BY a.id HAVING COUNT(*) > 1 ORDER BY 1 DESC" },
		{ "with", ";WITH x AS (SELECT 1 n UNION ALL SELECT 2) SELECT n, (SELECT MAX(n) FROM x) FROM x WHERE EXISTS (SELECT 1 FROM x)" },
		{ "declare", "DECLARE @i int = 10, @s nvarchar(max) = N'' /* a /* nested */ comment */\nWHILE @i < 60\nBEGIN\n  SET @i = @i + 1\n"
		             "  IF @i = 20 PRINT 'x' ELSE INSERT INTO dbo.t (id, s) VALUES (@i, @s), (2, NULL)\nEND" },
		{ "restore", "RESTORE DATABASE [m1] FROM DISK = N'/a/b.bak', DISK = @d WITH FILE = 1, MOVE N'Sales' TO N'/m1.mdf', NORECOVERY, STATS = 5, REPLACE, "
		             "STOPAT = '2024-01-02T03:04:05'; RESTORE HEADERONLY FROM DISK = 'x'; RESTORE VERIFYONLY FROM DISK = 'y' WITH CHECKSUM" },
		{ "backup", "BACKUP LOG [Sales] TO DISK = N'/x.trn' WITH INIT, NORECOVERY, NAME = N'a b', COMPRESSION -- end" },
		{ "login", "CREATE LOGIN [v] WITH PASSWORD = N'Secr3t''!', CHECK_POLICY = OFF; ALTER LOGIN v WITH PASSWORD = 'x'; ALTER SERVER ROLE sysadmin ADD MEMBER [v]" },
		{ "user", "CREATE USER [v] FOR LOGIN [v]; GRANT SELECT, VIEW DEFINITION TO [v]; ALTER AUTHORIZATION ON DATABASE::[m1] TO [sa]; DROP USER v" },
		{ "table", "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, s nvarchar(200) NULL DEFAULT N'x', p decimal(10,2), CONSTRAINT k UNIQUE (s)); DROP TABLE dbo.t" },
		{ "trigger", "CREATE TRIGGER nosy ON DATABASE FOR CREATE_USER, DROP_USER AS BEGIN PRINT 'x'; ROLLBACK END" },
		{ "try", "BEGIN TRY BEGIN TRAN; UPDATE dbo.t SET a = 1, b = b + 1 WHERE id = 3; COMMIT END TRY BEGIN CATCH ROLLBACK; THROW END CATCH" },
		{ "exec", "EXEC sp_executesql N'SELECT @a', N'@a int', @a = 3; EXEC (N'SELECT 1'); EXEC standin.rows N'db', N'dbo.t'; RAISERROR('x %d', 16, 1, 3)" },
		{ "alter", "ALTER DATABASE [m1] SET RECOVERY FULL WITH NO_WAIT; ALTER DATABASE m1 SET SINGLE_USER WITH ROLLBACK IMMEDIATE; USE [master]; KILL 52; "
		           "SET NOCOUNT ON; WAITFOR DELAY '00:00:01'" },
		{ "parameters", "@a int, @b nvarchar(10) = N'x' OUTPUT, @c numeric(25,0)" },
		{ "unclosed", "SELECT 'never closed\n" },
		{ "nested", "SELECT ((((((((((1))))))))))" },
	};

	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
		taker->take(taker->ctx, seeds[i].name, (const uint8_t *)seeds[i].text, strlen(seeds[i].text));
}
