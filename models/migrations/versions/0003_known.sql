-- `enqueue_each` for callers who must not wait. In `charges`, at the place of each job, is the
-- charge that it goes by, or null: a job whose charge nobody knows is left out. What was accepted
-- once, by its key, stays accepted.
CREATE FUNCTION ferryman.enqueue_known(jobs jsonb, charges uuid[])
RETURNS TABLE (id uuid, state text, problem text) LANGUAGE plpgsql
-- A key in an open transaction keeps all the others waiting: it gets no more than this.
SET lock_timeout = '20ms'
-- Plans that were made while the tables were empty must not read all of them later: of a few jobs,
-- each looks up its own.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  known boolean[];
BEGIN
  SELECT array_agg(
           g.charge IS NULL OR coalesce(
             (SELECT true FROM ferryman.charges c WHERE c.id = g.charge),
             (SELECT true FROM ferryman.jobs j WHERE j.id = g.charge AND j.kind = 'charge'),
             (SELECT true FROM ferryman.job_keys k
               WHERE k.kind = g.job ->> 'kind' AND k.key = g.job ->> 'key'),
             false) ORDER BY g.place)
    INTO known
    FROM ROWS FROM (jsonb_array_elements(enqueue_known.jobs), unnest(enqueue_known.charges))
         WITH ORDINALITY AS g(job, charge, place);
  IF true = ALL (known) THEN
    RETURN QUERY SELECT * FROM ferryman.enqueue_each(enqueue_known.jobs);
  ELSE
    RETURN QUERY
      SELECT e.id, e.state,
             CASE WHEN e.known THEN e.problem ELSE 'charge: there is no charge with that id' END
        FROM ROWS FROM (
               ferryman.enqueue_each((
                 SELECT jsonb_agg(CASE WHEN g.known THEN g.job END ORDER BY g.place)
                   FROM ROWS FROM (jsonb_array_elements(enqueue_known.jobs), unnest(known))
                        WITH ORDINALITY AS g(job, known, place))),
               unnest(known)) AS e(id, state, problem, known);
  END IF;
END $$;
