-- Rosters (RFC 6121) and messages for users who are not there.
CREATE TABLE rosters (
    aor          text NOT NULL REFERENCES users ON DELETE CASCADE,
    contact      text NOT NULL,               -- bare JID, prepared
    name         text NOT NULL DEFAULT '',
    subscription text NOT NULL DEFAULT 'none' CHECK (subscription IN ('none', 'to', 'from', 'both')),
    ask          boolean NOT NULL DEFAULT false, -- we asked and wait
    pending_in   boolean NOT NULL DEFAULT false, -- they asked and wait
    approved     boolean NOT NULL DEFAULT false, -- pre-approved, RFC 6121 3.4
    groups       text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (aor, contact)
);

CREATE TABLE offline_messages (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    aor        text NOT NULL REFERENCES users ON DELETE CASCADE,
    sender     text NOT NULL,                 -- bare JID
    message_id text NOT NULL,                 -- Im.id; empty: not known
    im         bytea NOT NULL                 -- Im (proto/im.proto), packed
);
CREATE INDEX ON offline_messages (aor, id);
-- A message that is stored twice is stored once.
CREATE UNIQUE INDEX ON offline_messages (aor, sender, message_id) WHERE message_id <> '';
