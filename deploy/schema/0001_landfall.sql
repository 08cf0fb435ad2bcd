-- Landfall's tables. Forward only: what has been applied is never edited, a later file changes it.
--
-- The programs meet only here. Each has its own role at the end of this file with no more rights than
-- its work needs. Conventions: times are timestamptz, except those read from a backup's header, which
-- are the source server's local time without a zone (timestamp); bytes are bigint; LSNs numeric(25,0),
-- compared and never calculated with; what may be in which state is a table (transition), enforced by
-- a trigger, so that a wrong move fails here whoever asks for it.

create schema if not exists landfall;
set local search_path = landfall, pg_catalog;

-- ---- clusters -------------------------------------------------------------------------------------

create table cluster (
    name             text primary key check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    region           text not null check (region ~ '^[a-z0-9-]{1,32}$'),
    slots            integer not null default 2 check (slots between 1 and 64),
    -- Newest internal database version that every replica can restore; null until a worker has asked.
    database_version integer,
    updated_at       timestamptz not null default now()
);

create table replica (
    cluster          text not null references cluster,
    name             text not null,
    ordinal          integer not null check (ordinal >= 0),     -- 0 is the primary
    state            text not null default 'unknown' check (state in ('unknown', 'up', 'away')),
    said             text,                                       -- why it is away, in the server's words
    server_version   text,
    database_version integer,
    seen_at          timestamptz,
    primary key (cluster, name),
    unique (cluster, ordinal) deferrable initially deferred
);

-- ---- migrations -----------------------------------------------------------------------------------

create sequence migration_number;

create function next_migration_id() returns text language sql volatile
    set search_path = landfall, pg_catalog as
$$ select 'm-' || case when n < 10000 then lpad(n::text, 4, '0') else n::text end
     from nextval('landfall.migration_number') n $$;

create table migration (
    id            text primary key default next_migration_id() check (id ~ '^m-[0-9]{4,12}$'),
    customer      text not null check (length(customer) between 1 and 200),
    region        text not null,
    cluster       text not null references cluster,
    database_name text not null check (length(database_name) between 1 and 128),
    encryption    text not null default 'refuse' check (encryption in ('refuse', 'allow')),
    quota_bytes   bigint not null default 10995116277760 check (quota_bytes > 0),
    quota_files   integer not null default 100000 check (quota_files > 0),
    -- The guide's fields as they were given: size, urls, contact, source_version, integrations, …
    intake        jsonb not null default '{}' check (jsonb_typeof(intake) = 'object'),
    -- Which database of that name it is: set from the first full that arrives, changed only by a person.
    family_guid   uuid,
    ended_at      timestamptz,
    created_at    timestamptz not null default now()
);

create table key (
    id          bigint generated always as identity primary key,
    migration   text not null references migration,
    type        text not null,
    blob        text not null,               -- base64, as in the one-line form
    comment     text not null default '',
    fingerprint text not null,               -- SHA256:… as ssh-keygen prints it
    from_list   text[] not null default '{}',-- addresses or CIDR ranges; empty means anywhere
    expires_at  timestamptz,
    added_at    timestamptz not null default now(),
    added_by    text not null default current_user,
    revoked_at  timestamptz
);
create unique index key_live on key (migration, fingerprint) where revoked_at is null;

-- ---- what arrived ---------------------------------------------------------------------------------

create table upload (
    id          bigint generated always as identity primary key,
    migration   text not null references migration,
    upload_key  uuid not null unique,         -- given by the receiver; makes every feed idempotent
    name        text not null,                -- as the customer sees it
    state       text not null check (state in ('receiving', 'partial', 'whole-not-named', 'arrived',
                                               'refused', 'other', 'gone')),
    kind        text not null default 'file' check (kind in ('file', 'backup', 'manifest')),
    bytes       bigint not null default 0 check (bytes >= 0),
    sha256      text check (sha256 ~ '^[0-9a-f]{64}$'),
    vault_path  text,                         -- where SQL Server's copy of it is, beneath the vault
    findings    text[] not null default '{}',
    reason      text,                         -- why it is partial or refused, in words for the customer
    inspect     jsonb,                        -- what the reader says, in the form of landfall inspect
    manifest    jsonb,
    open_writer boolean not null default false,
    version     integer not null default 1 check (version > 0),
    replaced_by bigint references upload,
    waived_tail boolean not null default false,
    -- While it is being received: whose session, how fast (bytes/s), and how many bytes the header lets expect.
    session     text,
    peer        text,
    client      text,
    rate        bigint,
    expected    bigint,
    started_at  timestamptz not null default now(),
    changed_at  timestamptz not null default now(),
    arrived_at  timestamptz,
    check ((state = 'arrived') = (arrived_at is not null) or state in ('gone', 'refused', 'other')),
    check (state <> 'arrived' or (vault_path is not null and sha256 is not null))
);
create index upload_migration on upload (migration, name, version desc);

