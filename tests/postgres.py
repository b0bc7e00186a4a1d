"""A PostgreSQL server for tests: one for each test process, a database of its own for each test."""

import atexit
import contextlib
from functools import cache
from uuid import uuid4

import pytest
import sqlalchemy

from studies.postgres_server import PostgresServer, postgres_server, why_not


@cache
def server() -> PostgresServer:
    """Return the server of this test process; it ends with the process."""
    if reason := why_not():
        pytest.skip(f"no PostgreSQL server can be started: {reason}")
    pytest.importorskip("psycopg", reason="psycopg is not installed (the extra `postgres`)")
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(postgres_server())


def new_database(of: PostgresServer) -> str:
    """Make an empty database and return its URL with the password."""
    name = f"d{uuid4().hex[:12]}"
    engine = sqlalchemy.create_engine(of.url_with_password, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return of.url_with_password.removesuffix("postgres") + name
