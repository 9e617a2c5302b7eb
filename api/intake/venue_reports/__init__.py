"""Venue reports and cash: how they are sent, read, recorded and answered, one by one."""
