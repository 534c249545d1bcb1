"""What a ledger of an earlier version holds is there after the upgrade, and says the same."""

from __future__ import annotations

from alembic import command
from sqlalchemy import text

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


def test_mails_of_an_earlier_version_keep_their_status(ledger_url: str) -> None:
    engine = sync_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA ferryman CASCADE"))
        alembic = config()
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, "0003")
        connection.exec_driver_sql(BEFORE)
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
