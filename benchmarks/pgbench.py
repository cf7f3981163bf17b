"""The yardstick: pgbench's TPC-B on the same PostgreSQL, each transaction durable."""

import re
import subprocess

from benchmarks.report import Figure
from deploy.local.postgres import EmbeddedPostgres

SCALE = 20
CLIENTS = 16


def tpcb(postgres: EmbeddedPostgres, seconds: int) -> Figure:
    """Transactions per second at scale 20 with 16 clients and prepared statements."""
    postgres.ensure_database("pgbench")
    pgbench = str(postgres.bin_dir / "pgbench")
    dsn = postgres.dsn("pgbench")
    subprocess.run([pgbench, "-i", "-q", "-s", str(SCALE), dsn], check=True, capture_output=True)
    run = subprocess.run(
        [pgbench, "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds), dsn],
        check=True,
        capture_output=True,
        text=True,
    )
    match = re.search(r"tps = ([0-9.]+) \(without", run.stdout)
    assert match is not None, run.stdout
    return Figure("pgbench.tpcb_16", float(match.group(1)), "transactions/s")
