"""Mutants: everything that Daybook reads from outside, changed at random. Each is read, or refused with a sentence."""
