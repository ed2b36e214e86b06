-- The central copy of any number of nodes. Every name here is meant to be read
-- in psql: \d+ shows the comments.

CREATE TABLE settings (
	name  text PRIMARY KEY,
	value text NOT NULL
);
COMMENT ON TABLE settings IS 'What holds for all nodes; change it with UPDATE';
COMMENT ON COLUMN settings.name IS 'event_retention_days: months of events that are older go as a whole, 0 keeps all. oldest_writer: nodes that know only older schemas wait';
COMMENT ON COLUMN settings.value IS 'The value as text';
INSERT INTO settings VALUES ('event_retention_days', '0'), ('oldest_writer', '1');

CREATE TABLE nodes (
	id           text PRIMARY KEY,
	name         text NOT NULL,
	version      text NOT NULL,
	epoch        text NOT NULL,
	incarnation  bigint NOT NULL,
	lsn          bigint NOT NULL DEFAULT 0,
	session      text NOT NULL DEFAULT '',
	session_open boolean NOT NULL DEFAULT false,
	place        text NOT NULL DEFAULT '',
	recovery     bytea NOT NULL,
	backlog      bigint NOT NULL DEFAULT 0,
	lost         bigint NOT NULL DEFAULT 0,
	health       text NOT NULL DEFAULT 'ok',
	first_seen   timestamptz NOT NULL DEFAULT now(),
	last_seen    timestamptz NOT NULL DEFAULT now(),
	synced_at    timestamptz
);
COMMENT ON TABLE nodes IS 'The nodes that copy themselves here, one row each';
COMMENT ON COLUMN nodes.id IS 'Made once for a data directory';
COMMENT ON COLUMN nodes.name IS 'For people; the host name unless configured';
COMMENT ON COLUMN nodes.version IS 'Of the picloud that was seen last';
COMMENT ON COLUMN nodes.epoch IS 'Names the present history of the node';
COMMENT ON COLUMN nodes.incarnation IS 'How often this identity was restored; an older one is fenced off';
COMMENT ON COLUMN nodes.lsn IS 'Everything in the journal of the node up to this record is here';
COMMENT ON COLUMN nodes.session IS 'The process that may write for this node';
COMMENT ON COLUMN nodes.session_open IS 'Whether that process has not said goodbye';
COMMENT ON COLUMN nodes.place IS 'Where that process runs: board and data directory';
COMMENT ON COLUMN nodes.recovery IS 'Proves a recovery key; the key itself is not here';
COMMENT ON COLUMN nodes.backlog IS 'Records that were still to come when it was seen last';
COMMENT ON COLUMN nodes.lost IS 'Records that its journal had to drop before they could be copied';
COMMENT ON COLUMN nodes.health IS 'ok, or degraded with what is wrong';
COMMENT ON COLUMN nodes.first_seen IS 'When it came here first, by the clock of the database';
COMMENT ON COLUMN nodes.last_seen IS 'When it last wrote or said that it lives, by the clock of the database';
COMMENT ON COLUMN nodes.synced_at IS 'When it last copied something, by the clock of the database';

CREATE TABLE apps (
	node_id         text NOT NULL REFERENCES nodes,
	name            text NOT NULL,
	description     text NOT NULL,
	allowed_origins text[] NOT NULL,
	created_at      timestamptz NOT NULL,
	updated_at      timestamptz NOT NULL,
	PRIMARY KEY (node_id, name)
);
COMMENT ON TABLE apps IS 'The apps of each node; one name on several nodes is one app';
COMMENT ON COLUMN apps.node_id IS 'The node';
COMMENT ON COLUMN apps.name IS 'Its name';
COMMENT ON COLUMN apps.description IS 'For people';
COMMENT ON COLUMN apps.allowed_origins IS 'Origins that browsers may call it from';
COMMENT ON COLUMN apps.created_at IS 'When it was created, by the clock of the node';
COMMENT ON COLUMN apps.updated_at IS 'When it was last changed, by the clock of the node';

