"""Account statements: the figures of a period, rendered as HTML and PDF."""
