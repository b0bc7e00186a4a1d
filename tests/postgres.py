"""A PostgreSQL server for tests: one for each test process, a database of its own for each test."""

import atexit
import contextlib
from functools import cache

import pytest

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
    return of.new_database()
