-- `enqueue_each` for callers who must not wait. In `charges`, at the place of each job, is the
-- charge that it goes by, or null: a job whose charge nobody knows is left out. What was accepted
-- once, by its key, stays accepted.
CREATE FUNCTION ferryman.enqueue_known(jobs jsonb, charges uuid[])
RETURNS TABLE (id uuid, state text, problem text)
-- A key in an open transaction keeps all the others waiting: it gets no more than this.
LANGUAGE sql VOLATILE SET lock_timeout = '20ms' AS $$
  WITH given AS MATERIALIZED (
    SELECT g.place, g.job,
           g.charge IS NULL
           OR EXISTS (SELECT FROM ferryman.charges c WHERE c.id = g.charge)
           OR EXISTS (SELECT FROM ferryman.jobs j WHERE j.id = g.charge AND j.kind = 'charge')
           OR EXISTS (SELECT FROM ferryman.job_keys k
                       WHERE k.kind = g.job ->> 'kind' AND k.key = g.job ->> 'key') AS known
      FROM ROWS FROM (jsonb_array_elements(enqueue_known.jobs), unnest(enqueue_known.charges))
           WITH ORDINALITY AS g(job, charge, place)
  )
  SELECT e.id, e.state,
         CASE WHEN g.known THEN e.problem ELSE 'charge: there is no charge with that id' END
    FROM ferryman.enqueue_each(
           (SELECT jsonb_agg(CASE WHEN known THEN job END ORDER BY place) FROM given)
         ) WITH ORDINALITY AS e(id, state, problem, place)
    JOIN given g USING (place)
   ORDER BY place
$$;