create table backup_set (
    id                     bigint generated always as identity primary key,
    migration              text not null references migration,
    backup_set_guid        uuid not null,
    kind                   text not null check (kind in ('full', 'differential', 'log', 'file',
                               'file-differential', 'partial', 'partial-differential', 'unknown')),
    database_name          text not null,
    server_name            text not null,
    family_guid            uuid not null,
    binding_id             uuid,
    recovery_fork          uuid not null,
    first_recovery_fork    uuid not null,
    fork_point_lsn         numeric(25,0),
    first_lsn              numeric(25,0) not null,
    last_lsn               numeric(25,0) not null,
    checkpoint_lsn         numeric(25,0) not null,
    database_backup_lsn    numeric(25,0),
    differential_base_lsn  numeric(25,0),
    differential_base_guid uuid,
    started                timestamp,
    finished               timestamp,
    database_version       integer not null,
    compat_level           integer not null,
    recovery_model         text not null,
    flags                  integer not null,
    copy_only              boolean not null,
    has_password           boolean not null default false,
    damaged                boolean not null default false,   -- at the source, as the header says: so in every copy
    compressed             boolean not null default false,
    backup_size            bigint not null,
    compressed_size        bigint not null,
    media_set_id           uuid not null,
    family_count           integer not null check (family_count between 1 and 64),
    header                 jsonb not null,                    -- the set's object of landfall inspect
    known_at               timestamptz not null default now(),
    unique (migration, backup_set_guid),
    check (first_lsn <= last_lsn)
);

-- Which upload holds which stripe of a set, and at which position in that file.
create table media_family (
    backup_set    bigint not null references backup_set,
    upload        bigint not null references upload,
    family_number integer not null check (family_number >= 1),
    position      integer not null check (position >= 1),
    damaged       boolean not null default false,   -- bad pages met in this copy; one sent again may be sound
    primary key (backup_set, upload)
);
create index media_family_upload on media_family (upload);

-- The database's files as FILELISTONLY lists them. Names are the customer's: never used as paths.
create table backup_file (
    backup_set    bigint not null references backup_set,
    file_id       integer not null,
    type          text not null check (type in ('D', 'L', 'S', 'F')),
    logical_name  text not null,
    physical_name text not null,
    size_bytes    bigint not null,
    primary key (backup_set, file_id)
);

-- ---- restoring ------------------------------------------------------------------------------------

create table transition (
    from_state text not null,
    to_state   text not null,
    why        text not null,
    primary key (from_state, to_state)
);
insert into transition values
    ('waiting',    'restoring',  'a full backup is whole and a worker begins'),
    ('waiting',    'cutover',    'the source is said to be off before anything was restored'),
    ('waiting',    'failed',     'a person must look'),
    ('restoring',  'ready',      'everything known is on every replica'),
    ('restoring',  'cutover',    'the source is said to be off'),
    ('restoring',  'recovering', 'a UAT copy has all that is known'),
    ('restoring',  'waiting',    'the chain is started again from another full'),
    ('restoring',  'failed',     'a person must look'),
    ('ready',      'restoring',  'another backup arrived'),
    ('ready',      'cutover',    'the source is said to be off'),
    ('ready',      'recovering', 'a UAT copy has all that is known'),
    ('ready',      'failed',     'a person must look'),
    ('cutover',    'recovering', 'the gates are open and a person said recover'),
    ('cutover',    'failed',     'a person must look'),
    ('recovering', 'online',     'the primary is ONLINE with our last backup and the users are made'),
    ('recovering', 'failed',     'a person must look'),
    ('online',     'verified',   'verification gave a good verdict'),
    ('online',     'failed',     'a person must look'),
    ('verified',   'online',     'verification runs again'),
    ('failed',     'waiting',    'a person asks for another try from the beginning'),
    ('failed',     'restoring',  'a person asks for another try'),
    ('failed',     'cutover',    'a person asks for another try'),
    ('failed',     'recovering', 'a person asks for another try'),
    ('failed',     'online',     'a person asks for another try');

