"""A full disk is not ready, and is ready again without a restart once there is room."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.postgres import embedded
from tests.api.client import open_book, order
from tests.api.operations.serving import Service, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk"),
]
MB = 2**20


@contextmanager
def small_disk(size_mb: int) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="daybook-disk-"))
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=755", "tmpfs", directory], check=False
    ).returncode:
        directory.rmdir()
        pytest.skip("nothing may be mounted here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)
        directory.rmdir()


@contextmanager
def filled(disk: Path, leaving: int) -> Iterator[None]:
    """All of a disk but so many bytes is in use."""
    found = os.statvfs(disk)
    with (disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - leaving)
    yield
    (disk / "filler").unlink()


def until_full(service: Service, reason: str) -> None:
    found = service.until("/ready", lambda answer: answer.status_code == 503)
    assert "disk is full since" in found.json()["detail"] and reason in found.json()["detail"]
    assert service.client.get("/ready/write").status_code == 503
    assert service.client.get("/ready/read").status_code == 200
    assert [one["state"] for one in found.json()["tasks"] if one["task"] == "disk"] == ["full"]


def test_little_room_on_the_disk_of_our_own_server_is_not_ready_until_there_is_more() -> None:
    with small_disk(200) as home:
        database = embedded.start(home, durable=False)
        try:
            with served(home, database, DAYBOOK_FREE_MB_MIN="20") as service:
                service.until_ready()
                with filled(home, 10 * MB):
                    until_full(service, "MB are free in")
                service.until_ready()
                assert (home / "serve.log").read_text().count("the disk has room again") == 1
        finally:
            embedded.stop(home)


def test_a_disk_on_which_an_append_does_not_fit_is_not_ready_until_one_does(home: Path) -> None:
    database = embedded.start(home, durable=False)
    with small_disk(4) as disk, served(home, database) as service:
        service.until_ready()
        open_book(service.client)
        place = disk / "space"
        place.mkdir(mode=0o700)
        shutil.chown(place, embedded.place(home).account)
        service.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        try:
            service.execute("ALTER TABLE ledger.events SET TABLESPACE small")
            assert service.submit("A-0").status_code == 201
            with filled(disk, 0):
                number = 0
                while (
                    answer := service.client.post("/v1/orders", json=order(f"A-{(number := number + 1)}"))
                ).is_success:
                    assert number < 500
                assert (answer.status_code, "is full; make room" in answer.text) == (503, True), answer.text
                until_full(service, "No space left on device")
            service.until("/ready/write", lambda found: found.status_code == 200)
            assert service.submit(f"A-{number}").status_code == 201
            service.until_ready()
        finally:
            service.execute("ALTER TABLE ledger.events SET TABLESPACE pg_default", "DROP TABLESPACE small")
