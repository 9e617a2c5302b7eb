"""The book itself: pure rules over exact decimals. No clock, no input or output, no randomness, no framework."""
