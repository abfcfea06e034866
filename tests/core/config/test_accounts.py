"""refundry.toml: what is not understood is refused, and no secret is shown."""

import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from refundry.config import Account, check_url, open_accounts, read_config
from refundry.errors import ConfigError
from refundry.plugin_host import load_plugins
from refundry.provider import Secret
from tests.core.shop import keys

HEAD = '[accounts.shop]\nprovider = "antom"\n'
GIVEN = {
    "base_url": '"https://open-de-global.alipay.com"',
    "client_id": '"SANDBOX_5Y"',
    "private_key": '"merchant.pem"',
    "provider_public_key": '"provider.pub.pem"',
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the keys of an account."""
    for key in (keys().merchant, keys().provider_public):
        (tmp_path / key.name).write_bytes(key.read_bytes())
    return tmp_path


def section(**changes: str | None) -> str:
    lines = {key: value for key, value in (GIVEN | changes).items() if value is not None}
    return HEAD + "".join(f"{key} = {value}\n" for key, value in lines.items())


def opened(place: Path, text: str, **more: Any) -> Account:
    path = place / "refundry.toml"
    path.write_text(text, "utf-8")
    (account,) = open_accounts(read_config(path), load_plugins(), **more).values()
    return account


def refused(place: Path, text: str) -> str:
    """Return the error, after checking that it is one line and shows nothing of the key."""
    with pytest.raises(ConfigError) as caught:
        opened(place, text)
    expected = str(caught.value)
    assert "\n" not in expected
    assert not [line for line in keys().merchant.read_text("ascii").splitlines()[1:-1] if line in expected]
    return expected


def pem(key: Any, secret: bytes | None = None) -> bytes:
    protect = BestAvailableEncryption(secret) if secret else NoEncryption()
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protect)
    return text


# --- what is right ----------------------------------------------------------------------------------------------------


def test_an_account_is_opened(place: Path) -> None:
    """Keys are relative to the configuration file, whatever the working directory is."""
    account = opened(place, section())

    assert ("shop", "antom") == (account.name, account.plugin.name)
    assert "SANDBOX_5Y at https://open-de-global.alipay.com" == account.provider.identity


def test_terms_are_overridden_in_seconds(place: Path) -> None:
    """What an account says replaces the provider's terms, and the rest stays."""
    text = section() + "[accounts.shop.terms]\nfirst_inquiry = 3\ninquiry_intervals = [1, 2.5]\nnot_found_tries = 7\n"
    account = opened(place, text)

    assert (3.0, (1.0, 2.5), 7) == (
        account.terms.first_inquiry, account.terms.inquiry_intervals, account.terms.not_found_tries,
    )  # fmt: skip
    assert account.plugin.terms.timeout == account.terms.timeout
    assert account.terms == account.provider.terms


def test_a_key_comes_from_the_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`env:NAME` names a variable that holds the PEM text."""
    monkeypatch.setenv("SHOP_KEY", keys().merchant.read_text("ascii"))

    assert "shop" == opened(place, section(private_key='"env:SHOP_KEY"')).name


def test_without_keys_no_private_key_is_touched(place: Path) -> None:
    """Reading old answers needs no private key, and none is looked for."""
    (place / "merchant.pem").unlink()

    assert opened(place, section(), keys=False).provider.identity


def test_a_proxy_is_named_for_each_account(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is a URL in the file, or one with a password in the environment, which no repr shows."""
    monkeypatch.setenv("PROXY", "http://ada:s3cret@proxy.internal:3128\n")
    monkeypatch.setenv("HTTPS_PROXY", "http://elsewhere:3128")

    assert opened(place, section()).proxy is None
    assert "http://proxy.internal:3128" == opened(place, section(proxy='"http://proxy.internal:3128"')).proxy
    account = opened(place, section(proxy='"env:PROXY"'))
    assert "http://ada:s3cret@proxy.internal:3128" == account.proxy
    assert "s3cret" not in repr(account)
    assert opened(place, section(proxy='"env:PROXY"'), keys=False).proxy is None


@pytest.mark.parametrize(
    "value",
    [
        "3128", '""', '"proxy.internal:3128"', '"socks5://proxy:1080"', '"http://proxy:port"', '"http://proxy/path"',
        '"http://proxy?a"', '"http://pro xy"', '"http://ada:s3cret@proxy:3128"', '"env:NO_SUCH_VARIABLE"',
    ],
)  # fmt: skip
def test_a_proxy_that_is_not_one_is_refused(place: Path, value: str) -> None:
    """Only the URL of an HTTP proxy is accepted, and a password only from the environment."""
    error = refused(place, section(proxy=value))

    assert error.startswith("accounts.shop.proxy:")
    assert "s3cret" not in error


def test_a_file_without_accounts_is_a_file(place: Path) -> None:
    """The store is relative to the configuration file."""
    path = place / "refundry.toml"
    path.write_text("", "utf-8")
    config = read_config(path)

    assert {} == open_accounts(config, load_plugins())
    assert place / "refunds.db" == config.store_path


def test_nothing_shows_a_key(place: Path) -> None:
    """No repr of a configuration or an account holds the key."""
    account = opened(place, section())
    text = " ".join(map(repr, (account, account.provider, account.provider.settings)))  # type: ignore[attr-defined]  # Antom's

    assert "PRIVATE" not in text
    assert not [line for line in keys().merchant.read_text("ascii").splitlines()[1:-1] if line in text]


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stor = 1", "stor: is not a known key"),
        ("store = 1", "store: must be text"),
        ('store = "a\\u0000b"', "store: must be text"),
        ("accounts = 1", "accounts: must be tables"),
        ("[accounts]\nshop = 1", "accounts.shop: must be a table"),
        ('[accounts."a b"]', "accounts.a b: must be 1 to 64"),
        ("[accounts.ü]", "is not TOML"),
        ("[accounts.shop]", "accounts.shop.provider: must name a provider"),
        ("[accounts.shop]\nprovider = 1", "accounts.shop.provider: must name a provider"),
        ('[accounts.shop]\nprovider = "nope"', "accounts.shop.provider: no installed plugin has the provider 'nope'"),
        ("store =", "is not TOML"),
        ("a = 1\na = 2", "is not TOML"),
        (section() + "colour = 1", "accounts.shop.colour: is not a known key"),
        (section() + "[accounts.shop.terms]\ncolour = 1", "accounts.shop.terms.colour: is not a known key"),
        (section() + "[accounts.shop.terms]\nid_horizon = 1", "accounts.shop.terms.id_horizon: is not a known key"),
        (section() + "terms = 1", "accounts.shop.terms: must be a table"),
        (section(client_id=None), "accounts.shop.client_id: is missing"),
        (section(private_key=None), "accounts.shop.private_key: is missing"),
        (section(provider_public_key=None), "accounts.shop.provider_public_key: is missing"),
        (section(client_id="5"), "accounts.shop.client_id: must be a string in quotes"),
        (section(key_version='"1"'), "accounts.shop.key_version: must be an integer"),
        (section(key_version="true"), "accounts.shop.key_version: must be an integer"),
        (section(private_key='"nowhere.pem"'), "accounts.shop.private_key: nowhere.pem cannot be read"),
        (section(private_key='"."'), "accounts.shop.private_key: . cannot be read"),
        (section(private_key='"a\\u0000b"'), "accounts.shop.private_key: "),
        (section(private_key='""'), "accounts.shop.private_key: must name a file"),
        (section(private_key="1"), "accounts.shop.private_key: must name a file"),
        (section(private_key='"env:NOT_SET"'), "the environment variable NOT_SET is not set"),
        (section(private_key='"provider.pub.pem"'), "accounts.shop.private_key: is a public key"),
        (section(provider_public_key='"merchant.pem"'), "accounts.shop.provider_public_key: is a private key"),
    ],
)
def test_what_is_not_understood_is_refused(place: Path, text: str, expected: str) -> None:
    """Every error names the key and the rule, in one line."""
    assert expected in refused(place, text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("timeout", text) for text in ("0", "-1", '"20"', "true", "inf", "nan", "[]", "1e14", "1" + "0" * 400)],
        *[("not_found_tries", text) for text in ("0", "1.5", "true", '"3"', "1000001")],
        *[("inquiry_intervals", text) for text in ("[]", "[0]", "15", '["15"]', "[1, -1]")],
        *[("requests_per_second", text) for text in ("0", "nan", '"1"', "0.0009", "100001")],
        *[("max_attempts", text) for text in ("0", "1.0")],
    ],
)
def test_a_term_that_makes_no_sense_is_refused(place: Path, name: str, value: str) -> None:
    """A wrong term is named as it appears in the file."""
    text = section() + f"[accounts.shop.terms]\n{name} = {value}\n"

    assert refused(place, text).startswith(f"accounts.shop.terms.{name}: ")


