#include "tests/standin/tsql_lex.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct lexer {
	const char *batch, *s;
	int line;
	struct tsql_tokens *out;
	TALLOC_CTX *parent;
	size_t room;
};

static struct tsql_token *
add(struct lexer *lex, enum tsql_token_kind kind, const char *from)
{
	struct tsql_token *t;

	if (lex->out->n == lex->room) {
		lex->room = lex->room * 2 + 64;
		lex->out->at = talloc_realloc(lex->parent, lex->out->at, struct tsql_token, lex->room);
	}
	t = &lex->out->at[lex->out->n++];
	*t = (struct tsql_token){ .kind = kind, .from = (size_t)(from - lex->batch), .line = lex->line };
	return t;
}

static void
finish(struct lexer *lex, struct tsql_token *t, const char *text, size_t len)
{
	t->text = talloc_strndup(lex->parent, text, len);
	t->to = (size_t)(lex->s - lex->batch);
}

static bool
skip_comment(struct lexer *lex, struct err *err)
{
	int depth = 0;

	do {
		if (*lex->s == '\0')
			return err_set(err, ERR_BROKEN, 113, "Missing end comment mark '*/'.");
		if (lex->s[0] == '/' && lex->s[1] == '*')
			depth++, lex->s++;
		else if (lex->s[0] == '*' && lex->s[1] == '/')
			depth--, lex->s++;
		else if (*lex->s == '\n')
			lex->line++;
		lex->s++;
	} while (depth > 0);
	return true;
}

static bool
skip_blanks(struct lexer *lex, struct err *err)
{
	for (;;) {
		if (isspace((unsigned char)*lex->s)) {
			lex->line += *lex->s++ == '\n';
		} else if (lex->s[0] == '-' && lex->s[1] == '-') {
			lex->s += strcspn(lex->s, "\n");
		} else if (lex->s[0] == '/' && lex->s[1] == '*') {
			if (!skip_comment(lex, err))
				return false;
		} else if ((uint8_t)lex->s[0] == 0xEF && (uint8_t)lex->s[1] == 0xBB && (uint8_t)lex->s[2] == 0xBF) {
			lex->s += 3; /* a byte order mark, which sqlcmd-like tools let slip through */
		} else {
			return true;
		}
	}
}

/* 'text', [name] or "name"; a doubled closing mark stands for one. */
static bool
take_quoted(struct lexer *lex, enum tsql_token_kind kind, char close, struct err *err)
{
	struct tsql_token *t = add(lex, kind, lex->s);
	const char *from = ++lex->s;
	char *text = talloc_size(lex->parent, strlen(from) + 1);
	size_t len = 0;

	for (;; lex->s++) {
		if (*lex->s == '\0')
			return err_set(err, ERR_BROKEN, 105,
			               "Unclosed quotation mark after the character string '%.100s'.", from);
		if (*lex->s == close && *++lex->s != close)
			break;
		lex->line += *lex->s == '\n';
		text[len++] = *lex->s;
	}
	finish(lex, t, text, len);
	talloc_free(text);
	return true;
}

static bool
is_name_start(char c)
{
	return isalpha((unsigned char)c) || c == '_' || c == '#' || (c & 0x80) != 0;
}

static bool
is_name_part(char c)
{
	return is_name_start(c) || isdigit((unsigned char)c) || c == '$' || c == '@';
}

static void
take_word(struct lexer *lex, enum tsql_token_kind kind, size_t prefix, size_t drop)
{
	const char *from = lex->s;
	struct tsql_token *t = add(lex, kind, from);

	for (lex->s += prefix; is_name_part(*lex->s);)
		lex->s++;
	finish(lex, t, from + drop, (size_t)(lex->s - from) - drop);
}

static void
take_number(struct lexer *lex)
{
	const char *from = lex->s;
	bool hex = from[0] == '0' && (from[1] | 0x20) == 'x';
	struct tsql_token *t = add(lex, hex ? TSQL_BINARY : TSQL_NUMBER, from);

	if (hex) {
		for (lex->s += 2; isxdigit((unsigned char)*lex->s);)
			lex->s++;
		finish(lex, t, from + 2, (size_t)(lex->s - from) - 2);
		return;
	}
	while (isdigit((unsigned char)*lex->s))
		lex->s++;
	if (*lex->s == '.')
		for (lex->s++; isdigit((unsigned char)*lex->s);)
			lex->s++;
	if ((*lex->s | 0x20) == 'e') {
		const char *e = lex->s + 1;

		if (*e == '+' || *e == '-')
			e++;
		if (isdigit((unsigned char)*e)) {
			while (isdigit((unsigned char)*e))
				e++;
			lex->s = e;
		}
	}
	finish(lex, t, from, (size_t)(lex->s - from));
}

