-- A job's result as it stands now: what a charge or refund came to after its job had ended is told
-- when it is read, so that there is one truth about money, and no ended job is written again.
CREATE FUNCTION ferryman.result(job ferryman.jobs) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN job.status <> 'succeeded' THEN job.result
    WHEN job.kind = 'charge' THEN coalesce((
      SELECT job.result || jsonb_build_object(
               'status', c.status, 'amount', c.amount, 'refunded', c.refunded,
               'vendor_reference', c.vendor_reference)
        FROM ferryman.charges c WHERE c.id = job.id), job.result)
    WHEN job.kind = 'refund' THEN coalesce((
      SELECT job.result || jsonb_build_object('status', f.status)
        FROM ferryman.refunds f WHERE f.id = job.id AND f.status <> 'reserved'), job.result)
    ELSE job.result
  END
$$;
