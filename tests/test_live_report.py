"""The page of a sweep while it runs, and once it has ended in whatever way."""

import signal

import pytest
from pages import about_of

import analysis
from grok_sweep.compose import compose
from grok_sweep.core.config import parse
from grok_sweep.session import driver
from grok_sweep.stop import Stopped

SMALL = [
    "sweeps=quickstart",
    "cluster=inline",
    "report=live",
    "train.steps=20",
    "train.log_every=5",
    "task.test_size=50",
    "grid.weight_decay=[0.1,1]",
    "grid.hidden_size=[4,8,16]",
    "grid.train_size=[20]",
    "seeds=2",
]


def test_a_live_page_is_written_as_shards_land_and_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("grok_sweep.session.live_report.SECONDS", 0.0)
    monkeypatch.setattr("grok_sweep.session.live_report.SHARE", 0)
    written = []
    real = analysis.write_report

    def spy(folder, phases, **options):
        where = real(folder, phases, **options)
        about = about_of(where)
        written.append((about["runs"], about["expected"], bool(about["live"])))
        return where

    monkeypatch.setattr("analysis.write_report", spy)
    config, problems = compose([*SMALL, f"out={tmp_path / 'out'}"])
    assert not problems
    assert driver.drive(parse(config), config, "grok-sweep") == 0
    assert written == [(4, 12, True), (8, 12, True), (12, 12, True)]
    about = about_of(tmp_path / "out" / "report.html")
    assert (about["runs"], about["expected"], about["live"]) == (12, 12, None)
    assert not list((tmp_path / "out").glob(".report*"))


def test_a_signal_leaves_a_page_that_says_no_longer_that_the_sweep_is_running(tmp_path, monkeypatch):
    monkeypatch.setattr("grok_sweep.session.live_report.SECONDS", 0.0)
    monkeypatch.setattr("grok_sweep.session.live_report.SHARE", 0)
    real, asked = analysis.write_report, []

    def then_stop(folder, phases, **options):
        where = real(folder, phases, **options)
        if options["live"] and not asked:  # a second one would end this process
            asked.append(signal.raise_signal(signal.SIGTERM))
        return where

    monkeypatch.setattr("analysis.write_report", then_stop)
    config, problems = compose([*SMALL, f"out={tmp_path / 'out'}"])
    assert not problems
    with pytest.raises(Stopped):
        driver.drive(parse(config), config, "grok-sweep")
    about = about_of(tmp_path / "out" / "report.html")
    assert about["runs"] >= 4
    assert (about["expected"], about["live"]) == (12, None)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("7 runs have no curve")]
)
def test_a_page_that_cannot_be_written_is_said_and_stops_nothing(tmp_path, monkeypatch, capsys, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("analysis.write_report", fail)
    config, problems = compose([*SMALL, f"out={tmp_path / 'out'}"])
    assert not problems
    assert driver.drive(parse(config), config, "grok-sweep") == 0
    assert f"the page could not be written: {error}" in capsys.readouterr().err
    assert len(analysis.load_runs(tmp_path / "out")) == 12
    assert about_of(tmp_path / "out" / "report.html")["live"] is None  # that of the end


def test_the_page_of_a_session_that_was_killed_is_put_right_by_the_next(tmp_path):
    config, problems = compose([*SMALL, "report=null", f"out={tmp_path / 'out'}", "seeds=1"])
    assert not problems
    assert driver.drive(parse(config), config, "grok-sweep") == 0
    runs = analysis.classify(analysis.load_runs(tmp_path / "out"))
    analysis.write_report(tmp_path / "out", runs, live="2026-01-02 03:04:05+00:00")
    before = (tmp_path / "out" / "report.html").read_bytes()
    assert about_of(tmp_path / "out" / "report.html")["live"]
    config, _ = compose([*SMALL, "report=null", f"out={tmp_path / 'out'}"])
    assert driver.drive(parse(config), config, "grok-sweep") == 0
    after = (tmp_path / "out" / "report.html").read_bytes()
    assert after == before.replace(b'"live": "2026-01-02 03:04:05+00:00"', b'"live": null')