create table run (
    id             bigint generated always as identity primary key,
    migration      text not null references migration,
    kind           text not null check (kind in ('uat', 'production')),
    state          text not null default 'waiting' check (state in ('waiting', 'restoring', 'ready',
                       'cutover', 'recovering', 'online', 'verified', 'failed')),
    -- Generated names: nothing a customer wrote becomes a name on the target.
    target_database text not null unique check (target_database ~ '^[A-Za-z0-9_-]{1,100}$'),
    hold           text,                          -- null, or why nothing is to be done
    waits_for      text,                          -- why nothing is being done now, in words
    failure        text,
    clock_started  timestamptz,                   -- the source is off since
    clock_stopped  timestamptz,
    cutover_at     timestamptz,                   -- cutover was asked
    last_file      text,                          -- the tail named by --last-file
    tail_set       bigint references backup_set,  -- recognised tail: nothing newer is planned
    recover_asked  timestamptz,
    recovered_at   timestamptz,
    users_done     boolean not null default false,
    verdict        text,
    -- Lease: whoever holds the token may touch the target; every write of a worker carries it.
    worker         uuid,
    lease_token    bigint not null default 0,
    lease_until    timestamptz,
    next_try       timestamptz not null default now(),
    has_slot       boolean not null default false, -- counts against its cluster's slots while the lease lives
    wants_slot     boolean not null default false, -- would restore if one were free
    plan           jsonb,                         -- the worker's latest plan, as landfall inspect --chain prints it
    created_at     timestamptz not null default now(),
    changed_at     timestamptz not null default now(),
    unique (migration, kind),
    check (state not in ('online', 'verified') or recovered_at is not null),
    check (state <> 'recovering' or kind = 'uat' or recover_asked is not null)
);
create index run_queue on run (state, next_try);

create function run_moves() returns trigger language plpgsql
    set search_path = landfall, pg_catalog as $$
begin
    if new.state <> old.state and not exists (
        select 1 from transition t where t.from_state = old.state and t.to_state = new.state) then
        raise exception 'a run cannot go from % to %', old.state, new.state using errcode = 'check_violation';
    end if;
    new.changed_at := now();
    return new;
end $$;
create trigger run_moves before update on run for each row execute function run_moves();

-- Every replica of the cluster takes part unless an operator leaves it out. (UAT: the primary only.)
create table run_replica (
    run            bigint not null references run,
    replica        text not null,
    ordinal        integer not null,
    state          text not null default 'unknown',     -- what the server said last: absent, RESTORING, ONLINE, …
    redo_start_lsn numeric(25,0),
    redo_fork      uuid,
    left_out       text,                                -- an operator's reason
    asked_at       timestamptz,
    primary key (run, replica)
);

create table step (
    id           bigint generated always as identity primary key,
    run          bigint not null references run,
    replica      text not null,
    kind         text not null check (kind in ('full', 'differential', 'log', 'recovery', 'users')),
    backup_set   bigint references backup_set,
    chain        integer not null default 1,             -- counts restarts of the whole chain
    state        text not null check (state in ('intended', 'running', 'done', 'skipped', 'failed')),
    attempts     integer not null default 0,
    tries        integer not null default 0,             -- of those attempts since a person asked for another try
    not_before   timestamptz,                            -- a step that failed rests until then
    cut_off      integer not null default 0,             -- how often in a row the server or the worker ended in the middle of it
    statement    text not null,
    percent      integer check (percent between 0 and 100),
    first_error  integer,
    said         text,
    lease_token  bigint not null,
    intended_at  timestamptz not null default now(),
    started_at   timestamptz,
    finished_at  timestamptz,
    check ((kind in ('full', 'differential', 'log')) = (backup_set is not null))
);
-- One row per statement that must run once: repeated tries count up attempts in the same row.
create unique index step_once on step (run, replica, chain, kind, coalesce(backup_set, 0));

create table message (
    id       bigint generated always as identity primary key,
    step     bigint not null references step,
    attempt  integer not null,
    number   integer not null,
    severity integer not null,
    state    integer not null,
    line     integer not null default 0,
    text     text not null,
    at       timestamptz not null default now()
);
create index message_step on message (step);

-- ---- verification ---------------------------------------------------------------------------------

