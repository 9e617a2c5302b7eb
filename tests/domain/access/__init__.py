"""Tests of who acts, keys and approvals, without a database."""
