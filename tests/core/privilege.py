"""Running a process that root's rights do not let write everywhere."""

import os
import shutil

import pytest


def without_privilege() -> list[str]:
    """Return the command that takes from root the right to write to read-only directories."""
    if os.getuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may write everywhere, and setpriv, which could take that away, is not there")
    return [setpriv, "--inh-caps=-dac_override", "--bounding-set=-dac_override"]
