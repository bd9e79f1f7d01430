"""Work on the database server itself: making databases."""

import psycopg
from psycopg import sql


def create_database(dsn: str, name: str, template: str | None = None) -> bool:
    """Make database ``name`` (a copy of ``template``) unless it exists; ``dsn`` names another one. True when
    made.
    """
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return False
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        connection.execute(statement)
        return True
