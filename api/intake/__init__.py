"""What comes in: requests, venue reports, imported files and marks."""
