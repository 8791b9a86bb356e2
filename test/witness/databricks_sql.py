"""What a user's Python program does with databricks-sql-connector; each function returns plain JSON for the test to judge."""

import datetime
import decimal
import os
import threading
from urllib.parse import urlparse

from databricks import sql


def connect(**options):
    host = urlparse(os.environ["DATABRICKS_HOST"])
    return sql.connect(
        server_hostname=host.hostname,
        _port=host.port,
        http_path=os.environ["DATABRICKS_HTTP_PATH"],
        access_token=options.pop("token", os.environ["DATABRICKS_TOKEN"]),
        _tls_trusted_ca_file=os.environ["SSL_CERT_FILE"],
        enable_telemetry=False,
        **options,
    )


def shown(value):
    """repr() with one spelling for UTC."""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return repr(value.replace(tzinfo=None))[:-1] + ", tzinfo=<UTC>)" if not value.utcoffset() else repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {shown(item)}" for key, item in value.items()) + "}"
    return repr(value)


def error_of(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except Exception as error:
        return [type(error).__name__, str(error)]
    return None


def types(query):
    """The one row of a query, cell by cell, from the Arrow table the connector fetched, and the types its description names."""
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute(query)
        description = {column[0]: column[1] for column in cursor.description}
        (row,) = cursor.fetchall_arrow().to_pylist()
    return dict(cells={name: shown(value) for name, value in row.items()}, description=description)


def counts(sizes):
    """Rows fetched of range(n), all at once and in uneven portions."""
    counted = []
    with connect() as connection, connection.cursor() as cursor:
        for size in sizes:
            cursor.execute(f"select id from range({size})")
            at_once = len(cursor.fetchall())
            cursor.execute(f"select id from range({size})")
            portions = []
            while portion := cursor.fetchmany(7_001):
                portions.extend(row.id for row in portion)
            counted.append([at_once, len(portions), len(set(portions))])
    return counted


def million():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("select id, cast(id as string) as s, id / 4d as d from range(1000000)")
        table = cursor.fetchall_arrow()
    import pyarrow.compute as pc

    return [table.num_rows, pc.sum(table["id"]).as_py(), pc.count_distinct(table["s"]).as_py(), pc.sum(table["d"]).as_py()]


def parameters():
    values = [1, "a'b", decimal.Decimal("12345.6789"), datetime.date(2020, 2, 29), datetime.datetime(2020, 2, 29, 1, 2, 3, 4), None, 1.5, 2**60, True]
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("select " + ", ".join(f"? as c{index}" for index in range(len(values))), values)
        positional = [shown(value) for value in cursor.fetchall_arrow().to_pylist()[0].values()]
        cursor.execute("select :n as n, :s as s", {"n": 2**60, "s": "; drop"})
        named = list(cursor.fetchone())
        cursor.execute("select ? as a, ? as m", [[1, 2], {"k": decimal.Decimal("1.50")}])
        nested = [shown(value) for value in cursor.fetchall_arrow().to_pylist()[0].values()]
    return dict(positional=positional, named=named, nested=nested)


def errors():
    with connect() as connection, connection.cursor() as cursor:
        missing = error_of(cursor.execute, "select * from nothing_here")
        division = error_of(cursor.execute, "select 1/0")
        cursor.execute("select 1 as one")
        after = cursor.fetchall()[0].one
    return dict(missing=missing, division=division, after=after, catalog=error_of(connect, catalog="nowhere"), token=error_of(connect, token="wrong"))


def changes(schema):
    """DDL and DML: the rows of their answers, the columns declared, and rowcount."""
    seen = []
    with connect() as connection, connection.cursor() as cursor:
        for statement in [f"create schema if not exists {schema}", f"create or replace table {schema}.t (a int, b string)", f"insert into {schema}.t values (1, 'x'), (2, 'y')", f"delete from {schema}.t where a = 1", f"drop schema {schema} cascade"]:
            cursor.execute(statement)
            seen.append([[column[0] for column in cursor.description], [list(row) for row in cursor.fetchall()], cursor.rowcount])
    return seen


def metadata(schema):
    with connect(catalog="main") as connection, connection.cursor() as cursor:
        cursor.execute(f"create schema if not exists {schema}")
        cursor.execute(f"create or replace table {schema}.t (a bigint, b decimal(10,2))")
        answers = {}
        for name, call in dict(catalogs=cursor.catalogs, schemas=lambda: cursor.schemas(schema_name=schema), tables=lambda: cursor.tables(schema_name=schema), columns=lambda: cursor.columns(schema_name=schema, table_name="t")).items():
            call()
            answers[name] = [row.asDict() for row in cursor.fetchall()]
        cursor.execute(f"drop schema {schema} cascade")
    return answers


def cancelled():
    """What a statement that another thread cancels ends with, and that the cursor's session lives on."""
    with connect() as connection, connection.cursor() as cursor:
        timer = threading.Timer(2, cursor.cancel)
        timer.start()
        error = error_of(cursor.execute, "select count(*) from range(1000000000000) where rand() < 2")
        timer.join()
        with connection.cursor() as other:
            other.execute("select 5 as five")
            return dict(error=error, after=other.fetchone().five)


def asynchronous():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute_async("select id from range(12345)")
        cursor.get_async_execution_result()
        return len(cursor.fetchall())
