"""`refundry demo`: a naive retry loop and Refundry, under the same faults, against the same simulated providers.

The rule of this package: nothing is staged. Each account is at a simulator in a process of its own, workers are killed
with SIGKILL, and the verdict compares what a client believes with the ledgers of the simulators, which know nothing of
either client.

What the seed determines: the refunds and their amounts, which refund meets which fault, and therefore which payments
are refunded by Refundry, which the provider refuses, and what the naive loop pays twice. What it does not determine:
times, the order of events, which refunds are in flight when a worker is killed, and how many attempts, inquiries and
operator decisions follow from that.
"""

from refundry.cli.demo.run import run_demo

__all__ = ["run_demo"]
