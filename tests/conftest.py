"""What every test shares: reproducible properties, a closed network, keys that are made once, and the order of work."""

import ipaddress
import os
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, settings

from tests.kept import keep_bytecode, keep_keys, keep_metadata, keep_objects

# A shared machine is slow at times: a deadline would make a timing into a test.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", _patient)
settings.register_profile("ci", _patient, derandomize=True, print_blob=True)
settings.register_profile("fast", _patient, derandomize=True, print_blob=True, max_examples=20)
settings.register_profile("long", _patient, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default"))

keep_bytecode()
keep_keys()
keep_metadata()


def pytest_xdist_auto_num_workers() -> int | None:
    """With `-n auto`, start one process more than there are cores: tests wait for a third of their time."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Spare the collected tests when garbage is looked for."""
    keep_objects()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `-n`, start the longest tests first, so that no process ends long after the others."""
    if hasattr(config, "workerinput"):
        items.sort(key=_seconds, reverse=True)


def _seconds(item: pytest.Item) -> float:
    slow = item.get_closest_marker("slow")
    return 0.0 if slow is None else slow.kwargs.get("seconds", 5.0)


class NetworkClosed(RuntimeError):
    """A test tried to reach something that is not on this machine."""


def _is_loopback(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket is a path
    host = str(address[0])
    try:
        return host in ("localhost", "") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_the_world(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.sendto") and not _is_loopback(arguments[1]):
        raise NetworkClosed(f"tests may only connect to this machine, not to {arguments[1]!r}")


# For the whole run and every thread of it; an audit hook cannot be forgotten by a fixture.
sys.addaudithook(_refuse_the_world)


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def merchant_key() -> rsa.RSAPrivateKey:
    """The key that our requests are signed with."""
    return _new_key()


@pytest.fixture(scope="session")
def provider_key() -> rsa.RSAPrivateKey:
    """The key that the provider signs with."""
    return _new_key()


@pytest.fixture(scope="session")
def foreign_key() -> rsa.RSAPrivateKey:
    """A key that is not trusted."""
    return _new_key()
