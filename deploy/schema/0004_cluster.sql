-- After RECOVERY: what the new primary's cluster is told, and how far each replica is in its availability group.

set local search_path = landfall, pg_catalog;

alter table run
    -- A production run is settled when its cluster has all that the configuration asks: a backup of the new primary, its
    -- place in the availability group, every replica level. Null while that goes on; the users work meanwhile.
    add column settled_at timestamptz,
    -- Whose turn it is while waits_for or failure says something: null when it goes on by itself.
    add column waits_on   text check (waits_on in ('customer', 'operator'));

-- What came ONLINE before this file was applied was settled by hand.
update run set settled_at = now() where state in ('online', 'verified');

alter table run_replica
    add column group_state text,            -- the group's own word: SYNCHRONIZED, SYNCHRONIZING, …; null: not joined
    add column lag_seconds bigint,          -- behind the primary, as the primary says
    add column redo_kb     bigint;

alter table step drop constraint step_kind_check;
alter table step add constraint step_kind_check check (kind in ('full', 'differential', 'log', 'recovery', 'users', 'drop',
    'settings', 'backup', 'group-add', 'group-join', 'log-backup', 'log-catch-up', 'group-seed'));

create index run_unsettled on run (next_try) where settled_at is null and state in ('online', 'verified');
