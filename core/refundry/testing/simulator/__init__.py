"""Simulated providers on loopback."""
