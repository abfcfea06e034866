"""A new plugin project, from the template that ships with Refundry.

The rule of this module: all or nothing. A project is written next to its place and moved there once it is
complete; nothing is overwritten.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Final

from refundry.errors import Invalid
from refundry.plugin_host import GROUP

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*", re.ASCII)
_MAX_NAME: Final = 24
_MARK: Final = re.compile(r"@(name|Title|package|distribution|refundry)@")
_FILES: Final[Mapping[str, str]] = {
    ".gitignore": "gitignore",
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "src/@package@/__init__.py": "init.py",
    "src/@package@/codes.py": "codes.py",
    "src/@package@/provider.py": "provider.py",
    "src/@package@/py.typed": "py.typed",
    "src/@package@/signing.py": "signing.py",
    "src/@package@/simulator.py": "simulator.py",
    "src/@package@/messages.py": "messages.py",
    "tests/test_contract.py": "test_contract.py",
    "tests/test_provider.py": "test_provider.py",
}
"""The files of a project, each with its template."""


def check_name(name: str) -> None:
    """Raise `Invalid` for a name that no new plugin can have."""
    if _NAME.fullmatch(name) is None or len(name) > _MAX_NAME:
        raise Invalid("NAME", f"{ascii(name)[:40]} is not 1 to {_MAX_NAME} of a-z 0-9 _, with a letter first: acme_pay")
    taken = next((point for point in metadata.entry_points(group=GROUP) if point.name == name), None)
    if taken is not None:
        origin = taken.dist.name if taken.dist else taken.value
        raise Invalid("NAME", f"{name!r} is the name of an installed plugin ({origin}); two of one name cannot be used")


def write_project(name: str, directory: Path) -> Sequence[str]:
    """Write the project of a new plugin and return its files, as paths below `directory`.

    Raises `Invalid` for a name that cannot be used and for a place that is not a new or empty directory in an
    existing one. Nothing is left behind then, nor if the disk fails.
    """
    check_name(name)
    place = directory.resolve()
    _check_place(directory, place)
    words = _words(name)
    project = {_filled(path, words): _filled(_template(source), words) for path, source in _FILES.items()}
    try:
        _write(project, place)
    except OSError as error:
        raise Invalid("--directory", f"{directory} cannot be written: {error.strerror}") from None
    return sorted(project)


def _check_place(given: Path, place: Path) -> None:
    if not place.parent.is_dir():
        raise Invalid("--directory", f"{given} cannot be created: {place.parent} does not exist")
    if place.exists() and not place.is_dir():
        raise Invalid("--directory", f"{given} exists and is not a directory")
    if place.is_dir() and any(place.iterdir()):
        raise Invalid("--directory", f"{given} is not empty; nothing in it was changed")


def _words(name: str) -> Mapping[str, str]:
    return {
        "name": name,
        "Title": name.replace("_", " ").title(),
        "package": f"refundry_{name}",
        "distribution": f"refundry-{name.replace('_', '-')}",
        "refundry": metadata.version("refundry"),
    }


def _template(source: str) -> str:
    return files("refundry").joinpath("plugin_host", "scaffold", "template", f"{source}.tmpl").read_text("utf-8")


def _filled(text: str, words: Mapping[str, str]) -> str:
    return _MARK.sub(lambda mark: words[mark[1]], text)


def _write(project: Mapping[str, str], place: Path) -> None:
    # Next to its place, so that moving it there is one step within the same file system.
    fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        for path, text in project.items():
            file = fresh / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        fresh.chmod(0o755)
        os.rename(fresh, place)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
