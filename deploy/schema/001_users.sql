-- Users, what proves that it is them, and where each is at home.
CREATE TABLE users (
    aor               text PRIMARY KEY,       -- "alice@muster.test", prepared: bare JID and AoR
    userid            text NOT NULL UNIQUE,   -- its local part
    display_name      text NOT NULL DEFAULT '',
    mail              text NOT NULL DEFAULT '',
    directory_uri     text NOT NULL DEFAULT '',
    home              integer NOT NULL DEFAULT 0, -- node number; 0: not assigned
    salt              bytea NOT NULL,
    iterations        integer NOT NULL,
    sha1_stored_key   bytea NOT NULL,         -- SCRAM, RFC 5802
    sha1_server_key   bytea NOT NULL,
    sha256_stored_key bytea NOT NULL,
    sha256_server_key bytea NOT NULL,
    digest_md5        text NOT NULL,          -- HA1 in hex, RFC 2617
    digest_sha256     text NOT NULL           -- HA1 in hex, RFC 8760
);

-- Daemons hold all users in memory: tell them which changed, or "*" when many did.
CREATE FUNCTION users_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM changed) > 100 THEN
        PERFORM pg_notify('muster_users', '*');
    ELSE
        PERFORM pg_notify('muster_users', aor) FROM changed;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER users_inserted AFTER INSERT ON users REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION users_changed();
CREATE TRIGGER users_updated AFTER UPDATE ON users REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION users_changed();
CREATE TRIGGER users_deleted AFTER DELETE ON users REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION users_changed();
