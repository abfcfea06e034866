"""Alipay's open platform on loopback: its gateway, its notifications, and one app.

The rule of this package: it is written from Alipay's documents alone and shares nothing with the plugin's translator
but the signature, so that the two check each other. What no document states is marked `assumed`;
docs/simulator.md lists it.
"""

from refundry_alipay.simulator.keys import APP_ID, AlipayKeys, make_keys
from refundry_alipay.simulator.server import PLUGIN, AlipaySimulator
from refundry_alipay.simulator.settings import AlipaySettings

__all__ = [
    "APP_ID",
    "PLUGIN",
    "AlipayKeys",
    "AlipaySettings",
    "AlipaySimulator",
    "make_keys",
]
