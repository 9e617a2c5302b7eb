"""Reactions: process managers that follow the log with their own place and send what they request, exactly once."""
