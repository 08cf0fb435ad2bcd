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
create index step_done on step (run) where state = 'done';
create index upload_arrived on upload (migration) where state = 'arrived';
create index upload_live on upload (id) where state in ('receiving', 'partial', 'whole-not-named');

-- The next run for this worker, among these clusters: claimed for 15 s, without a slot. No row: there is none.
--
-- Who waits for a slot where there is none is left out before anything is sorted or limited, so that a cluster that is full
-- keeps nobody else waiting; a slot counts as taken while somebody is on his way to ask for it. Each probe reads the front of
-- an index. A hundred are looked at and one is taken and locked: so many workers may claim at the same moment, and each finds
-- one. It is a function because its plan is kept: planning costs more than the rest.
create function claim_run(by_worker uuid, among text[]) returns setof run language plpgsql
    set search_path = landfall, pg_catalog as $$
begin
    return query
    with held as (
        select h.cluster, count(*) n from run h
         where (h.has_slot or h.wants_slot) and h.lease_until > now() and h.cluster = any(among) group by 1),
    room as (
        select c.name, c.slots - coalesce(h.n, 0) urgent, c.slots - (c.slots > 1)::int - coalesce(h.n, 0) usual
          from cluster c left join held h on h.cluster = c.name where c.name = any(among)),
    full_volumes as (
        select coalesce(array_agg(x.v), '{}') list from (
            select v from run h join cluster c on c.name = h.cluster, unnest(h.volumes) v
             where h.has_slot and h.lease_until > now() and c.volume_slots > 0 group by v having count(*) >= min(c.volume_slots)) x),
    due as (
        select d.id, d.place from room f cross join lateral (
            (select r.id, r.queue_at place from run r
              where r.cluster = f.name and not r.wants_slot and r.lease_until is null and r.queue_class is not null
                and r.next_try <= now() order by r.queue_at limit 100)
            union all
            (select r.id, r.queue_at from run r
              where r.cluster = f.name and r.wants_slot and r.lease_until is null and r.queue_class is not null
                and r.next_try <= now() and f.urgent > 0
                -- Where only the kept slot is free: those of class 0.
                and r.queue_at < case when f.usual > 0 then timestamptz 'infinity' else now() - interval '500 days' end
                and (r.wants_volumes is null or not r.wants_volumes && (select list from full_volumes))
              order by r.queue_at limit 100)
            union all -- left behind by a worker that died
            (select r.id, r.lease_until + queue_delay(r.queue_class) from run r
              where r.lease_until < now() and r.cluster = f.name and r.queue_class is not null order by r.lease_until limit 100)) d
         order by d.place limit 100),
    one as (
        select r.id from due d join run r on r.id = d.id
         where r.queue_class is not null and (r.lease_until < now() or (r.lease_until is null and r.next_try <= now()))
         order by d.place limit 1 for update of r skip locked)
    update run r set worker = by_worker, lease_token = r.lease_token + 1, lease_until = now() + interval '15 s', has_slot = false,
        next_try = 'infinity' from one where r.id = one.id returning r.*;
end $$;
revoke all on function claim_run(uuid, text[]) from public;
grant execute on function claim_run(uuid, text[]) to landfall_restore;

-- A slot for a run that is claimed: null when it has one, else whom it waits for; it stands in line then. No row: the lease is
-- lost. for_volumes: where a full backup would be restored onto. Counting without the locks would let two through; and it is
-- one statement to the caller, so that nobody waits for his way here and back while they are held.
create function take_slot(run_id bigint, token bigint, for_volumes text[]) returns setof text language plpgsql
    set search_path = landfall, pg_catalog as $$
declare
    me  run;
    c   cluster;
    room bigint;
    ahead bigint;
    who text;
    first_ahead text;
begin
    select * into me from run where id = run_id and lease_token = token and lease_until > now();
    if not found then
        return;
    end if;
    select * into c from cluster where name = me.cluster for no key update;
    if c.volume_slots = 0 then
        for_volumes := null;
    end if;
    if for_volumes is not null then
        -- Two clusters of the configuration may have one server's volume. "LFvo": any number that nobody else uses.
        perform pg_advisory_xact_lock(1279686255);
        select format('a full restore onto %s at a time, and %s is at it', v, min(h.migration || ' ' || h.kind)) into who
          from run h, unnest(h.volumes) v
         where h.has_slot and h.lease_until > now() and h.id <> run_id and v = any(for_volumes)
         group by v having count(*) >= c.volume_slots order by v limit 1;
    end if;
    select c.slots - (me.state <> 'cutover' and c.slots > 1)::int - count(*),
           format('a restore slot of cluster %s: %s is being restored', c.name, min(h.migration || ' ' || h.kind))
      into room, first_ahead from run h where h.cluster = c.name and h.has_slot and h.lease_until > now() and h.id <> run_id;
    if who is null and room <= 0 then
        who := first_ahead;
    elsif who is null then
        -- Nobody who comes by at the right moment is served before those that stand in line and can be.
        select count(*), format('a restore slot of cluster %s: %s is before it', c.name, min(x.name) filter (where x.n = 1)) into ahead, first_ahead
          from (select o.migration || ' ' || o.kind as name, row_number() over (order by o.queue_at) n from run o
                 where o.cluster = c.name and o.id <> run_id and o.wants_slot and o.queue_class is not null
                   and o.queue_at < coalesce(me.wants_since, now()) + queue_delay(me.queue_class)
                   and (o.lease_until > now() or (o.lease_until is null and o.next_try <= now() + interval '1 s'))
                   and (o.wants_volumes is null or c.volume_slots = 0 or not exists (
                       select 1 from run h, unnest(h.volumes) v where h.has_slot and h.lease_until > now() and v = any(o.wants_volumes)
                        group by v having count(*) >= c.volume_slots))
                 order by o.queue_at limit room) x;
        if ahead >= room then
            who := first_ahead;
        end if;
    end if;
    update run set has_slot = who is null, wants_slot = who is not null,
           volumes = case when who is null then for_volumes end, wants_volumes = case when who is not null then for_volumes end
     where id = run_id and lease_token = token and lease_until > now();
    if found then
        return next who;
    end if;
end $$;
revoke all on function take_slot(bigint, bigint, text[]) from public;
grant execute on function take_slot(bigint, bigint, text[]) to landfall_restore;

-- Their questions are short; compiling one costs more than answering it.
alter role landfall_restore set jit = off;
alter role landfall_console set jit = off;
alter role landfall_operator set jit = off;
