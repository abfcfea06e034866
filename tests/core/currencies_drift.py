"""Report where the checked-in table of active currencies differs from ISO 4217 as the `iso4217` package publishes it.

`python tests/core/currencies_drift.py` prints the table as it should stand in `refundry/currencies.py`.
"""

from collections import defaultdict
from textwrap import wrap

import iso4217


def published() -> dict[str, int]:
    """Return the exponent of every active code that has a minor unit."""
    return {currency.code: currency.exponent for currency in iso4217.Currency if currency.exponent is not None}


def table(exponents: dict[str, int]) -> str:
    """Write exponents as the source text of the checked-in table."""
    groups = defaultdict(list)
    for code, exponent in sorted(exponents.items()):
        groups[exponent].append(code)
    lines = ["_ACTIVE: Final[Mapping[int, str]] = {"]
    for exponent, codes in sorted(groups.items()):
        lines += [f'    {exponent}: """', *(f"        {line}" for line in wrap(" ".join(codes), 104)), '    """,']
    return "\n".join([*lines, "}"])


if __name__ == "__main__":
    print(table(published()))
