"""Verifying: databases, bundles and proofs, the keys that are trusted, and what is shown of the result."""
