"""Where settings are read from: variables of the environment, of `.env`, and flags."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from dashkeeper.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PREFIX = "DASHKEEPER_"

# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK = re.compile(
    rf"{PREFIX}(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_URL = re.compile(rf"{PREFIX}(?:[A-Z0-9_]+_)?PORT=(?:tcp|udp|sctp)://.*")


def _is_service_link(name: str, value: str | None) -> bool:
    """Whether Kubernetes made this variable, for a service called `dashkeeper` or `dashkeeper-...`.

    `..._PORT` may as well be a mistaken setting: its value tells.
    """
    return bool(_SERVICE_LINK.fullmatch(name) or _SERVICE_URL.fullmatch(f"{name}={value}"))


def read_variables(flags: Mapping[str, str | None], names: Collection[str]) -> Mapping[str, str]:
    """Return the text of each setting that is set: by a flag, else the environment, else `.env`.

    White space around a value is no part of it; a value of nothing else counts as not set.

    Args:
        flags: Values by the names of settings; None where a flag isn't given.
        names: Of all settings.

    Raises:
        ConfigError: If a variable of ours is no setting, or something can't be read.
    """
    given = {f"{PREFIX}{name.upper()}": value for name, value in flags.items() if value is not None}
    return _named(_file(), names) | _named(os.environ, names) | _named(given, names)


def _file() -> Mapping[str, str | None]:
    """Return what `.env` says; nothing where there is no such file.

    Raises:
        ConfigError: If it can't be read, or a line of it: dotenv would leave that one out.
    """
    try:
        text = Path(".env").read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):  # a folder of that name: a virtual environment
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f".env can't be read: {error}: it must be a text file in UTF-8") from error
    for binding in parse_stream(StringIO(text)):
        if binding.error:  # the line isn't shown: it may hold a secret
            line = binding.original.line
            raise ConfigError(f".env can't be read: line {line} is not NAME=value, or a quote isn't closed")
    return dotenv_values(stream=StringIO(text))


def _named(variables: Mapping[str, str | None], names: Collection[str]) -> dict[str, str]:
    """Return those of our variables that are set, by the names of their settings.

    Raises:
        ConfigError: If one is unknown, or can't be read.
    """
    named: dict[str, str] = {}
    for variable, value in variables.items():
        if not variable.upper().startswith(PREFIX) or _is_service_link(variable, value):
            continue
        name = variable[len(PREFIX) :].lower()
        if name not in names:
            raise _unknown(variable, names)
        if value is None:
            raise ConfigError(f"{variable.upper()} stands in .env without =: write NAME=value")
        if re.search(r"[\ud800-\udfff]", value):  # what Python makes of other bytes
            raise ConfigError(f"{variable.upper()}: must be text in UTF-8")
        if text := value.strip():
            named[name] = text
    return named


def _unknown(variable: str, names: Collection[str]) -> ConfigError:
    """Make the error of a variable that is no setting; shows none of a value that ran into its name."""
    name = re.split(r"\W", variable, maxsplit=1)[0]
    known = [f"{PREFIX}{field.upper()}" for field in names]
    if name != variable:
        return ConfigError(f"{name} is followed by another sign than =: write NAME=value")
    near = get_close_matches(name.upper(), known, 1)
    advice = f"did you mean {near[0]}?" if near else "unset it"
    return ConfigError(
        f"{name} is not a setting of this version: {advice} (`dashkeeper serve --help` lists all)"
    )
