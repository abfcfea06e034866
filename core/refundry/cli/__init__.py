"""The command line."""

from refundry.cli.main import cli, main

__all__ = ["cli", "main"]
