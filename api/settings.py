"""Settings of a deployment, read from `DAYBOOK_*` in the environment.

`DAYBOOK_DATABASE_URL` absent or empty means Daybook's own PostgreSQL under `DAYBOOK_HOME`. The URL may carry a
password, so it is kept as a secret: it shows as stars where settings are printed or logged.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.postgres import own_home


class Settings(BaseSettings):
    """The settings of one deployment; every field can be set as `DAYBOOK_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="DAYBOOK_", env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(default=None, description="PostgreSQL URL; absent: Daybook's own server")
    home: Path = Field(default=Path(".daybook"), description="where Daybook's own server keeps its files")
    host: str = Field(default="127.0.0.1", description="address the API listens on")
    port: int = Field(default=8000, ge=0, le=65535, description="port the API listens on; 0 for any free one")
    allowed_hosts: str = Field(
        default="", description="names in URLs of this server, with commas; addresses and loopback names are allowed"
    )
    advertised_url: str = Field(default="", description="where other machines reach this process; default: its address")
    tls_cert: Path | None = Field(default=None, description="PEM file of the certificate (chain); absent: plain HTTP")
    tls_key: Path | None = Field(default=None, description="PEM file of its key, if it is not with the certificate")
    connections_max: int = Field(default=768, ge=0, description="open connections; 0 for no limit")
    connections_per_address_max: int = Field(
        default=256, ge=0, description="open connections of one address; 0 for no limit, as behind a proxy"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least severity logged")
    log_format: Literal["auto", "json", "text"] = Field(default="auto", description="auto: text at a terminal")
    wait_seconds_max: float = Field(default=5.0, ge=0, le=60, description="how long a query waits for its `min_seq`")
    mark_age_seconds_max: float = Field(default=3600, gt=0, description="a mark older than that is shown as stale")
    witnesses: SecretStr = Field(
        default=SecretStr(""),
        description="where checkpoints are delivered: file:PATH, https://…, postgresql://…, witness+https://…#VKEY",
    )
    witness_policy: Path | None = Field(
        default=None,
        description="C2SP tlog-policy file: its witnesses with a URL cosign checkpoints, its quorum counts",
    )
    clock_seconds_max: float = Field(
        default=5.0, gt=0, le=3600, description="how far our clock may differ from the database's, or jump"
    )
    free_mb_min: float = Field(
        default=64, ge=0, description="free space below which the disk of Daybook's own server counts as full; 0: none"
    )
    key_cache_seconds: float = Field(default=2.0, ge=0, le=60, description="how long a verified API key is cached")
    read_seconds_max: float = Field(default=30.0, gt=0, le=3600, description="time budget of an expensive read")
    read_processes_max: int = Field(default=2, ge=1, le=64, description="expensive reads at a time, each in a process")
    pdf_font: Path | None = Field(
        default=None,
        description="TrueType font for statements as PDF that have other letters than Latin ones",
    )
    reads_per_key_max: int = Field(
        default=1, ge=1, le=64, description="expensive reads of one API key at a time; always leaves one to others"
    )

    @property
    def url(self) -> str | None:
        """The database's URL in clear text, for connecting only."""
        return self.database_url.get_secret_value() if self.database_url else None

    def server_home(self) -> Path:
        """Return the home to start a PostgreSQL in. Raises Unavailable if it is the default, and not made by us."""
        if "home" not in self.model_fields_set:
            own_home.check(self.home)
        return self.home


def release() -> str:
    """Return the Daybook that runs as digests name it: version, commit and a hash of the code."""
    from adapters.release import current  # noqa: PLC0415 (the hash is computed, and few need it)

    return current().text
