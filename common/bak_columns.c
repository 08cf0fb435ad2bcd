#include "common/bak_columns.h"

#include <stddef.h>
#include <string.h>

/*
 * Sources name the structure of the file and the offset in it: TAPE, RAID (media), SSET, VOLB, SCIN (set),
 * SFGI, SFIN (files). They were read off real files and agree with what servers printed for some of them;
 * "one witness" and "guess" are said where that is all there is.
 */

enum kind {
	NONE, TEXT, NAME /* "" is NULL */, U8, U16, U32, U64, I8, LSN, GUID, DATE, FLAG, BOOL,
	FAMILY, FILE_TYPE, PACKED, ALGORITHM, DESCRIPTION, COLLATION, BYTES_IN_BACKUP,
};

#define M(name, kind, field, settles, source) { name, kind, offsetof(struct bak_media, field), 0, settles, source }
#define S(name, kind, field, settles, source) { name, kind, offsetof(struct bak_set, field), 0, settles, source }
#define B(name, bit, source) { name, FLAG, offsetof(struct bak_set, flags), bit, BAK_AT_END, source }
#define F(name, kind, field, settles, source) { name, kind, offsetof(struct bak_file, field), 0, settles, source }
#define UNKNOWN(name, why) { name, NONE, 0, 0, BAK_UNKNOWN, why }

static const struct bak_column label[] = {
	M("MediaName", NAME, name, BAK_AT_HEAD, "TAPE 0x44 (always empty in the files at hand)"),
	M("MediaSetId", GUID, media_set_id, BAK_AT_HEAD, "RAID 0x00"),
	M("FamilyCount", U16, family_count, BAK_AT_HEAD, "RAID 0x14"),
	M("FamilySequenceNumber", U16, family_number, BAK_AT_HEAD, "RAID 0x18"),
	M("MediaFamilyId", FAMILY, media_family_id, BAK_AT_HEAD, "TAPE 0x34, as the first group of an otherwise zero GUID"),
	M("MediaSequenceNumber", U16, media_sequence, BAK_AT_HEAD, "TAPE 0x3C"),
	UNKNOWN("MediaLabelPresent", "not known where, if it is in the file"),
	M("MediaDescription", NAME, description, BAK_AT_HEAD, "TAPE 0x48"),
	M("SoftwareName", TEXT, software, BAK_AT_HEAD, "TAPE 0x50"),
	M("SoftwareVendorId", U16, vendor, BAK_AT_HEAD, "TAPE 0x56"),
	M("MediaDate", DATE, date, BAK_AT_HEAD, "TAPE 0x58, the source's local time"),
	M("Mirror_Count", U16, mirror_count, BAK_AT_HEAD, "RAID 0x16 (1 in all files at hand)"),
	{ "IsCompressed", PACKED, 0, 0, BAK_AT_HEAD, "derived: the container is MSSQLBAK" },
};

