"""The native engine's library: built once, whole or not at all, by the compiler that is there, or not."""

import os
import platform
import shlex
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import TINY

from grok_sweep.cli import main
from grok_sweep.core.program import Program
from grok_sweep.executors import inline
from grok_sweep.worker import native
from grok_sweep.worker.native import NativeError, built, usable

PARITY = (("n_bits", 30), ("n_parity_bits", 3), ("hidden_size", 16), ("float_bits", 32))
PROGRAM = Program("parity", "relu_mlp", "adamw", PARITY, 100, 60, 20, 5, 1, engine="native")
LOAD = "from grok_sweep.worker.native import register; assert not register('relu')"


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """A compiler that makes an empty file."""
    return a_compiler(": >", tmp_path, monkeypatch)


@pytest.fixture
def copying(tmp_path, monkeypatch):
    """One that makes what the real one made before, in a second as that takes some."""
    return a_compiler(f"sleep 1; cp {shlex.quote(str(built('relu')))}", tmp_path, monkeypatch)


def a_compiler(makes, tmp_path, monkeypatch):
    script = tmp_path / "quick-c++"
    script.write_text(f'#!/bin/sh\nfor last; do :; done\n[ "$1" = --version ] || {{ {makes} "$last"; }}\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    return script


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of a home where nothing has been built; jax takes no second library in one process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    native.register.cache_clear()
    yield lambda: [path.name for path in (tmp_path / "cache").glob("grok_sweep/*/[!.]*")]
    native.register.cache_clear()


@pytest.mark.usefixtures("copying")
def test_it_is_built_once_and_nothing_else_is_left(cache):
    library = built("relu")
    assert cache() == [library.name]
    made = library.stat()
    assert built("relu") == library
    assert library.stat() == made


@pytest.mark.usefixtures("copying")
def test_two_processes_at_once_have_one(cache, tmp_path):
    script = Path(os.environ["CXX"])
    script.write_text(
        script.read_text().replace("sleep 1;", f"echo >> {shlex.quote(str(tmp_path / 'calls'))}; sleep 1;")
    )
    both = [subprocess.Popen([sys.executable, "-c", LOAD], env=os.environ) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert cache() == [built("relu").name]
    assert (tmp_path / "calls").read_text() == "\n"  # who came second waited for the first


@pytest.mark.usefixtures("copying")
def test_a_sweep_begins_to_build_what_its_programs_need_and_no_more(cache):
    native.begin([PROGRAM, PROGRAM, by_itself := replace(PROGRAM, engine="xla"), replace(by_itself, lanes=2)])
    for thread in threading.enumerate():
        if thread.name.startswith("build"):
            thread.join()
    (made,) = cache()
    assert made.startswith("native-relu-")
    native.begin([replace(PROGRAM, engine="xla")])
    assert cache() == [made]


def test_it_is_begun_before_the_workers_are_there(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(native, "begin", begun.extend)
    made = inline.InlineExecutor
    monkeypatch.setattr(inline, "InlineExecutor", lambda cluster: begun.append("workers") or made(cluster))
    assert main([*TINY, f"out={tmp_path / 'out'}"]) == 0
    *programs, workers = begun
    assert workers == "workers"
    assert {program.engine for program in programs} == {"native"}


def by_xla(why):
    program, said = usable(PROGRAM)
    assert program.engine == "xla"
    assert said == why


@pytest.mark.usefixtures("cache")
def test_without_a_compiler_xla_does_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    by_xla("there is no C++ compiler (c++, g++ or clang++, or the one that CXX names)")


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("exit 3", "it ended with 3, and said nothing"),
        ("echo 'relu.cpp:1: no such header' >&2; echo more >&2; exit 1", "relu.cpp:1: no such header"),
        (
            "echo 'In file included from relu.cpp:2:' >&2; echo 'call.h:8: error: no such type' >&2; exit 1",
            "call.h:8: error: no such type",
        ),
        ("exit 0", "[Errno 2] No such file or directory"),
    ],
)
def test_a_compiler_that_does_not_work_is_said(tmp_path, monkeypatch, cache, does, why):
    broken = tmp_path / "broken-c++"
    broken.write_text(f"#!/bin/sh\n{does}\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.raises(NativeError) as raised:
        built("relu")
    assert str(raised.value).startswith(f"{broken} cannot build the native engine's library: {why}")
    assert cache() == []
    program, said = usable(PROGRAM)
    assert program.engine == "xla"
    assert why in said
    broken.unlink()  # it is not tried again for each shard
    assert usable(PROGRAM) == (program, said)


@pytest.mark.usefixtures("quick")
def test_a_library_that_cannot_be_loaded_is_said(cache):
    library = built("relu")
    program, said = usable(PROGRAM)
    assert program.engine == "xla"
    assert said.startswith("the native engine's library cannot be loaded: ")
    assert cache() == [library.name]


@pytest.mark.usefixtures("copying")
@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-1000], lambda whole: whole[:-1] + b"x", lambda _: b""]
)
def test_a_damaged_one_is_not_loaded_but_built_again(cache, damage):
    library = built("relu")
    whole = library.read_bytes()
    library.write_bytes(damage(whole))
    assert built("relu") == library
    assert library.read_bytes() == whole
    assert cache() == [library.name]