create table verification (
    id          bigint generated always as identity primary key,
    run         bigint not null references run,
    product     text,
    state       text not null default 'asked' check (state in ('asked', 'running', 'done', 'failed')),
    verdict     text check (verdict in ('verified', 'verified_with_warnings', 'not_verified', 'incomplete')),
    result      jsonb,                                   -- landfall.verify/1
    asked_by    text not null default current_user,
    worker      uuid,
    lease_until timestamptz,
    attempts    integer not null default 0,
    started_at  timestamptz,
    finished_at timestamptz,
    created_at  timestamptz not null default now(),
    check ((state = 'done') = (verdict is not null and result is not null))
);

create table check_result (
    verification bigint not null references verification,
    ordinal      integer not null,
    check_id     text not null,
    title        text not null default '',
    result       text not null check (result in ('pass', 'warn', 'fail', 'error', 'skip', 'manual', 'stale')),
    severity     text not null,
    tier         text not null,
    expected     text,
    observed     text,
    duration_ms  integer not null default 0,
    primary key (verification, ordinal)
);

-- ---- people, workers, history ---------------------------------------------------------------------

-- What a person asked for: one row, carried out by a worker. The key makes asking twice harmless.
create table action (
    id              bigint generated always as identity primary key,
    migration       text not null references migration,
    run             bigint references run,
    kind            text not null check (kind in ('hold', 'release', 'retry', 'clock-start', 'clock-stop', 'cutover',
                        'recover', 'accept-as-tail', 'leave-out', 'verify')),
    args            jsonb not null default '{}',
    idempotency_key uuid not null unique default gen_random_uuid(),
    state           text not null default 'asked' check (state in ('asked', 'done', 'refused')),
    refusal         text check (refusal in ('failed', 'not-found', 'conflict', 'not-ready')),
    said            text,
    asked_by        text not null default current_user,
    asked_at        timestamptz not null default now(),
    done_at         timestamptz,
    check ((state = 'refused') = (refusal is not null))
);
create index action_open on action (id) where state = 'asked';

-- Sessions of the receiver that a person wants ended; the receiver looks at those of the last minute.
create table kick (
    id       bigint generated always as identity primary key,
    session  text not null check (session ~ '^[0-9a-f]{8}-[0-9]{1,10}$'),
    asked_by text not null default current_user,
    asked_at timestamptz not null default now()
);

create table worker (
    id         uuid primary key,                         -- new at every process start
    program    text not null,
    host       text not null,
    pid        integer not null,
    started_at timestamptz not null default now(),
    beat_at    timestamptz not null default now()
);

create table event (
    seq       bigint generated always as identity primary key,
    at        timestamptz not null default now(),
    migration text references migration,
    run       bigint references run,
    kind      text not null,
    text      text not null,
    data      jsonb not null default '{}',
    actor     text not null default current_user
);
create index event_migration on event (migration, seq desc);
-- What the receiver tells of one journal record is told once, however often it is fed.
create unique index event_journal on event (migration, (data->>'journal')) where data ? 'journal';

create function event_is_for_ever() returns trigger language plpgsql as
$$ begin raise exception 'events are never changed or deleted'; end $$;
create trigger event_is_for_ever before update or delete or truncate on event
    for each statement execute function event_is_for_ever();

create table outbox (
    id          bigint generated always as identity primary key,
    event       bigint not null references event,
    target      text not null,
    state       text not null default 'waiting' check (state in ('waiting', 'sent', 'given-up')),
    attempts    integer not null default 0,
    next_try    timestamptz not null default now(),
    said        text,
    made_at     timestamptz not null default now(),
    unique (event, target)
);
create index outbox_due on outbox (next_try) where state = 'waiting';

-- Who has to be told of what: one place, whoever writes the event. A customer who sends nonsense all night gets five
-- mails an hour, not a thousand.
create function tell() returns trigger language plpgsql security definer
    set search_path = landfall, pg_catalog as $$
declare address text;
begin
    select intake->>'contact_email' into address from migration where id = new.migration;
    if address ~ '^[^@[:space:][:cntrl:]<>",;:()\\]+@[^@[:space:][:cntrl:]<>",;:()\\]+$' and length(address) <= 254
       and (select count(*) from outbox o join event e on e.seq = o.event
             where e.migration = new.migration and e.at > now() - interval '1 hour') < 5 then
        insert into outbox(event, target) values (new.seq, 'mail:' || address);
    end if;
    return null;