static const struct bak_column header[] = {
	S("BackupName", NAME, name, BAK_AT_HEAD, "SSET 0x40"),
	S("BackupDescription", NAME, description, BAK_AT_HEAD, "SSET 0x44"),
	S("BackupType", U32, type, BAK_AT_HEAD, "SCIN 0x57, the letter of msdb (D I L seen; F G P Q by msdb's letters)"),
	S("ExpirationDate", DATE, expiration, BAK_AT_HEAD, "SSET, its OS data at 16 (empty in the files at hand: a guess)"),
	{ "Compressed", PACKED, 0, 0, BAK_AT_HEAD, "derived: the container is MSSQLBAK" },
	S("Position", U16, position, BAK_AT_HEAD, "SSET 0x3E"),
	UNKNOWN("DeviceType", "not in the file: the server says how it reads it"),
	S("UserName", NAME, user, BAK_AT_HEAD, "SSET 0x4C"),
	S("ServerName", TEXT, server, BAK_AT_HEAD, "SCIN 0x6C"),
	S("DatabaseName", TEXT, database, BAK_AT_HEAD, "SCIN 0x68"),
	S("DatabaseVersion", U16, database_version, BAK_AT_HEAD, "SCIN 0x5E"),
	S("DatabaseCreationDate", DATE, database_created, BAK_AT_HEAD, "SCIN 0x48"),
	S("BackupSize", U64, backup_size, BAK_AT_END, "SCIN 0x60; an estimate at the head"),
	S("FirstLSN", LSN, first_lsn, BAK_AT_END, "SCIN 0x20"),
	S("LastLSN", LSN, last_lsn, BAK_AT_END, "SCIN 0x2A"),
	S("CheckpointLSN", LSN, checkpoint_lsn, BAK_AT_END, "SCIN 0x34"),
	S("DatabaseBackupLSN", LSN, database_backup_lsn, BAK_AT_HEAD, "SCIN 0x3E"),
	S("BackupStartDate", DATE, start, BAK_AT_HEAD, "SCIN 0x4D, the source's local time"),
	S("BackupFinishDate", DATE, finish, BAK_AT_END, "SCIN 0x52, the source's local time; none at the head"),
	S("SortOrder", U8, sort_order, BAK_AT_HEAD, "SCIN 0x58"),
	UNKNOWN("CodePage", "not found in the file (servers print 0)"),
	S("UnicodeLocaleId", U32, locale_id, BAK_AT_HEAD, "SCIN 0x74"),
	S("UnicodeComparisonStyle", U32, comparison_style, BAK_AT_HEAD, "SCIN 0x78"),
	S("CompatibilityLevel", U8, compat_level, BAK_AT_HEAD, "SCIN 0x5B"),
	S("SoftwareVendorId", U16, vendor, BAK_AT_HEAD, "SSET 0x3C"),
	S("SoftwareVersionMajor", U8, software_major, BAK_AT_HEAD, "SCIN 0x1B"),
	S("SoftwareVersionMinor", U8, software_minor, BAK_AT_HEAD, "SCIN 0x1A"),
	S("SoftwareVersionBuild", U16, software_build, BAK_AT_HEAD, "SCIN 0x18"),
	S("MachineName", NAME, machine, BAK_AT_HEAD, "VOLB 0x40"),
	S("Flags", U32, flags, BAK_AT_END, "SCIN 0x08"),
	S("BindingID", GUID, binding_id, BAK_AT_HEAD, "SCIN 0x7C"),
	S("RecoveryForkID", GUID, recovery_fork_id, BAK_AT_HEAD, "SCIN 0x9C"),
	{ "Collation", COLLATION, offsetof(struct bak_set, collation), 0, BAK_AT_HEAD,
	  "SCIN 0xD8, five bytes as in TDS; named only where the name was seen beside them" },
	S("FamilyGUID", GUID, family_guid, BAK_AT_HEAD, "SCIN 0xE0"),
	B("HasBulkLoggedData", BAK_FLAG_BULK_LOGGED, "Flags, bit 0x1"),
	B("IsSnapshot", BAK_FLAG_SNAPSHOT, "Flags, bit 0x2"),
	B("IsReadOnly", BAK_FLAG_READ_ONLY, "Flags, bit 0x4"),
	B("IsSingleUser", BAK_FLAG_SINGLE_USER, "Flags, bit 0x8"),
	B("HasBackupChecksums", BAK_FLAG_CHECKSUMS, "Flags, bit 0x10"),
	B("IsDamaged", BAK_FLAG_DAMAGED, "Flags, bit 0x20"),
	S("BeginsLogChain", BOOL, begins_log_chain, BAK_AT_END, "derived: a log whose FirstLSN is the origin of the log chain (SCIN 0xF8)"),
	B("HasIncompleteMetaData", BAK_FLAG_INCOMPLETE_METADATA, "Flags, bit 0x80"),
	B("IsForceOffline", BAK_FLAG_TAIL_NORECOVERY, "Flags, bit 0x100"),
	S("IsCopyOnly", BOOL, copy_only, BAK_AT_HEAD, "SSET 0x34, bit 0x2, or Flags, bit 0x400 (one witness each)"),
	S("FirstRecoveryForkID", GUID, first_recovery_fork_id, BAK_AT_END, "derived: the fork in force at FirstLSN (a guess where a fork is spanned)"),
	S("ForkPointLSN", LSN, fork_point_lsn, BAK_AT_END, "derived: where that fork ended (a guess)"),
	S("RecoveryModel", TEXT, recovery_model, BAK_AT_HEAD, "SCIN 0xF4, bits 0x8 SIMPLE and 0x4 BULK-LOGGED"),
	S("DifferentialBaseLSN", LSN, differential_base_lsn, BAK_AT_HEAD, "SCIN 0x104"),
	S("DifferentialBaseGUID", GUID, differential_base_guid, BAK_AT_HEAD, "SCIN 0x110"),
	S("BackupTypeDescription", DESCRIPTION, type, BAK_AT_HEAD, "derived from BackupType; the words as documented"),
	S("BackupSetGUID", GUID, backup_set_guid, BAK_AT_HEAD, "SSET, its OS data at 0"),
	S("CompressedBackupSize", U64, compressed_size, BAK_AT_END, "SCIN 0x158; BackupSize in 2005, which has none"),
	UNKNOWN("Containment", "not known where, if it is in the file"),
	UNKNOWN("KeyAlgorithm", "not known where; an encrypted backup is not read"),
	UNKNOWN("EncryptorThumbprint", "not known where; an encrypted backup is not read"),
	UNKNOWN("EncryptorType", "not known where; an encrypted backup is not read"),
	UNKNOWN("LastValidRestoreTime", "not known where, if it is in the file"),
	S("TimeZone", I8, time_zone, BAK_AT_HEAD, "SSET 0x5F, quarter hours"),
	{ "CompressionAlgorithm", ALGORITHM, 0, 0, BAK_AT_HEAD, "derived: what it was unpacked with" },
};

