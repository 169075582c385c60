"""The limit of open files: where it is reached no connection is taken, and nothing else says so."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import time

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1
_SILENT_SECONDS = 60


async def keep_watching_open_files() -> None:
    """Warn, at most once a minute, while no file can be opened."""
    warned = -float(_SILENT_SECONDS)
    while True:
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE}:
                raise
            if time.monotonic() - warned >= _SILENT_SECONDS:
                warned = time.monotonic()
                log.warning(
                    "no more files can be opened (%s, limit %d): new connections are lost until others end:"
                    " raise the limit (ulimit -n), or find out who holds them",
                    error.strerror,
                    resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                )
        await asyncio.sleep(_LOOK_SECONDS)
