"""Independent software, for tests: never a dependency, never installed, only put on a path.

The rule of this module: a folder named by REFUNDRY_PEERS comes first; else what is needed is downloaded once into a
cache folder. Where it cannot be had a test is skipped with the reason; under CI that is a failure.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import attrs
import pytest


@attrs.frozen
class Peer:
    """Third-party software for Python: a name for people, and its files by pattern, each with what pip calls it."""

    name: str
    files: Mapping[str, str]

    def run(self, script: str, *arguments: str, stdin: str = "") -> str:
        """Run a script with the software on its path, in a process of its own; give what it printed."""
        path = os.pathsep.join(str(part) for part in self._paths())
        command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
        return _run(command, {"PYTHONPATH": path}, stdin)

    def _paths(self) -> list[Path]:
        with _only_process() as folder:
            missing = {pattern: wanted for pattern, wanted in self.files.items() if not list(folder.glob(pattern))}
            if missing and os.environ.get("REFUNDRY_PEERS"):
                _cannot(self.name, f"not in the folder REFUNDRY_PEERS: {', '.join(missing)}")
            for wanted in missing.values():
                self._download(wanted, folder)
            return [_importable(sorted(folder.glob(pattern))[-1]) for pattern in self.files]

    def _download(self, wanted: str, folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", fresh, wanted]
            done = subprocess.run(command, env=in_real_time(), capture_output=True, text=True, check=False)
            if done.returncode != 0:
                _cannot(self.name, f"pip cannot download {wanted}")
            for file in Path(fresh).iterdir():
                file.replace(folder / file.name)


@attrs.frozen
class NodePeer:
    """Third-party software for Node."""

    name: str
    package: str
    version: str

    def run(self, script: str, *arguments: str, stdin: str = "") -> str:
        """Run a script that may `require` the software, in a process of its own; give what it printed."""
        node = shutil.which("node")
        if node is None:
            _cannot(self.name, "there is no node on the path")
        return _run([node, "-e", script, "--", *arguments], {"NODE_PATH": str(self._modules())}, stdin)

    def _modules(self) -> Path:
        with _only_process() as folder:
            modules = folder / f"{self.package}-{self.version}" / "node_modules"
            if not (modules / self.package).is_dir():
                if os.environ.get("REFUNDRY_PEERS"):
                    _cannot(self.name, f"not in the folder REFUNDRY_PEERS: {modules.relative_to(folder)}")
                self._install(modules.parent)
            return modules

    def _install(self, target: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            _cannot(self.name, "there is no npm on the path")
        with tempfile.TemporaryDirectory(dir=target.parent) as fresh:
            wanted = f"{self.package}@{self.version}"
            command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", fresh]
            done = subprocess.run([*command, wanted], env=in_real_time(), capture_output=True, text=True, check=False)
            if done.returncode != 0:
                _cannot(self.name, f"npm cannot install {wanted}")
            _move(Path(fresh), target)


def in_real_time() -> dict[str, str]:
    """Return the environment without a moved clock (`nox -s clock`): certificates are valid only for a while."""
    return {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}


def _folder() -> Path:
    given = os.environ.get("REFUNDRY_PEERS")
    folder = Path(given) if given else Path(tempfile.gettempdir()) / f"refundry-peers-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def _only_process() -> Iterator[Path]:
    """Yield the folder; other processes that run tests wait, so that each thing is downloaded once."""
    folder = _folder()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)


def _importable(file: Path) -> Path:
    """Return what goes on the path: a wheel of Python alone as it is; what holds machine code or a source, unpacked."""
    if file.name.endswith("none-any.whl"):
        return file
    unpacked = file.with_name(f"{file.name}.unpacked")
    if not unpacked.is_dir():
        with tempfile.TemporaryDirectory(dir=file.parent) as fresh:
            _unpack(file, Path(fresh))
            _move(Path(fresh), unpacked)
    return next(unpacked.glob("*/setup.py"), unpacked / "setup.py").parent


def _unpack(file: Path, target: Path) -> None:
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            wheel.extractall(target)
        return
    with tarfile.open(file) as source:
        source.extractall(target, filter="data")


def _move(fresh: Path, target: Path) -> None:
    """Put what is complete in its place; an earlier run that was interrupted may have done a part of it."""
    target.mkdir(exist_ok=True)
    for part in fresh.iterdir():
        if not (target / part.name).exists():
            part.rename(target / part.name)


def _run(command: Sequence[str], more: Mapping[str, str], stdin: str) -> str:
    environment = {**os.environ, **more}
    done = subprocess.run(
        command, env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout


def _cannot(name: str, reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{name} is needed here: {reason}")
    pytest.skip(f"{name} cannot be had: {reason}")
