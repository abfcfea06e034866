"""What docs/simulator.md shows for the shell works as it is written."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import aiohttp

from refundry.testing.simulator.settings import make_keys
from refundry_antom.simulator import AntomSettings, AntomSimulator

PAGE = Path(__file__).parents[3] / "docs" / "simulator.md"


def curls() -> list[tuple[str, str, str | None]]:
    """Return the method, the path and the data of every curl in the page's shell blocks."""
    lines = "".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)).splitlines()
    found = []
    for line in lines:
        words = shlex.split(line)
        options = dict(pairwise(words))
        url = next(word for word in words if word.startswith("http://"))
        found.append((options.get("-X", "GET"), url.removeprefix("http://127.0.0.1:8701"), options.get("-d")))
    return found


async def test_every_curl_works(tmp_path: Path) -> None:
    """Each call of the page is accepted, in the page's order."""
    async with (
        AntomSimulator(AntomSettings(keys=make_keys(tmp_path))) as simulator,
        aiohttp.ClientSession() as session,
    ):
        answered = []
        for method, path, data in curls():
            async with session.request(method, simulator.url + path, data=data) as answer:
                answered.append((answer.status, path, data))

    assert len(answered) > 20
    assert [] == [call for call in answered if call[0] != 200]
