"""The pages name the settings of an account at AlphaPay and of its simulator, and no others."""

import re
from pathlib import Path

import attrs

from refundry.testing.simulator.settings import Settings
from refundry_alphapay.provider import AlphaPaySettings as AccountSettings
from refundry_alphapay.simulator import MESSAGES, AlphaPaySettings

DOCS = Path(__file__).parents[3] / "docs"


def rows(page: str, title: str) -> dict[str, str]:
    """Return the last cell of each row of a section whose first cell is a name."""
    section = (DOCS / page).read_text(encoding="utf-8").split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    return {match[1]: match[2] for match in re.finditer(r"^\| `([a-z_]+)` \|.*\| ([^|]*) \|$", section, re.MULTILINE)}


def test_invented_codes() -> None:
    """Every result code that the simulator invents is listed with its status and message, and no other code is."""
    section = (DOCS / "simulator.md").read_text(encoding="utf-8").split("## AlphaPay\n", 1)[1]
    listed = re.findall(r"^\| `(SIM_\w+)` \| ([SFU]) \| (.*) \|$", section, re.MULTILINE)

    assert [(code, *rest) for code, rest in MESSAGES.items() if code.startswith("SIM_")] == listed


def test_account_settings() -> None:
    """Every key of an account is there with its default, and no other key."""
    defaults = {None: "not set", attrs.NOTHING: "required"}
    expected = {
        field.name: "required" if field.name == "private_key" else defaults.get(field.default, f"`{field.default}`")
        for field in attrs.fields(AccountSettings)
    }

    assert expected == rows("reference/configuration.md", "Accounts at AlphaPay")


def test_simulator_settings() -> None:
    """Every option that only this simulator has is there, and the one whose default is another."""
    own = set(AlphaPaySettings.OPTIONS) - set(Settings.OPTIONS)

    assert own | {"notify_sync"} == set(rows("simulator.md", "AlphaPay"))
