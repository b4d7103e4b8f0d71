"""The database under the vector store: how it is opened, brought up to date, and written to by several at once."""

import importlib.util
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import sqlalchemy as sql
import tenacity

MIGRATIONS = Path(__file__).with_name("migrations")
FIRST, HEAD = "0001", "0003"  # migrations: of stores from before there were any, and the newest
WAIT_MS = 30_000  # for another process's transaction
# A database that has vanished from the network is an error after a while, where the URL says nothing else.
_PATIENCE = {
    "sqlite": {},
    "postgresql": {"connect_timeout": "10", "tcp_user_timeout": str(WAIT_MS), "keepalives_idle": "30"},
}

# The first statement of a writing transaction: nobody else writes until it ends, so what was checked still holds when
# it is stored. The number is the store's own among a PostgreSQL database's advisory locks ("dccl" in ASCII).
LOCKS = {"sqlite": "BEGIN IMMEDIATE", "postgresql": f"SELECT pg_advisory_xact_lock({0x6463636C})"}

# An acknowledged upload is on the disk whatever the database's defaults are.
_SETTINGS = {
    "sqlite": [f"PRAGMA busy_timeout = {WAIT_MS}", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"],
    "postgresql": ["SET SESSION synchronous_commit = on", f"SET SESSION lock_timeout = {WAIT_MS}"],
}

_VERSION = sql.table("alembic_version", sql.column("version_num"))
_one_migration = threading.Lock()  # Alembic keeps its context in globals


def open_engine(url: str, create: bool = True) -> sql.Engine:
    """An engine of a database whose tables are up to date.

    Args:
      url: of the database.
      create: whether a file that is not there is made.

    Raises:
      ValueError: `url` is none, or its database cannot be opened.
    """
    try:
        address = sql.make_url(url)
        if address.drivername == "postgresql":  # psycopg, not what SQLAlchemy 2.0 takes by default
            address = address.set(drivername="postgresql+psycopg")
        patience = _PATIENCE.get(address.get_backend_name())
        if patience is None:
            raise ValueError(f"url: expected a database of {' or '.join(_PATIENCE)}, got {address.get_backend_name()}")
        if not create and address.get_backend_name() == "sqlite" and not Path(address.database or "").is_file():
            raise ValueError(f"url: expected a vector store, got nothing at {address.database or 'sqlite://'}")
        engine = sql.create_engine(
            address.update_query_dict(patience | dict(address.query)),
            pool_pre_ping=bool(patience),
            hide_parameters=True,  # keys and vectors belong into no log
        )
    except sql.exc.ArgumentError as error:
        raise ValueError(f"url: expected one like sqlite:///vectors.sqlite, got {url!r}") from error
    except ModuleNotFoundError as error:
        raise ValueError(
            f"url: {address.drivername} needs the package {error.name}; pip install 'dccl[service]' brings psycopg"
        ) from error
    sql.event.listen(engine, "connect", partial(_tune, _SETTINGS.get(engine.dialect.name, [])))
    try:
        _bring_up_to_date(engine)
    except sql.exc.DBAPIError as error:
        engine.dispose()
        shown = engine.url.render_as_string(hide_password=True)
        raise ValueError(
            f"url: cannot open {shown} ({error.orig}); a file's folder must exist and be writable and the file be a "
            "store, a server must run and its database exist"
        ) from error
    except ValueError:
        engine.dispose()
        raise
    return engine


@contextmanager
def writing(engine: sql.Engine) -> Iterator[sql.Connection]:
    """A connection whose statements become durable together when the `with` block ends, or none if it raises."""
    with engine.begin() as connection:
        if lock := LOCKS.get(engine.dialect.name):
            connection.exec_driver_sql(lock)
        yield connection


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


@tenacity.retry(
    retry=tenacity.retry_if_exception(_is_busy),  # SQLite ignores its timeout where two turn WAL on at once
    wait=tenacity.wait_random(0, 0.05),
    stop=tenacity.stop_after_delay(WAIT_MS / 1000),
    reraise=True,
)
def _execute(cursor: sql.engine.interfaces.DBAPICursor, statement: str) -> None:
    cursor.execute(statement)


def _tune(statements: list[str], connection: sql.engine.interfaces.DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    for statement in statements:
        _execute(cursor, statement)
    cursor.close()
    connection.commit()


def _bring_up_to_date(engine: sql.Engine) -> None:
    with engine.connect() as connection:
        if _version(connection) == HEAD:
            return
    with _one_migration, writing(engine) as connection:  # another process may be at it: look again inside
        version = _version(connection)
        if version == HEAD:
            return
        if version is not None and not any(MIGRATIONS.glob(f"versions/{version}_*.py")):
            raise ValueError(
                f"url: the store is of a newer version of this package (schema {version}, known up to {HEAD}); "
                "upgrade this package"
            )
        _migrate(connection, stamp=version is None and sql.inspect(connection).has_table("quarantine"))


def _version(connection: sql.Connection) -> str | None:
    if not sql.inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(sql.select(_VERSION.c.version_num)).scalar()


def _migrate(connection: sql.Connection, stamp: bool) -> None:
    if importlib.util.find_spec("alembic") is None:
        raise ValueError("url: a store is made and brought up to date by alembic; pip install 'dccl[cloud]'")
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    if stamp:
        command.stamp(config, FIRST)
    command.upgrade(config, "head")
