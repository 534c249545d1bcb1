-- Each mail as others may read it. One that has no status of its own has that of the request which
-- carries it: to send a thousand mails changes one row and not a thousand.
CREATE VIEW ferryman.emails AS
  SELECT m.id, m.job_id, m.batch_id, m.vendor, m.recipient, m.data,
         coalesce(m.template, b.letter ->> 'template') AS template,
         coalesce(m.status, p.status) AS status,
         CASE WHEN m.status IS NULL THEN p.reason ELSE m.reason END AS reason,
         CASE WHEN m.status IS NULL THEN p.vendor_reference ELSE m.vendor_reference END
           AS vendor_reference,
         CASE WHEN m.status IS NULL THEN p.sent_at ELSE m.sent_at END AS sent_at,
         m.delivery, m.delivery_at, m.delivery_reason,
         m.opened_at, m.clicked_at, m.complained_at, m.unsubscribed_at, m.place, m.created_at
    FROM ferryman.mails m
    LEFT JOIN ferryman.parts p ON m.status IS NULL AND p.job_id = m.job_id
    LEFT JOIN ferryman.batches b ON b.id = m.batch_id;

-- A batch as the HTTP API shows it, in one look: its counts sum to its total.
CREATE OR REPLACE FUNCTION ferryman.batch(id uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', b.id, 'kind', j.kind,
    'status', CASE
      WHEN b.status = 'cancelled' OR j.status = 'cancelled' THEN 'cancelled'
      WHEN b.planned_at IS NULL
        THEN CASE WHEN j.status = 'failed' THEN 'done' ELSE b.status END
      WHEN n.waiting + n.sending = 0 THEN 'done'
      ELSE b.status END,
    'reason', b.reason,
    'total', b.total,
    'counts', jsonb_build_object(
      'waiting', n.waiting, 'sending', n.sending, 'sent', n.sent,
      'failed', b.failed + n.failed, 'unknown', n.unknown,
      'suppressed', b.suppressed + n.suppressed, 'invalid', b.invalid,
      'duplicate', b.duplicate, 'cancelled', n.cancelled),
    'delivery', jsonb_build_object(
      'processed', b.processed, 'deferred', b.deferred, 'delivered', b.delivered,
      'bounced', b.bounced, 'dropped', b.dropped, 'opened', b.opened, 'clicked', b.clicked,
      'complained', b.complained, 'unsubscribed', b.unsubscribed),
    'per_minute', b.per_minute,
    'created_at', b.created_at,
    'planned_at', b.planned_at,
    'finished_at', CASE
      WHEN b.planned_at IS NULL THEN j.finished_at
      WHEN n.waiting + n.sending = 0 THEN coalesce(n.ended_at, b.planned_at) END)
    FROM ferryman.batches b
    JOIN ferryman.jobs j ON j.id = b.id
   CROSS JOIN LATERAL (
     SELECT coalesce(sum(c.n) FILTER (WHERE c.status = 'waiting'), 0) AS waiting,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'sending'), 0) AS sending,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'sent'), 0) AS sent,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'failed'), 0) AS failed,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'unknown'), 0) AS unknown,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'suppressed'), 0) AS suppressed,
            coalesce(sum(c.n) FILTER (WHERE c.status = 'cancelled'), 0) AS cancelled,
            max(c.ended_at) AS ended_at
       FROM (SELECT p.status, sum(p.size) AS n, max(p.ended_at) AS ended_at
               FROM ferryman.parts p WHERE p.batch_id = b.id GROUP BY p.status
              UNION ALL
             SELECT s.status, count(*), max(coalesce(s.sent_at, s.created_at))
               FROM ferryman.messages s
              WHERE s.batch_id = b.id AND j.kind = 'bulk_sms'
                AND s.status NOT IN ('invalid', 'duplicate') GROUP BY s.status) AS c) AS n
   WHERE b.id = batch.id
$$;
