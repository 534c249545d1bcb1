-- Which vendor does a job; null where none can, or none of that name. One rule for one and many.
CREATE FUNCTION ferryman.chosen(kind text, args jsonb, vendor text) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN chosen.vendor IS NOT NULL
    THEN (SELECT r.vendor FROM ferryman.routes r
           WHERE r.kind = chosen.kind AND r.vendor = chosen.vendor)
    ELSE coalesce(
      (SELECT r.vendor
         FROM ferryman.routes r, jsonb_each_text(r.prefixes) AS p(argument, prefix)
        WHERE r.kind = chosen.kind AND starts_with(chosen.args ->> p.argument, p.prefix)
        ORDER BY p.argument LIMIT 1),
      (SELECT j.vendor
         FROM ferryman.routes r
         JOIN ferryman.jobs j
           ON j.id = CASE WHEN pg_input_is_valid(chosen.args ->> r.follows, 'uuid')
                          THEN (chosen.args ->> r.follows)::uuid END
        WHERE r.kind = chosen.kind LIMIT 1),
      (SELECT r.vendor FROM ferryman.routes r
        WHERE r.kind = chosen.kind AND r.is_default LIMIT 1)) END
$$;

CREATE OR REPLACE FUNCTION ferryman.route(kind text, args jsonb, vendor text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
  found_vendor text := ferryman.chosen(route.kind, route.args, route.vendor);
BEGIN
  IF found_vendor IS NOT NULL THEN
    RETURN found_vendor;
  ELSIF NOT EXISTS (SELECT FROM ferryman.routes r WHERE r.kind = route.kind) THEN
    RAISE EXCEPTION 'kind: there is no kind of job with that name' USING ERRCODE = 'FE404';
  ELSIF route.vendor IS NOT NULL THEN
    RAISE EXCEPTION 'vendor: that vendor cannot do this kind of job' USING ERRCODE = 'FE422';
  END IF;
  RAISE EXCEPTION 'vendor: none can do this kind of job with these arguments'
    USING ERRCODE = 'FE422';
END $$;

-- What is wrong with one of many, in the words of ferryman.enqueue; null where nothing is.
-- Its kind and vendor are seen to by the caller.
CREATE FUNCTION ferryman.objection(job jsonb) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN jsonb_typeof(job) <> 'object'
      THEN 'job: must be a JSON object'
    WHEN job - '{kind,args,key,run_at,vendor,priority,expires_at,id}'::text[] <> '{}'
      THEN 'job: has a field that is not known'
    WHEN jsonb_typeof(job -> 'args') IS DISTINCT FROM 'object'
      THEN 'args: must be a JSON object'
    WHEN length(job ->> 'key') NOT BETWEEN 1 AND 255
      THEN 'key: must have 1 to 255 characters'
    WHEN job ->> 'priority' NOT IN ('high', 'normal', 'low')
      THEN 'priority: must be high, normal or low'
    WHEN NOT pg_input_is_valid(job ->> 'id', 'uuid')
      THEN 'id: must be a UUID'
    WHEN CASE WHEN pg_input_is_valid(job ->> 'run_at', 'timestamptz')
              THEN (job ->> 'run_at')::timestamptz NOT BETWEEN '1970-01-01' AND '9999-01-01'
              ELSE job ->> 'run_at' IS NOT NULL END
      THEN 'run_at: must lie between the years 1970 and 9999'
    WHEN CASE WHEN pg_input_is_valid(job ->> 'expires_at', 'timestamptz')
              THEN (job ->> 'expires_at')::timestamptz NOT BETWEEN '1970-01-01' AND '9999-01-01'
              ELSE job ->> 'expires_at' IS NOT NULL END
      THEN 'expires_at: must lie between the years 1970 and 9999'
  END
$$;

-- Many jobs at once: an answer for each, in order. What has a problem is left out, and the rest is
-- stored. A job that follows another (a refund its charge) follows one that was there before.
CREATE FUNCTION ferryman.enqueue_each(jobs jsonb)
RETURNS TABLE (id uuid, state text, problem text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  ids uuid[];
  vendors text[];
  problems text[];
  states text[];
  stored boolean[];
  made uuid[] := '{}';
  one record;
  patience text := current_setting('lock_timeout');
BEGIN
  IF jsonb_typeof(enqueue_each.jobs) IS DISTINCT FROM 'array' THEN
    RAISE EXCEPTION 'jobs: must be a JSON array' USING ERRCODE = 'FE422';
  END IF;

  WITH kinds AS MATERIALIZED (
    SELECT r.kind, max(r.vendor) FILTER (WHERE r.is_default) AS usual,
           bool_or(r.follows IS NOT NULL OR r.prefixes <> '{}') AS looks
      FROM ferryman.routes r GROUP BY r.kind
  ), given AS MATERIALIZED (
    SELECT g.place, g.job ->> 'id' AS id, k.kind IS NOT NULL AS known,
           ferryman.objection(g.job) AS problem,
           CASE WHEN g.job ->> 'vendor' IS NULL AND NOT k.looks THEN k.usual
                WHEN k.kind IS NOT NULL
                  THEN ferryman.chosen(k.kind, g.job -> 'args', g.job ->> 'vendor') END AS vendor,
           g.job ->> 'vendor' IS NULL AS free
      FROM jsonb_array_elements(enqueue_each.jobs) WITH ORDINALITY AS g(job, place)
      LEFT JOIN kinds k ON k.kind = g.job ->> 'kind'
  )
  SELECT array_agg(CASE WHEN g.problem IS NULL
                        THEN coalesce(g.id::uuid, ferryman.uuid7()) END ORDER BY g.place),
         array_agg(g.vendor ORDER BY g.place),
         array_agg(coalesce(g.problem, CASE
           WHEN g.vendor IS NOT NULL THEN NULL
           WHEN NOT g.known THEN 'kind: there is no kind of job with that name'
           WHEN g.free THEN 'vendor: none can do this kind of job with these arguments'
           ELSE 'vendor: that vendor cannot do this kind of job' END) ORDER BY g.place),
         array_agg(CASE WHEN g.problem IS NULL AND NOT g.known THEN 'FE404'
                        WHEN coalesce(g.problem, g.vendor) IS NULL OR g.problem IS NOT NULL
                        THEN 'FE422' END ORDER BY g.place),
         array_agg(g.problem IS NULL AND g.vendor IS NOT NULL ORDER BY g.place)
    INTO ids, vendors, problems, states, stored
    FROM given g;

  IF jsonb_path_exists(enqueue_each.jobs, '$[*].key ? (@ != null)') THEN
    -- By key, so that two such calls wait for each other at most, and never in a ring.
    BEGIN
      WITH new AS (
        INSERT INTO ferryman.job_keys (kind, key, job_id, args_hash)
        SELECT DISTINCT ON (g.job ->> 'kind' COLLATE "C", g.job ->> 'key' COLLATE "C")
               g.job ->> 'kind', g.job ->> 'key', g.id,
               sha256(convert_to((g.job -> 'args')::text, 'UTF8'))
          FROM ROWS FROM (jsonb_array_elements(enqueue_each.jobs), unnest(ids), unnest(stored))
               WITH ORDINALITY AS g(job, id, stored, place)
         WHERE g.stored AND g.job ->> 'key' IS NOT NULL
         ORDER BY g.job ->> 'kind' COLLATE "C", g.job ->> 'key' COLLATE "C", g.place
        ON CONFLICT ON CONSTRAINT job_keys_pkey DO NOTHING
        RETURNING job_id
      ) SELECT coalesce(array_agg(n.job_id), '{}') INTO made FROM new n;
    EXCEPTION WHEN lock_not_available THEN
      -- A key stands in somebody's open transaction, which had its time to end. One by one, and
      -- hardly waiting, so that only the jobs of such keys are left out.
      PERFORM set_config('lock_timeout', '10ms', true);
      FOR one IN
        SELECT g.job, g.id
          FROM ROWS FROM (jsonb_array_elements(enqueue_each.jobs), unnest(ids), unnest(stored))
               WITH ORDINALITY AS g(job, id, stored, place)
         WHERE g.stored AND g.job ->> 'key' IS NOT NULL
         ORDER BY g.job ->> 'kind' COLLATE "C", g.job ->> 'key' COLLATE "C", g.place
      LOOP
        BEGIN
          INSERT INTO ferryman.job_keys (kind, key, job_id, args_hash)
          VALUES (one.job ->> 'kind', one.job ->> 'key', one.id,
                  sha256(convert_to((one.job -> 'args')::text, 'UTF8')))
          ON CONFLICT ON CONSTRAINT job_keys_pkey DO NOTHING;
          IF FOUND THEN
            made := made || one.id;
          END IF;
        EXCEPTION WHEN lock_not_available THEN
          NULL;
        END;
      END LOOP;
      PERFORM set_config('lock_timeout', patience, true);
    END;

    WITH keyed AS MATERIALIZED (
      SELECT g.place, g.job ->> 'key' AS key, g.problem, g.state,
             CASE WHEN g.job ->> 'key' IS NULL THEN g.id ELSE k.job_id END AS id,
             k.args_hash <> sha256(convert_to((g.job -> 'args')::text, 'UTF8')) AS other,
             g.stored AND (g.job ->> 'key' IS NULL OR m.id IS NOT NULL) AS stored
        FROM ROWS FROM (jsonb_array_elements(enqueue_each.jobs), unnest(ids), unnest(stored),
                        unnest(problems), unnest(states))
             WITH ORDINALITY AS g(job, id, stored, problem, state, place)
        LEFT JOIN ferryman.job_keys k
          ON g.stored AND k.kind = g.job ->> 'kind' AND k.key = g.job ->> 'key'
        LEFT JOIN unnest(made) AS m(id) ON m.id = g.id
    )
    SELECT array_agg(CASE WHEN NOT k.other OR k.other IS NULL THEN k.id END ORDER BY k.place),
           array_agg(coalesce(k.problem, CASE
             WHEN k.other THEN 'key: it already names a job with other arguments'
             WHEN k.id IS NULL THEN 'key: it stands in an open transaction' END) ORDER BY k.place),
           array_agg(coalesce(k.state, CASE WHEN k.other THEN 'FE409'
                                            WHEN k.id IS NULL THEN '55P03' END) ORDER BY k.place),
           array_agg(k.stored ORDER BY k.place)
      INTO ids, problems, states, stored
      FROM keyed k;
  END IF;

  WITH new AS (
    INSERT INTO ferryman.jobs
           (id, kind, vendor, args, key, priority, run_at, due_at, expires_at, batch_id)
    SELECT g.id, g.job ->> 'kind', g.vendor, g.job -> 'args', g.job ->> 'key',
           coalesce(g.job ->> 'priority', 'normal')::ferryman.priority,
           -- A job that was planned for the past is not late: its longest wait begins now.
           coalesce((g.job ->> 'run_at')::timestamptz, now()),
           greatest((g.job ->> 'run_at')::timestamptz, now()),
           (g.job ->> 'expires_at')::timestamptz,
           CASE WHEN g.job ->> 'kind' = 'bulk_email' THEN g.id END
      FROM ROWS FROM (jsonb_array_elements(enqueue_each.jobs), unnest(ids), unnest(vendors),
                      unnest(stored)) AS g(job, id, vendor, stored)
     WHERE g.stored
    ON CONFLICT ON CONSTRAINT jobs_pkey DO NOTHING
    RETURNING batch_id
  )
  INSERT INTO ferryman.batches (id, job_id)
  SELECT n.batch_id, n.batch_id FROM new n WHERE n.batch_id IS NOT NULL;

  IF true = ANY (stored) AND current_setting('ferryman.notify', true) IS DISTINCT FROM 'off' THEN
    PERFORM pg_notify('ferryman', '');
  END IF;
  RETURN QUERY SELECT * FROM unnest(ids, states, problems);
END $$;

-- All of many jobs, or none: the ids in order. An error begins with the job's place, counted from
-- `first`.
CREATE FUNCTION ferryman.enqueue_many(jobs jsonb, first int DEFAULT 0) RETURNS SETOF uuid
LANGUAGE plpgsql AS $$
DECLARE
  answer record;
  place int := enqueue_many.first;
BEGIN
  FOR answer IN SELECT e.id, e.state, e.problem FROM ferryman.enqueue_each(enqueue_many.jobs) e
  LOOP
    IF answer.state IS NOT NULL THEN
      RAISE EXCEPTION USING MESSAGE = concat('jobs[', place, '].', answer.problem),
                            ERRCODE = answer.state;
    END IF;
    place := place + 1;
    RETURN NEXT answer.id;
  END LOOP;
END $$;