CREATE TABLE topics (
	node_id      text NOT NULL REFERENCES nodes,
	app          text NOT NULL,
	name         text NOT NULL,
	description  text NOT NULL,
	external     boolean NOT NULL,
	auth_mode    text NOT NULL CHECK (auth_mode IN ('public', 'token', 'session')),
	durability   text NOT NULL CHECK (durability IN ('sync', 'telemetry')),
	max_events   bigint NOT NULL,
	max_age_sec  bigint NOT NULL,
	max_bytes    bigint NOT NULL,
	created_at   timestamptz NOT NULL,
	updated_at   timestamptz NOT NULL,
	PRIMARY KEY (node_id, app, name)
);
COMMENT ON TABLE topics IS 'The registered topics of each node';
COMMENT ON COLUMN topics.node_id IS 'The node';
COMMENT ON COLUMN topics.app IS 'The app';
COMMENT ON COLUMN topics.name IS 'Its name';
COMMENT ON COLUMN topics.description IS 'For people';
COMMENT ON COLUMN topics.external IS 'Whether it can be subscribed to from outside';
COMMENT ON COLUMN topics.auth_mode IS 'What an outside subscriber must show';
COMMENT ON COLUMN topics.durability IS 'sync, or telemetry: the last second may be lost when the plug is pulled';
COMMENT ON COLUMN topics.max_events IS 'Events kept on the node; 0: its default';
COMMENT ON COLUMN topics.max_age_sec IS 'Seconds they are kept there; 0: its default';
COMMENT ON COLUMN topics.max_bytes IS 'Bytes of data kept there; 0: its default';
COMMENT ON COLUMN topics.created_at IS 'When it was registered, by the clock of the node';
COMMENT ON COLUMN topics.updated_at IS 'When it was last changed, by the clock of the node';

CREATE TABLE api_keys (
	node_id      text NOT NULL REFERENCES nodes,
	id           text NOT NULL,
	label        text NOT NULL,
	app          text,
	scopes       text[] NOT NULL,
	hash         bytea NOT NULL,
	created_at   timestamptz NOT NULL,
	expires_at   timestamptz,
	last_used_at timestamptz,
	PRIMARY KEY (node_id, id)
);
COMMENT ON TABLE api_keys IS 'The API keys of each node, without their secrets';
COMMENT ON COLUMN api_keys.node_id IS 'The node';
COMMENT ON COLUMN api_keys.id IS 'The part of the key that is no secret';
COMMENT ON COLUMN api_keys.label IS 'For people';
COMMENT ON COLUMN api_keys.app IS 'The app it is bound to; null: the whole node';
COMMENT ON COLUMN api_keys.scopes IS 'What it grants';
COMMENT ON COLUMN api_keys.hash IS 'SHA-256 of the secret, which has 256 random bits';
COMMENT ON COLUMN api_keys.created_at IS 'When it was made, by the clock of the node';
COMMENT ON COLUMN api_keys.expires_at IS 'When it ends; null: never';
COMMENT ON COLUMN api_keys.last_used_at IS 'When it was last used, within a minute; null: never';

CREATE TABLE app_secrets (
	app        text NOT NULL,
	key_id     text NOT NULL,
	node_id    text NOT NULL REFERENCES nodes,
	secret     bytea NOT NULL CHECK (length(secret) = 32),
	created_at timestamptz NOT NULL,
	retires_at timestamptz,
	PRIMARY KEY (app, key_id)
);
COMMENT ON TABLE app_secrets IS 'The keys that sign subscriber tokens, shared by all nodes with that app. Who can read this table can sign tokens';
COMMENT ON COLUMN app_secrets.app IS 'The app';
COMMENT ON COLUMN app_secrets.key_id IS 'The kid of its tokens';
COMMENT ON COLUMN app_secrets.node_id IS 'The node that made it';
COMMENT ON COLUMN app_secrets.secret IS '32 random bytes for HMAC-SHA-256';
COMMENT ON COLUMN app_secrets.created_at IS 'When it was made, by the clock of the node';
COMMENT ON COLUMN app_secrets.retires_at IS 'When its tokens end; null: it signs';

