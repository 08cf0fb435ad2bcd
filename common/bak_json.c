#include "common/bak_json.h"

#include <stdio.h>
#include <string.h>

static json_t *
text(const char *s)
{
	return s == NULL ? json_null() : json_string(s);
}

/* SQL Server shows a name that was never given as NULL. */
static json_t *
name(const char *s)
{
	return s == NULL || s[0] == '\0' ? json_null() : json_string(s);
}

static json_t *
lsn(struct lsn l)
{
	return lsn_is_null(l) ? json_null() : json_string(lsn_text(l).s);
}

static json_t *
guid(struct guid g)
{
	return guid_is_null(g) ? json_null() : json_string(guid_text(g).s);
}

static json_t *
date(struct bak_date d)
{
	return d.year == 0 ? json_null() : json_string(bak_date_text(d).s);
}

static json_t *
bit(bool b)
{
	return json_boolean(b);
}

static json_t *
number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

/* The five collation bytes as in TDS; only pairs that were seen beside their name are given one. */
static json_t *
collation(const uint8_t c[5])
{
	static const struct { uint8_t bytes[5]; const char *name; } known[] = {
		{ { 0x09, 0x04, 0xD0, 0x00, 0x34 }, "SQL_Latin1_General_CP1_CI_AS" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (memcmp(c, known[i].bytes, 5) == 0)
			return json_string(known[i].name);
	return json_null();
}

/* The texts of BackupTypeDescription as documented; a capture of 2022 printed "Database" for a full. */
static const char *
type_description(enum bak_type t)
{
	switch (t) {
	case BAK_FULL: return "Database";
	case BAK_LOG: return "Transaction Log";
	case BAK_FILE: return "File";
	case BAK_DIFFERENTIAL: return "Database Differential";
	case BAK_FILE_DIFFERENTIAL: return "File Differential";
	case BAK_PARTIAL: return "Partial";
	case BAK_PARTIAL_DIFFERENTIAL: return "Partial Differential";
	case BAK_TYPE_UNKNOWN: break;
	}
	return NULL;
}

static json_t *
media(const struct bak *bak)
{
	const struct bak_media *m = bak_media(bak);
	struct guid family = { { 0 } };
	json_t *o;

	if (m == NULL)
		return json_null();
	for (int i = 0; i < 4; i++) /* the family id is the first group of an otherwise zero GUID */
		family.b[i] = (uint8_t)(m->media_family_id >> (8 * i));
	o = json_object();
	json_object_set_new(o, "MediaName", name(m->name));
	json_object_set_new(o, "MediaSetId", guid(m->media_set_id));
	json_object_set_new(o, "FamilyCount", number(m->family_count));
	json_object_set_new(o, "FamilySequenceNumber", number(m->family_number));
	json_object_set_new(o, "MediaFamilyId", guid(family));
	json_object_set_new(o, "MediaSequenceNumber", number(m->media_sequence));
	json_object_set_new(o, "MediaLabelPresent", json_null());
	json_object_set_new(o, "MediaDescription", name(m->description));
	json_object_set_new(o, "SoftwareName", text(m->software));
	json_object_set_new(o, "SoftwareVendorId", number(m->vendor));
	json_object_set_new(o, "MediaDate", date(m->date));
	json_object_set_new(o, "Mirror_Count", number(m->mirror_count));
	json_object_set_new(o, "IsCompressed", bit(bak_container(bak) == BAK_MSSQLBAK));
	return o;
}

/*
 * The list at the head of the set says how much of a file the data pass holds and what the file's base was
 * when the backup began; the list at its end counts the second pass (pages changed meanwhile) and names
 * this very set as base. Which of the two FILELISTONLY prints for these three columns is not known for
 * certain; the head's agree with the sizes of the data that follow.
 */
static const struct bak_file *
at_head(const struct bak_set *s, size_t i)
{
	return s->head != NULL && i < s->head->n_files && s->head->files[i].file_id == s->files[i].file_id ? &s->head->files[i]
	                                                                                                   : &s->files[i];
}

static json_t *
file_of(const struct bak_set *set, size_t i)
{
	const struct bak_file *f = &set->files[i], *head = at_head(set, i);
	json_t *o = json_object();
	char type[2] = { f->type, '\0' };

	json_object_set_new(o, "LogicalName", text(f->logical_name));
	json_object_set_new(o, "PhysicalName", text(f->physical_name));
	json_object_set_new(o, "Type", json_string(type));
	json_object_set_new(o, "FileGroupName", name(f->group_name));
	json_object_set_new(o, "Size", number(f->size));
	json_object_set_new(o, "MaxSize", number(f->max_size));
	json_object_set_new(o, "FileId", number(f->file_id));
	json_object_set_new(o, "CreateLSN", lsn(f->create_lsn));
	json_object_set_new(o, "DropLSN", lsn(f->drop_lsn));
	json_object_set_new(o, "UniqueId", guid(f->unique_id));
	json_object_set_new(o, "ReadOnlyLSN", json_null());
	json_object_set_new(o, "ReadWriteLSN", json_null());
	json_object_set_new(o, "BackupSizeInBytes", number((uint64_t)head->pages * 8192));
	json_object_set_new(o, "SourceBlockSize", number(f->sector_size));
	json_object_set_new(o, "FileGroupId", number(f->group_id));
	json_object_set_new(o, "LogGroupGUID", json_null());
	json_object_set_new(o, "DifferentialBaseLSN", lsn(head->differential_base_lsn));
	json_object_set_new(o, "DifferentialBaseGUID", guid(head->differential_base_guid));
	json_object_set_new(o, "IsReadOnly", json_null());
	json_object_set_new(o, "IsPresent", json_null());
	json_object_set_new(o, "TDEThumbprint", json_null());
	json_object_set_new(o, "SnapshotUrl", json_null());
	return o;
}

static json_t *
pages(const struct bak_set *s)
{
	json_t *o = json_object();
	uint64_t checked = 0, bad = 0, unchecked = 0;

	for (size_t i = 0; i < 2; i++) {
		const struct bak_pages *p = &s->pages[i];

		checked += p->checked;
		bad += p->bad;
		unchecked += p->zero + p->foreign + p->unprotected;
	}
	json_object_set_new(o, "checked", number(checked));
	json_object_set_new(o, "bad", number(bad));
	json_object_set_new(o, "unchecked", number(unchecked));
	return o;
}

static void
set_identity(json_t *o, const struct bak *bak, const struct bak_set *s)
{
	json_object_set_new(o, "BackupName", name(s->name));
	json_object_set_new(o, "BackupDescription", name(s->description));
	json_object_set_new(o, "BackupType", number(s->type));
	json_object_set_new(o, "ExpirationDate", date(s->expiration));
	json_object_set_new(o, "Compressed", bit(bak_container(bak) == BAK_MSSQLBAK));
	json_object_set_new(o, "Position", number(s->position));
	json_object_set_new(o, "DeviceType", json_null());
	json_object_set_new(o, "UserName", name(s->user));
	json_object_set_new(o, "ServerName", text(s->server));
	json_object_set_new(o, "DatabaseName", text(s->database));
	json_object_set_new(o, "DatabaseVersion", number(s->database_version));
	json_object_set_new(o, "DatabaseCreationDate", date(s->database_created));
	json_object_set_new(o, "BackupSize", number(s->backup_size));
	json_object_set_new(o, "FirstLSN", lsn(s->first_lsn));
	json_object_set_new(o, "LastLSN", lsn(s->last_lsn));
	json_object_set_new(o, "CheckpointLSN", lsn(s->checkpoint_lsn));
	json_object_set_new(o, "DatabaseBackupLSN", lsn(s->database_backup_lsn));
	json_object_set_new(o, "BackupStartDate", date(s->start));
	json_object_set_new(o, "BackupFinishDate", date(s->finish));
	json_object_set_new(o, "SortOrder", number(s->sort_order));
	json_object_set_new(o, "CodePage", json_null());
	json_object_set_new(o, "UnicodeLocaleId", number(s->locale_id));
	json_object_set_new(o, "UnicodeComparisonStyle", number(s->comparison_style));
	json_object_set_new(o, "CompatibilityLevel", number(s->compat_level));
	json_object_set_new(o, "SoftwareVendorId", number(s->vendor));
	json_object_set_new(o, "SoftwareVersionMajor", number(s->software_major));
	json_object_set_new(o, "SoftwareVersionMinor", number(s->software_minor));
	json_object_set_new(o, "SoftwareVersionBuild", number(s->software_build));
	json_object_set_new(o, "MachineName", name(s->machine));
}

static void
set_chain(json_t *o, const struct bak_set *s)
{
	json_object_set_new(o, "Flags", number(s->flags));
	json_object_set_new(o, "BindingID", guid(s->binding_id));
	json_object_set_new(o, "RecoveryForkID", guid(s->recovery_fork_id));
	json_object_set_new(o, "Collation", collation(s->collation));
	json_object_set_new(o, "FamilyGUID", guid(s->family_guid));
	json_object_set_new(o, "HasBulkLoggedData", bit((s->flags & BAK_FLAG_BULK_LOGGED) != 0));
	json_object_set_new(o, "IsSnapshot", bit((s->flags & BAK_FLAG_SNAPSHOT) != 0));
	json_object_set_new(o, "IsReadOnly", bit((s->flags & BAK_FLAG_READ_ONLY) != 0));
	json_object_set_new(o, "IsSingleUser", bit((s->flags & BAK_FLAG_SINGLE_USER) != 0));
	json_object_set_new(o, "HasBackupChecksums", bit((s->flags & BAK_FLAG_CHECKSUMS) != 0));
	json_object_set_new(o, "IsDamaged", bit((s->flags & BAK_FLAG_DAMAGED) != 0));
	json_object_set_new(o, "BeginsLogChain", bit(s->begins_log_chain));
	json_object_set_new(o, "HasIncompleteMetaData", bit((s->flags & BAK_FLAG_INCOMPLETE_METADATA) != 0));
	json_object_set_new(o, "IsForceOffline", bit((s->flags & BAK_FLAG_TAIL_NORECOVERY) != 0));
	json_object_set_new(o, "IsCopyOnly", bit(s->copy_only));
	json_object_set_new(o, "FirstRecoveryForkID", guid(s->first_recovery_fork_id));
	json_object_set_new(o, "ForkPointLSN", lsn(s->fork_point_lsn));
	json_object_set_new(o, "RecoveryModel", text(s->recovery_model));
	json_object_set_new(o, "DifferentialBaseLSN", lsn(s->differential_base_lsn));
	json_object_set_new(o, "DifferentialBaseGUID", guid(s->differential_base_guid));
	json_object_set_new(o, "BackupTypeDescription", text(type_description(s->type)));
	json_object_set_new(o, "BackupSetGUID", guid(s->backup_set_guid));
	json_object_set_new(o, "CompressedBackupSize", number(s->compressed_size));
	json_object_set_new(o, "Containment", json_null());
	json_object_set_new(o, "KeyAlgorithm", json_null());
	json_object_set_new(o, "EncryptorThumbprint", json_null());
	json_object_set_new(o, "EncryptorType", json_null());
	json_object_set_new(o, "LastValidRestoreTime", json_null());
	json_object_set_new(o, "TimeZone", json_integer(s->time_zone));
	json_object_set_new(o, "CompressionAlgorithm", json_null());
}

json_t *
bak_json_set(const struct bak *bak, const struct bak_set *s)
{
	json_t *o = json_object(), *files = json_array();

	set_identity(o, bak, s);
	set_chain(o, s);
	for (size_t i = 0; i < s->n_files; i++)
		json_array_append_new(files, file_of(s, i));
	json_object_set_new(o, "files", files);
	json_object_set_new(o, "pages", pages(s));
	json_object_set_new(o, "provisional", bit(!s->final));
	return o;
}

json_t *
bak_json(const char *file, const struct bak *bak)
{
	static const char *const containers[] = { NULL, "MTF", "MSSQLBAK", "other" };
	json_t *o = json_object(), *list = json_array(), *sets = json_array();
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *const *findings;
	const char *why = bak_why(bak);
	size_t n;

	findings = bak_findings(mem, bak, &n);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(findings[i]));
	for (size_t i = 0; i < bak_n_sets(bak); i++)
		json_array_append_new(sets, bak_json_set(bak, bak_set(bak, i)));
	json_object_set_new(o, "file", json_string(file));
	json_object_set_new(o, "container", text(containers[bak_container(bak)]));
	json_object_set_new(o, "complete", bit(bak_is_whole(bak)));
	json_object_set_new(o, "why", text(why));
	json_object_set_new(o, "media", media(bak));
	json_object_set_new(o, "findings", list);
	json_object_set_new(o, "sets", sets);
	talloc_free(mem);
	return o;
}
