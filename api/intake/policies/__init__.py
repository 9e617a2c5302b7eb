"""Policies over HTTP and the command line: which act by themselves, how, and what they have done."""
