-- A UUIDv7 on PostgreSQL below 18: 48 bits of milliseconds, then chance.
CREATE FUNCTION ferryman.uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
              PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
              FROM 1 FOR 6),
      52, 1), 53, 1), 'hex')::uuid
$$;

-- The vendor of a new job: the one named, else the one its arguments choose, else the default.
CREATE FUNCTION ferryman.route(kind text, args jsonb, vendor text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
  chosen text;
BEGIN
  IF NOT EXISTS (SELECT FROM ferryman.routes r WHERE r.kind = route.kind) THEN
    RAISE EXCEPTION 'kind: there is no kind of job with that name' USING ERRCODE = 'FE404';
  END IF;
  IF route.vendor IS NOT NULL THEN
    SELECT r.vendor INTO chosen FROM ferryman.routes r
     WHERE r.kind = route.kind AND r.vendor = route.vendor;
    IF chosen IS NULL THEN
      RAISE EXCEPTION 'vendor: that vendor cannot do this kind of job' USING ERRCODE = 'FE422';
    END IF;
    RETURN chosen;
  END IF;
  SELECT r.vendor INTO chosen
    FROM ferryman.routes r, jsonb_each_text(r.prefixes) AS p(argument, prefix)
   WHERE r.kind = route.kind AND starts_with(route.args ->> p.argument, p.prefix)
   ORDER BY p.argument LIMIT 1;
  IF chosen IS NULL THEN
    SELECT j.vendor INTO chosen
      FROM ferryman.routes r
      JOIN ferryman.jobs j
        ON j.id = CASE WHEN pg_input_is_valid(route.args ->> r.follows, 'uuid')
                       THEN (route.args ->> r.follows)::uuid END
     WHERE r.kind = route.kind LIMIT 1;
  END IF;
  IF chosen IS NULL THEN
    SELECT r.vendor INTO chosen FROM ferryman.routes r
     WHERE r.kind = route.kind AND r.is_default LIMIT 1;
  END IF;
  IF chosen IS NULL THEN
    RAISE EXCEPTION 'vendor: none can do this kind of job with these arguments'
      USING ERRCODE = 'FE422';
  END IF;
  RETURN chosen;
END $$;

-- The one door into the ledger. Returns the job's id; that of the existing job for a known key.
CREATE FUNCTION ferryman.enqueue(
  kind text,
  args jsonb,
  key text DEFAULT NULL,
  run_at timestamptz DEFAULT NULL,
  vendor text DEFAULT NULL,
  priority text DEFAULT 'normal',
  expires_at timestamptz DEFAULT NULL,
  id uuid DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  new_id uuid := coalesce(enqueue.id, ferryman.uuid7());
  hash bytea := sha256(convert_to(enqueue.args::text, 'UTF8'));
  known ferryman.job_keys;
  chosen text;
  wanted ferryman.priority;
  batch uuid;
BEGIN
  IF jsonb_typeof(enqueue.args) IS DISTINCT FROM 'object' THEN
    RAISE EXCEPTION 'args: must be a JSON object' USING ERRCODE = 'FE422';
  END IF;
  IF length(enqueue.key) NOT BETWEEN 1 AND 255 THEN
    RAISE EXCEPTION 'key: must have 1 to 255 characters' USING ERRCODE = 'FE422';
  END IF;
  -- Beyond it lies `infinity`, which no client's clock can show.
  IF enqueue.run_at NOT BETWEEN '1970-01-01' AND '9999-01-01' THEN
    RAISE EXCEPTION 'run_at: must lie between the years 1970 and 9999' USING ERRCODE = 'FE422';
  END IF;
  IF enqueue.expires_at NOT BETWEEN '1970-01-01' AND '9999-01-01' THEN
    RAISE EXCEPTION 'expires_at: must lie between the years 1970 and 9999' USING ERRCODE = 'FE422';
  END IF;
  BEGIN
    wanted := enqueue.priority::ferryman.priority;
  EXCEPTION WHEN invalid_text_representation THEN
    RAISE EXCEPTION 'priority: must be high, normal or low' USING ERRCODE = 'FE422';
  END;
  chosen := ferryman.route(enqueue.kind, enqueue.args, enqueue.vendor);
  IF enqueue.key IS NOT NULL THEN
    INSERT INTO ferryman.job_keys (kind, key, job_id, args_hash)
    VALUES (enqueue.kind, enqueue.key, new_id, hash)
    ON CONFLICT ON CONSTRAINT job_keys_pkey DO NOTHING;
    IF NOT FOUND THEN
      SELECT k.* INTO known FROM ferryman.job_keys k
       WHERE k.kind = enqueue.kind AND k.key = enqueue.key;
      IF known.args_hash <> hash THEN
        RAISE EXCEPTION 'key: it already names a job with other arguments' USING ERRCODE = 'FE409';
      END IF;
      RETURN known.job_id;
    END IF;
  END IF;
  IF enqueue.kind = 'bulk_email' THEN
    batch := new_id;
  END IF;
  INSERT INTO ferryman.jobs
         (id, kind, vendor, args, key, priority, run_at, due_at, expires_at, batch_id)
  VALUES (new_id, enqueue.kind, chosen, enqueue.args, enqueue.key, wanted,
          -- A job that was planned for the past is not late: its longest wait begins now.
          coalesce(enqueue.run_at, now()), greatest(enqueue.run_at, now()), enqueue.expires_at,
          batch)
  ON CONFLICT ON CONSTRAINT jobs_pkey DO NOTHING;
  -- A batch has the id of its bulk job, and is there to be looked at from the start.
  IF FOUND AND batch IS NOT NULL THEN
    INSERT INTO ferryman.batches (id, job_id) VALUES (batch, batch);
  END IF;
  -- One constant payload: a transaction with a thousand jobs wakes the relay once.
  IF current_setting('ferryman.notify', true) IS DISTINCT FROM 'off' THEN
    PERFORM pg_notify('ferryman', '');
  END IF;
  RETURN new_id;
END $$;

-- A batch as the HTTP API shows it.
CREATE FUNCTION ferryman.batch(id uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object(
    'id', b.id, 'status', b.status, 'total', b.total,
    'counts', jsonb_build_object(
      'waiting', b.waiting, 'sending', b.sending, 'sent', b.sent, 'failed', b.failed,
      'unknown', b.unknown, 'suppressed', b.suppressed, 'invalid', b.invalid,
      'duplicate', b.duplicate, 'cancelled', b.cancelled),
    'created_at', b.created_at, 'finished_at', b.finished_at)
    FROM ferryman.batches b WHERE b.id = batch.id
$$;

-- Why a job waits. What holds for a whole vendor is told when it is read, so that no outage
-- rewrites a backlog.
CREATE FUNCTION ferryman.reason(job ferryman.jobs) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN job.status = 'waiting' THEN coalesce((
    SELECT CASE
             WHEN s.paused_at IS NOT NULL
               THEN concat(s.vendor, ' is paused: ', s.pause_note)
             WHEN s.breaker <> 'closed'
               THEN concat(s.vendor, ' is unavailable since ',
                           to_char(s.opened_at AT TIME ZONE 'UTC', 'HH24:MI:SS'), ', next probe ',
                           to_char(s.probe_at AT TIME ZONE 'UTC', 'HH24:MI:SS'))
             WHEN s.cooldown_until > now()
               THEN concat(s.vendor, ' limits the rate, until ',
                           to_char(s.cooldown_until AT TIME ZONE 'UTC', 'HH24:MI:SS'))
           END
      FROM ferryman.vendor_states s
     WHERE s.vendor = job.vendor AND s.account = job.account), job.reason,
    CASE WHEN job.run_at > now()
         THEN concat('planned for ', to_char(job.run_at AT TIME ZONE 'UTC',
                                             'YYYY-MM-DD HH24:MI:SS'), ' UTC')
         ELSE 'waits for its turn' END)
  ELSE job.reason END
$$;
