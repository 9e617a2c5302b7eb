"""The front door: the HTTP API, the command line, the console, and the wiring of all parts."""
