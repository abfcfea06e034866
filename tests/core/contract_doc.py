"""Print the page of the contract, generated from its checks: `python -m tests.core.contract_doc`."""

from refundry.testing.contract import CHECKS

HEADER = """\
# Provider contract

Generated from the checks; a test keeps them in sync. A plugin passes if every check passes. `refundry plugins check
NAME` runs the contract on an installed plugin; a plugin's own tests run each check as a test:

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

The checks know no provider. What a plugin must do follows from its own `Terms` and code tables, and from the ledger of
its own simulator, which must support the options and control calls that `refundry.testing.simulator.server` gives every
simulator. A row of a code table whose code equals its status (`S` with status `S`) covers every code with that status.
A check about a feature that the plugin lacks (notifications, a class of codes) is reported as not applicable, never as
passed.

In Python, `await check_plugin(plugin, simulator, only=[...])` returns a `Result` (`name`, `sentence`, `status`, `text`)
for each check, without pytest.

Faulty providers, each with one deliberate mistake, prove that the checks catch errors
(`tests/core/testing/faulty.py`).

| check | what is true of a plugin that passes |
| --- | --- |
"""


def contract_page() -> str:
    """Return the page."""
    return HEADER + "".join(f"| `{check.name}` | {check.sentence} |\n" for check in CHECKS.values())


if __name__ == "__main__":
    print(contract_page(), end="")
