"""PostgreSQL servers of a test's own, which it may stop, kill and fill.

They run as the user of the tests or, as PostgreSQL refuses root, as `postgres` where root runs the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
import pytest

from tests.load import ORDERED, Stored
from tests.ports import free_port
from tests.postgresql import run_sql
from tests.stores import migrate

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

MISSING = (
    "no PostgreSQL programs (initdb, pg_ctl): install them (on Debian and Ubuntu, apt install postgresql),"
    " or put their folder into PATH"
)
START_SECONDS = 60
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 50
shared_buffers = 16MB
max_wal_senders = 4
autovacuum = off
"""


@dataclass
class Cluster:
    """A PostgreSQL server: its data folder and its port."""

    programs: Path
    """The folder of initdb and pg_ctl."""
    data: Path
    port: int
    is_running: bool = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Names its database as its superuser."""
        return f"postgresql://postgres@{self.address}/postgres"

    def configure(self, lines: str) -> None:
        """Add settings, which are in force when it starts or reloads."""
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(lines)

    def start(self) -> None:
        """Start, and wait until connections are taken; recovers first where it was killed."""
        deadline = time.monotonic() + START_SECONDS
        log = self.data / "log"
        while True:
            # Again, as the processes that a killed server has left may still be ending.
            run = self.control("start", "--wait", f"--timeout={START_SECONDS}", f"--log={log}")
            if run.returncode == 0:
                self.is_running = True
                return
            assert time.monotonic() < deadline, (run, log.read_text(encoding="utf-8"))
            time.sleep(0.1)  # between two tries

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop: fast ends every connection and checkpoints, immediate leaves recovery to the start."""
        run = self.control("stop", "--wait", f"--mode={mode}")
        assert run.returncode == 0, run
        self.is_running = False

    def kill(self) -> None:
        """End the postmaster by SIGKILL; its other processes see it and end too."""
        pid = int((self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        self.is_running = False

    def freeze(self) -> None:
        """Stop every process of it without a word, as a machine does that dies: its peers hear nothing."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let its processes go on."""
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        """Return its processes, the postmaster first, so that it starts no other meanwhile."""
        postmaster = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0]
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="utf-8")
        return [int(pid) for pid in (postmaster, *children.split())]

    def cut_connections(self) -> None:
        """End every connection."""
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def kill_connection(self) -> None:
        """End a server process of Dashkeeper's by SIGKILL: all others are ended too, and it recovers."""
        found = self.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'dashkeeper'")
        os.kill(found[0]["pid"], signal.SIGKILL)

    def fill_disk(self, table: str) -> None:
        """Let there be no room on the disk for another page of a table.

        A table continues in a second file where the first is 1 GiB. Here the first, which has holes, is
        made so large, and the second is a device that is always full. That needs no right to mount a
        small file system, which a container hardly gives.
        """
        first = self._first_file(table)
        first.with_name(f"{first.name}.1").symlink_to("/dev/full")
        os.truncate(first, 1 << 30)

    def free_disk(self, table: str) -> None:
        """Let there be room again."""
        first = self._first_file(table)
        first.with_name(f"{first.name}.1").unlink()
        self.cut_connections()  # they have the second file open

    def _first_file(self, table: str) -> Path:
        return self.data / self.rows(f"SELECT pg_relation_filepath('{table}') AS path")[0]["path"]

    def control(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pg_ctl."""
        return run_program(self.programs / "pg_ctl", command, f"--pgdata={self.data}", "--silent", *arguments)

    def promote(self) -> None:
        """Let a standby become the primary."""
        run = self.control("promote", "--wait")
        assert run.returncode == 0, run

    def wait_for_standby(self) -> None:
        """Wait until a commit waits for the standby."""
        deadline = time.monotonic() + START_SECONDS
        while not self.rows("SELECT FROM pg_stat_replication WHERE sync_state = 'sync'"):
            assert time.monotonic() < deadline
            time.sleep(0.05)  # between two looks

    def sql(self, statement: str) -> None:
        """Run a statement."""
        asyncio.run(run_sql(statement, url=self.url))

    def rows(self, query: str) -> list[Any]:
        """Return what a query finds."""

        async def fetch() -> list[Any]:
            connection = await asyncpg.connect(self.url, timeout=5)
            try:
                return await connection.fetch(query)
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def stored(self) -> Stored:
        """Return what the server has stored here."""
        return Stored(
            {
                table: self.rows(f"SELECT * FROM {table} ORDER BY {order}")  # noqa: S608
                for table, order in ORDERED.items()
            }
        )

    def read_tags(self) -> list[str]:
        """Return the change message of every revision."""
        return [row["change_message"] for row in self.rows("SELECT change_message FROM revisions")]


def find_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs: in PATH, or where Debian has it; None if there is none."""
    on_path = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    folders = [*on_path, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def run_program(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs as somebody whom it takes."""
    user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []}
    return subprocess.run(
        [program, *arguments],
        cwd="/",
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
        **(user if os.geteuid() == 0 else {}),
    )


@contextlib.contextmanager
def cluster_folder() -> Generator[Path]:
    """Make a folder that PostgreSQL's user owns: pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="dashkeeper-cluster-"))
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_cluster() -> Generator[Cluster]:
    """Make a cluster and start it; afterwards stop and remove it."""
    programs = find_programs()
    if programs is None:
        pytest.skip(MISSING)
    with cluster_folder() as folder:
        cluster = Cluster(programs, folder / "data", free_port())
        made = run_program(
            programs / "initdb",
            f"--pgdata={cluster.data}",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
        )
        assert made.returncode == 0, made
        cluster.configure(f"{_CONFIGURATION}port = {cluster.port}\n")
        with started(cluster):
            yield cluster


@contextlib.contextmanager
def running_standby(primary: Cluster) -> Generator[Cluster]:
    """Start a standby that the primary waits for: what is acknowledged, it has applied."""
    with cluster_folder() as folder:
        standby = Cluster(primary.programs, folder / "data", free_port())
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"
        copied = run_program(
            primary.programs / "pg_basebackup",
            f"--pgdata={standby.data}",
            f"--dbname={source}",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        )
        assert copied.returncode == 0, copied
        standby.configure(f"port = {standby.port}\n")
        with started(standby):
            primary.configure("synchronous_standby_names = 'standby'\nsynchronous_commit = remote_apply\n")
            assert primary.control("reload").returncode == 0
            primary.wait_for_standby()
            yield standby


@contextlib.contextmanager
def started(cluster: Cluster) -> Generator[None]:
    """Run a cluster; afterwards stop it, if it isn't."""
    cluster.start()
    try:
        yield
    finally:
        if cluster.is_running:
            cluster.stop("immediate")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of the test's own, with the schema."""
    with running_cluster() as made:
        asyncio.run(migrate(made.url))
        yield made


@pytest.fixture
def standby(cluster: Cluster) -> Iterator[Cluster]:
    """A standby of that cluster, which every commit waits for."""
    with running_standby(cluster) as made:
        yield made