/*
 * The list at the head of the set says how much of a file the data pass holds and what the file's base was
 * when the backup began; the list at its end counts the second pass (pages changed meanwhile) and names
 * this very set as base. Which of the two FILELISTONLY prints for these three columns is not known for
 * certain; the head's agree with the sizes of the data that follow.
 */
static const struct bak_column files[] = {
	F("LogicalName", TEXT, logical_name, BAK_AT_HEAD, "SFIN 0x30"),
	F("PhysicalName", TEXT, physical_name, BAK_AT_HEAD, "SFIN 0x34"),
	F("Type", FILE_TYPE, type, BAK_AT_HEAD, "SFIN 0x1C: 1 data, 2 log; other kinds are not known"),
	F("FileGroupName", NAME, group_name, BAK_AT_HEAD, "SFGI 0x10"),
	F("Size", U64, size, BAK_AT_END, "SFIN 0x28"),
	F("MaxSize", U64, max_size, BAK_AT_END, "SFIN 0x56"),
	F("FileId", U32, file_id, BAK_AT_HEAD, "SFIN 0x14"),
	F("CreateLSN", LSN, create_lsn, BAK_AT_END, "SFIN 0x8A"),
	F("DropLSN", LSN, drop_lsn, BAK_AT_END, "SFIN 0x94 (a guess)"),
	F("UniqueId", GUID, unique_id, BAK_AT_HEAD, "SFIN 0xBA"),
	UNKNOWN("ReadOnlyLSN", "not known where (perhaps SFIN 0x38)"),
	UNKNOWN("ReadWriteLSN", "not known where (perhaps SFIN 0x38)"),
	F("BackupSizeInBytes", BYTES_IN_BACKUP, head_pages, BAK_AT_HEAD, "SFIN 0x18 of the head, in pages"),
	F("SourceBlockSize", U32, sector_size, BAK_AT_HEAD, "SFIN 0x20"),
	F("FileGroupId", U32, group_id, BAK_AT_HEAD, "SFIN 0x24"),
	UNKNOWN("LogGroupGUID", "not known where, if it is in the file"),
	F("DifferentialBaseLSN", LSN, head_base_lsn, BAK_AT_HEAD, "SFIN 0x9E of the head"),
	F("DifferentialBaseGUID", GUID, head_base_guid, BAK_AT_HEAD, "SFIN 0xAA of the head"),
	UNKNOWN("IsReadOnly", "not known where, if it is in the file"),
	UNKNOWN("IsPresent", "not known where, if it is in the file"),
	UNKNOWN("TDEThumbprint", "not known where, if it is in the file"),
	UNKNOWN("SnapshotUrl", "not in a file: for backups of snapshots in a cloud"),
};

