"""The `dashkeeper` command."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import re
import signal
import sqlite3
import sys
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import uvloop
from sqlalchemy.exc import DatabaseError

from dashkeeper.auth import PROJECT_ID
from dashkeeper.config import PREFIX, Settings, load_settings, parse_duration
from dashkeeper.dev import SECRET_FILE, add_samples, dev_settings, greeting
from dashkeeper.errors import ConfigError, DashkeeperError
from dashkeeper.logs import configure_logging
from dashkeeper.retention import erase_project
from dashkeeper.retention import purge as purge_all
from dashkeeper.server import Server, make_store, open_database
from dashkeeper.store.migrations import SCHEMA
from dashkeeper.tokens import make_token

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

app = typer.Typer(
    help="Dashboards as a service: the system of record for dashboards.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for each setting, beside its own; it gets those that were given."""
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    flags = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None,
                typer.Option(
                    f"--{name.replace('_', '-')}",
                    help=f"{field.description}  [env: {PREFIX}{name.upper()}]",
                    show_default=False,
                    rich_help_panel="Settings",
                ),
            ],
        )
        for name, field in Settings.model_fields.items()
    ]
    command.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
    return command


@app.command(help="Serve gRPC, Connect and gRPC-Web until SIGTERM or SIGINT.")
@with_settings
def serve(
    *,
    dev: Annotated[
        bool, typer.Option("--dev", help="try it out: own signing secret, sample dashboards, calls to paste")
    ] = False,
    **flags: Any,
) -> None:
    settings = dev_settings(create=True, **flags) if dev else load_settings(**flags)
    settings.token_rules()  # refuse before anything is opened
    configure_logging(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, dev=dev))


async def _serve(settings: Settings, *, dev: bool) -> None:
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(1)  # asked twice: at once; whatever isn't committed was never acknowledged
        stopping.set()
        starting.cancel()

    server = Server(settings)
    starting = asyncio.ensure_future(_start(server, settings, dev=dev))
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, on_signal)
    try:
        await asyncio.wait([starting])
        if not starting.cancelled():
            starting.result()
            await stopping.wait()
        log.info("stopping: calls in flight may finish")
    finally:
        await server.stop()


async def _start(server: Server, settings: Settings, *, dev: bool) -> None:
    await server.prepare_database()
    await server.start()
    if dev:
        await add_samples(server)
        try:
            _print(greeting(settings, server))
        except ConfigError as error:
            log.warning("the token and the calls to paste can't be shown: %s", error)


@app.command(help="Bring the database to this version's schema.")
@with_settings
def migrate(
    *,
    to: Annotated[str, typer.Option(help="the schema's version to go to")] = "head",
    check: Annotated[
        bool,
        typer.Option("--check", help="change nothing; exit 1 if the database isn't at this version's schema"),
    ] = False,
    **flags: Any,
) -> None:
    settings = load_settings(**flags)
    found = asyncio.run(_migrate(settings, None if check else to))
    _print(f"the database has schema {found or 'none'}, this version needs {SCHEMA}")
    if check and found != SCHEMA:
        raise typer.Exit(1)


async def _migrate(settings: Settings, to: str | None) -> str | None:
    database = open_database(settings)
    try:
        if to is not None:
            await database.migrate(to)
        return await database.schema_version()
    finally:
        await database.close()


@app.command(help="Delete now what may go: deleted dashboards whose time is up, old answers and revisions.")
@with_settings
def purge(
    *,
    project: Annotated[str, typer.Option(help="the project to erase, with --all")] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="erase all of the project, not only what is due: for good")
    ] = False,
    **flags: Any,
) -> None:
    settings = load_settings(**flags)
    if bool(project) != everything:
        raise ConfigError("to erase a project give both: --project ID --all")
    if project and not PROJECT_ID.fullmatch(project):
        raise ConfigError(f"--project must match {PROJECT_ID.pattern}")
    _print(asyncio.run(_purge(settings, project)))


