"""Ports for servers that are started in processes of their own, more than once."""

import contextlib
import os
import socket


def free_port() -> int:
    """A port that is free, and that no client is given meanwhile: below the ephemeral ones."""
    first = os.getpid() % 10_000
    for port in (20_000 + (first + step) % 10_000 for step in range(10_000)):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("every port is taken")
