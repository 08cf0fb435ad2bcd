-- The restore queue: who comes next, found by an index however many wait.

set local search_path = landfall, pg_catalog;

alter table cluster
    -- Full backups that are restored at once onto one volume of a server; 0: no such limit.
    add column volume_slots integer not null default 0 check (volume_slots between 0 and 64);

alter table run
    add column cluster       text references cluster,        -- its migration's: the queue is one index, without a join
    add column priority      smallint not null default 0 check (priority between -1 and 1), -- a person's word
    add column queue_class   smallint,                       -- null: not in the queue
    add column queue_at      timestamptz,                    -- its place: the smallest comes first
    add column wants_since   timestamptz,                    -- waits for a slot since
    add column slot_at       timestamptz,                    -- got its slot
    add column wants_volumes text[],                         -- waits with a full backup for these volumes too
    add column volumes       text[];                         -- restores a full backup onto these

update run r set cluster = m.cluster from migration m where m.id = r.migration;
alter table run alter column cluster set not null;

-- Classes: 0 the cutover itself, 1 what a person put first and what catches up while the source is off, 2 logs as they
-- come, 3 a first full backup, 4 rehearsals and what a person put last, 5 what is ONLINE and settles.
create function queue_class(state text, kind text, clock_started timestamptz, settled_at timestamptz, drop_asked text, priority smallint)
    returns smallint language sql immutable as $$
    select (case
        when kind = 'production' and state in ('cutover', 'recovering') then 0
        when drop_asked is not null then 1 -- whatever the state
        when state in ('waiting', 'restoring', 'ready', 'recovering') then case
            when priority > 0 then 1 when priority < 0 then 4 when kind = 'uat' then 4
            when clock_started is not null then 1 when state = 'waiting' then 3 else 2 end
        when state in ('online', 'verified') and kind = 'production' and settled_at is null then 5 end)::smallint $$;

-- By how much a class is behind the first: it is the earliest of (waits since + this) that comes next, so that each class
-- has its rank and nothing starves. A cutover is before all others, however long they have waited.
create function queue_delay(class smallint) returns interval language sql immutable as $$
    select case class when 0 then interval '-1000 days' when 1 then interval '0 s' when 2 then interval '30 s'
        when 3 then interval '2 min' when 4 then interval '10 min' else interval '5 min' end $$;

create function run_place() returns trigger language plpgsql
    set search_path = landfall, pg_catalog as $$
begin
    if tg_op = 'INSERT' then
        select m.cluster into new.cluster from migration m where m.id = new.migration;
    elsif new.has_slot and not old.has_slot then
        new.slot_at := now();
    end if;
    if not new.wants_slot then
        new.wants_since := null;
        new.wants_volumes := null;
    elsif tg_op = 'INSERT' or not old.wants_slot or new.wants_since is null then
        new.wants_since := now();
    end if;
    if not new.has_slot then
        new.volumes := null;
    end if;
    new.queue_class := queue_class(new.state, new.kind, new.clock_started, new.settled_at, new.drop_asked, new.priority);
    new.queue_at := coalesce(new.wants_since, new.next_try) + queue_delay(new.queue_class);
    return new;
end $$;
create trigger run_place before insert or update on run for each row execute function run_place();

create function migration_moves_queue() returns trigger language plpgsql security definer
    set search_path = landfall, pg_catalog as $$
begin
    update run set cluster = new.cluster where migration = new.id;
    return null;
end $$;
revoke all on function migration_moves_queue() from public;
create trigger migration_moves_queue after update of cluster on migration for each row
    when (old.cluster is distinct from new.cluster) execute function migration_moves_queue();

update run set queue_class = null; -- its trigger gives every run its place

drop index run_queue;
drop index run_unsettled;
create index run_free on run (cluster, wants_slot, queue_at, next_try) where lease_until is null and queue_class is not null;
create index run_leased on run (lease_until) where lease_until is not null;
create index run_slots on run (cluster) where has_slot;
-- A run is written at every visit: room for that, and the dead rows go soon.
alter table run set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- What the console asks at every look.
create index step_running on step (run) where state = 'running';
create index upload_live on upload (migration) where state in ('receiving', 'partial');
