-- Why a job waits, as in 0001, and that a limit of a day is reached.
CREATE OR REPLACE FUNCTION ferryman.reason(job ferryman.jobs) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN job.status = 'waiting' THEN coalesce((
    SELECT CASE
             WHEN s.paused_at IS NOT NULL
               THEN concat(s.vendor, ' is paused: ', s.pause_note)
             WHEN s.breaker <> 'closed'
               THEN concat(s.vendor, ' is unavailable since ',
                           to_char(s.opened_at AT TIME ZONE 'UTC', 'HH24:MI:SS'), ', next probe ',
                           to_char(s.probe_at AT TIME ZONE 'UTC', 'HH24:MI:SS'))
             WHEN s.cooldown_until > now() AND s.daily_remaining = 0 AND s.daily_reset_at > now()
               THEN concat(s.vendor, '''s daily limit is reached, until ',
                           to_char(s.daily_reset_at AT TIME ZONE 'UTC', 'HH24:MI'), ' UTC')
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
