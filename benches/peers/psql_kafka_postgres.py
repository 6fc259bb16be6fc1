"""The rows that the topic holds, dumped before by binary COPY, put into the same table by psql: binary COPY into the same staging
table, and the same merge. Reads no topic and decodes nothing."""

import os
import subprocess

import peer

args = peer.topic_arguments()

from psycopg2 import connect  # noqa: E402

url, login = os.environ["STOCKFLOW_TEST_POSTGRES_URL"], {"PGPASSWORD": os.environ["STOCKFLOW_TEST_POSTGRES_PASSWORD"], "PGSSLMODE": "disable"}
with connect(url, password=login["PGPASSWORD"], sslmode="disable") as connection, connection.cursor() as cursor:
    cursor.execute(f"SELECT * FROM {args.target} LIMIT 0")
    columns = [column.name for column in cursor.description]
connection.close()
names = ", ".join(f'"{name}"' for name in columns)
script = f"""
CREATE TEMPORARY TABLE stockflow_stage (LIKE {args.target} INCLUDING CONSTRAINTS);
\\copy pg_temp.stockflow_stage ({names}) FROM '{args.input}' (FORMAT binary)
BEGIN;
{peer.merge_sql(args.target, columns, f"SELECT {names} FROM pg_temp.stockflow_stage")};
COMMIT;
"""


def job() -> None:
    subprocess.run(["psql", url, "-X", "-q", "-v", "ON_ERROR_STOP=1"], input=script, text=True, check=True, env={**os.environ, **login})


peer.timed(job)
