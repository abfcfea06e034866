"""Tools for testing platforms and plugins: simulated providers with a ledger and injected faults, and the contract.

The rule of this package: it is a product for users who test their platforms, and it never reaches beyond loopback.
"""
