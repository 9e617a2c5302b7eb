"""Proofs that the log is unaltered: Merkle tiles, signed checkpoints, signing keys and witnesses."""
