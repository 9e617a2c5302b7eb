"""Printed reports: the catalog, the file formats, the digests they are reproduced from."""
