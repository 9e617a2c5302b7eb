"""The writer: the leader that decides commands in batches and appends their events, one commit for many."""
