"""Files as venues write them, made from a random truth by writers that know nothing of how Daybook reads."""
