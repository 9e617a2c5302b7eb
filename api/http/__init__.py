"""What all HTTP routes share: authentication, fields, idempotency, problem responses, paging, metrics."""
