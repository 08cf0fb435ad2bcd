-- A run that ends at a point in time instead of at the end of what the source has.

set local search_path = landfall, pg_catalog;

alter table run
    -- In the source's local time, as STOPAT takes it; what the person wrote (a zone, perhaps), why, and who.
    add column stop_at     timestamp,
    add column stop_asked  text,
    add column stop_reason text check (length(stop_reason) between 1 and 2000),
    add column stop_by     text,
    -- Where the primary stood when the gates were open: RECOVERY is sent to exactly there. The log that holds the point does
    -- not say it, for the point lies within.
    add column stop_lsn    numeric(25,0),
    add check ((stop_at is null) = (stop_reason is null));

-- The STOPAT that a statement was sent with.
alter table step add column stop_at timestamp;

alter table run_replica
    -- What the server's own history says was restored last in this try of the chain, and with which STOPAT; kept for a run with
    -- a point to stop at: after the log that holds it, redo_start_lsn lies before that log's end.
    add column last_set  bigint references backup_set,
    add column last_stop timestamp;

alter table action drop constraint action_kind_check;
alter table action add constraint action_kind_check
    check (kind in ('hold', 'release', 'retry', 'clock-start', 'clock-stop', 'cutover', 'recover', 'accept-as-tail', 'leave-out',
                    'verify', 'skip', 'unskip', 'cancel', 'drop', 'backout', 'restart', 'confirm', 'stop-at'));
