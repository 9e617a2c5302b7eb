"""Databases of the tests' server."""

from urllib.parse import urlsplit


def url_of_database(server: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlsplit(server)._replace(path=f"/{name}").geturl()
