"""Queries to Postgres that come back in time, whatever happens to it."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.rows import RowFactory, tuple_row
from psycopg_pool import ConnectionPool, PoolTimeout

from p2k16.outage import Breaker, Unavailable

CONNECT_LIMIT = 0.8
QUERY_LIMIT = 1.5
# The server gives up before the client does: its connection can then be used again.
STATEMENT_TIMEOUT_MS = 1400
# A transaction has several statements, and the time of one.
_BEGIN = "BEGIN; SET LOCAL statement_timeout = 1000"


class DeadlinePassed(psycopg.OperationalError):
    """The server did not answer in time."""


class Connection(psycopg.Connection):
    """A connection whose waiting ends at a deadline: a paused server closes nothing and answers nothing."""

    deadline = float("inf")

    def wait(self, generator, interval=0.05):
        return super().wait(self._until_deadline(generator), interval)

    def _until_deadline(self, generator):
        try:
            wanted = next(generator)
            while True:
                ready = yield wanted
                if monotonic() > self.deadline:
                    raise DeadlinePassed("the server did not answer in time")
                wanted = generator.send(ready)
        except StopIteration as result:
            return result.value


class Transaction:
    """The statements that are done together or not at all."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def query[Row](
        self,
        sql: str,
        parameters: dict[str, object] | None = None,
        rows: RowFactory[Row] = tuple_row,
    ) -> list[Row]:
        """Returns what one statement selects or returns."""
        return self._connection.cursor(row_factory=rows).execute(sql, parameters).fetchall()

    def execute(self, sql: str, parameters: dict[str, object] | None = None) -> int:
        """Runs a statement that returns no rows; returns how many it changed."""
        return self._connection.execute(sql, parameters).rowcount


class Database:
    """A pool of connections, opened by each worker process for itself."""

    def __init__(self, url: str, password: str, time_zone: str, size: int):
        """size is the most connections at once: one for each thread, the jobs' too, so that none waits for another."""
        self._breaker = Breaker("postgres", _describe)
        self._pool = ConnectionPool(
            url,
            connection_class=Connection,
            kwargs={
                "password": password,
                "autocommit": True,
                "application_name": "python",
                "options": f"-c TimeZone={time_zone} -c statement_timeout={STATEMENT_TIMEOUT_MS}",
                "connect_timeout": 2,
                # Idle connections to a server that vanished without a word are known as dead after 4 s.
                "keepalives_idle": 2,
                "keepalives_interval": 1,
                "keepalives_count": 2,
                "tcp_user_timeout": 2000,
            },
            min_size=1,
            max_size=size,
            # The pool's own retries wait ever longer; here the next request tries again.
            reconnect_timeout=0,
            name="postgres",
            open=False,
        )

    def open(self) -> None:
        self._pool.open()

    def close(self) -> None:
        self._pool.close(timeout=1)

    def query[Row](
        self,
        sql: str,
        parameters: dict[str, object] | None = None,
        rows: RowFactory[Row] = tuple_row,
        limit: float = QUERY_LIMIT,
        prepare: bool | None = None,
    ) -> list[Row]:
        """Returns what one statement selects; raises Unavailable at the latest after limit seconds.

        A statement that is asked often is prepared, unless prepare is False: then it is planned for these parameters.
        """
        with self._connection(limit) as connection:
            return connection.cursor(row_factory=rows).execute(sql, parameters, prepare=prepare).fetchall()

    @contextmanager
    def transaction(self, limit: float = QUERY_LIMIT) -> Iterator[Transaction]:
        """Commits what is done in it, unless it is left by an exception; raises Unavailable as query does.

        After that the changes may have been made nevertheless: the answer to the commit may be what did not come.
        Whoever is in it must ask nothing of the Database itself, which could have no connection left.
        """
        with self._connection(limit) as connection:
            connection.execute(_BEGIN, prepare=False)
            try:
                yield Transaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    @contextmanager
    def _connection(self, limit: float) -> Iterator[Connection]:
        deadline = monotonic() + limit
        with self._breaker.call():
            try:
                with self._pooled_connection(deadline) as connection:
                    yield connection
            except (PoolTimeout, DeadlinePassed):
                raise
            # One statement was too slow, or one connection was cut: the others' queries may well work.
            except errors.QueryCanceled as error:
                raise Unavailable("timed out") from error
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                raise Unavailable("connection lost") from error

    @contextmanager
    def _pooled_connection(self, deadline: float) -> Iterator[Connection]:
        connection = self._live_connection(deadline)
        try:
            connection.deadline = deadline
            yield connection
        except DeadlinePassed:
            connection.close()
            raise
        finally:
            self._pool.putconn(connection)

    def _live_connection(self, deadline: float) -> Connection:
        # Not the pool's own check: after the second dead connection it sleeps until its time is over,
        # and after a restart of the server all of them are dead.
        connect_deadline = min(deadline, monotonic() + CONNECT_LIMIT)
        while True:
            connection = self._pool.getconn(timeout=connect_deadline - monotonic())
            if not _hung_up(connection):
                return connection
            connection.close()
            self._pool.putconn(connection)


def _roll_back(connection: Connection) -> None:
    # One that waits for an answer will be closed; the server ends its transaction then.
    if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()


def _hung_up(connection: Connection) -> bool:
    """Whether an idle connection has something to read: nothing but its end can have come."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _describe(error: Exception) -> str | None:
    match error:
        case PoolTimeout():
            return "no connection"
        case DeadlinePassed():
            return "timed out"
    return None
