"""Real servers for the jobs with connectors, by `scripts/services`: started when a job first asks for one, stopped at the end."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from process import Failed

SERVICES = Path(__file__).resolve().parent.parent / "scripts" / "services"
# What `scripts/services env` says of each: servers that are named by these are taken as they are.
NAMED_BY = {"kafka": "STOCKFLOW_TEST_KAFKA", "postgres": "STOCKFLOW_TEST_POSTGRES_URL", "elasticsearch": "STOCKFLOW_TEST_ELASTIC_URL"}


@cache
def need(name: str) -> str | None:
    """Installs and fetches what a server needs; says so if that cannot be had."""
    if NAMED_BY[name] in os.environ:
        return None
    done = subprocess.run([SERVICES, "need", name], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return f"{name}: {done.stderr.strip() or 'cannot be had'}" if done.returncode else None


def missing(names: set[str]) -> str | None:
    """What the first of these servers lacks that cannot be had."""
    return next((reason for name in sorted(names) if (reason := need(name))), None)


class Servers:
    """Servers of this run's own in a folder of their own; used in a `with`, at whose end they are stopped."""

    def __init__(self) -> None:
        self.folder: Path | None = None

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *_: object) -> None:
        if self.folder:
            self.call("down")
            shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, *command: str) -> subprocess.CompletedProcess:
        env = {**os.environ, "STOCKFLOW_SERVICES_DIR": str(self.folder)}
        return subprocess.run([SERVICES, *command], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def up(self, names: set[str]) -> None:
        """Starts those that are not there yet, side by side, and puts into the environment where they are."""
        wanted = sorted(name for name in names if NAMED_BY[name] not in os.environ)
        if not wanted:
            return
        self.folder = self.folder or Path(tempfile.mkdtemp(prefix="stockflow-bench-services-"))
        print(f"  starting {', '.join(wanted)}", file=sys.stderr, flush=True)
        with ThreadPoolExecutor() as starting:
            for name, done in zip(wanted, starting.map(lambda name: self.call("up", name), wanted), strict=True):
                if done.returncode:
                    raise Failed(f"{name}: cannot be started\n{done.stderr[-3000:]}")
        for line in self.call("env", *wanted).stdout.splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            os.environ[name] = "".join(shlex.split(value))