CREATE TABLE kv (
	node_id    text NOT NULL REFERENCES nodes,
	app        text NOT NULL,
	key        text NOT NULL,
	value      jsonb,
	bytes      bytea,
	version    bigint NOT NULL,
	updated_at timestamptz NOT NULL,
	expires_at timestamptz,
	PRIMARY KEY (node_id, app, key),
	CHECK (num_nonnulls(value, bytes) = 1)
);
COMMENT ON TABLE kv IS 'The key-value pairs that the apps of each node keep';
COMMENT ON COLUMN kv.node_id IS 'The node';
COMMENT ON COLUMN kv.app IS 'The app';
COMMENT ON COLUMN kv.key IS 'The key';
COMMENT ON COLUMN kv.value IS 'Its value, when that is JSON';
COMMENT ON COLUMN kv.bytes IS 'Its value, when that is any bytes';
COMMENT ON COLUMN kv.version IS 'Rises with every change';
COMMENT ON COLUMN kv.updated_at IS 'When it was last changed, by the clock of the node';
COMMENT ON COLUMN kv.expires_at IS 'When it comes to its end, by the clock of the node; null: never';

CREATE TABLE documents (
	node_id    text NOT NULL REFERENCES nodes,
	app        text NOT NULL,
	collection text NOT NULL,
	id         text NOT NULL,
	body       jsonb NOT NULL,
	version    bigint NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL,
	PRIMARY KEY (node_id, app, collection, id)
);
COMMENT ON TABLE documents IS 'The documents that the apps of each node keep';
COMMENT ON COLUMN documents.node_id IS 'The node';
COMMENT ON COLUMN documents.app IS 'The app';
COMMENT ON COLUMN documents.collection IS 'The collection';
COMMENT ON COLUMN documents.id IS 'Its id within the collection';
COMMENT ON COLUMN documents.body IS 'The document';
COMMENT ON COLUMN documents.version IS 'Rises with every change';
COMMENT ON COLUMN documents.created_at IS 'When it was made, by the clock of the node';
COMMENT ON COLUMN documents.updated_at IS 'When it was last changed, by the clock of the node';

CREATE TABLE files (
	node_id    text NOT NULL REFERENCES nodes,
	app        text NOT NULL,
	path       text NOT NULL,
	type       text NOT NULL,
	size       bigint NOT NULL,
	sha256     text NOT NULL,
	version    bigint NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL,
	content    text NOT NULL,
	PRIMARY KEY (node_id, app, path)
);
CREATE UNIQUE INDEX files_content ON files (node_id, content);
COMMENT ON TABLE files IS 'The files that the apps of each node keep';
COMMENT ON COLUMN files.node_id IS 'The node';
COMMENT ON COLUMN files.app IS 'The app';
COMMENT ON COLUMN files.path IS 'Its path within the app';
COMMENT ON COLUMN files.type IS 'Its content type';
COMMENT ON COLUMN files.size IS 'Of its content, in bytes';
COMMENT ON COLUMN files.sha256 IS 'Of its content, hexadecimal';
COMMENT ON COLUMN files.version IS 'Rises with every change';
COMMENT ON COLUMN files.created_at IS 'When it was made, by the clock of the node';
COMMENT ON COLUMN files.updated_at IS 'When it was last changed, by the clock of the node';
COMMENT ON COLUMN files.content IS 'Names its parts in file_parts; there are none of an empty file, or where the node keeps contents to itself';

CREATE TABLE file_parts (
	node_id text NOT NULL REFERENCES nodes,
	content text NOT NULL,
	part    bigint NOT NULL,
	bytes   bytea NOT NULL,
	PRIMARY KEY (node_id, content, part)
);
ALTER TABLE file_parts ALTER bytes SET STORAGE EXTERNAL;
COMMENT ON TABLE file_parts IS 'The contents of files, in parts of 256 KiB';
COMMENT ON COLUMN file_parts.node_id IS 'The node';
COMMENT ON COLUMN file_parts.content IS 'As files.content names it';
COMMENT ON COLUMN file_parts.part IS 'Counts from 0';
COMMENT ON COLUMN file_parts.bytes IS 'What it holds';

CREATE TABLE definitions (
	node_id text NOT NULL REFERENCES nodes,
	app     text NOT NULL,
	kind    text NOT NULL,
	name    text NOT NULL,
	body    jsonb NOT NULL,
	PRIMARY KEY (node_id, app, kind, name)
);
COMMENT ON TABLE definitions IS 'What the apps of each node are made of, and the deliveries that were given up';
COMMENT ON COLUMN definitions.node_id IS 'The node';
COMMENT ON COLUMN definitions.app IS 'The app';
COMMENT ON COLUMN definitions.kind IS 'What it is: script, trigger, endpoint, collection, secret (encrypted) or dead-letter';
COMMENT ON COLUMN definitions.name IS 'Its name within the app and kind';
COMMENT ON COLUMN definitions.body IS 'What it says';

