"""Schemas of venue reports: of orders, cash and venue statements, each with an example."""
