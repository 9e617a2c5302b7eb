"""Reactions: process managers, which turn events of the log and the passing of time into requests. Pure."""
