"""How long it takes to encode and to decode one event.

Run: python -m tests.bench.bench_codec [--quick]
"""

import sys
from functools import partial

import attrs

from refundry.journal.codec import decode, encode
from tests.bench.samples import EVENTS, LIFE, SETTLED, machine, micros

_BARE = attrs.evolve(SETTLED, settlement_amount=None, quote=None, details=None)


def main(quick: bool) -> dict[str, object]:
    """Measure every kind of event; microseconds each."""
    number = 2_000 if quick else 20_000
    figures: dict[str, object] = {"machine": machine()}
    named = [(event.topic, event) for event in EVENTS if event is not SETTLED]
    spent: dict[str, tuple[float, float]] = {}
    for name, event in [*named, ("settled", _BARE), ("settled with quote, two amounts and details", SETTLED)]:
        state = encode(event)
        spent[name] = micros(partial(encode, event), number), micros(partial(decode, event.topic, state, 1), number)
        figures[f"{name} ({len(state)} bytes): encoded, decoded (µs)"] = tuple(round(time, 2) for time in spent[name])
    life = [spent[event.topic] for event in LIFE]
    for at, what in enumerate(("encoded", "decoded")):
        figures[f"the five events of a refund, {what} (µs each)"] = round(sum(time[at] for time in life) / len(life), 2)
    return figures


if __name__ == "__main__":
    for name, figure in main("--quick" in sys.argv).items():
        print(f"{name:72} {figure}")
