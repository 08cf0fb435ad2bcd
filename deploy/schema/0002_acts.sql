-- What people can ask of a run: taking a backup out of the plan, cancelling, dropping, beginning again, backing out.

set local search_path = landfall, pg_catalog;

alter table run
    -- Stopped by a person: nothing is planned until it is released or tried again. hold says why, as for every hold.
    add column cancelled_at  timestamptz,
    -- The customer went back to the source. run_sheet: what to switch on there, in order (landfall.run_sheet/1).
    add column backed_out    text,
    add column backed_out_at timestamptz,
    add column run_sheet     jsonb,
    -- After a backout: what ends here or before is not the tail of the next cutover.
    add column void_until    numeric(25,0),
    -- A worker is to throw the copy away: for good, or because the chain begins again.
    add column drop_asked    text check (drop_asked in ('drop', 'restart')),
    add column drop_by       text,
    add column drop_said     text,                      -- how the last one ended
    -- A RESTORE that runs is to be broken off.
    add column break_off     boolean not null default false,
    -- Which try of the whole chain this is: steps of earlier ones tell of a copy that is gone.
    add column chain         integer not null default 1 check (chain > 0),
    -- Counts what people changed in the plan: a worker that planned before does not begin a statement after.
    add column replanned     integer not null default 0,
    add check ((backed_out is null) = (backed_out_at is null)),
    -- A production database that is ONLINE is never dropped.
    add check (drop_asked is null or kind = 'uat' or (state not in ('online', 'verified') and recovered_at is null));

-- Backup sets that a person took out of the plan.
create table skipped (
    backup_set bigint primary key references backup_set,
    reason     text not null check (length(reason) between 1 and 2000),
    skipped_by text not null,
    skipped_at timestamptz not null default now()
);

alter table step drop constraint step_kind_check;
alter table step add constraint step_kind_check
    check (kind in ('full', 'differential', 'log', 'recovery', 'users', 'drop'));

-- Where the cluster's policy asks for a second person: the act waits, refused, until another one confirms it.
alter table action
    add column needs_second boolean not null default false,
    add column confirmed_by text;

alter table action drop constraint action_kind_check;
alter table action add constraint action_kind_check
    check (kind in ('hold', 'release', 'retry', 'clock-start', 'clock-stop', 'cutover', 'recover', 'accept-as-tail', 'leave-out',
                    'verify', 'skip', 'unskip', 'cancel', 'drop', 'backout', 'restart', 'confirm'));

insert into transition values
    ('ready',      'waiting',   'the copy is thrown away'),
    ('cutover',    'waiting',   'the copy is thrown away'),
    ('recovering', 'waiting',   'the copy is thrown away before RECOVERY'),
    ('recovering', 'cutover',   'the chain begins again in the middle of the cutover, before RECOVERY'),
    ('online',     'waiting',   'a rehearsal''s copy is thrown away'),
    ('verified',   'waiting',   'a rehearsal''s copy is thrown away'),
    ('cutover',    'restoring', 'the cutover was backed out and restoring goes on'),
    ('recovering', 'restoring', 'the cutover was backed out before RECOVERY and restoring goes on')
    on conflict do nothing;

create trigger wake_work after insert or update or delete on skipped for each statement execute function wake('landfall_work');

-- Who asks is who is logged in: nobody says it of himself.
revoke insert on action from landfall_operator;
grant insert (migration, run, kind, args, idempotency_key) on action to landfall_operator;
grant update (needs_second, confirmed_by) on action to landfall_restore;

grant select on skipped to landfall_receiver, landfall_restore, landfall_verify, landfall_console, landfall_operator;
grant insert, update, delete on skipped to landfall_restore;
