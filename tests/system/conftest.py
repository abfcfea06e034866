"""What the system tests share: the keys are made once, since that takes longer than many a test."""

from pathlib import Path

import pytest

from refundry.testing.simulator.settings import Keys, make_keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    directory: Path = tmp_path_factory.mktemp("keys")
    return make_keys(directory)
