-- What people choose about a run: its turn, the replica that RECOVERY is for, asking the servers anew. And what a list of all
-- migrations needs so that it is read in one go.

set local search_path = landfall, pg_catalog;

alter table run
    add column priority_why     text,        -- who set it, and why
    add column preflight_wanted timestamptz; -- a person wants its servers asked anew, since

-- The acts that there are already, whatever file brought them, and these.
do $$
declare acts text;
begin
    select pg_get_constraintdef(c.oid) into strict acts from pg_constraint c where c.conrelid = 'action'::regclass and c.conname = 'action_kind_check';
    alter table action drop constraint action_kind_check;
    execute 'alter table action add constraint action_kind_check '
        || replace(acts, 'ARRAY[', 'ARRAY[''priority''::text, ''primary''::text, ''preflight''::text, ');
end $$;

create index run_preflight_wanted on run (cluster) where preflight_wanted is not null and lease_until is null;

-- As before, and: who is to be asked anew is visited although it stands in line. It keeps its place there.
create or replace function claim_run(by_worker uuid, among text[]) returns setof run language plpgsql
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
            union all -- only to be asked
            (select r.id, r.queue_at from run r
              where r.cluster = f.name and r.preflight_wanted is not null and r.wants_slot and r.lease_until is null and r.queue_class is not null
                and r.next_try <= now() limit 100)
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

-- As before, and: a volume has its line too. Whoever came by as it became free had it, even before one that a person had put
-- first, and a full takes hours.
create or replace function take_slot(run_id bigint, token bigint, for_volumes text[]) returns setof text language plpgsql
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
    if who is null and for_volumes is not null then
        select format('a full restore onto %s at a time, and %s is before it', v, ahead.name) into who
          from unnest(for_volumes) v,
               lateral (select count(*) n from run h where h.has_slot and h.lease_until > now() and h.id <> run_id and v = any(h.volumes)) held,
               lateral (select count(*) n, min(o.migration || ' ' || o.kind) as name from run o
                 where o.cluster = c.name and o.id <> run_id and o.wants_slot and o.queue_class is not null and v = any(o.wants_volumes)
                   and o.queue_at < coalesce(me.wants_since, now()) + queue_delay(me.queue_class)
                   and (o.lease_until > now() or (o.lease_until is null and o.next_try <= now() + interval '1 s'))
                   and not exists (select 1 from run h, unnest(h.volumes) w where h.has_slot and h.lease_until > now() and h.id <> o.id
                        and w = any(o.wants_volumes) group by w having count(*) >= c.volume_slots)) ahead
         where held.n + ahead.n >= c.volume_slots order by v limit 1;
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

-- What a list says of a plan stands beside it: a plan is long, and unpacking ten thousand of them costs more than all else.
alter table run
    add column gap   text,                   -- its first one, in words
    add column gaps  integer not null default 0,
    add column whole boolean;                -- null: there is no plan

create function run_plan() returns trigger language plpgsql
    set search_path = landfall, pg_catalog as $$
begin
    new.gap := new.plan->'gaps'->0->>'text';
    new.gaps := coalesce(jsonb_array_length(new.plan->'gaps'), 0);
    new.whole := coalesce((new.plan->>'complete')::boolean, case when new.plan is not null then false end);
    return new;
end $$;
create trigger run_plan before insert or update of plan on run for each row execute function run_plan();
update run set plan = plan where plan is not null;

-- Counting a run's steps reads the index alone.
drop index step_done;
create index step_done on step (run, chain) where state = 'done';
