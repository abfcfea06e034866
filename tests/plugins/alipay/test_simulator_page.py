"""What docs/simulator.md says of Alipay is so."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

from refundry.testing.simulator.settings import Settings
from refundry_alipay.simulator import AlipaySettings
from tests.plugins.alipay.simulated import Start, keys, start

__all__ = ["keys", "start"]  # fixtures

PAGE = Path(__file__).parents[3] / "docs" / "simulator.md"


def section() -> str:
    found = re.search(r"^## Alipay\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_every_setting_is_there() -> None:
    """The table has every setting that only this simulator has, and no other."""
    rows = re.findall(r"^\| `([a-z_]+)` \|", section(), re.MULTILINE)

    assert set(AlipaySettings.OPTIONS) - set(Settings.OPTIONS) == {row for row in rows if row in AlipaySettings.OPTIONS}
    assert [] == [row for row in rows if row not in AlipaySettings.OPTIONS and row not in ("fund_change", "charset")]


async def test_every_curl_works(start: Start) -> None:
    """Each call of the section is accepted, in its order, with a refund R1 that is done."""
    _, merchant = await start()
    await merchant.refund("R1")
    lines = "".join(re.findall(r"```console\n(.*?)```", section(), re.DOTALL)).splitlines()
    statuses = []
    for line in lines:
        words = shlex.split(line.removeprefix("$ "))
        options = dict(pairwise(words))
        url = next(word for word in words if word.startswith("http://"))
        async with merchant.session.request(
            options["-X"], merchant.url + url.removeprefix("http://127.0.0.1:8701"), data=options["-d"]
        ) as answer:
            statuses.append(answer.status)

    assert [200, 200, 200] == statuses
