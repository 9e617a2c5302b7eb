"""Import of files: into the ledger, over HTTP and the command line, and the evidence of what could not be read."""
