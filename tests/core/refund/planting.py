"""Planting a known bug in the policy, to see that the laws find it."""

from pkgutil import iter_modules

import pytest

from refundry.refund import policy


def plant(monkeypatch: pytest.MonkeyPatch, name: str, bug: object) -> None:
    """Replace a function in every module of the policy that defines or imports it."""
    modules = [policy, *(getattr(policy, module.name) for module in iter_modules(policy.__path__))]
    holders = [module for module in modules if hasattr(module, name)]

    assert holders, f"the policy has no function {name}"

    for module in holders:
        monkeypatch.setattr(module, name, bug)
