"""Processes of our own that compute answers beside the service, at a low priority, and can be canceled."""
