-- What attempts came to, added up for good: a counter must not fall when old rows are removed, and
-- must be the same whichever API process is asked. `seconds` is the sum of the times, where the
-- figure is about times.
CREATE TABLE ferryman.metric_totals (
  metric text NOT NULL,
  vendor text NOT NULL,
  label text NOT NULL,
  n bigint NOT NULL,
  seconds double precision NOT NULL,
  CONSTRAINT metric_totals_pkey PRIMARY KEY (metric, vendor, label)
);

-- Up to when the totals reach: attempts that ended later are still to be added. One row.
CREATE TABLE ferryman.metric_mark (
  name text NOT NULL,
  at timestamptz NOT NULL,
  CONSTRAINT metric_mark_pkey PRIMARY KEY (name)
);
INSERT INTO ferryman.metric_mark VALUES ('attempts', now());

-- Costs the walk nothing: no entry a row, and an attempt's end stays an update within its page.
CREATE INDEX attempts_finished_idx ON ferryman.attempts USING brin (finished_at)
  WITH (autosummarize = on);

-- The attempts that ended in a span, and the calls they made, by what they came to. A call's label
-- is the upper bound, in seconds, of the class of latencies that it falls in.
CREATE FUNCTION ferryman.metric_counts(after timestamptz, until timestamptz)
RETURNS TABLE (metric text, vendor text, label text, n bigint, seconds double precision)
LANGUAGE sql STABLE AS $$
  WITH ended AS MATERIALIZED (
    SELECT a.job_id, a.number, coalesce(a.outcome, 'none') AS outcome, j.vendor
      FROM ferryman.attempts a JOIN ferryman.jobs j ON j.id = a.job_id
     WHERE a.finished_at > metric_counts.after AND a.finished_at <= metric_counts.until
  ), called AS (
    SELECT i.vendor, i.latency_ms,
           (ARRAY['0.05', '0.1', '0.25', '0.5', '1.0', '2.5', '5.0', '10.0', '30.0', '+Inf'])
             [1 + width_bucket(i.latency_ms,
                ARRAY[51, 101, 251, 501, 1001, 2501, 5001, 10001, 30001]::bigint[])] AS bound
      FROM ended e JOIN ferryman.interactions i ON i.job_id = e.job_id AND i.attempt = e.number
  )
  SELECT 'attempts', e.vendor, e.outcome, count(*), 0.0 FROM ended e GROUP BY e.vendor, e.outcome
  UNION ALL
  SELECT 'latency', c.vendor, c.bound, count(*), sum(c.latency_ms) / 1000.0
    FROM called c GROUP BY c.vendor, c.bound
$$;
