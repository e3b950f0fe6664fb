"""The table of a page, the code that gives its rows, and the address that holds what is shown."""

import subprocess
import sys

from conftest import in_browser
from pages import PARITY, ROOT, cell_place, counted, counts, enter, kept, run_ids, tables, write

import analysis
from analysis.page import page


@in_browser
def test_the_code_that_is_copied_gives_the_rows_that_are_shown(look, tmp_path):
    phases = analysis.classify(analysis.load_runs(PARITY))
    path = tmp_path / "report.html"
    path.write_bytes(page(phases, analysis.load_curves(PARITY), title="p", folder=str(PARITY), expected=1125))
    shown = look(path)
    shown.mouse.click(*cell_place(shown, 2, 1, 2))
    asked = [
        {"rows": "grok", "sort": "-grok_delay", "only hidden_size": "32"},  # of an axis that the diagram has
        {"sort": "phase"},
        {"kept": "", "panel": "", "only weight_decay": "0.1", "sort": "memorize_step"},
        {"rows": "memorize", "only weight_decay": "", "sort": "hidden_size"},
    ]
    for values in asked:
        enter(shown, **values)
        shown.click("#copy")
        code = shown.inner_text("#code")
        done = subprocess.run(
            [sys.executable, "-c", code + "\nprint('ids', ' '.join(shown['run_id']))\n"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        ids = done.stdout.splitlines()[-1].split()[1:]
        assert ids == run_ids(shown, "tableRows(grokPage)")
        said = f"· {len(ids):,} of 1,125"
        shown.wait_for_function(
            "(said) => document.getElementById('rows_said').textContent.startsWith(said)", arg=said
        )
        assert 0 < len(ids) <= 1125


@in_browser
def test_a_filter_keeps_runs_on_which_it_has_no_effect(look, tmp_path):
    """With both sides collapsed the runs hold one size of the embedding, and are those of any."""
    record = ROOT / "sweeps" / "modular_architectures"
    runs, curves = analysis.load_runs(record), analysis.load_curves(record)
    both = (runs["collapsed_input"] == 1) & (runs["collapsed_output"] == 1)
    runs["embed_size"] = runs["embed_size"].where(both, [256, 512] * 20)
    path = tmp_path / "report.html"
    path.write_bytes(page(analysis.classify(runs), curves, title="m", folder=str(record), expected=40))
    shown = look(path)
    enter(shown, x="collapsed_input", y="collapsed_output", panel="")
    for size in [128, 256, 512]:
        shown.select_option("[name='only embed_size']", str(size))
        expected = analysis.select(analysis.classify(runs), embed_size=size)
        assert len(expected) == (10 if size == 128 else 25)
        assert counts(shown) == counted(expected)
        assert set(run_ids(shown, "grokPage.cells.cells.flat()")) == set(expected["run_id"])
        assert run_ids(shown, "tableRows(grokPage)") == expected["run_id"].tolist()
        # The code for the rows finds the same in the same table.
        shown.click("#copy")
        line = next(line for line in shown.inner_text("#code").splitlines() if line.startswith("shown = "))
        there = {"analysis": analysis, "table": analysis.classify(runs)}
        exec(line, there)
        assert there["shown"]["run_id"].tolist() == expected["run_id"].tolist()
    # In the cells a run stands at its own value only.
    enter(shown, x="embed_size")
    assert shown.evaluate("grokPage.cells.shown") == 40


@in_browser
def test_fields_and_headings_of_the_table(look, parity):
    shown = look(parity)
    phases = analysis.classify(analysis.load_runs(PARITY))["phase"]
    some = int((phases == "generalize").sum())
    assert 100 < some < 200  # no more are drawn at once

    def rows(count):
        """Drawn soon after, not at once: a slider may be moving."""
        shown.wait_for_function("(n) => document.querySelectorAll('tbody tr').length === n", arg=count)
        return shown.query_selector_all("tbody tr")

    def sorted_as(order):
        shown.wait_for_selector(f"th[aria-sort={order}]:has(button:has-text('seed'))")
        return [int(row.query_selector_all("td")[4].inner_text()) for row in rows(some)]

    shown.select_option("#rows", "generalize")
    rows(some)
    assert shown.inner_text("#rows_said") == f"· {some} of 1,125"
    shown.click("th button:has-text('seed')")
    seeds = sorted_as("ascending")
    assert seeds == sorted(seeds)
    shown.click("th button:has-text('seed')")
    assert sorted_as("descending") == sorted(seeds, reverse=True)
    shown.select_option("#rows", "")
    rows(200)
    assert shown.inner_text("#rows_said") == "· 1,125 of 1,125, of which 200 are shown"


@in_browser
def test_a_link_means_the_same_once_the_sweep_has_grown(look, tmp_path):
    large = {"hidden_size": [4, 8, 16], "b1": [0.0, 0.9], "b2": [0.1, 0.2], "eps": [1e-8, 1e-7]}
    runs, curves = tables(large)
    was_R = runs["hidden_size"] != 8
    shown = look(
        write(tmp_path / "small.html", runs[was_R], curves[curves["run_id"].isin(runs["run_id"][was_R])])
    )
    shown.mouse.click(*cell_place(shown, 1, 1, 0))
    name = shown.inner_text("#cell").partition(" —")[0]
    assert name.startswith("hidden_size 4 ·")
    shown.select_option("[name='only eps']", "1e-7")
    shown.wait_for_function("location.hash.includes('kept') && location.hash.includes('only+eps')")
    link = shown.evaluate("location.hash")
    again = look(write(tmp_path / "large.html", runs, curves), fragment=link)
    assert again.inner_text("#cell").startswith(name)
    assert again.input_value("[name='only eps']") == "1e-7"
    gone = look(write(tmp_path / "other.html", *tables({"hidden_size": [4]}, seeds=1)), fragment=link)
    assert kept(gone) is None


@in_browser
def test_the_address_keeps_what_is_shown(look, parity):
    shown = look(parity)
    shown.select_option("#panel", "hidden_size")
    assert shown.evaluate("grokPage.state.x") == "weight_decay"  # which it was before
    shown.fill("#min_loss", "0.001")
    shown.mouse.click(*cell_place(shown, 2, 1, 1))
    shown.wait_for_function("location.hash.includes('kept')")
    again = look(parity, fragment=shown.evaluate("location.hash"))
    assert again.evaluate("grokPage.state") == shown.evaluate("grokPage.state")
    assert again.inner_text("#cell") == shown.inner_text("#cell")
    # What does not fit this sweep is passed over, whatever it is.
    wrong = "colour=toString&__proto__=1&x=nonsense&min_loss=-1&only+seed=3&kept=99&sort=x&%&toString"
    assert sum(counts(look(parity, fragment=f"#{wrong}")).values()) == 1125
    assert look(parity, fragment=f"#{wrong}").evaluate("grokPage.state.x") == "hidden_size"
