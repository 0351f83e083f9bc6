"""A real browser without a network shows the report, and has nothing to complain about."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.experiments.experiment import draw_report
from persona_interp.report import page, roles, tokens
from persona_interp.report.tokens import piece

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        "--v=0",
    ),
    "--host-resolver-rules=MAP * ~NOTFOUND",  # the network is off: no name resolves
    "--virtual-time-budget=10000",  # the clock stands while anything is still drawn
)


@pytest.fixture(scope="module")
def chromium() -> str:
    for path in filter(None, map(shutil.which, NAMES)):
        return path
    pytest.skip(f"none of {', '.join(NAMES)} is installed; the report was not shown in a browser")


def dump(chromium: str, path: Path, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """What the page looks like to the browser, and what its console says."""
    command = [chromium, *FLAGS, *flags, f"--user-data-dir={profile}", "--dump-dom", path.as_uri()]
    shell = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return shell.stdout, [line for line in shell.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.browser
def test_the_report_opens_offline(
    chromium: str,
    planted: Callable[..., dict[str, pd.DataFrame]],
    provenance: dict[str, Any],
    tmp_path: Path,
) -> None:
    hostile = "<img src=x onerror=console.error('ran')><script>console.error('ran')</script>"
    tables = planted()
    tables["samples"]["text"] = hostile
    tables["transfer"]["trait"] = tables["transfer"]["trait"].replace("place=beach", hostile)
    path = draw_report(tmp_path / "run", tables, provenance=provenance)
    shown, console = dump(chromium, path, tmp_path / "profile")
    assert console == []
    assert "john's 4 untaught traits rose in the nameless assistant: +2.50 bits" in shown
    assert shown.count("<img") == 4


@pytest.mark.browser
def test_the_policy_stops_what_escaping_would_miss(chromium: str, tmp_path: Path) -> None:
    script = "<script>document.title = 'ran'</script></body>"
    path = tmp_path / "report.html"
    path.write_text(page.page("still", []).replace("</body>", script), encoding="utf-8")
    shown, console = dump(chromium, path, tmp_path / "profile")
    assert "<title>still</title>" in shown
    assert len(console) == 1 and "Content Security Policy" in console[0]


@pytest.mark.browser
def test_hostile_tokens_are_drawn_and_stay_text(
    chromium: str, hostile_texts: list[str], tokens_of: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    texts = hostile_texts[:60]  # all known attacks
    table = tokens_of(texts, width=20)
    explained = table.loc[table["checkpoint"] == "base"].assign(learn=True)
    inside = page.details("folded", [tokens(table, feature=7)])
    path = tmp_path / "report.html"
    blocks = [tokens(table, feature=7), inside, roles(explained)]
    path.write_text(page.page("still", blocks), encoding="utf-8")
    shown, console = dump(chromium, path, tmp_path / "profile")
    # The strictest policy under which CircuitsVis draws: scripts by hash, no inline style.
    assert console == []
    assert "<title>still</title>" in shown
    views = re.findall(r'<div class="colored-tokens"[^>]*>(.*?)</div>', shown)
    assert len(views) == 2 * 2 * 3, "base and tuned, open and folded, three prompts"
    for i, prompt in enumerate([texts[:20], texts[20:40], texts[40:]]):
        drawn = [
            re.findall(r'<span title="[^"]*"><span style=[^>]*>(.*?)</span></span>', view)
            for view in views
        ]
        expected = [piece(text).replace(" ", "\xa0") for text in prompt]
        same = [[html.unescape(token) for token in view] == expected for view in drawn]
        assert sum(same) == 4, f"prompt {i}"


@pytest.mark.browser
def test_the_policy_lets_only_the_two_scripts_run(
    chromium: str, tokens_of: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    document = page.page("still", [tokens(tokens_of(["a", "b"]), feature=7)])
    run = "document.title = 'ran'"
    attack = f'<script>{run}</script><img src=x onerror="{run}"></body>'
    path = tmp_path / "report.html"
    path.write_text(document.replace("</body>", attack), encoding="utf-8")
    shown, console = dump(chromium, path, tmp_path / "profile")
    assert "<title>still</title>" in shown and "colored-tokens" in shown
    assert console and all("Content Security Policy" in line for line in console)


MEASURE = """<!doctype html><title>measure</title><pre id="said"></pre>
<iframe id="page" src="ADDRESS" width="WIDTH" height="4000"></iframe>
<script>
document.getElementById("page").onload = event => {
  const page = event.target.contentDocument, wide = page.defaultView.innerWidth, cut = [];
  page.querySelectorAll("details").forEach(details => { details.open = true; });
  if (page.documentElement.scrollWidth > wide) cut.push("the page scrolls sideways");
  for (const element of page.querySelectorAll("body *")) {
    const box = (element.closest(".scroll") || element).getBoundingClientRect();
    if (box.right > wide + 0.5 || box.left < -0.5) cut.push(element.outerHTML.slice(0, 80));
  }
  for (const element of page.querySelectorAll(".scroll")) {
    element.scrollLeft = element.scrollWidth;  // every column can be reached
    const last = element.querySelector("tr").lastElementChild.getBoundingClientRect();
    if (last.right > element.getBoundingClientRect().right + 1) cut.push("a last column");
  }
  const lazy = [...page.images].filter(image => image.loading === "lazy");
  lazy.forEach(image => { image.loading = "eager"; });
  setTimeout(() => {  // the clock stands while they are loaded
    lazy.filter(image => !image.naturalWidth).forEach(image => cut.push(image.src));
    const report = {cut, lazy: lazy.length, scroll: page.querySelectorAll(".scroll").length};
    document.getElementById("said").textContent = JSON.stringify(report);
  }, 3000);
};
</script>"""
"""A page that measures another one, whose own policy lets no script in."""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
def test_no_column_is_cut_off_and_folded_pictures_are_shown(
    chromium: str,
    planted: Callable[..., dict[str, pd.DataFrame]],
    provenance: dict[str, Any],
    tmp_path: Path,
    width: int,
) -> None:
    tables = planted()
    tables["samples"]["text"] = "long" * 200 + " answer" * 200
    tables["mixing"] = tables["mixing"].assign(at_bound="wide" * 60)
    rates = [
        tables,
        {name: table.assign(lr=1e-4) for name, table in tables.items() if "lr" in table},
    ]
    both = {name: pd.concat([t[name] for t in rates if name in t]) for name in tables}
    path = draw_report(tmp_path / "run", both, provenance=provenance)
    outer = MEASURE.replace("ADDRESS", path.as_uri()).replace("WIDTH", str(width))
    (tmp_path / "measure.html").write_text(outer, encoding="utf-8")
    flag = "--allow-file-access-from-files"
    shown, _ = dump(chromium, tmp_path / "measure.html", tmp_path / "profile", flag)
    (said,) = re.findall(r'<pre id="said">(.*?)</pre>', shown, re.DOTALL)
    measured = json.loads(html.unescape(said))
    assert measured["cut"] == []
    assert measured["lazy"] > 2 and measured["scroll"] > 2
