"""Where `dashkeeper` and `python -m dashkeeper` begin: what comes before the imports, which take a second.

Until signals are handled, SIGINT ends in a traceback: so nothing is imported here that takes long, as
`typing` does.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import TextIOWrapper
    from types import FrameType

_STOP = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Run the command."""
    _open_streams()
    for number in _STOP:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    from dashkeeper import cli  # noqa: PLC0415 # see above

    try:
        cli.main()
    finally:
        for number in _STOP:
            signal.signal(number, signal.SIG_IGN)  # it has ended, and its exit code stands


def _open_streams() -> None:
    """Open streams that are closed: else a database or a socket gets the number, and what is written to it.

    Standard output is opened for reading, so that a command whose answer nobody gets fails.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the least number that is free
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 # a number, for good
    # A setting may hold what ASCII can't say.
    stdout: TextIOWrapper = sys.stdout  # type: ignore[assignment] # whoever started us gave no other
    stdout.reconfigure(errors="backslashreplace")


def _end(number: int, _: FrameType | None) -> None:
    """End at once: whatever isn't committed was never acknowledged. Whoever waits is told by which signal."""
    try:  # noqa: SIM105 # contextlib may be half imported
        os.write(2, f"dashkeeper: stopped by {signal.Signals(number).name} before it was done\n".encode())
    except OSError:  # nobody listens
        pass
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a container outlives its signals


if __name__ == "__main__":
    main()
