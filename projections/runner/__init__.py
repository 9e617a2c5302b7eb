"""The processes that keep read models current: following the log, leases, rebuilding, comparing."""