#undef M
#undef S
#undef B
#undef F
#undef UNKNOWN

const struct bak_column *
bak_columns(enum bak_statement statement, size_t *n)
{
	static const struct { const struct bak_column *columns; size_t n; } all[] = {
		[BAK_LABELONLY] = { label, sizeof(label) / sizeof(label[0]) },
		[BAK_HEADERONLY] = { header, sizeof(header) / sizeof(header[0]) },
		[BAK_FILELISTONLY] = { files, sizeof(files) / sizeof(files[0]) },
	};

	*n = all[statement].n;
	return all[statement].columns;
}

/* ---- values ---------------------------------------------------------------------------------------------- */

static json_t *
text(const char *s)
{
	return s == NULL ? json_null() : json_string(s);
}

static json_t *
lsn(const struct lsn *l)
{
	return lsn_is_null(*l) ? json_null() : json_string(lsn_text(*l).s);
}

static json_t *
guid(const struct guid *g)
{
	return guid_is_null(*g) ? json_null() : json_string(guid_text(*g).s);
}

static json_t *
date(const struct bak_date *d)
{
	return d->year == 0 ? json_null() : json_string(bak_date_text(*d).s);
}

static json_t *
number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *
family(uint32_t id)
{
	struct guid g = { { 0 } };

	for (int i = 0; i < 4; i++)
		g.b[i] = (uint8_t)(id >> (8 * i));
	return guid(&g);
}

/* Only pairs that were seen beside each other. */
static json_t *
collation(const uint8_t c[static 5])
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
description(enum bak_type t)
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
file_type(char c)
{
	char s[2] = { c, '\0' };

	return c == '?' ? json_null() : json_string(s);
}

static json_t *
value(const struct bak_column *column, const struct bak *bak, const void *field)
{
	bool packed = bak_container(bak) == BAK_MSSQLBAK;

	switch ((enum kind)column->kind) {
	case TEXT: return text(*(const char *const *)field);
	case NAME: return text(*(const char *const *)field == NULL || **(const char *const *)field == '\0' ? NULL : *(const char *const *)field);
	case U8: return number(*(const uint8_t *)field);
	case U16: return number(*(const uint16_t *)field);
	case U32: return number(*(const uint32_t *)field);
	case U64: return number(*(const uint64_t *)field);
	case I8: return json_integer(*(const int8_t *)field);
	case LSN: return lsn(field);
	case GUID: return guid(field);
	case DATE: return date(field);
	case FLAG: return json_boolean((*(const uint32_t *)field & column->bit) != 0);
	case BOOL: return json_boolean(*(const bool *)field);
	case FAMILY: return family(*(const uint32_t *)field);
	case FILE_TYPE: return file_type(*(const char *)field);
	case PACKED: return json_boolean(packed);
	case ALGORITHM: return packed ? json_string("MS_XPRESS") : json_null();
	case DESCRIPTION: return text(description(*(const enum bak_type *)field));
	case COLLATION: return collation(field);
	case BYTES_IN_BACKUP: return number((uint64_t)*(const uint32_t *)field * 8192);
	case NONE: break;
	}
	return json_null();
}

json_t *
bak_column_value(const struct bak_column *column, enum bak_statement statement, const struct bak *bak, const struct bak_set *set,
                 const struct bak_file *file)
{
	const char *base = statement == BAK_LABELONLY ? (const char *)bak_media(bak)
	                   : statement == BAK_HEADERONLY ? (const char *)set : (const char *)file;

	return base == NULL ? json_null() : value(column, bak, base + column->at);
}
