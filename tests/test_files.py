"""Whole files and one session at a time, in a folder of this machine and on a real S3 server."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from s3 import serving

from grok_sweep.core.uris import shown
from grok_sweep.store import Store, StoreError
from grok_sweep.store.files import TEMPORARY, Files
from grok_sweep.store.locks import LOCK, locked


@pytest.fixture(scope="module")
def s3():
    with serving() as uri:
        yield uri


@pytest.fixture(params=["path", "file", "s3"])
def files(request, tmp_path):
    if request.param == "s3":
        uri = request.getfixturevalue("s3")(f"bucket/{tmp_path.name}")
    else:
        uri = {"path": str(tmp_path / "a b"), "file": f"file://{tmp_path}/a%20b"}[request.param]
    made = Files(uri)
    made.make_folder("runs")
    return made


@contextmanager
def process(code, *arguments):
    """A Python process that runs `code`; killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def test_files_come_and_go_whole(files):
    assert files.names("runs") == files.names("nothing") == []
    files.write("runs/b", b"1")
    files.write("runs/a", b"")
    files.write("runs/b", b"2" * 100_000)
    assert files.names("runs") == ["a", "b"]
    assert "runs" in files.names()
    assert files.read("runs/b") == b"2" * 100_000
    files.move("runs/a", "runs/c")
    assert (files.is_file("runs/a"), files.is_file("runs/c"), files.is_file("runs")) == (False, True, False)
    files.remove("runs/c")
    files.remove("runs/c")
    assert files.names("runs") == ["b"]
    assert files.is_writable()
    with pytest.raises(FileNotFoundError) as missing:
        files.read("runs/none")
    assert missing.value.filename.endswith("runs/none")
    assert missing.value.strerror == "No such file or directory"


def test_a_temporary_name_is_known_as_ours(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(os.listdir(tmp_path)))  # noqa: PTH208
    Files(str(tmp_path)).write("sweep.yaml", b"x")
    assert seen[0][0].startswith(TEMPORARY)


def test_what_is_made_is_its_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        files = Files(str(tmp_path / "deep" / "er"))
        files.make_folder("runs")
        files.write("runs/a", b"x")
        with locked(files):
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    finally:
        os.umask(before)
    assert modes == {"deep": 0o777, "er": 0o700, "runs": 0o700, "a": 0o600, ".lock": 0o600}
    assert files.free_bytes() > 0
    assert Files(str(tmp_path / "no" / "where")).free_bytes() > 0


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("nosuch://bucket/x", "Unrecognized filesystem type in URI: nosuch://bucket/x"),
        ("s3://bucket/x?endpoint_overide=a", "Unexpected query parameter in S3 URI: 'endpoint_overide'"),
        ("s3://bu cket/x", "Cannot parse URI"),
        ("s3://[bucket/x", "it is no URI"),
        ("s3:/bucket/x", "a URI begins with s3://"),
        ("file:/x", "a URI begins with file://"),
        ("file://results/x", "a folder of this machine is file:///PATH, where ? is %3F and # is %23"),
        ("file://", "a folder of this machine is file:///PATH"),
        ("file:///x?y=1", "a folder of this machine is file:///PATH"),
    ],
)
def test_a_uri_that_cannot_be_used_is_one_line(uri, reason):
    with pytest.raises(StoreError) as problem:
        Files(uri)
    assert str(problem.value).startswith(f"{shown(uri)}: cannot be read: ")
    assert reason in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_file_uri_of_this_machine_is_a_folder_of_it():
    assert Files("file:///a%20b").path == Path("/a b")
    assert Files("notes s3:/x").path == Path("notes s3:/x")


def test_a_server_that_is_not_there_is_said_soon():
    files = Files("s3://bucket/x?endpoint_override=127.0.0.1:1&scheme=http&region=us-east-1")
    begun = time.monotonic()
    with pytest.raises(StoreError, match="AWS Error NETWORK_CONNECTION") as problem:
        files.is_file("a")
    assert time.monotonic() - begun < 30
    assert "\n" not in str(problem.value)


