"""What the tests keep is what they would get without it."""

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def _pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def test_each_new_key_is_another() -> None:
    """Keys made one after the other differ, and have the size that was asked for."""
    keys = [rsa.generate_private_key(65537, size) for size in (2048, 2048, 1024)]

    assert [2048, 2048, 1024] == [key.key_size for key in keys]
    assert 3 == len({_pem(key) for key in keys})
    assert [_pem(key) for key in keys] == [_pem(serialization.load_pem_private_key(_pem(key), None)) for key in keys]


def test_a_key_from_elsewhere_is_validated() -> None:
    """A private key whose numbers do not belong together is refused when it is loaded."""
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    wrong = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d + 2, numbers.dmp1, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)

    with pytest.raises(ValueError, match="Invalid"):
        serialization.load_pem_private_key(_pem(wrong), None)


def test_what_is_installed_is_looked_up_where_the_path_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution on a new search path is found, with its metadata, and is gone with the path."""
    place = tmp_path / "example_kept-1.2.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: example-kept\nVersion: 1.2\n", "utf-8")
    (place / "entry_points.txt").write_text("[example.kept]\none = json\n", "utf-8")

    assert [] == list(metadata.entry_points(group="example.kept"))
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        (point,) = metadata.entry_points(group="example.kept")

        assert point.dist is not None
        assert ("one", "example-kept", "1.2") == (point.name, point.dist.name, point.dist.version)
    assert [] == list(metadata.entry_points(group="example.kept"))
