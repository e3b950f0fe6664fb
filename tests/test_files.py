"""Whole files and one session at a time, in a folder of this machine and on a real S3 server."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from s3 import serving

from grok_sweep.core.uris import shown
from grok_sweep.store import Store
from grok_sweep.store.files import TEMPORARY, Local, StoreError, files_at
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
    made = files_at(uri)
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
    assert files.unusable() is None
    with pytest.raises(FileNotFoundError) as missing:
        files.read("runs/none")
    assert missing.value.filename.endswith("runs/none")
    assert missing.value.strerror == "No such file or directory"


def test_entries_tell_files_from_folders(files):
    files.write("runs/b", b"1")
    files.make_folder("runs/a")
    assert files.entries("runs") == {"a": False, "b": True}
    assert (files.names("runs"), files.names_of_files("runs")) == (["a", "b"], ["b"])


@pytest.mark.parametrize(
    "name",
    ["sweep.yaml", "0123456789abcdef.parquet", "empty.parquet", "0123456789abcdef.log", "phase_diagram.svg"],
)
def test_a_temporary_name_is_known_as_ours(tmp_path, monkeypatch, name):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(os.listdir(tmp_path)))  # noqa: PTH208
    files_at(str(tmp_path)).write(name, b"x")
    assert TEMPORARY.fullmatch(*seen[0])


@pytest.mark.parametrize(
    "name", [".notes-20240101.txt", ".thesis-chapter1.md", ".cache-abcdefgh.parquet", ".sweep-ABCDEFGH.yaml"]
)
def test_a_hidden_file_of_others_is_not_ours(name):
    assert not TEMPORARY.fullmatch(name)


def test_what_is_made_is_its_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        files = files_at(str(tmp_path / "deep" / "er"))
        files.make_folder("runs")
        files.write("runs/a", b"x")
        with locked(files, "command"):
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    finally:
        os.umask(before)
    assert modes == {"deep": 0o700, "er": 0o700, "runs": 0o700, "a": 0o600, ".lock": 0o600}
    assert files.free_bytes() > 0
    assert files_at(str(tmp_path / "no" / "where")).free_bytes() > 0


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("nosuch://bucket/x", "Unrecognized filesystem type in URI: nosuch://bucket/x"),
        ("s3://bucket/x?endpoint_overide=a", "Unexpected query parameter in S3 URI: 'endpoint_overide'"),
        ("s3://bu cket/x", "Cannot parse URI"),
        ("s3://[bucket/x", "it is no URI"),
        ("s3:/bucket/x", "a URI begins with s3://"),
        ("file:/x", "a URI begins with file://"),
        ("file://results/x", "it names another machine; a folder of this one is file:///PATH"),
        ("file://", "it names no folder"),
        ("file://localhost", "it names no folder"),
        ("file:///x?y=1", "in such a URI ? is %3F and # is %23"),
        ("file:///x#y", "in such a URI ? is %3F and # is %23"),
    ],
)
def test_a_uri_that_cannot_be_used_is_one_line(uri, reason):
    with pytest.raises(OSError) as problem:
        files_at(uri)
    assert reason in problem.value.strerror
    assert "\n" not in problem.value.strerror
    assert problem.value.filename == shown(uri)


def test_a_file_uri_of_this_machine_is_a_folder_of_it():
    assert files_at("file://localhost/a%20b").path == files_at("file:///a%20b").path == Path("/a b")
    assert files_at("notes s3:/x").path == Path("notes s3:/x")


def test_a_server_that_is_not_there_is_said_soon():
    files = files_at("s3://bucket/x?endpoint_override=127.0.0.1:1&scheme=http&region=us-east-1")
    begun = time.monotonic()
    with pytest.raises(OSError, match="AWS Error NETWORK_CONNECTION") as problem:
        files.is_file("a")
    assert time.monotonic() - begun < 30
    assert "\n" not in problem.value.strerror


def test_a_bucket_that_is_not_there_is_said(s3):
    files = files_at(s3("nobody/x", make=False))
    assert files.unusable() == "there is no bucket nobody: it cannot be written"
    assert files_at(s3("", make=False)).unusable() == "s3:// names no bucket and cannot be written"
    assert files_at(s3("nobody/x")).unusable() is None
    with pytest.raises(OSError, match="NO_SUCH_BUCKET") as problem:
        files.write("a", b"x")
    assert "Request ID" not in problem.value.strerror


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
    assert files_at("s3://key:secret@bucket/x?region=us-east-1").place("a") == "s3://bucket/x/a"


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
    assert str(said.value).startswith(f"{shown(uri)}: cannot be used: ")
    assert not any(part in str(said.value) for part in ("KEY", "SEC", "RET"))


WRITER = """
import sys
from grok_sweep.store.files import files_at
files = files_at(sys.argv[1])
for turn in range(10**9):
    files.write("file", bytes([turn % 256]) * 300_000)
    if not turn:
        print(flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_object(s3):
    root = s3("bucket/killed")
    files = files_at(root)
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


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_does_not_publish_half_of_an_object(s3, monkeypatch):
    files = files_at(s3("bucket/interrupted"))
    files.make_folder("")
    system = files._system
    here = threading.get_ident()

    class Interrupting:
        def __getattr__(self, name):
            return getattr(system, name)

        def open_output_stream(self, path):
            stream = system.open_output_stream(path)
            signal.pthread_kill(here, signal.SIGINT)  # as Ctrl-C does, between opening and writing
            time.sleep(0.05)
            return stream

    monkeypatch.setattr(files, "_system", Interrupting())
    with pytest.raises(KeyboardInterrupt):
        files.write("a", b"whole")
    patience = time.monotonic() + 20
    while not files.is_file("a") and time.monotonic() < patience:
        time.sleep(0.02)
    assert files.read("a") == b"whole"


HOLDER = """
import sys, time
from grok_sweep.store.files import files_at
from grok_sweep.store.locks import locked
with locked(files_at(sys.argv[1]), "grok-sweep sweeps=x"):
    print(flush=True)
    time.sleep(1000)
"""


def test_a_second_session_is_told_who_has_the_folder(files, tmp_path, s3, capfd):
    root = str(files.path) if isinstance(files, Local) else s3(f"bucket/{tmp_path.name}")
    with process(HOLDER, root) as child:
        child.stdout.readline()
        who = f"(pid {child.pid} on host "
        if isinstance(files, Local):
            with pytest.raises(StoreError) as refused, locked(files, ""):
                pass
            said = str(refused.value)
            assert said.startswith(f"{files.place()}: another grok-sweep is working in it {who}")
            assert said.endswith("); wait for it, or choose another folder")
        assert json.loads(files.read(LOCK))["command"] == "grok-sweep sweeps=x"
        child.kill()
        child.wait()
    capfd.readouterr()
    with locked(files, ""):
        assert json.loads(files.read(LOCK))["pid"] == os.getpid()
    assert capfd.readouterr().err == ""  # nobody is told of a holder of this machine that is dead
    assert not files.is_file(LOCK) or files.read(LOCK) == b""


@pytest.fixture
def remote(s3, tmp_path):
    files = files_at(s3(f"bucket/{tmp_path.name}"))
    files.make_folder("")
    return files


def test_elsewhere_a_session_that_may_be_at_work_is_told_of(remote, capfd):
    remote.write(LOCK, json.dumps({"token": "t", "pid": 7, "host": "far", "since": "then"}).encode())
    with locked(remote, ""):
        assert json.loads(remote.read(LOCK))["pid"] == os.getpid()
    assert capfd.readouterr().err == (
        f"{remote.place()}: another grok-sweep may be working in it (pid 7 on host far, since then); "
        "if it is, wait for it, or both train the same runs\n"
    )
    assert not remote.is_file(LOCK)


def test_the_mark_of_a_session_that_came_later_is_left(remote):
    with locked(remote, ""):
        remote.write(LOCK, json.dumps({"token": "t", "pid": 7}).encode())
    assert json.loads(remote.read(LOCK))["pid"] == 7


def test_an_object_replaced_by_a_longer_one_is_not_read_in_part(remote):
    done = threading.Event()

    def replace():
        size = 0
        while not done.wait(0.02):
            size += 1000
            remote.write("a", b"x" * size + b".")

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        patience = time.monotonic() + 10
        while not remote.is_file("a") and time.monotonic() < patience:
            time.sleep(0.01)
        assert all(remote.read("a").endswith(b".") for _ in range(30))
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize("mark", [b"\xff not json", b"[1]", b""])
def test_a_mark_that_is_none(remote, mark, capfd):
    remote.write(LOCK, mark)
    with locked(remote, ""):
        pass
    assert capfd.readouterr().err == ""
    assert not remote.is_file(LOCK)


def test_a_folder_on_a_path_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    files = files_at(str(tmp_path / "file"))
    with pytest.raises(NotADirectoryError):
        files.names()
    with pytest.raises(OSError):
        files_at(str(tmp_path / "file" / "x")).make_folder("runs")
    assert files.unusable() == f"{Path(tmp_path, 'file')} cannot be written"
