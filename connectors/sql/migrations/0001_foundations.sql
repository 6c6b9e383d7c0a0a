-- Roles, units, and the two triggers that keep what was written: what happened, and latest states.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'trading_writer') THEN
        CREATE ROLE trading_writer NOLOGIN; -- the connectors: they insert and upsert
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'trading_reader') THEN
        CREATE ROLE trading_reader NOLOGIN; -- people and reports
    END IF;
END
$$;
GRANT USAGE ON SCHEMA trading TO trading_writer, trading_reader;

-- What the tables count in, for people. All exact: numeric has no binary fractions.

CREATE FUNCTION trading.moment(ns bigint) RETURNS timestamptz IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
RETURN (timestamp '1970-01-01' + (ns / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC';
COMMENT ON FUNCTION trading.moment IS 'A time in nanoseconds since 1970 UTC; what is below a microsecond is cut off';

CREATE FUNCTION trading.units(steps numeric, step_e9 bigint) RETURNS numeric IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE sql RETURN trim_scale(steps * step_e9 * 0.000000001);
COMMENT ON FUNCTION trading.units IS 'Ticks or lots as units, of a step in billionths';

CREATE FUNCTION trading.money(minor numeric, exponent bigint) RETURNS numeric IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE sql RETURN trim_scale(minor * ('1e-' || exponent)::numeric);
COMMENT ON FUNCTION trading.money IS 'Minor units as the currency''s own';

CREATE FUNCTION trading.date_of(day bigint) RETURNS date IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql
RETURN date '1970-01-01' + day::integer;

-- Triggers. The owner of a table, who runs the migrations, may mend it; nobody else may, superusers included.

CREATE FUNCTION trading.is_owner(relation oid) RETURNS boolean STABLE LANGUAGE sql
RETURN (SELECT pg_get_userbyid(relowner) = current_user FROM pg_class WHERE oid = relation);

CREATE FUNCTION trading.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW IS NOT DISTINCT FROM OLD THEN
        RETURN NULL; -- a redelivery
    END IF;
    IF trading.is_owner(TG_RELID) THEN
        RETURN CASE TG_OP WHEN 'UPDATE' THEN NEW ELSE OLD END;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION '% is append-only: a row of it cannot be changed', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation',
            DETAIL = format('stored: %s; sent: %s', OLD, NEW);
    END IF;
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE FUNCTION trading.keep_newer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN NEW.version > OLD.version THEN NEW END; -- none: a replay steps nothing back
END
$$;

CREATE PROCEDURE trading.make_append_only(name text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON trading.%I
             FOR EACH ROW EXECUTE FUNCTION trading.refuse_change()',
        name
    );
    CALL trading.refuse_truncate(name);
END
$$;

CREATE PROCEDURE trading.refuse_truncate(name text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON trading.%I
             FOR EACH STATEMENT EXECUTE FUNCTION trading.refuse_change()',
        name
    );
END
$$;

CREATE PROCEDURE trading.make_state(name text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER keep_newer BEFORE UPDATE ON trading.%I
             FOR EACH ROW EXECUTE FUNCTION trading.keep_newer()',
        name
    );
END
$$;
