"""Layouts of the files that venues and programs export, as data over `adapters.exchanges.files`."""
