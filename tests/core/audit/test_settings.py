"""The table `[audit]`: its defaults, and what is refused in it."""

from pathlib import Path

import pytest

from refundry.audit.signing.settings import read_audit_settings, signer_directory
from refundry.config import Config, read_config
from refundry.errors import ConfigError


def config(place: Path, text: str = "") -> Config:
    (place / "refundry.toml").write_text(f'store = "sqlite:///data/refunds.db"\n{text}', "utf-8")
    return read_config(place / "refundry.toml")


def test_without_the_table_everything_is_next_to_the_store(tmp_path: Path) -> None:
    """The directory is named after the store; key and origin are created there; there are no anchors."""
    settings = read_audit_settings(config(tmp_path))

    assert tmp_path / "data" / "refunds.db.audit" == settings.directory == signer_directory(config(tmp_path))
    assert (None, None, ()) == (settings.key, settings.origin, settings.anchors)


def test_other_places_are_relative_to_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative names start at the directory of refundry.toml; absolute ones are kept; a key may be a variable."""
    monkeypatch.setenv("AUDIT_KEY", "canary")
    settings = read_audit_settings(
        config(tmp_path, '[audit]\ndirectory = "elsewhere"\nkey = "env:AUDIT_KEY"\norigin = "shop/refunds"\n')
    )

    assert (tmp_path / "elsewhere", "shop/refunds") == (settings.directory, settings.origin)
    assert b"canary" == settings.read_key()
    assert "canary" not in repr(settings)
    assert Path("/there") == signer_directory(config(tmp_path, '[audit]\ndirectory = "/there"\n'))


def test_anchors_are_names_or_tables(tmp_path: Path) -> None:
    """Both forms result in a table that names its anchor."""
    named = read_audit_settings(config(tmp_path, '[audit]\nanchors = ["mine"]\n'))
    tables = read_audit_settings(config(tmp_path, '[[audit.anchors]]\nanchor = "file"\npath = "x"\nevery = 5\n'))

    assert ({"anchor": "mine"},) == named.anchors
    assert ({"anchor": "file", "path": "x", "every": 5},) == tables.anchors


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("audit = 1\n", "audit"),
        ("[audit]\nkeys = 1\n", "audit.keys"),
        ("[audit]\ndirectory = 1\n", "audit.directory"),
        ('[audit]\ndirectory = ""\n', "audit.directory"),
        ("[audit]\nkey = true\n", "audit.key"),
        ('[audit]\norigin = "a b"\n', "audit.origin"),
        ('[audit]\norigin = "a+b"\n', "audit.origin"),
        ('[audit]\nanchors = "file"\n', "audit.anchors"),
        ("[audit]\nanchors = [1]\n", "audit.anchors[0]"),
        ('[audit]\nanchors = ["x", {path = "x"}]\n', "audit.anchors[1]"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, field: str) -> None:
    """The error names the place in the file."""
    with pytest.raises(ConfigError) as caught:
        read_audit_settings(config(tmp_path, text))

    assert field == caught.value.field