async def _purge(settings: Settings, project_id: str) -> str:
    store = make_store(open_database(settings), settings)
    try:
        await store.check()
        if project_id:
            await erase_project(store, project_id)
            return f"project {project_id} is erased"
        return f"deleted dashboards and registrations purged: {await purge_all(store)}"
    finally:
        await store.close()


@app.command(help="Sign a token with JWT_SECRET or JWT_PRIVATE_KEY, or the secret of development mode.")
@with_settings
def token(
    *,
    project: Annotated[list[str], typer.Option(help="a project it is good for, or * for all; repeatable")],
    organisation: Annotated[
        list[str] | None,
        typer.Option(help="an organisation it is limited to, if any; repeatable"),
    ] = None,
    scope: Annotated[str, typer.Option(help="what it allows")] = "dashboards:read dashboards:write",
    subject: Annotated[str, typer.Option(help="who it is for: `sub`")] = "operator",
    expires: Annotated[str, typer.Option(help="how long it is good for: 30s, 15m, 12h, 30d")] = "12h",
    **flags: Any,
) -> None:
    settings = load_settings(**flags)
    if not (settings.jwt_secret or settings.jwt_private_key) and SECRET_FILE.exists():
        settings = dev_settings(create=False, **flags)
    try:
        duration: Any = parse_duration(expires)
    except ValueError as error:
        raise ConfigError(f"--expires {error}") from error
    signed = make_token(
        settings,
        subject=subject,
        projects=project,
        scope=scope,
        expires=duration,
        organisations=organisation or (),
    )
    _print(signed)


@app.command(help="Print the settings in force, as environment variables, secrets hidden.")
@with_settings
def config(**flags: Any) -> None:
    values = load_settings(**flags).model_dump()
    _print("\n".join(f"{PREFIX}{name.upper()}={'' if it is None else it}" for name, it in values.items()))


@app.command(help="Print the version.")
def version() -> None:
    _print(f"dashkeeper {installed_version('dashkeeper')}")


def main() -> None:
    """Run the command. What a person did wrong is told in one line, exit code 2."""
    logging.getLogger("dashkeeper").addHandler(logging.NullHandler())  # no second line from a warning
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except typer.TyperException as error:
        # Its str() names a parameter in Python's way; usage errors know better.
        words = getattr(error, "format_message", error.__str__)()
        _refuse(f"{_without_values(words).rstrip('.')}: see `dashkeeper --help`")
    except ConfigError as error:
        _refuse(str(error))
    except DashkeeperError as error:
        if error.__cause__ is None:
            _refuse(error.message)
        _refuse_database(error.__cause__)
    except (DatabaseError, sqlite3.Error) as error:
        _refuse_database(error)
    except OSError as error:  # of the machine: a full disk, a folder that was deleted
        _drop_output()
        _refuse(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))


def _print(text: str) -> None:
    """Write to standard output.

    Raises:
        ConfigError: If it is closed, or nobody reads it.
    """
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        raise ConfigError(f"standard output can't be written: {error.strerror}") from error


def _drop_output() -> None:
    """Let what couldn't be written go nowhere, else Python tries again at its end, and says so."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _without_values(words: str) -> str:
    """Leave out arguments that a usage error repeats: one may be a secret that has lost its flag."""
    words = re.sub(r"(?s)(unexpected extra argument\S*) .*", r"\1: a value without a flag", words)
    return re.sub(r"(?s)(No such command) '(?![a-z]{1,10}').*", r"\1", words)


def _refuse_database(cause: BaseException | None) -> NoReturn:
    """Tell in one line what a driver said."""
    told = str(getattr(cause, "orig", None) or cause) or type(cause).__name__
    _refuse(f"the database can't be used: {told}: see {PREFIX}DATABASE_URL")


def _refuse(problem: str) -> NoReturn:
    with contextlib.suppress(OSError):  # nobody listens
        sys.stderr.write(f"dashkeeper: {' '.join(problem.split())}\n")  # one line, whatever it repeats
    sys.exit(2)