static bool
take_sign(struct lexer *lex, struct err *err)
{
	static const char *const doubles[] = { "<>", "<=", ">=", "!=", "!<", "!>", "+=", "-=", "*=", "/=", "::" };
	const char *from = lex->s;
	size_t n = 1;

	for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++)
		if (strncmp(from, doubles[i], 2) == 0)
			n = 2;
	if (strchr("+-*/%&|^~=<>!(),.;:", *from) == NULL)
		return err_set(err, ERR_BROKEN, 102, "Incorrect syntax near '%c'.", *from);
	lex->s += n;
	finish(lex, add(lex, TSQL_SIGN, from), from, n);
	return true;
}

static bool
take_token(struct lexer *lex, struct err *err)
{
	const char *s = lex->s;

	if ((*s == 'N' || *s == 'n') && s[1] == '\'') {
		lex->s++;
		return take_quoted(lex, TSQL_STRING, '\'', err);
	}
	if (*s == '\'')
		return take_quoted(lex, TSQL_STRING, '\'', err);
	if (*s == '[')
		return take_quoted(lex, TSQL_QUOTED, ']', err);
	if (*s == '"')
		return take_quoted(lex, TSQL_QUOTED, '"', err);
	if (isdigit((unsigned char)*s) || (*s == '.' && isdigit((unsigned char)s[1])))
		take_number(lex);
	else if (s[0] == '@' && s[1] == '@' && is_name_start(s[2]))
		take_word(lex, TSQL_GLOBAL, 2, 2);
	else if (s[0] == '@' && is_name_part(s[1]))
		take_word(lex, TSQL_VARIABLE, 1, 0);
	else if (is_name_start(*s))
		take_word(lex, TSQL_WORD, 1, 0);
	else
		return take_sign(lex, err);
	return true;
}

bool
tsql_lex(TALLOC_CTX *parent, const char *batch, struct tsql_tokens *out, struct err *err)
{
	struct lexer lex = { .batch = batch, .s = batch, .line = 1, .out = out, .parent = parent };
	struct tsql_token *end;

	*out = (struct tsql_tokens){ 0 };
	for (;;) {
		if (!skip_blanks(&lex, err))
			return false;
		if (*lex.s == '\0')
			break;
		if (!take_token(&lex, err))
			return false;
	}
	end = add(&lex, TSQL_END, lex.s);
	finish(&lex, end, "", 0);
	out->n--;
	return true;
}

bool
tsql_is_word(const struct tsql_token *t, const char *word)
{
	return t->kind == TSQL_WORD && strcasecmp(t->text, word) == 0;
}

bool
tsql_is_sign(const struct tsql_token *t, const char *sign)
{
	return t->kind == TSQL_SIGN && strcmp(t->text, sign) == 0;
}

/* Is token i the secret of a PASSWORD = 'secret' (or OLD_PASSWORD, SECRET, DECRYPTION BY PASSWORD)? */
static bool
is_secret(const struct tsql_tokens *all, size_t i)
{
	const struct tsql_token *word = &all->at[i >= 2 ? i - 2 : 0];

	return i >= 2 && tsql_is_sign(&all->at[i - 1], "=") &&
	       (all->at[i].kind == TSQL_STRING || all->at[i].kind == TSQL_BINARY) &&
	       (tsql_is_word(word, "PASSWORD") || tsql_is_word(word, "OLD_PASSWORD") ||
	        tsql_is_word(word, "SECRET"));
}

char *
tsql_without_passwords(TALLOC_CTX *parent, const char *batch)
{
	TALLOC_CTX *tmp = talloc_new(parent);
	struct tsql_tokens all;
	struct err err = { 0 };
	char *out = talloc_strdup(parent, "");
	size_t from = 0;

	/* What cannot be read might hide a password anywhere. */
	if (!tsql_lex(tmp, batch, &all, &err) && strcasestr(batch, "PASSWORD") != NULL) {
		talloc_free(tmp);
		return talloc_strdup_append(out, "(not shown: cannot be read and speaks of a password)");
	}
	for (size_t i = 0; i < all.n; i++) {
		if (!is_secret(&all, i))
			continue;
		out = talloc_strndup_append(out, batch + from, all.at[i].from - from);
		out = talloc_strdup_append(out, "'***'");
		from = all.at[i].to;
	}
	out = talloc_strdup_append(out, batch + from);
	talloc_free(tmp);
	return out;
}
