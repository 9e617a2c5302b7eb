"""Reasons: the code, rule and sentence of every refusal and break."""
