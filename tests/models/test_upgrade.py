"""What a ledger of an earlier version holds is there after the upgrade, and says the same."""

from __future__ import annotations

from alembic import command
from sqlalchemy import Connection, text

from models.engine import sync_engine
from models.migrate import config, migrate

BULK, SENT, FAILED, SINGLE = (f"00000000-0000-7000-8000-00000000000{n}" for n in range(4))
# As version 0003 wrote it: a batch of two parts, of which one failed, a set-aside row, one mail.
BEFORE = f"""
INSERT INTO ferryman.jobs (id, kind, vendor, args, status, batch_id, finished_at) VALUES
  ('{BULK}', 'bulk_email', 'sendgrid', '{{}}', 'succeeded', '{BULK}', now()),
  ('{SENT}', 'bulk_email_part', 'sendgrid', '{{"part": 1}}', 'succeeded', '{BULK}', now()),
  ('{FAILED}', 'bulk_email_part', 'sendgrid', '{{"part": 2}}', 'failed', '{BULK}', now()),
  ('{SINGLE}', 'send_email', 'sendgrid', '{{}}', 'succeeded', NULL, now());
INSERT INTO ferryman.batches (id, job_id, letter, status, total, sent, failed, invalid, finished_at)
VALUES ('{BULK}', '{BULK}', '{{"template": "d-1"}}', 'done', 4, 2, 1, 1, now());
INSERT INTO ferryman.emails
       (id, job_id, batch_id, vendor, recipient, template, status, reason, vendor_reference)
SELECT gen_random_uuid(), job::uuid, '{BULK}'::uuid, 'sendgrid', recipient, 'd-1', status, reason,
       reference
  FROM (VALUES ('{SENT}', 'a@example.com', 'sent', NULL, 'm-1'),
               ('{SENT}', 'b@example.com', 'sent', NULL, 'm-1'),
               ('{FAILED}', 'c@example.com', 'failed', 'no', NULL),
               ('{BULK}', 'nobody', 'invalid', 'to: no', NULL))
    AS v(job, recipient, status, reason, reference);
INSERT INTO ferryman.emails (id, job_id, vendor, recipient, status, vendor_reference)
VALUES ('{SINGLE}', '{SINGLE}', 'sendgrid', 'd@example.com', 'sent', 'm-2');
"""
READ = """
SELECT recipient, status, reason, vendor_reference, template FROM ferryman.emails
 ORDER BY recipient
"""
# As version 0004 wrote them: a sync that runs and one that has ended, of which rows tell.
OPEN, ENDED = (f"00000000-0000-7000-8000-00000000001{n}" for n in range(2))
SYNCS = f"""
INSERT INTO ferryman.jobs (id, kind, vendor, args, status) VALUES
  ('{OPEN}', 'sync_objects', 's3', '{{}}', 'waiting'),
  ('{ENDED}', 'sync_objects', 's3', '{{}}', 'failed');
INSERT INTO ferryman.objects (job_id, key, action, outcome)
SELECT job::uuid, key, 'copy', 'done'
  FROM (VALUES ('{OPEN}'), ('{ENDED}')) AS j(job), (VALUES ('b'), ('B'), ('ä')) AS k(key);
"""


def begin_at(connection: Connection, version: str, rows: str) -> None:
    """An earlier version's ledger, with these rows."""
    connection.execute(text("DROP SCHEMA ferryman CASCADE"))
    alembic = config()
    alembic.attributes["connection"] = connection
    command.upgrade(alembic, version)
    connection.exec_driver_sql(rows)


def test_syncs_of_an_earlier_version_get_a_batch_and_begin_anew(ledger_url: str) -> None:
    engine = sync_engine(ledger_url)
    with engine.begin() as connection:
        begin_at(connection, "0004", SYNCS)

    migrate(ledger_url)

    query = text("SELECT key FROM ferryman.objects WHERE job_id = :id ORDER BY key")
    with engine.connect() as connection:
        shown = connection.scalar(text("SELECT ferryman.batch(:id)"), {"id": OPEN})
        begun = list(connection.execute(query, {"id": OPEN}).scalars())
        kept = list(connection.execute(query, {"id": ENDED}).scalars())
    engine.dispose()
    assert (shown["kind"], shown["status"], shown["total"]) == ("sync_objects", "running", 0)
    assert begun == []
    # In the order of the listings, whatever the database's own.
    assert kept == ["B", "b", "ä"]


def test_mails_of_an_earlier_version_keep_their_status(ledger_url: str) -> None:
    engine = sync_engine(ledger_url)
    with engine.begin() as connection:
        begin_at(connection, "0003", BEFORE)
        before = [tuple(row) for row in connection.execute(text(READ))]

    migrate(ledger_url)

    with engine.connect() as connection:
        after = [tuple(row) for row in connection.execute(text(READ))]
        shown = connection.scalar(text("SELECT ferryman.batch(:id)"), {"id": BULK})
    engine.dispose()
    assert after == before
    assert (shown["status"], shown["total"]) == ("done", 4)
    counts = {name: count for name, count in shown["counts"].items() if count}
    assert counts == {"sent": 2, "failed": 1, "invalid": 1}
    assert shown["finished_at"] is not None
