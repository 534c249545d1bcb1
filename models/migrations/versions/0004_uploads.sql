-- Already as small as they get, or soon read once: to compress them only takes time.
ALTER TABLE ferryman.upload_pieces ALTER COLUMN content SET STORAGE EXTERNAL;

-- Keep a piece of a list that is still coming, under an id for the time being: the same piece
-- again is kept once. The first one clears away what others left unfinished a day ago.
CREATE FUNCTION ferryman.upload_piece(id uuid, place bigint, content bytea) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF place = 0 THEN
    WITH dead AS (
      DELETE FROM ferryman.uploads u
       WHERE u.rows IS NULL AND u.created_at < now() - interval '1 day' RETURNING u.id)
    DELETE FROM ferryman.upload_pieces p USING dead WHERE p.upload_id = dead.id;
    INSERT INTO ferryman.uploads (id) VALUES (upload_piece.id) ON CONFLICT DO NOTHING;
  END IF;
  INSERT INTO ferryman.upload_pieces (upload_id, place, content)
  VALUES (upload_piece.id, upload_piece.place, upload_piece.content) ON CONFLICT DO NOTHING;
END $$;

-- The pieces are all there: from here on the list has the id that is made of its content. False
-- where it was known before.
CREATE FUNCTION ferryman.upload_done(
  temporary uuid, id uuid, format text, rows bigint, bytes bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  kept bigint;
BEGIN
  INSERT INTO ferryman.uploads (id, format, rows, bytes)
  VALUES (upload_done.id, upload_done.format, upload_done.rows, upload_done.bytes)
  ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    PERFORM ferryman.upload_dropped(temporary);
    RETURN false;
  END IF;
  DELETE FROM ferryman.uploads u WHERE u.id = temporary;
  UPDATE ferryman.upload_pieces p SET upload_id = upload_done.id WHERE p.upload_id = temporary;
  SELECT sum(octet_length(p.content)) INTO kept
    FROM ferryman.upload_pieces p WHERE p.upload_id = upload_done.id;
  IF kept IS DISTINCT FROM upload_done.bytes THEN
    RAISE EXCEPTION 'upload: a piece of it is missing: upload it again' USING ERRCODE = 'FE422';
  END IF;
  RETURN true;
END $$;

CREATE FUNCTION ferryman.upload_dropped(temporary uuid) RETURNS void LANGUAGE sql AS $$
  DELETE FROM ferryman.upload_pieces p
   WHERE p.upload_id = temporary
     AND NOT EXISTS (SELECT FROM ferryman.uploads u WHERE u.id = temporary AND u.rows IS NOT NULL);
  DELETE FROM ferryman.uploads u WHERE u.id = temporary AND u.rows IS NULL
$$;

-- A list as the HTTP API shows it; null where there is none of that id, or not all of it.
CREATE FUNCTION ferryman.upload(id uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('id', u.id, 'format', u.format, 'rows', u.rows, 'bytes', u.bytes,
                            'created_at', u.created_at)
    FROM ferryman.uploads u WHERE u.id = upload.id AND u.rows IS NOT NULL
$$;