end $$;
revoke all on function tell() from public;
create trigger tell after insert on event for each row when (new.kind = 'refused' and new.migration is not null) execute function tell();

-- ---- waking up: a hint only; everybody polls as well -------------------------------------------------

create function wake() returns trigger language plpgsql
    set search_path = landfall, pg_catalog as $$
begin
    perform pg_notify(tg_argv[0], '');
    return null;
end $$;
create trigger wake_keys after insert or update or delete on key for each statement execute function wake('landfall_keys');
create trigger wake_keys after insert or update on migration for each statement execute function wake('landfall_keys');
create trigger wake_keys after insert on kick for each statement execute function wake('landfall_keys');
create trigger wake_work after insert or update on backup_set for each statement execute function wake('landfall_work');
create trigger wake_work after insert or update of state on upload for each statement execute function wake('landfall_work');
create trigger wake_work after insert on action for each statement execute function wake('landfall_work');
create trigger wake_verify after insert on verification for each statement execute function wake('landfall_verify');
create trigger wake_event after insert on event for each statement execute function wake('landfall_event');

-- What arrives or is asked makes the runs of that migration due at once; runs as the owner, because the
-- receiver may not touch runs.
create function nudge() returns trigger language plpgsql security definer
    set search_path = landfall, pg_catalog as $$
begin
    update run set next_try = now() where migration = new.migration;
    return null;
end $$;
revoke all on function nudge() from public;
create trigger nudge after insert on backup_set for each row execute function nudge();
create trigger nudge after update of state on action for each row execute function nudge();
create trigger nudge after update on upload for each row
    when (old.state is distinct from new.state or old.open_writer is distinct from new.open_writer
          or old.waived_tail is distinct from new.waived_tail) execute function nudge();

-- ---- who may do what ------------------------------------------------------------------------------

do $$
declare r text;
begin
    foreach r in array array['landfall_receiver', 'landfall_restore', 'landfall_verify', 'landfall_console',
                             'landfall_operator'] loop
        if not exists (select 1 from pg_roles where rolname = r) then
            execute format('create role %I login', r);
        end if;
        execute format('alter role %I set search_path = landfall, pg_catalog', r);
        execute format('alter role %I set statement_timeout = ''15s''', r);
        execute format('alter role %I set idle_in_transaction_session_timeout = ''30s''', r);
        execute format('grant usage on schema landfall to %I', r);
    end loop;
end $$;

grant select on schema_migration to landfall_receiver, landfall_restore, landfall_verify, landfall_console, landfall_operator;

-- The receiver faces the internet: what it can touch is what arrives.
grant select on migration, key, cluster, run, run_replica, step, backup_set, media_family, backup_file, upload to landfall_receiver;
-- Not waived_tail: that is an operator's decision.
grant insert (migration, upload_key, name, state, kind, bytes, sha256, vault_path, findings, reason, inspect, manifest, open_writer,
              version, arrived_at, changed_at),
      update (name, state, kind, bytes, sha256, vault_path, findings, reason, inspect, manifest, open_writer, version, arrived_at,
              changed_at, session, peer, client, rate, expected) on upload to landfall_receiver;
grant select on kick to landfall_receiver;
grant insert on backup_set, media_family, backup_file, event to landfall_receiver;
grant update (family_guid) on migration to landfall_receiver;

grant select on all tables in schema landfall to landfall_restore;
grant insert, update on cluster, replica, run_replica, step, worker to landfall_restore;
grant delete on replica to landfall_restore;
grant update on run to landfall_restore;
grant update (state, refusal, said, done_at) on action to landfall_restore;
grant update (waived_tail) on upload to landfall_restore;
grant insert on message, event, verification to landfall_restore;

grant select on all tables in schema landfall to landfall_verify;
grant update on verification to landfall_verify;
grant update (state, verdict, clock_stopped) on run to landfall_verify;
grant insert, update on worker to landfall_verify;
grant insert on check_result, event to landfall_verify;
grant delete on check_result to landfall_verify;

grant select on all tables in schema landfall to landfall_console;
grant update (state, attempts, next_try, said) on outbox to landfall_console;

grant select on all tables in schema landfall to landfall_operator;
grant insert on migration, run, run_replica, key, kick, action, event to landfall_operator;
grant update (revoked_at) on key to landfall_operator;
grant insert (event, target), update (state, next_try, made_at) on outbox to landfall_operator;
grant usage on sequence migration_number to landfall_operator;