CREATE TABLE events (
	node_id      text NOT NULL,
	epoch        text NOT NULL,
	lsn          bigint NOT NULL,
	app          text NOT NULL,
	topic        text NOT NULL,
	seq          bigint NOT NULL,
	data         jsonb NOT NULL,
	source       text NOT NULL,
	published_at timestamptz NOT NULL,
	clock        text NOT NULL DEFAULT 'synced' CHECK (clock IN ('synced', 'unsynced', 'corrected')),
	boot         text,
	board_started_at timestamptz,
	received_at  timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (node_id, epoch, lsn, received_at)
) PARTITION BY RANGE (received_at);
CREATE INDEX events_by_topic ON events (app, topic, published_at);
CREATE INDEX events_uncorrected ON events (node_id, boot) WHERE clock = 'unsynced';
CREATE INDEX events_by_arrival ON events USING brin (received_at);
CREATE TABLE events_default PARTITION OF events DEFAULT;
COMMENT ON TABLE events IS 'Everything that was published, in partitions by the month in which it came here';
COMMENT ON COLUMN events.node_id IS 'The node it was published on';
COMMENT ON COLUMN events.epoch IS 'The history of that node it belongs to; epoch.seq is the id that subscribers see';
COMMENT ON COLUMN events.lsn IS 'Its place in the journal of the node; orders its events';
COMMENT ON COLUMN events.app IS 'The app';
COMMENT ON COLUMN events.topic IS 'The topic';
COMMENT ON COLUMN events.seq IS 'Its place in the history of the app on that node';
COMMENT ON COLUMN events.data IS 'What was published';
COMMENT ON COLUMN events.source IS 'Who published it';
COMMENT ON COLUMN events.published_at IS 'When, by the clock of the node';
COMMENT ON COLUMN events.clock IS 'synced; unsynced: published_at is that of a board that did not know the time; corrected: it was, and has been put right';
COMMENT ON COLUMN events.boot IS 'Which start of the board, when it did not know the time';
COMMENT ON COLUMN events.board_started_at IS 'When that start was, by the clock that was wrong';
COMMENT ON COLUMN events.received_at IS 'When it came here, by the clock of the database';

