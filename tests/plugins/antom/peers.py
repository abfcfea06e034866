"""The provider's own software, for tests: never a dependency, never installed, only put on a path.

The rule of this module: a folder named by REFUNDRY_PEERS comes first; else pip downloads the wheels once into a cache
folder. Where they cannot be had a test is skipped with the reason; under CI that is a failure.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NoReturn

import pytest

_WHEELS: Final = {
    "global_open_sdk_python-1.7.1-*.whl": "global-open-sdk-python==1.7.1",
    "rsa-*.whl": "rsa==4.9.1",
    "pyasn1-*.whl": "pyasn1>=0.6",
}


def antom_sdk() -> list[Path]:
    """Give what must be on PYTHONPATH for Antom's official SDK: its wheel and the two it needs."""
    given = os.environ.get("REFUNDRY_PEERS")
    folder = Path(given) if given else Path(tempfile.gettempdir()) / f"refundry-peers-{os.getuid()}"
    missing = [wanted for pattern, wanted in _WHEELS.items() if not list(folder.glob(pattern))]
    if missing and given:
        _cannot(f"not in the folder REFUNDRY_PEERS: {', '.join(missing)}")
    if missing:
        _download(missing, folder)
    return [sorted(folder.glob(pattern))[-1] for pattern in _WHEELS]


def run_with_sdk(script: str, *arguments: str, stdin: str = "") -> str:
    """Run a script with the SDK on its path, in a process of its own; give what it printed."""
    path = os.pathsep.join(str(wheel) for wheel in antom_sdk())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout


def _download(wanted: list[str], folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*command, "-d", fresh, *wanted], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            _cannot(f"pip cannot download {', '.join(wanted)}")
        for wheel in Path(fresh).glob("*.whl"):
            wheel.replace(folder / wheel.name)


def _cannot(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"Antom's official SDK is needed here: {reason}")
    pytest.skip(f"Antom's official SDK cannot be had: {reason}")
