"""`python -m tools.openapi`: write the OpenAPI description to standard output."""

from __future__ import annotations

import json
import sys

from tools.openapi.document import openapi

text = json.dumps(openapi(), ensure_ascii=False, indent=2)
sys.stdout.buffer.write(f"{text}\n".encode())
