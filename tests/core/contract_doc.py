"""Write the page of the contract from its table of checks: `python -m tests.core.contract_doc` prints it."""

from refundry.testing.contract import CHECKS

HEADER = """\
# The contract of a provider plugin

Written from the checks themselves; a test compares the two. A plugin passes when every check holds; `refundry plugins
check NAME` runs them on an installed plugin, and a plugin's own tests run them one by one:

```python
import pytest
from refundry.testing.contract import ProviderContract


class TestAcme(ProviderContract):
    @pytest.fixture
    def plugin(self):
        return acme.provider.PLUGIN  # the ProviderPlugin

    @pytest.fixture
    def simulator(self):
        return acme.simulator.PLUGIN  # the SimulatorPlugin
```

Nothing in the checks knows a provider. What a plugin must do follows from its own `Terms` and code tables, and from the
books of its own simulator, which must understand the options and control calls that
`refundry.testing.simulator.server` gives every simulator. A row of a code table whose code is its status (`S` with
status `S`) stands for every code with that status. What a plugin does not have (notifications, codes of a class) is
reported as not applicable, never as passed.

From code, `await check_plugin(plugin, simulator, only=[...])` gives a `Result` (`name`, `sentence`, `status`, `text`)
for each check, without pytest.

That the checks bite is tested with careless providers, each with one mistake (`tests/core/testing/faulty.py`).

| check | what holds |
| --- | --- |
"""


def contract_page() -> str:
    """Give the page."""
    return HEADER + "".join(f"| `{check.name}` | {check.sentence} |\n" for check in CHECKS.values())


if __name__ == "__main__":
    print(contract_page(), end="")
