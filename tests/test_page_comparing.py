"""The page of two sweeps, in a real browser: its cells, what one of them is, and what is chosen."""

import pandas as pd
import pytest
from conftest import in_browser
from pages import PARITY, about_of
from test_compare import phases_of

import analysis
from analysis.cli import main
from analysis.comparison import axes_of, told
from analysis.page.comparing import compare_page
from analysis.shifts import shifts

A = [["memorize"] * 9, ["grok"] * 9, ["grok"] * 6 + ["fail"] * 3, ["grok"] * 9]
B = [["memorize"] * 9, ["memorize"] * 9, ["grok"] * 9, ["grok"] * 8 + ["fail"]]


@pytest.fixture
def made(tmp_path):
    """Of two sweeps of four weight decays; returns the page's path and the comparison."""

    def write(a=A, b=B, names=("one", "other"), moved=True):
        one, other = phases_of(a), phases_of(b)
        found = analysis.compare(one, other)
        rows = shifts(one, other, "weight_decay", axes_of(found.table)) if moved else None
        path = tmp_path / "compare.html"
        path.write_bytes(compare_page(found, names, told(found, names), rows))
        return path, found

    return write


def squares(shown):
    """What stands in each cell, panel by panel, from the first value up and across."""
    return shown.evaluate(
        """[...document.querySelectorAll(".cells")].map((one) => [...one.rows].reverse().slice(1).map((row) =>
            [...row.querySelectorAll("td")].map((cell) => cell.querySelector("button")?.title ?? "")))"""
    )


@in_browser
def test_the_cells_are_those_of_the_table(look, made):
    path, found = made()
    shown = look(path)
    assert shown.inner_text("h1") == "one and other"
    assert shown.inner_text("#summary").splitlines() == told(found, ("one", "other"))
    (((*titles,),),) = squares(shown)
    for title, (_, cell) in zip(titles, found.table.iterrows(), strict=True):
        assert f"weight_decay {cell['weight_decay']:g}" in title
        assert f": {cell['distance']:.6g} apart" in title
    rings = [text == "○" for text in shown.locator(".square").all_inner_texts()]
    assert rings == (found.table["q"] < 0.05).tolist()
    assert any(rings)
    rows = shown.locator("#table tbody tr").all_inner_texts()
    assert len(rows) == 4
    assert rows[0].split()[1] == "2"  # the surest first
    (row,) = shown.locator("#shifts tbody tr").all_inner_texts()
    assert row.split() == ["5", "3", "memorize", "grok", "1.5", "2.5", "1", "0", "2"]


@in_browser
def test_a_cell_says_what_it_is_in_either(look, made):
    path, _ = made()
    shown = look(path)
    shown.hover(".square >> nth=2")
    assert shown.inner_text("#cell").startswith("weight_decay 3")
    assert shown.locator("#sides p").all_inner_texts() == [
        "one, 9 runs: 6 grok (35 to 88 %), 3 fail (12 to 65 %)",
        "other, 9 runs: 9 grok (70 to 100 %)",
    ]
    assert shown.locator(".bar span").evaluate_all("(all) => all.map((one) => one.style.width)")[:4] == [
        "0%",
        "66.6667%",
        "0%",
        "33.3333%",
    ]
    shown.click(".square >> nth=2")
    shown.hover(".square >> nth=0")
    assert shown.inner_text("#cell").startswith("weight_decay 3")  # it is kept
    again = look(path, fragment=shown.evaluate("location.hash"))
    assert again.inner_text("#cell").startswith("weight_decay 3")
    again.click(".square[aria-pressed]")
    again.hover(".square >> nth=0")
    assert again.inner_text("#cell").startswith("weight_decay 1")


@in_browser
@pytest.mark.parametrize(
    "fragment", ["#kept=99", "#kept=abc", "#kept=-1", "#kept=1.5", "#kept=%E0%A4", "#y=weight_decay"]
)
def test_a_link_of_another_comparison_shows_this_one(look, made, fragment):
    path, _ = made()
    shown = look(path, fragment=fragment)
    ((titles,),) = squares(shown)
    assert len(titles) == 4
    assert shown.inner_text("#cell").startswith("weight_decay 2")
    assert shown.locator(".square[aria-pressed]").count() == 0


@in_browser
def test_the_keyboard_keeps_a_cell_and_stays_there(look, made):
    path, _ = made()
    shown = look(path)
    shown.focus(".square >> nth=2")
    shown.keyboard.press("Enter")
    assert shown.evaluate("document.activeElement.ariaPressed") == "true"
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.title").startswith("weight_decay 4")


@in_browser
def test_an_axis_without_room_is_gone_through_by_its_values(look, made):
    path, _ = made([["grok"] * 9] * 70, [["grok"] * 9] * 70, moved=False)
    shown = look(path)
    assert shown.locator(".square").count() == 1
    shown.select_option("[id='only weight_decay']", index=4)
    assert shown.inner_text("#cell").startswith("weight_decay 5")


@in_browser
def test_all_axes_of_a_recorded_sweep(look, tmp_path, capsys):
    """What is neither across, up nor a panel is set to one of its values."""
    assert main(["compare", str(PARITY), str(PARITY), "--out", str(tmp_path)]) == 0
    assert f"page: {tmp_path / 'compare.html'}" in capsys.readouterr().out
    shown = look(tmp_path / "compare.html", width=400, scheme="dark")
    assert [len(panel) * len(panel[0]) for panel in squares(shown)] == [25] * 5
    assert "0 apart" in squares(shown)[0][0][0]
    assert shown.evaluate("document.documentElement.scrollWidth") <= 400
    assert shown.locator("#moved").is_hidden()
    panel = shown.input_value("#panel")
    shown.select_option("#x", panel)
    assert shown.input_value("#panel") == ""
    shown.select_option("#y", "")
    ((titles,),) = squares(shown)
    about = about_of(tmp_path / "compare.html")
    values = {axis["name"]: axis["values"] for axis in about["axes"]}
    assert [f"{panel} {value:g}" in title for value, title in zip(values[panel], titles, strict=True)] == [
        True
    ] * 5
    for name in {*values} - {panel}:  # the first of the others
        assert all(f"{name} {values[name][0]:g}" in title for title in titles)
        shown.select_option(f"[id='only {name}']", "4")
        assert all(
            f"{name} {values[name][4]:g}" in title for ((titles,),) in [squares(shown)] for title in titles
        )


@in_browser
def test_text_is_text(look, made):
    name = "<script>alert(1)</script>"
    path, _ = made(A[:1], B[:1], (name, "other"), moved=False)
    shown = look(path)
    assert shown.inner_text("h1") == f"{name} and other"
    assert squares(shown) == [[["weight_decay 1, train_size 5, hidden_size 3: 0 apart, q 1"]]]


def test_values_that_are_missing_are_one_more(tmp_path):
    one = phases_of(A).assign(weight_decay=[None] * 9 + [2.0] * 9 + [3.0] * 9 + [4.0] * 9)
    found = analysis.compare(one, one)
    content = compare_page(found, ("a", "b"), told(found, ("a", "b")))
    (tmp_path / "page.html").write_bytes(content)
    about = about_of(tmp_path / "page.html")
    assert about["axes"][0]["values"] == [2, 3, 4, None]
    assert pd.Series(about["distance"]).eq(0).all()
