"""`refundry init`: write a first configuration, and create the store.

The rule of this module: it is the only command that creates a store, so that a store that is missing is never replaced
by an empty one, which would have forgotten what was sent. It overwrites nothing.
"""

from pathlib import Path
from typing import Final

import click

from refundry.cli.base import command, print_json
from refundry.errors import ConfigError

__all__ = ["TEMPLATE", "init"]

TEMPLATE: Final = """\
# Refundry's configuration. The reference (docs/reference/configuration.md) describes every key.

# The store, relative to this file. `refundry init` creates it.
store = "sqlite:///refunds.db"

# An account at a provider: remove the comment signs and enter your own values. Never rename one that has refunds.
# [accounts.shop]
# provider = "antom"
# base_url = "https://open-de-global.alipay.com"
# client_id = "SANDBOX_5Y..."
# private_key = "keys/shop.pem"  # a PEM file next to this file, or "env:NAME"
# provider_public_key = "keys/antom.pub.pem"
# key_version = 1
# notify_url = "https://shop.example/notifications/shop"
"""


@click.command("init")
@click.argument("dir", required=False, type=click.Path(file_okay=False))
@command
async def init(config: str, as_json: bool, dir: str | None) -> None:
    """Write a commented refundry.toml unless one exists, and create the store that it names.

    DIR is the directory of the configuration; it is created if it does not exist. An existing store is left as it is.
    """
    from refundry.config import read_config
    from refundry.journal.stores import create_store

    place = Path(config) if dir is None else Path(dir) / "refundry.toml"
    written = _write(place)
    store = read_config(place).store_path
    created = create_store(store)
    if as_json:
        print_json({"config": str(place), "config_written": written, "store": str(store), "store_created": created})
        return
    click.echo(f"{place}: {'written; add your accounts' if written else 'exists, left as it is'}")
    click.echo(f"{store}: {'created' if created else 'exists, left as it is'}")


def _write(place: Path) -> bool:
    """Write the template unless there is a configuration; return whether it was written."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("x", encoding="utf-8") as out:
            out.write(TEMPLATE)
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigError("config", f"{place} cannot be written: {error.strerror}") from None
    return True
