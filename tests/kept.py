"""What takes longer than many a test and comes out the same each time is done once, and kept.

The rule of this module: a test cannot tell the difference. Keys differ from each other as new ones do, a key that was
not made here is validated whenever it is loaded first, and what is installed is looked up again when the path changes.
"""

import gc
import os
import sys
from functools import cache, cached_property
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

CACHE: Final = Path(__file__).parents[1] / ".pytest_cache"


def keep_bytecode() -> None:
    """Keep bytecode apart from the sources if it is not wanted there: processes start in half the time with it."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        sys.dont_write_bytecode = False
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(CACHE / "bytecode")


def keep_objects() -> None:
    """Leave alone what exists by now when garbage is collected, and collect it less often.

    With all tests and modules in memory, looking for garbage takes a fifth of the time of the fast tests. At the end
    pytest still collects all of it, so nothing that was left open goes unnoticed.
    """
    gc.set_threshold(20_000, 20, 20)
    gc.collect()
    gc.freeze()


def keep_keys() -> None:
    """Make RSA keys once for all runs, and load each once in a process.

    The nth key of a size that a process asks for is the same in every run. To make one and to validate one take about
    50 ms each.
    """
    make, load = rsa.generate_private_key, serialization.load_pem_private_key
    numbers, valid = count(), set[bytes]()

    def made(public_exponent: int, key_size: int, backend: Any = None) -> rsa.RSAPrivateKey:
        path = CACHE / "keys" / f"{key_size}-{next(numbers)}"
        try:
            key: Any = load(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
        except (OSError, ValueError):
            key = make(public_exponent, key_size, backend)
            _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
            valid.add(key.private_bytes(Encoding.PEM, form, NoEncryption()))
        return key  # type: ignore[no-any-return]

    @cache
    def loaded(data: bytes, password: bytes | None = None, **options: Any) -> Any:
        return load(data, password, **options | ({"unsafe_skip_rsa_key_validation": True} if data in valid else {}))

    _replace(rsa, "generate_private_key", made)
    _replace(serialization, "load_pem_private_key", loaded)


def _replace(owner: object, name: str, replacement: object) -> None:
    setattr(owner, name, replacement)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")  # another process may make the same key
    unfinished.write_bytes(content)
    unfinished.replace(path)


def keep_metadata() -> None:
    """Look up installed distributions, and read the metadata of each, once for each search path."""
    look_up = metadata.entry_points
    found = cache(lambda path, selection: look_up(**dict(selection)))
    _replace(metadata, "entry_points", lambda **by: found(tuple(sys.path), tuple(sorted(by.items()))))
    read: cached_property[Any] = cached_property(metadata.Distribution.metadata.fget)  # type: ignore[attr-defined]  # a property
    read.__set_name__(metadata.Distribution, "metadata")
    _replace(metadata.Distribution, "metadata", read)
