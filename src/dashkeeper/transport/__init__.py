"""What speaks a protocol: thin, without rules of its own."""

from __future__ import annotations

import os

# Before grpc is imported: its C core would write lines of its own beside our log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
