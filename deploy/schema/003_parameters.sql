-- Service parameters that differ from their defaults (common/params.def).
CREATE TABLE parameters (
    service text NOT NULL,
    name    text NOT NULL,
    node    integer NOT NULL DEFAULT 0,       -- 0: the cluster
    value   text NOT NULL,
    PRIMARY KEY (service, name, node)
);

CREATE FUNCTION parameters_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('muster_params', '');
    RETURN NULL;
END $$;

CREATE TRIGGER parameters_changed AFTER INSERT OR UPDATE OR DELETE ON parameters
    FOR EACH STATEMENT EXECUTE FUNCTION parameters_changed();
