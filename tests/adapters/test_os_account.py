"""The account that runs a process: what the kernel says, with what the environment claims beside it."""

import os
import pwd
import socket
import subprocess
import sys

import pytest

from adapters import os_account as module
from adapters.os_account import os_account
from domain.access import label
from domain.access.identity import escaped
from tests import CHECKOUT

CLAIMS = {"LOGNAME": "mallory", "USER": "mallory", "SUDO_USER": "eve\nos:0/root@x"}


def test_it_is_that_of_the_kernel_and_a_variable_is_a_claim_once_each():
    found = os_account(CLAIMS, claimed="boss")
    user = pwd.getpwuid(os.getuid()).pw_name
    assert (found.uid, found.user, found.host) == (os.getuid(), escaped(user), escaped(socket.gethostname()))
    assert [(each.source, each.name) for each in found.claims] == [
        ("--actor", "boss"), ("SUDO_USER", "eve%0Aos%3A0%2Froot%40x"), ("LOGNAME", "mallory")
    ]  # fmt: skip
    assert label(found) == label(os_account())


def test_a_variable_that_says_what_the_kernel_says_is_no_claim():
    user = pwd.getpwuid(os.getuid()).pw_name
    assert os_account({"LOGNAME": user, "USER": user}).claims == ()
    assert os_account({"LOGNAME": "", "USER": ""}).claims == ()


@pytest.mark.parametrize(("kept", "login"), [("4294967295", None), ("x", None), ("4242", 4242)])
def test_who_logged_in_is_known_where_the_kernel_keeps_it(monkeypatch, tmp_path, kept, login):
    (tmp_path / "loginuid").write_text(kept)
    monkeypatch.setattr(module, "LOGIN_UID", tmp_path / "loginuid")
    assert os_account().login_uid == login


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another account")
def test_a_process_that_acts_as_another_account_shows_both():
    code = (
        "import os, sys; os.seteuid(65534)\n"
        "from adapters.os_account import os_account; a = os_account({'LOGNAME': 'ada'})\n"
        "print(a.uid, a.effective_uid)"
    )
    assert _python(code) == "0 65534"
    under_a_number = code.replace("os.seteuid(65534)", "os.setuid(54321)").replace("a.effective_uid", "repr(a.user)")
    assert _python(under_a_number) == "54321 ''"


def _python(code: str) -> str:
    code = "import sys; sys.path.insert(0, '.'); import adapters.os_account, domain.access\n" + code
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
