"""Verifying a log: events, tree, checkpoints, evidence, index and invariants."""
