-- What a second conversation sees of a statement that runs: whose session it is and what it waits for.

set local search_path = landfall, pg_catalog;

alter table step
    add column session   integer,
    add column wait_type text;

-- How long statements took is asked by cluster, newest first.
create index step_measured on step (kind, id desc) where state = 'done' and attempts = 1;
