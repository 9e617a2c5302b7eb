"""Tests, in the folders of what they test; what several of them use lies here at the top."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
GOLDEN = CHECKOUT / "tests" / "golden"
