"""A real browser without a network shows the report, and has nothing to complain about."""

import html
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


def dump(chromium: str, path: Path, profile: Path) -> tuple[str, list[str]]:
    """What the page looks like to the browser, and what its console says."""
    command = [chromium, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", path.as_uri()]
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
