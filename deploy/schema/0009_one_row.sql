-- One run is claimed at a time. Postgres believes a function gives a thousand rows unless told, and read all migrations to join one.

set local search_path = landfall, pg_catalog;

alter function claim_run(uuid, text[]) rows 1;
alter function take_slot(bigint, bigint, text[]) rows 1;
