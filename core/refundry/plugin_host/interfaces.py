"""What plugins register besides providers: simulators, observers, signing keys and anchors.

The rule of this module: shapes only; no code of the core depends on them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

from refundry.errors import Invalid
from refundry.inputs import check_name
from refundry.ports import Ports

if TYPE_CHECKING:
    from refundry.journal import ObservedEvent


class Running(Protocol):
    """A simulator that listens."""

    @property
    def url(self) -> str:
        """Return its base URL, without a trailing slash."""


class SimulatorPlugin(Protocol):
    """What the `refundry_simulators` hook returns: one provider that can be simulated."""

    @property
    def name(self) -> str:
        """Return the provider's name."""

    @property
    def version(self) -> str:
        """Return the plugin's version."""

    @property
    def account_section(self) -> Callable[[str, str, Path, str | None], str]:
        """(account name, URL, keys directory, notify URL) -> the `[accounts.NAME]` section for refundry.toml."""

    @property
    def run(self) -> Callable[[str, int, Path, Mapping[str, Any]], AbstractAsyncContextManager[Running]]:
        """(host, port, keys directory, options) -> the simulator, listening while the context is open."""

    @property
    def make_keys(self) -> Callable[[Path], Any]:
        """Create the keys of the simulator and its merchant in a directory; existing files are kept."""


Start = Literal["now", "beginning"] | int
"""Where an observer starts that a store does not know yet: at the end or the beginning of its log, or after a
position."""


@attrs.frozen
class Observer:
    """What the `refundry_observers` hook returns: a function that every recorded event is delivered to."""

    name: str
    """The name under which a store remembers what was delivered: keep it, whatever the function is called."""
    deliver: "Callable[[Sequence[ObservedEvent]], object]" = attrs.field(repr=False)
    """Processes events that are durable. It is called again with the same ones if it raises."""
    start: Start = "now"

    def __attrs_post_init__(self) -> None:
        check_name("observer name", self.name)
        if not callable(self.deliver):
            raise Invalid(f"observer {self.name!r}", "is not a function")
        is_position = isinstance(self.start, int) and not isinstance(self.start, bool) and self.start >= 0
        if self.start not in ("now", "beginning") and not is_position:
            raise Invalid(f"observer {self.name!r}: start", "must be 'now', 'beginning' or a position in the log")

    @property
    def after(self) -> int | None:
        """The position after which a new observer starts; None for the end of the log."""
        return {"now": None, "beginning": 0}[self.start] if isinstance(self.start, str) else self.start


def observer(*, name: str, start: Start = "now") -> "Callable[[Callable[[Sequence[ObservedEvent]], object]], Observer]":
    """Return a decorator that makes an `Observer` of a function; it takes a list of `ObservedEvent`."""
    return lambda deliver: Observer(name, deliver, start)


class SigningKey(Protocol):
    """What the `refundry_audit_signer` hook returns: an Ed25519 key that signs the log."""

    @property
    def name(self) -> str:
        """Return the key's name, as it appears in signed notes."""

    @property
    def public(self) -> bytes:
        """Return the raw public key, 32 bytes."""

    @property
    def sign(self) -> Callable[[bytes], bytes]:
        """Return the function that signs bytes."""


class Anchor(Protocol):
    """A place for checkpoints outside the control of those who run the store."""

    async def publish(self, checkpoint: bytes) -> None:
        """Store a signed checkpoint there; raise if that fails. The same one may come twice."""


@attrs.frozen
class AnchorPlugin:
    """What the `refundry_audit_anchors` hook returns: one type of anchor."""

    name: str
    """The value of `anchor` in `[[audit.anchors]]`."""
    settings: type
    """An attrs class with the other keys of the table, of the types that a `ProviderPlugin` may use."""
    build: Callable[[Any, Path, Ports], Anchor]
    """Make the anchor from its settings, the directory of refundry.toml and the ports; `Invalid` names a wrong key."""
