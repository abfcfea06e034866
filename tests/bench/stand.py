"""A store and a simulated provider in another process, for measuring."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from refundry.journal.stores import create_store


@attrs.frozen
class Stand:
    """Where the provider listens, who asks, and the configuration that says so."""

    url: str
    client_id: str
    keys: Path
    config: Path


@contextmanager
def stand(place: Path, terms: str = "") -> Iterator[Stand]:
    """Start the simulator of Antom in a process of its own and write a configuration for it."""
    keys, config = place / "keys", place / "refundry.toml"
    command = [sys.executable, "-m", "refundry", "simulate", "antom", "--port", "0", "--keys", str(keys), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            config.write_text(f'store = "sqlite:///refunds.db"\n\n{ready["section"]}\n{terms}', "utf-8")
            create_store(place / "refunds.db")
            client_id = ready["section"].partition('client_id = "')[2].partition('"')[0]
            yield Stand(ready["url"], client_id, keys, config)
        finally:
            process.terminate()
