"""Tests of adapters/upkeep."""
