"""docs/decisions/0011-schema-for-many-nodes.md against the catalogue of a migrated database."""

import psycopg

TABLES = """
    SELECT c.relname, ARRAY(
        SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
"""
UNIQUE = """
    SELECT c.relname, i.indisprimary, ARRAY(
        SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, place)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num ORDER BY k.place)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND i.indisunique
"""
FOREIGN = """
    SELECT conrelid::regclass::text, confrelid::regclass::text, ARRAY(
        SELECT a.attname FROM unnest(conkey) k(num)
        JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.num)
    FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
"""
OF_AN_ACCOUNT = {"claim_place"}  # a limit of a person and a network; it only mentions a device


def test_every_table_has_a_primary_key_and_a_device_is_one_shard(database: str) -> None:
    with psycopg.connect(database) as connection:
        tables: dict[str, list[str]] = dict(connection.execute(TABLES).fetchall())
        unique = connection.execute(UNIQUE).fetchall()
        foreign = connection.execute(FOREIGN).fetchall()
    assert {"device", "latest", "telemetry", "account"} <= set(tables)
    assert set(tables) - {name for name, primary, _ in unique if primary} == set()
    of_devices = {name for name, columns in tables.items() if "device_id" in columns} - OF_AN_ACCOUNT
    assert [row for row in unique if row[0] in of_devices and row[1] and row[2][0] != "device_id"] == []
    assert [row for row in unique if row[0] in of_devices and "device_id" not in row[2]] == []
    inside = [row for row in foreign if row[0] in of_devices and row[1] in of_devices]
    assert inside
    assert [row for row in inside if "device_id" not in row[2]] == []
    assert [row for row in foreign if row[0] not in of_devices and row[1] in of_devices] == []
