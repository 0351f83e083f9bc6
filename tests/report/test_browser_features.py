"""A real browser without a network sorts, searches and opens 16,384 features within a second."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.characters import visible
from persona_interp.report import browse
from tests.report.tab import Tab

N = 16_384
SECOND = 1_000
"""Milliseconds; a few hundred on two busy cores."""


def make_page(hostile: list[str], out: Path) -> Path:
    """Every label, name, prompt, token, word and checkpoint is a hostile text."""
    rng = np.random.default_rng(0)
    feature, estimate = np.arange(N), rng.normal(size=N)
    shift = pd.DataFrame({"feature": feature, "estimate": estimate, "lo": estimate - 0.1})
    shift = shift.assign(hi=estimate + 0.1, q=rng.random(N), before=rng.random(N), n=50)
    shift = shift.assign(label=[hostile[i % len(hostile)] for i in range(N)])
    shift.loc[5, "q"] = np.nan
    controls = pd.DataFrame({"feature": np.tile(feature, 3), "estimate": rng.normal(size=3 * N)})
    names = [hostile[7 * i % len(hostile)] for i in range(N)]
    scores = pd.DataFrame({"feature": feature, "name": names, "auroc": rng.random(N)})
    order = np.argsort(-np.abs(estimate), kind="stable")
    parts, words = [], []
    for top in order[:500]:
        texts = [hostile[(top + i) % len(hostile)] for i in range(50)]
        for i in range(4):
            about = {"prompt": f"{i} {hostile[(top + i) % len(hostile)]}", "role": hostile[30]}
            for checkpoint in ("base", hostile[37]):
                part = pd.DataFrame({"pos": range(50), "piece": texts, "act": rng.random(50)})
                part = part.assign(**about, checkpoint=checkpoint, feature=top, turn=0, fvu=0.1)
                parts.append(part)
        words.append(
            pd.DataFrame({"feature": top, "token": texts[:20], "weight": 10.0 - np.arange(20)})
        )
    return browse(
        shift,
        out=out,
        controls=controls,
        scores=scores,
        tokens=pd.concat(parts, ignore_index=True).assign(counted=True),
        lens=pd.concat(words),
    )


@pytest.fixture(scope="module")
def chromium_path() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium is installed; the page was not shown in a browser")


@pytest.fixture(scope="module")
def page(hostile_texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page(hostile_texts, tmp_path_factory.mktemp("page") / "features.html")


@pytest.fixture
def tab(chromium_path: str, tmp_path: Path) -> Iterator[Tab]:
    tab = Tab(chromium_path, tmp_path / "profile")
    yield tab
    tab.close()


def timed(tab: Tab, code: str) -> float:
    """Milliseconds that this takes, the layout of what it changed included."""
    return tab.run(
        f"(() => {{ const start = performance.now(); {code}; document.body.offsetHeight; "
        "return performance.now() - start; })()"
    )


def search(text: str) -> str:
    return (
        f"const box = document.querySelector('#search'); box.value = {text!r}; "
        "box.dispatchEvent(new Event('input'))"
    )


def column(tab: Tab, i: int) -> list[str]:
    return tab.run(
        f"[...document.querySelectorAll('#rows tr')].map((row) => row.cells[{i}].textContent)"
    )


@pytest.mark.browser
def test_all_features_are_there_within_a_second(tab: Tab, page: Path) -> None:
    assert page.stat().st_size < 10e6
    tab.open(page)
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    assert tab.run(paint) < SECOND
    count = "document.querySelector('#count').textContent"
    assert tab.run(count) == "16,384 of 16,384 features, 1 to 100"
    shifts = [abs(float(text)) for text in column(tab, 1)]
    assert len(shifts) == 100 and shifts == sorted(shifts, reverse=True)
    assert timed(tab, "document.querySelectorAll('#heads button')[4].click()") < SECOND
    q = [float(text) for text in column(tab, 4)]
    assert q == sorted(q, reverse=True) and q[0] > 0.999
    assert timed(tab, "document.querySelectorAll('#heads button')[4].click()") < SECOND
    q = [float(text) for text in column(tab, 4)]
    assert q == sorted(q) and q[0] < 0.001
    assert timed(tab, search("onerror")) < SECOND
    assert all("onerror" in row for row in tab.run(ROWS))
    assert timed(tab, search("16383")) < SECOND
    assert column(tab, 0)[0] == "16383"
    assert tab.messages == []


ROWS = """[...document.querySelectorAll('#rows tr')].map((row) => {
  row.querySelector('button').click();
  return (row.textContent + document.querySelector('#feature').textContent).toLowerCase();
})"""
"""Text of each row and of the panel that it opens."""


@pytest.mark.browser
def test_hostile_texts_stay_text(tab: Tab, page: Path, hostile_texts: list[str]) -> None:
    tab.open(page)
    for start in range(0, 2_000, 100):
        labels = tab.run(
            "[...document.querySelectorAll('#rows tr')].map((row) => row.lastChild.title)"
        )
        numbers = [int(text) for text in column(tab, 0)]
        assert labels == [visible(hostile_texts[i % 2_000], limit=200) for i in numbers], start
        tab.run(ROWS)
        tab.run("document.querySelector('#next').click()")
    tags = tab.run("[...new Set([...document.querySelectorAll('*')].map((e) => e.tagName))]")
    assert not {"IMG", "SVG", "IFRAME"} & set(tags)
    assert tab.run("document.scripts.length") == 2
    assert tab.run("document.querySelectorAll('body style, [onerror], [onload]').length") == 0
    assert tab.run("document.title") == "Features" and tab.messages == []


@pytest.mark.browser
def test_the_keyboard_is_enough(tab: Tab, page: Path) -> None:
    tab.open(page)
    first, second = column(tab, 0)[:2]
    tab.run("document.querySelector('#rows button').focus()")
    tab.press("ArrowDown")
    tab.press("Enter", "\r")
    assert tab.run("document.querySelector('#feature h2').textContent") == f"Feature {second}"
    assert tab.run("document.querySelector('[aria-current] button').textContent") == second
    tab.press("ArrowUp")
    assert tab.run("document.activeElement.textContent") == first
    tab.run("document.querySelectorAll('#heads button')[1].focus()")
    for direction in ("descending", "ascending", "none"):
        tab.press("Enter", "\r")
        assert tab.run("document.querySelectorAll('#heads th')[1].ariaSort") == direction
    assert tab.run("document.activeElement.textContent") == "shift"


@pytest.mark.browser
def test_base_stands_beside_tuned_and_hovering_tells_all(
    tab: Tab, tokens_of: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    shift = pd.DataFrame({"feature": [7], "estimate": [1.0]})
    tokens = tokens_of(["<bos>", "I", ' "like"', "<b>"])
    tab.open(browse(shift, out=tmp_path / "f.html", tokens=tokens))
    tab.run("document.querySelector('#rows button').click()")
    heads = (
        "[...document.querySelectorAll('#examples tr:first-child th')].map((e) => e.textContent)"
    )
    assert tab.run(heads) == ["base", "tuned"]
    spans = "[...document.querySelectorAll('#examples td:last-child span')]"
    expected = ["90 · <bos> · special", "2 · I · assistant", '4 ·  "like" · assistant']
    assert tab.run(f"{spans}.map((e) => e.title)") == [*expected, "6 · <b> · assistant"]
    colors: list[Any] = tab.run(f"{spans}.map((e) => e.style.background)")
    assert colors[3] == "rgb(0, 114, 178)" and colors[0] == colors[3], "BOS sets no scale"


@pytest.mark.browser
@pytest.mark.filterwarnings("default")  # of the notebook client; the kernel is another process
def test_the_saved_page_of_a_notebook_shows_views_offline(tab: Tab, tmp_path: Path) -> None:
    nbconvert = pytest.importorskip("nbconvert", reason="nbconvert is not installed")
    import nbformat
    from nbclient import NotebookClient

    code = (
        "import pandas as pd, persona_interp as pi\n"
        "row = dict(pos=0, role='user', turn=0, feature=7, counted=True, act=2.5)\n"
        "row['piece'] = '</script><img src=x onerror=alert(1)>'\n"
        "rows = [dict(row, prompt='p', checkpoint=c) for c in ('base', 'tuned')]\n"
        "pi.report.tokens(pd.DataFrame(rows), feature=7)"
    )
    again = "pi.report.tokens(pd.DataFrame(rows), feature=7)"
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(text) for text in (code, again)]
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    first, second = (cell.outputs[0].data["text/html"] for cell in notebook.cells)
    assert len(first) > 1e6 and len(second) < 10_000
    path = tmp_path / "notebook.html"
    path.write_text(nbconvert.HTMLExporter().from_notebook_node(notebook)[0], encoding="utf-8")
    tab.open(path)
    tab.run("new Promise((go) => setTimeout(go, 500))")
    spans = "[...document.querySelectorAll('.colored-tokens > span')]"
    drawn = tab.run(f"{spans}.map((e) => [e.textContent, e.title])")
    text = "</script><img src=x onerror=alert(1)>"
    assert drawn == [[text.replace(" ", "\xa0"), f"2.5 · {text} · user"]] * 4
    # the page of nbconvert itself asks the network for MathJax, and does without
    assert [m for m in tab.messages if "ERR_INTERNET_DISCONNECTED" not in m] == []
