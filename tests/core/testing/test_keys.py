"""The keys of a simulator: made once, private ones private, never overwritten."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from refundry.errors import Invalid
from refundry.testing.simulator.settings import make_keys


def test_made_once(tmp_path: Path) -> None:
    """The second call finds the first one's keys; private files are for their owner alone."""
    folder = tmp_path / "new" / "keys"
    keys = make_keys(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    make_keys(folder)

    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"merchant.pem", "merchant.pub.pem", "provider.pem", "provider.pub.pem"} == set(before)
    assert [0o600, 0o600] == [path.stat().st_mode & 0o777 for path in (keys.merchant, keys.provider)]


def test_public_key_is_made_for_a_private_one(tmp_path: Path) -> None:
    """A merchant's own private key is used, and its public key is written next to it."""
    keys = make_keys(tmp_path)
    keys.merchant_public.unlink()
    make_keys(tmp_path)
    private = load_pem_private_key(keys.merchant.read_bytes(), None)

    assert private.public_key() == load_pem_public_key(keys.merchant_public.read_bytes())


def test_lonely_public_key(tmp_path: Path) -> None:
    """A public key without its private one is refused, and stays."""
    keys = make_keys(tmp_path)
    keys.merchant.unlink()
    before = keys.merchant_public.read_bytes()
    with pytest.raises(Invalid, match=r"merchant\.pem is not"):
        make_keys(tmp_path)

    assert before == keys.merchant_public.read_bytes()
    assert not keys.merchant.exists()


def test_unreadable_private_key(tmp_path: Path) -> None:
    """A file that is not a private key is named in the error, and its content is not shown."""
    (tmp_path / "merchant.pem").write_text("sesame")
    with pytest.raises(Invalid, match=r"merchant\.pem") as caught:
        make_keys(tmp_path)

    assert "sesame" not in str(caught.value)


def test_folder_is_a_file(tmp_path: Path) -> None:
    """A folder that cannot be made is one clear error."""
    (tmp_path / "keys").write_text("")
    with pytest.raises(Invalid, match="keys"):
        make_keys(tmp_path / "keys")


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("merchant.pem", b"sesame", "not a PEM private key of RSA"),
        ("provider.pem", b"sesame", "not a PEM private key of RSA"),
        ("merchant.pub.pem", b"sesame", "not a PEM public key"),
        ("provider.pub.pem", b"\xff\x00", "not a PEM public key"),
        ("provider.pub.pem", None, "not the public key of provider.pem"),
    ],
)
def test_a_wrong_key_is_named_before_anything_is_written(
    tmp_path: Path, name: str, content: bytes | None, rule: str
) -> None:
    """The file that is wrong is named, and none of those that are missing is made."""
    others = make_keys(tmp_path / "others")
    place = tmp_path / "keys"
    place.mkdir()
    for path in (others.merchant, others.provider):
        (place / path.name).write_bytes(path.read_bytes())
    (place / name).write_bytes(others.merchant_public.read_bytes() if content is None else content)
    missing = {path.name for path in (others.merchant_public, others.provider_public)} - {name}
    with pytest.raises(Invalid) as caught:
        make_keys(place)

    assert f"{place / name} is {rule}" in str(caught.value)
    assert not [path for path in missing if (place / path).exists()]


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder where a key should be is one clear error that names it."""
    (tmp_path / "provider.pem").mkdir()
    with pytest.raises(Invalid, match=r"provider\.pem cannot be used: Is a directory"):
        make_keys(tmp_path)

    assert ["provider.pem"] == [path.name for path in tmp_path.iterdir()]