def test_a_key_in_the_file_itself_is_refused(place: Path) -> None:
    """The configuration must not contain a secret, and the error does not repeat it."""
    key = keys().merchant.read_text("ascii")

    assert "contains a key" in refused(place, section(private_key=f'"""{key}"""'))
    assert "contains a key" in refused(place, section(private_key='"-----BEGIN PRIVATE KEY-----"'))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is neither PEM nor the base64 of a private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is not a private key and cannot be read"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "is not an RSA key"),
        (pem(rsa.generate_private_key(65537, 1024)), "has 1024 bits"),
        (pem(rsa.generate_private_key(65537, 1024), b"secret"), "without a password"),
    ],
    ids=["empty", "broken", "elliptic", "short", "encrypted"],
)
def test_a_key_of_another_kind_is_refused(place: Path, content: bytes, expected: str) -> None:
    """Only an unencrypted RSA key of at least 2048 bits will do."""
    (place / "merchant.pem").write_bytes(content)
    answer = refused(place, section())

    assert answer.startswith("accounts.shop.private_key: ")
    assert expected in answer


def test_a_public_key_of_another_kind_is_refused(place: Path) -> None:
    """The provider's key has to be RSA as well."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (place / "provider.pub.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    assert "accounts.shop.provider_public_key: is not an RSA key" in refused(place, section())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_that_may_not_be_read_is_refused(place: Path) -> None:
    """A file without permission is named."""
    (place / "merchant.pem").chmod(0)

    assert "accounts.shop.private_key: merchant.pem cannot be read" in refused(place, section())


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    """A missing file, a directory and bytes that are not UTF-8 are each one clear error."""
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"\xff\xfe")
    for path, expected in (
        (tmp_path / "none.toml", "there is no file"),
        (tmp_path, "is not a regular file"),
        (broken, "cannot be read: it is not UTF-8 text"),
    ):
        with pytest.raises(ConfigError, match=expected):
            read_config(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"x = {'[' * 5000}{']' * 5000}", "nests values too deeply"),
        (f"x = {'1' * 5000}", "is not TOML"),
        ("x = ", "is not TOML"),
    ],
)
def test_a_hostile_file_is_one_clear_error(tmp_path: Path, content: str, expected: str) -> None:
    """What the TOML parser cannot take, however it fails, is an error that names the file."""
    file = tmp_path / "refundry.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=f"refundry.toml {expected}"):
        read_config(file)


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    """A configuration file that is a named pipe would block permanently, so it is refused."""
    pipe = tmp_path / "refundry.toml"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_config(pipe)


@pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_cannot_leave_the_process(carry: Callable[[Secret], object]) -> None:
    """A secret refuses to be pickled or copied, which would write its bytes somewhere."""
    with pytest.raises(TypeError, match="a Secret cannot be pickled"):
        carry(Secret(b"canary"))


@pytest.mark.parametrize("store", ["postgresql://user@host/db", "sqlite://", "sqlite:///", "refunds.db"])
def test_another_store_is_refused(place: Path, store: str) -> None:
    """What cannot be opened is refused by name."""
    path = place / "refundry.toml"
    path.write_text(f'store = "{store}"', "utf-8")
    with pytest.raises(ConfigError, match="store: must be"):
        _ = read_config(path).store_path


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://open-de-global.alipay.com",
        "https://host:8443/gateway.do",
        "http://127.0.0.1:8701",
        "http://127.8.9.1",
        "http://[::1]:8701",
        "http://localhost:1/",
    ],
)
def test_https_and_loopback_are_addresses(url: str) -> None:
    """Https goes anywhere, http only to this machine; a slash at the end is dropped."""
    assert url.rstrip("/") == check_url(url, "base_url")


@pytest.mark.parametrize(
    "url",
    [
        "http://open-de-global.alipay.com",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "http://[::ffff:10.0.0.1]",
        "http://0.0.0.0",
        "https://user:word@host",
        "https://host/#x",
        "https://",
        "https://ho st",
        "https://host:port",
        "https://[::1",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "//host",
        "",
        5,
    ],
)
def test_every_other_address_is_refused(url: object) -> None:
    """Nothing is sent in the clear, and nothing to a place that only looks like this machine."""
    with pytest.raises(ConfigError, match="base_url: "):
        check_url(url, "base_url")
