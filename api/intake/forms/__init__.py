"""Requests as forms: each declared once, for its HTTP route, its command, its example and its documentation."""
