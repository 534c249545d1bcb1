-- A batch as the HTTP API shows it, in one look: its counts sum to its total. Of a part of a sync
-- some objects are decided one by one, and the others share the part's status; a sync goes on until
-- its own job has ended. Of an import each contact that was not set aside is a job of its own.
CREATE OR REPLACE FUNCTION ferryman.batch(id uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', b.id, 'kind', j.kind,
    'status', CASE
      WHEN b.status = 'cancelled' OR j.status = 'cancelled' THEN 'cancelled'
      WHEN y.sync OR b.planned_at IS NULL
        THEN CASE WHEN j.status = 'failed' OR y.sync AND j.status = 'succeeded' THEN 'done'
                  ELSE b.status END
      WHEN n.waiting + n.sending = 0 THEN 'done'
      ELSE b.status END,
    'reason', b.reason,
    'total', b.total,
    'counts', jsonb_build_object(
      'waiting', n.waiting, 'sending', n.sending, 'sent', n.sent + o.done + o.planned,
      'failed', b.failed + n.failed + o.failed, 'unknown', n.unknown,
      'suppressed', b.suppressed + n.suppressed, 'invalid', b.invalid,
      'duplicate', b.duplicate, 'cancelled', n.cancelled)
      || CASE WHEN y.sync THEN jsonb_build_object('kept', b.kept + o.kept) ELSE '{}' END,
    'delivery', jsonb_build_object(
      'processed', b.processed, 'deferred', b.deferred, 'delivered', b.delivered,
      'bounced', b.bounced, 'dropped', b.dropped, 'opened', b.opened, 'clicked', b.clicked,
      'complained', b.complained, 'unsubscribed', b.unsubscribed),
    'per_minute', b.per_minute,
    'created_at', b.created_at,
    'planned_at', b.planned_at,
    'finished_at', CASE
      WHEN y.sync OR b.planned_at IS NULL THEN j.finished_at
      WHEN n.waiting + n.sending = 0 THEN coalesce(n.ended_at, b.planned_at) END)
    || CASE WHEN y.sync THEN jsonb_build_object('objects', jsonb_build_object(
         'copied', o.copied, 'kept', b.kept + o.kept, 'deleted', o.deleted,
         'refused', b.invalid, 'failed', n.failed + n.unknown + o.failed,
         'waiting', n.waiting + n.sending, 'bytes', b.bytes + o.bytes,
         'bytes_done', o.bytes_done)) ELSE '{}' END
    FROM ferryman.batches b
    JOIN ferryman.jobs j ON j.id = b.id
   CROSS JOIN LATERAL (SELECT j.kind = 'sync_objects' AS sync) AS y
   CROSS JOIN LATERAL (
     SELECT coalesce(sum(c.n) FILTER (WHERE c.status = 'waiting'), 0) AS waiting,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'sending'), 0) AS sending,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'sent'), 0) AS sent,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'failed'), 0) AS failed,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'unknown'), 0) AS unknown,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'suppressed'), 0) AS suppressed,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'cancelled'), 0) AS cancelled,
            max(c.ended_at) AS ended_at
       FROM (SELECT p.status, sum(p.size - p.done - p.kept - p.failed) AS n,
                    max(p.ended_at) AS ended_at
               FROM ferryman.parts p WHERE p.batch_id = b.id GROUP BY p.status
              UNION ALL
             SELECT s.status, count(*), max(coalesce(s.sent_at, s.created_at))
               FROM ferryman.messages s
              WHERE s.batch_id = b.id AND j.kind = 'bulk_sms'
                AND s.status NOT IN ('invalid', 'duplicate') GROUP BY s.status
              UNION ALL
             SELECT CASE k.status WHEN 'running' THEN 'sending' WHEN 'succeeded' THEN 'sent'
                         ELSE k.status END, count(*), max(k.finished_at)
               FROM ferryman.jobs k
              WHERE k.batch_id = b.id AND j.kind = 'bulk_contacts' AND k.kind = 'upsert_contact'
              GROUP BY k.status) AS c) AS n
   -- What no part deals with, and the plan has neither kept nor refused, is a dry run's.
   CROSS JOIN LATERAL (
     SELECT coalesce(sum(p.done), 0) AS done, coalesce(sum(p.kept), 0) AS kept,
            coalesce(sum(p.failed), 0) AS failed, coalesce(sum(p.bytes), 0) AS bytes,
            coalesce(sum(p.bytes_done), 0) AS bytes_done,
            coalesce(sum(p.done) FILTER (WHERE p.action = 'copy'), 0) AS copied,
            coalesce(sum(p.done) FILTER (WHERE p.action = 'delete'), 0) AS deleted,
            CASE WHEN y.sync THEN b.total - b.invalid - b.kept - coalesce(sum(p.size), 0)
                 ELSE 0 END AS planned
       FROM ferryman.parts p WHERE p.batch_id = b.id AND y.sync) AS o
   WHERE b.id = batch.id
$$;
