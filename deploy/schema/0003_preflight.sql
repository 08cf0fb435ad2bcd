-- What each replica said before anything is restored, and what the target read in a backup beside what our reader said.

set local search_path = landfall, pg_catalog;

-- One row per run and replica, replaced as a whole: [{"id", "severity": info | warns | blocks, "who": customer | operator, "text"}].
create table preflight (
    run      bigint not null references run,
    replica  text not null,
    asked_at timestamptz not null default now(),
    parts    bigint not null,                        -- stripes known by then: when more are, it is asked again
    findings jsonb not null check (jsonb_typeof(findings) = 'array'),
    blocks   boolean not null generated always as (jsonb_path_exists(findings, '$[*] ? (@.severity == "blocks")')) stored,
    primary key (run, replica)
);

-- Once per set, before its first RESTORE anywhere; again when it stands in other files by then.
create table comparison (
    backup_set  bigint primary key references backup_set,
    uploads     bigint[] not null,                   -- the files that were read
    run         bigint not null references run,
    replica     text not null,
    state       text not null check (state in ('same', 'differs', 'stops', 'refused')),
    number      integer,                             -- message with which the server refused to read it
    said        text,
    differences jsonb not null default '[]' check (jsonb_typeof(differences) = 'array'),
    compared_at timestamptz not null default now(),
    check ((state = 'refused') = (number is not null))
);

grant select, insert, update on preflight, comparison to landfall_restore;
grant select on preflight, comparison to landfall_verify, landfall_console, landfall_operator;

-- A header or a list of files that is read while its upload goes on lets preflight ask at once.
create trigger nudge_header after update of inspect on upload for each row
    when ((old.inspect->'sets'->0->'files') is distinct from (new.inspect->'sets'->0->'files')
          or old.findings is distinct from new.findings) execute function nudge();
create trigger nudge_new_header after insert on upload for each row when (new.inspect is not null) execute function nudge();
