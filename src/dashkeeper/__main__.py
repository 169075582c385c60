"""`python -m dashkeeper`."""

from __future__ import annotations

from dashkeeper.cli import main

main()