CREATE TABLE purges (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	node_id    text NOT NULL REFERENCES nodes,
	app        text NOT NULL,
	topic      text,
	lsn        bigint NOT NULL,
	ordered_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE purges IS 'Topics and apps that were deleted, whose events are still to be removed here';
COMMENT ON COLUMN purges.id IS 'Order of work';
COMMENT ON COLUMN purges.node_id IS 'The node';
COMMENT ON COLUMN purges.app IS 'The app';
COMMENT ON COLUMN purges.topic IS 'The topic; null: all of them';
COMMENT ON COLUMN purges.lsn IS 'The record of the journal that deleted it';
COMMENT ON COLUMN purges.ordered_at IS 'Events that came here before go';

CREATE TABLE set_aside (
	node_id text NOT NULL REFERENCES nodes,
	epoch   text NOT NULL,
	lsn     bigint NOT NULL,
	kind    text NOT NULL,
	app     text NOT NULL,
	name    text NOT NULL,
	reason  text NOT NULL,
	body    bytea NOT NULL,
	seq     bigint,
	source  text,
	published_at timestamptz,
	at      timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (node_id, epoch, lsn)
);
COMMENT ON TABLE set_aside IS 'What the tables would not take, with the reason; what came behind it went on';
COMMENT ON COLUMN set_aside.node_id IS 'The node';
COMMENT ON COLUMN set_aside.epoch IS 'The history of that node it belongs to';
COMMENT ON COLUMN set_aside.lsn IS 'Its place in the journal of the node';
COMMENT ON COLUMN set_aside.kind IS 'event, app, topic, api-key, signing-key, kv, document, or a kind of definition';
COMMENT ON COLUMN set_aside.app IS 'The app';
COMMENT ON COLUMN set_aside.name IS 'The topic of an event, else the name of the thing';
COMMENT ON COLUMN set_aside.reason IS 'What the database said';
COMMENT ON COLUMN set_aside.body IS 'The data of the event, byte by byte; empty for other things, which the node still has';
COMMENT ON COLUMN set_aside.seq IS 'Of an event: its place in the history of the app on that node';
COMMENT ON COLUMN set_aside.source IS 'Of an event: who published it';
COMMENT ON COLUMN set_aside.published_at IS 'Of an event: when, by the clock of the node';
COMMENT ON COLUMN set_aside.at IS 'When it was given up on, by the clock of the database';

-- advance moves the position of a node, in the transaction that brings what is
-- up to there. It refuses everybody but the session that holds the node, at the
-- position that this session believes it to be at.
CREATE FUNCTION advance(node text, holder text, expected bigint, upto bigint, waiting bigint) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
	UPDATE nodes SET lsn = upto, backlog = waiting, last_seen = now(), synced_at = now()
	WHERE id = node AND session = holder AND lsn = expected;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'another process has moved the position of node %', node USING ERRCODE = 'PC001';
	END IF;
END $$;
COMMENT ON FUNCTION advance IS 'Moves the position of a node, for the session that holds it';

-- maintain makes the partitions of the coming months, drops those that are past
-- their retention, and removes a part of what was deleted. It returns how many
-- events it has removed: with more than none, call it again.
CREATE FUNCTION maintain() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '2s' AS $$
DECLARE
	first_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
	month       timestamp;
	partition   text;
	days        int := (SELECT value::int FROM settings WHERE name = 'event_retention_days');
	purge       purges;
	removed     bigint := 0;
BEGIN
	IF NOT pg_try_advisory_xact_lock(hashtext('picloud maintain'), hashtext(current_schema())) THEN
		RETURN 0;
	END IF;
	FOR i IN 0..3 LOOP
		month := first_month + make_interval(months => i);
		partition := 'events_' || to_char(month, 'YYYY_MM');
		IF to_regclass(format('%I.%I', current_schema(), partition)) IS NULL THEN
			BEGIN
				EXECUTE format('CREATE TABLE %I PARTITION OF events FOR VALUES FROM (%L) TO (%L)',
					partition, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
			EXCEPTION WHEN check_violation OR lock_not_available THEN
				NULL; -- the default partition serves as well
			END;
		END IF;
	END LOOP;
	IF days > 0 THEN
		FOR partition IN
			SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
			WHERE i.inhparent = 'events'::regclass AND c.relname ~ '^events_\d{4}_\d{2}$'
			AND to_timestamp(right(c.relname, 7), 'YYYY_MM') + interval '1 month' < now() - make_interval(days => days)
		LOOP
			BEGIN
				EXECUTE format('DROP TABLE %I', partition);
			EXCEPTION WHEN lock_not_available THEN
				NULL; -- next time
			END;
		END LOOP;
	END IF;
	SELECT * INTO purge FROM purges ORDER BY id LIMIT 1;
	IF FOUND THEN
		DELETE FROM events e USING (
			SELECT p.node_id, p.epoch, p.lsn, p.received_at FROM events p
			WHERE p.app = purge.app AND (purge.topic IS NULL OR p.topic = purge.topic) AND p.node_id = purge.node_id
			AND (p.received_at, p.lsn) < (purge.ordered_at, purge.lsn)
			LIMIT 5000
		) gone
		WHERE (e.node_id, e.epoch, e.lsn, e.received_at) = (gone.node_id, gone.epoch, gone.lsn, gone.received_at);
		GET DIAGNOSTICS removed = ROW_COUNT;
		IF removed = 0 THEN
			DELETE FROM purges WHERE id = purge.id;
			SELECT count(*) INTO removed FROM purges;
		END IF;
	END IF;
	RETURN removed;
END $$;
COMMENT ON FUNCTION maintain IS 'Keeps the partitions of events and removes what was deleted; nodes call it';

CREATE VIEW fleet AS
SELECT n.name AS node, n.id, n.version, n.health,
	CASE
		WHEN n.last_seen < now() - interval '1 minute' THEN 'silent'
		WHEN n.backlog > 0 THEN 'behind'
		ELSE 'in sync'
	END AS state,
	n.last_seen, n.synced_at, n.backlog, n.lost,
	(SELECT count(*) FROM set_aside s WHERE s.node_id = n.id) AS set_aside,
	(SELECT count(*) FROM apps a WHERE a.node_id = n.id) AS apps
FROM nodes n
ORDER BY n.name, n.id;
COMMENT ON VIEW fleet IS 'How every node is doing';

SELECT maintain();
