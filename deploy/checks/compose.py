"""The compose file, read by Docker Compose itself."""

import os
from pathlib import Path

from deploy.tools import ROOT, run, tool

FILE = ROOT / "deploy" / "compose" / "compose.yml"
#: What a reader sets in `deploy/compose/.env`.
VARIABLES = {"STORE_KEY_ID": "key", "STORE_SECRET": "secret"}


def config() -> str:
    """Every variable filled in, every reference resolved."""
    command: list[str | Path] = [tool("docker-compose"), "-f", FILE, "config", "--services"]
    services = run(command, environment={**os.environ, **VARIABLES}).split()
    return f"{len(services)} services: {', '.join(sorted(services))}"
