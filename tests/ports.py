"""Ports for servers that another process starts, or restarts, at an address that must be known before."""

import random
import socket


def free_port() -> int:
    """Return a port on loopback on which nothing listens.

    It is below those that the operating system hands out, so that no connection and no other server takes it before it
    is used, and random, so that tests that run at the same time do not share it.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