@pytest.mark.usefixtures("quick")
def test_what_others_can_write_is_not_run(cache):
    library = built("relu")
    library.parent.chmod(0o777)
    by_xla("there is no folder of your own to keep it in (XDG_CACHE_HOME, or ~/.cache)")
    assert cache() == [library.name]


def test_another_compiler_makes_another(monkeypatch, tmp_path, quick, cache):
    first = built("relu")
    (tmp_path / "c++").symlink_to(quick)
    monkeypatch.setenv("CXX", str(tmp_path / "c++"))
    assert built("relu") != first
    assert len(cache()) == 2


def test_a_sweep_by_it_is_that_of_xla_and_says_so(tmp_path):
    for engine in ("native", "xla"):
        assert main([*TINY, f"engine={engine}", f"out={tmp_path / engine}"]) == 0
        (session,) = yaml.safe_load((tmp_path / engine / "sweep.yaml").read_text())["sessions"]
        assert session["engines"] == [engine]
    by_it, by_xla = (
        pd.read_parquet(tmp_path / engine / "curves").sort_values(["run_id", "step"], ignore_index=True)
        for engine in ("native", "xla")
    )
    pd.testing.assert_frame_equal(by_it, by_xla, rtol=1e-4)
    assert not np.array_equal(by_it["train_loss"], by_xla["train_loss"])  # it was another engine


def test_a_session_of_two_engines_says_which_did_what(tmp_path):
    assert main([*TINY, "grid.hidden_size=[4,513]", f"out={tmp_path}"]) == 0
    (session,) = yaml.safe_load((tmp_path / "sweep.yaml").read_text())["sessions"]
    assert session["engines"] == ["native", "xla"]
    assert session["programs"] == {"native": ["hidden_size 4"], "xla": ["hidden_size 513"]}


@pytest.mark.usefixtures("cache")
def test_a_sweep_without_a_compiler_says_so_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert main([*TINY, "engine=native", f"out={tmp_path / 'out'}"]) == 0
    said = capfd.readouterr().err
    assert said.count("there is no C++ compiler") == 1
    assert "XLA does it there" in said
    (session,) = yaml.safe_load((tmp_path / "out" / "sweep.yaml").read_text())["sessions"]
    assert session["engines"] == ["xla"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names a processor of another kind")
def test_what_is_written_by_hand_for_one_processor_is_right_without_it_too(tmp_path):
    without = tmp_path / "c++-without-avx-512"
    without.write_text('#!/bin/sh\nexec c++ "$@" -march=x86-64-v3\n')
    without.chmod(0o755)
    tests = [Path(__file__).with_name(name) for name in ("test_engines.py", "test_modular_engine.py")]
    which = "(cpu and (outputs or clipped)) or (modular and outputs)"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", which]
    env = os.environ | {"CXX": str(without)}
    done = subprocess.run([*command, *map(str, tests)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " 3 passed" in done.stdout


def test_lanes_without_memory_end_no_process_whichever_thread_they_are_in(tmp_path):
    """The caller gets it, and tells XLA, so that the shard is halved."""
    source = tmp_path / "lanes.cpp"
    source.write_text("""
        #include "vectors.h"
        int main() {
          use_threads(4);
          std::atomic<int> done{0};
          over_lanes(64, 1e9, [&](int64_t) { done++; });
          if (done != 64) return 1;
          try {
            over_lanes(64, 1e9, [](int64_t) { throw std::bad_alloc(); });
          } catch (const std::bad_alloc&) {
            return 0;
          }
          return 2;
        }
    """)
    kernels = str(native.SOURCES["relu"].parent)
    subprocess.run(
        [
            str(native.compiler()),
            "-w",
            "-std=c++17",
            "-pthread",
            f"-I{kernels}",
            str(source),
            "-o",
            str(tmp_path / "lanes"),
        ],
        check=True,
    )
    assert subprocess.run([str(tmp_path / "lanes")], check=False).returncode == 0
