"""Exports are verified with independent tools: openssl, Go's note and tlog packages, and pymerkle."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import pytest

from refundry.audit.publication.export import Exported, Part, export
from refundry.journal.merkle import Frontier, entry, leaf_hash
from refundry.journal.stores import read_store
from tests.core.audit.made import life, make_store, new_key
from tests.plugins.peers import Peer

GOPATH: Final = Path("/usr/share/gocode")
"""Where Debian's golang-golang-x-mod-dev installs it."""
PYMERKLE: Final = Peer("pymerkle", {"pymerkle-7*.whl": "pymerkle==7.0.0", "cachetools-*.whl": "cachetools>=5"})
pytestmark = [pytest.mark.peer, pytest.mark.slow]


def cannot(reason: str) -> NoReturn:
    """Skip the test with this reason, or fail it under CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def need(program: str) -> str:
    """Return the path of a program."""
    found = shutil.which(program)
    if found is None:
        cannot(f"{program} is needed here and is not installed")
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store of 1,000 events."""
    path = tmp_path_factory.mktemp("store") / "refunds.db"
    make_store(path, 200, group=30, interleaved=True)
    return path


@pytest.fixture(scope="module")
def exported(store: Path) -> Callable[[str, Part], Path]:
    """Return a function that makes each export once."""
    done: dict[str, Exported] = {}

    def make(name: str, part: Part = Part()) -> Path:
        if name not in done:
            with read_store(store) as source:
                place = store.with_name(name)
                done[name] = export(source, new_key().verifier(), [], place, part, prove=part.refund is not None)
        return done[name].place

    return make


PARTS: Final = {
    "whole": Part(),
    "payment": Part(payment="20261122190741010007000000000000001"),
    "one": Part(refund=life(3).id),
}


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory, exported: Callable[[str, Part], Path]) -> Path:
    """Build the program that every export contains, as its README describes."""
    if not (GOPATH / "src/golang.org/x/mod/sumdb").is_dir():
        cannot(f"golang.org/x/mod is needed in {GOPATH}: Debian's golang-golang-x-mod-dev")
    folder = tmp_path_factory.mktemp("go")
    environment = os.environ | {
        "GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(folder / "cache"), "GOFLAGS": "-buildvcs=false",
    }  # fmt: skip
    source = exported("whole", PARTS["whole"]) / "check.go"
    done = subprocess.run(
        [need("go"), "build", "-o", str(folder / "check"), str(source)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "check"


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program until it exits."""
    return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(("name", "events"), [("whole", 1000), ("payment", 10), ("one", 5)])
def test_go_agrees(check: Path, exported: Callable[[str, Part], Path], name: str, events: int) -> None:
    """Go opens the checkpoint with the log's public key, and finds every event in the signed tree."""
    done = run(check, exported(name, PARTS[name]))

    assert 0 == done.returncode, done.stderr
    assert f"ok: {events} events are in the signed log refundry/test of 1000 events\n" == done.stdout


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("events.jsonl", "too small", "too large", ""),
        ("events.jsonl", "1233", "1234", "event|tree"),
        ("checkpoint", "\n1000\n", "\n1001\n", "checkpoint"),
        ("checkpoint", "refundry/test\n", "refundry/tess\n", "checkpoint"),
    ],
    ids=["nothing", "an amount", "a size", "a name"],
)
def test_go_finds_a_change(
    check: Path,
    exported: Callable[[str, Part], Path],
    tmp_path: Path,
    name: str,
    file: str,
    old: str,
    new: str,
    words: str,
) -> None:
    """Go rejects an export in which an event or the checkpoint was changed."""
    folder = shutil.copytree(exported(name, PARTS[name]), tmp_path / "copy")
    (folder / file).write_text((folder / file).read_text("utf-8").replace(old, new, 1), "utf-8")
    done = run(check, folder)

    assert (5 if words else 0) == done.returncode
    assert any(done.stderr.startswith(word) for word in words.split("|")), done.stderr


@pytest.mark.parametrize("name", PARTS)
def test_the_commands_of_the_readme_work(exported: Callable[[str, Part], Path], tmp_path: Path, name: str) -> None:
    """As the README describes, openssl verifies the signature and sha256sum the files."""
    need("openssl")
    folder = shutil.copytree(exported(name, PARTS[name]), tmp_path / "copy")
    commands = [
        line.strip() for line in (folder / "README.txt").read_text("utf-8").splitlines() if line.startswith("     ")
    ]
    signature = "\n".join(line for line in commands if line.startswith(("sed", "openssl")))
    files = "\n".join(line for line in commands if line.startswith(("find", "while")))
    signed = run("bash", "-euo", "pipefail", "-c", signature, cwd=folder)
    hashed = run("bash", "-euo", "pipefail", "-c", files, cwd=folder)

    assert "Signature Verified Successfully" in signed.stdout, signed.stderr
    assert (0, "") == (hashed.returncode, hashed.stdout), hashed.stderr

    victim = next(each for each in (folder / "evidence").rglob("*") if each.is_file())
    victim.write_bytes(b"forged")
    (folder / "checkpoint").write_text((folder / "checkpoint").read_text("utf-8").replace("1000", "1001", 1), "utf-8")

    assert 0 != run("bash", "-euo", "pipefail", "-c", files, cwd=folder).returncode
    assert 0 != run("bash", "-euo", "pipefail", "-c", signature, cwd=folder).returncode


_ROOTS: Final = """
import base64, json, sys
from pymerkle import InmemoryTree
tree = InmemoryTree(algorithm="sha256")
roots = []
for line in sys.stdin:
    tree.append_entry(base64.b64decode(line))
    roots.append(tree.get_state().hex())
print(json.dumps(roots))
"""


def test_pymerkle_agrees(store: Path) -> None:
    """Another implementation of RFC 6962 has the same root at every size."""
    with read_store(store) as source:
        entries = [entry(*event[1:]) for events in source.events() for event in events][:300]
    theirs = json.loads(PYMERKLE.run(_ROOTS, stdin="\n".join(base64.b64encode(each).decode() for each in entries)))
    ours, frontier = [], Frontier()
    for each in entries:
        frontier = frontier.append(leaf_hash(each))
        ours.append(frontier.root().hex())

    assert theirs == ours
