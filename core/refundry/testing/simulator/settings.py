"""The options of a simulated provider, its keys, and its registration with the command line.

The rule of this module: nothing is guessed and nothing is overwritten: an unknown option is an error, and an
existing key file stays as it is.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeVar

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from refundry.config import is_loopback
from refundry.errors import Invalid
from refundry.testing.simulator.ledger import State

# --- keys -------------------------------------------------------------------------------------------------------------

KEY_BITS: Final = 2048


@attrs.frozen
class Keys:
    """The four key files of a simulated provider and its one merchant."""

    directory: Path

    @property
    def merchant(self) -> Path:
        """Return the merchant's private key: the account signs with it."""
        return self.directory / "merchant.pem"

    @property
    def merchant_public(self) -> Path:
        """Return the merchant's public key: the simulator verifies with it."""
        return self.directory / "merchant.pub.pem"

    @property
    def provider(self) -> Path:
        """Return the provider's private key: the simulator signs with it."""
        return self.directory / "provider.pem"

    @property
    def provider_public(self) -> Path:
        """Return the provider's public key: the account verifies with it."""
        return self.directory / "provider.pub.pem"


def make_keys(directory: Path) -> Keys:
    """Create the missing key pairs; private files have mode 0600. Nothing is overwritten.

    Raises `Invalid` naming the file if a key that is there cannot be read, if a public key is there without its private
    one, or is not that one's; then nothing is written.
    """
    keys = Keys(directory)
    pairs = ((keys.merchant, keys.merchant_public), (keys.provider, keys.provider_public))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for private, public in pairs:
            _check_pair(private, public)
        for private, public in pairs:
            _make_pair(private, public)
    except OSError as error:
        raise Invalid("keys", f"{error.filename or directory} cannot be used: {error.strerror or error}") from None
    return keys


def _check_pair(private: Path, public: Path) -> None:
    if not private.exists():
        if public.exists():
            raise Invalid("keys", f"{public} is there, but {private.name} is not; give both or neither")
        return
    key = load_private_key(private).public_key()
    if not public.exists():
        return
    try:
        is_its = serialization.load_pem_public_key(public.read_bytes()) == key
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("keys", f"{public} is not a PEM public key") from None
    if not is_its:
        raise Invalid("keys", f"{public} is not the public key of {private.name}")


def _make_pair(private: Path, public: Path) -> None:
    if not private.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _create(private, pem, 0o600)
    if not public.exists():
        pem = (
            load_private_key(private)
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        _create(public, pem, 0o644)


def load_private_key(private: Path) -> rsa.RSAPrivateKey:
    """Read a private key file of a simulator; `Invalid` names it."""
    try:
        # Checking the primes takes most of a start, and the public key next to it is compared anyway.
        key = serialization.load_pem_private_key(private.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Invalid("keys", f"{private} is not a PEM private key of RSA without a password")
    return key


def _create(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)


# --- options ---------------------------------------------------------------------------------------------------------

Check = Callable[[str, Any], Any]


def choice(*choices: str) -> Check:
    """Return the check of an option with these values."""

    def check(field: str, value: Any) -> str:
        if value not in choices:
            raise Invalid(field, f"must be one of {', '.join(choices)}")
        return str(value)

    return check


def flag(field: str, value: Any) -> bool:
    """Check an option that is true or false, as a string or as JSON."""
    if value not in (True, False, "true", "false") or (isinstance(value, int) and not isinstance(value, bool)):
        raise Invalid(field, "must be true or false")
    return value in (True, "true")


def _number(field: str, value: Any) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1_000_000:
        raise Invalid(field, "must be a number from 0 to 1000000")
    return number


def _delay(field: str, value: Any) -> float | None:
    return None if value in (None, "never") else _number(field, value)


def _seed(field: str, value: Any) -> int:
    return int(_number(field, value))


def text(field: str, value: Any) -> str:
    """Check a string of 1 to 1024 characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= 1024:
        raise Invalid(field, "must be a string of 1 to 1024 characters")
    return value


def _notify_url(field: str, value: Any) -> str | None:
    return None if value is None else text(field, value)


@attrs.frozen(kw_only=True)
class Settings:
    """How a simulated provider behaves; `options` reads the same from texts or JSON values."""

    keys: Keys
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free one."""
    mode: str = "sync"
    """`sync`: a refund is done or refused at once; `async`: it is in process first."""
    async_delay: float | None = 1.0
    """Seconds until an asynchronous refund ends; None: by a control call only."""
    async_result: str = "SUCCESS"
    """How asynchronous refunds end."""
    payments: str = "any"
    """`any`: an unknown payment id counts as paid; `declared`: only payments that were added."""
    notify_url: str | None = None
    """Where notifications go if the request names no address."""
    notify_sync: bool = False
    """Also notify of refunds that were done at once."""
    time_scale: float = 1.0
    """The notification intervals are multiplied by this: 0.001 makes two minutes 0.12 seconds."""
    seed: int = 0
    """Of the generator that faults with a probability throw."""

    OPTIONS: ClassVar[Mapping[str, Check]] = {
        "mode": choice("sync", "async"),
        "async_delay": _delay,
        "async_result": choice(State.SUCCESS, State.FAIL),
        "payments": choice("any", "declared"),
        "notify_url": _notify_url,
        "notify_sync": flag,
        "time_scale": _number,
        "seed": _seed,
    }

    def __attrs_post_init__(self) -> None:
        if not is_loopback(self.host):
            raise Invalid("host", "is not a loopback address; a simulator listens on no other")
        for name, check in self.OPTIONS.items():
            check(name, getattr(self, name))


S = TypeVar("S", bound=Settings)


def with_options(settings: S, options: Mapping[str, Any]) -> S:
    """Return settings with other options; `Invalid` names an unknown option or the rule a value breaks."""
    for name in options:
        if name not in settings.OPTIONS:
            raise Invalid(name, f"is not an option of this simulator; it has {', '.join(settings.OPTIONS)}")
    return attrs.evolve(settings, **{name: settings.OPTIONS[name](name, value) for name, value in options.items()})


# --- how the command line finds it ------------------------------------------------------------------------------------


def account_text(name: str, settings: Mapping[str, str | int]) -> str:
    """Write the section `[accounts.NAME]` of refundry.toml."""
    # JSON's strings and numbers are TOML's.
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    return f"[accounts.{name}]\n{lines}"


class Running(Protocol):
    """A simulator that listens."""

    @property
    def url(self) -> str:
        """Return its base URL, without a trailing slash."""


@attrs.frozen(kw_only=True)
class SimulatorPlugin:
    """What the `refundry_simulators` hook returns: one kind of provider that can be simulated."""

    name: str
    version: str
    account_section: Callable[[str, str, Path, str | None], str]
    """(account name, url, keys directory, notify_url) -> the `[accounts.NAME]` section for refundry.toml."""
    run: Callable[[str, int, Path, Mapping[str, Any]], AbstractAsyncContextManager[Running]]
    """(host, port, keys directory, options) -> the simulator, listening while the context is open."""
    make_keys: Callable[[Path], Keys] = make_keys