def test_a_bucket_that_is_not_there_is_said(s3):
    files = Files(s3("nobody/x", make=False))
    for write in (files.make_folder, lambda: files.write("a", b"x")):
        with pytest.raises(OSError) as problem:
            write()
        print(problem.value)
        assert problem.value.filename.startswith("s3://nobody/x")
        assert "bucket" in problem.value.strerror.lower()


def test_nobody_is_shown_a_password():
    assert shown("s3://key:secret@bucket/x?endpoint_override=y") == "s3://bucket/x"
    assert shown("s3://key:sec/ret@bucket/x") == shown("s3://key@bucket/x/#y") == "s3://bucket/x"
    assert shown("s3:/key:secret@bucket/x@y") == "s3:/bucket/x@y"
    assert shown("abfs://container:secret@account/x") == "abfs://container@account/x"
    assert shown("hdfs://host:8020/x") == "hdfs://host:8020/x"
    assert shown("file:///x") == "file:///x"
    assert shown("abfs://container@account.dfs.core.windows.net/x") == (
        "abfs://container@account.dfs.core.windows.net/x"
    )
    assert Files("s3://key:secret@bucket/x?region=us-east-1").place("a") == "s3://bucket/x/a"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://KEY:SEC/RET@bucket/x",
        "s3://KEY:SEC RET@bucket/x",
        "s3://KEY:SECRET@bucket/x?nosuch=1",
        "s3:/KEY:SECRET@bucket/x",
        "nosuch://name:SECRET@bucket/x",
        "file://name:SECRET@host/x",
        "abfs://name:SECRET@account.dfs.core.windows.net/x?nosuch=1",
    ],
)
def test_no_message_has_a_password(uri):
    with pytest.raises(StoreError) as said:
        Store(uri).check_usable()
    assert str(said.value).startswith(f"{shown(uri)}: cannot be read: ")
    assert not any(part in str(said.value) for part in ("KEY", "SEC", "RET"))


WRITER = """
import sys
from grok_sweep.store.files import Files
files = Files(sys.argv[1])
for turn in range(10**9):
    files.write("file", bytes([turn % 256]) * 300_000)
    if not turn:
        print(flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_object(s3):
    root = s3("bucket/killed")
    files = Files(root)
    files.make_folder("")
    moments = random.Random(5)  # noqa: S311
    for _ in range(4):
        with process(WRITER, root) as child:
            child.stdout.readline()
            time.sleep(moments.uniform(0, 0.1))
            child.send_signal(signal.SIGKILL)
            child.wait()
        data = files.read("file")
        assert len(data) == 300_000
        assert len(set(data)) == 1


HOLDER = """
import sys, time
from grok_sweep.store.files import Files
from grok_sweep.store.locks import locked
with locked(Files(sys.argv[1])):
    print(flush=True)
    time.sleep(1000)
"""


def test_a_second_session_is_told_who_has_the_folder(files, tmp_path, s3, capfd):
    """Elsewhere than on this machine it goes on, and so it does after one that was killed."""
    root = s3(f"bucket/{tmp_path.name}") if files.path is None else str(files.path)
    with process(HOLDER, root) as child:
        child.stdout.readline()
        who = f"(pid {child.pid} on host {socket.gethostname()}, since 20"
        if files.path is not None:
            with pytest.raises(StoreError) as refused, locked(files):
                pass
            said = str(refused.value)
            assert said.startswith(f"{files.place()}: another grok-sweep is working in it {who}")
            assert said.endswith("); wait for it, or choose another folder")
        child.kill()
        child.wait()
    capfd.readouterr()
    with locked(files):
        assert files.read(LOCK).startswith(f"pid {os.getpid()} on ".encode())
    told = capfd.readouterr().err
    if files.path is not None:
        assert told == ""
    else:
        assert told.startswith(f"{files.place()}: another grok-sweep may be working in it {who}")
        assert told.endswith("); if it is, wait for it, or both train the same runs\n")
        assert not files.is_file(LOCK)


def test_a_folder_on_a_path_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    files = Files(str(tmp_path / "file"))
    with pytest.raises(StoreError, match=f"{tmp_path}/file: cannot be read: Not a directory"):
        files.names()
    with pytest.raises(OSError):
        Files(str(tmp_path / "file" / "x")).make_folder("runs")
    assert not files.is_writable()
