"""Processes of our own that compute answers beside the service, at the lowest priority, and can be canceled."""
