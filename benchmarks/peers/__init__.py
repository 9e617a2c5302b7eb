"""Peers that do the same work as Daybook, each measured in a process of its own."""
