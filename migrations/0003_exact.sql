-- JSON comes back byte for byte: beside what can be asked stands what jsonb would change
-- or does not take, and what was set aside has all of it. Nodes of the version before
-- would leave an exact text beside a newer value: they wait until they are upgraded.

ALTER TABLE events ALTER data DROP NOT NULL, ADD COLUMN exact text;
ALTER TABLE events ADD CONSTRAINT events_data CHECK (num_nonnulls(data, exact) > 0) NOT VALID;
COMMENT ON COLUMN events.data IS 'What was published; null: jsonb does not take it, see exact';
COMMENT ON COLUMN events.exact IS 'What was published, byte for byte, where jsonb writes it otherwise or does not take it: names in another order or twice, exponents, \u0000, half of a surrogate pair';

ALTER TABLE kv ADD COLUMN exact text, DROP CONSTRAINT kv_check;
ALTER TABLE kv ADD CONSTRAINT kv_value CHECK ((bytes IS NULL) = (num_nonnulls(value, exact) > 0));
COMMENT ON COLUMN kv.value IS 'Its value, when that is JSON that jsonb takes';
COMMENT ON COLUMN kv.exact IS 'Its value byte for byte, when that is JSON that jsonb writes otherwise or does not take';

ALTER TABLE documents ALTER body DROP NOT NULL, ADD COLUMN exact text, ADD CONSTRAINT documents_body CHECK (num_nonnulls(body, exact) > 0);
COMMENT ON COLUMN documents.body IS 'The document; null: jsonb does not take it, see exact';
COMMENT ON COLUMN documents.exact IS 'The document byte for byte, where jsonb writes it otherwise or does not take it';

ALTER TABLE definitions ALTER body DROP NOT NULL, ADD COLUMN exact text, ADD CONSTRAINT definitions_body CHECK (num_nonnulls(body, exact) > 0);
COMMENT ON COLUMN definitions.body IS 'What it says; null: jsonb does not take it, see exact';
COMMENT ON COLUMN definitions.exact IS 'What it says byte for byte, where jsonb writes it otherwise or does not take it';

ALTER TABLE set_aside DROP CONSTRAINT set_aside_pkey, ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ADD COLUMN content text;
CREATE UNIQUE INDEX set_aside_events ON set_aside (node_id, epoch, lsn) WHERE kind = 'event';
CREATE INDEX set_aside_things ON set_aside (node_id, kind, app, name) WHERE kind <> 'event';
COMMENT ON TABLE set_aside IS 'What the tables would not take, with the reason; what came behind it went on. Of a thing it is what holds: the row in its own table, if there is one, is older';
COMMENT ON COLUMN set_aside.id IS 'Order of arrival';
COMMENT ON COLUMN set_aside.name IS 'The topic of an event, the collection and the id of a document with a slash between, else the name of the thing';
COMMENT ON COLUMN set_aside.body IS 'The data of the event, or the thing as JSON, byte by byte; null as JSON: the thing was deleted; empty: a version before did not keep it, the node has it';
COMMENT ON COLUMN set_aside.content IS 'Of a file: names its parts in file_parts';

UPDATE settings SET value = (SELECT max(version) + 1 FROM migrations)::text WHERE name = 'oldest_writer';
