-- What a payment that was taken has come to, by its refunds and disputes.
CREATE FUNCTION ferryman.charge_status(amount bigint, refunded bigint, disputed boolean) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN disputed THEN 'disputed'
              WHEN refunded >= amount THEN 'refunded'
              WHEN refunded > 0 THEN 'partially_refunded'
              ELSE 'succeeded' END
$$;
