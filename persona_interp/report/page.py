"""How does a report become one inert HTML file?

A report is a list of blocks (headings, paragraphs, figures, tables); Jinja's autoescaping turns every piece of data
into text. The page carries its figures as data URIs and no script at all, and a content security policy forbids
everything else: it opens offline and can do nothing.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

Block = dict[str, Any]


def page(title: str, blocks: list[Block]) -> str:
    """What is the whole document?

    Args:
        title: Plain text.
        blocks: What `heading`, `paragraph`, `figure` and `table` return, in order.

    Returns:
        HTML that loads nothing and runs nothing.

    >>> "<b>" in page("a", [heading("<b>")])
    False
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = environment.get_template("page.html")
    return template.render(title=title, blocks=blocks, style=style, style_hash=f"sha256-{digest}")


def heading(text: str) -> Block:
    """A section's heading.

    Returns:
        A block.

    >>> heading("Controls")["text"]
    'Controls'
    """
    return {"kind": "heading", "text": text}


def paragraph(text: str, *, source: str = "", lead: bool = False) -> Block:
    """A paragraph and the CSV its numbers come from.

    Args:
        text: Plain text.
        source: Path of the CSV relative to the report; linked when given.
        lead: Set it off as the main finding.

    Returns:
        A block.

    >>> paragraph("rose by 2 bits", source="tables/summary.csv")["source"]
    'tables/summary.csv'
    """
    return {"kind": "paragraph", "text": text, "source": source, "lead": lead}


def figure(png: Path, *, caption: str) -> Block:
    """An embedded figure, with links to its PDF, PNG and CSV.

    Args:
        png: Image file; the PDF and CSV of the same stem lie beside it, one folder below the report.
        caption: Plain text.

    Returns:
        A block.
    """
    image = "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode()
    return {"kind": "figure", "image": image, "caption": caption, "stem": f"{png.parent.name}/{png.stem}"}


def table(frame: pd.DataFrame, *, caption: str, source: str, rows: int = 40) -> Block:
    """A table's first rows, and the CSV that holds all of them.

    Args:
        frame: Any DataFrame; floats are shown with three significant digits, what does not exist as a dash.
        caption: Plain text.
        source: Path of the CSV relative to the report.
        rows: Rows shown.

    Returns:
        A block.

    >>> table(pd.DataFrame({"x": [0.12345, float("nan")]}), caption="c", source="t.csv")["rows"][0][0][0]
    '0.123'
    """
    columns = [(str(c), pd.api.types.is_numeric_dtype(frame[c])) for c in frame.columns]
    shown = [
        list(zip(map(_shown, row), columns, strict=True))
        for row in frame.head(rows).itertuples(index=False)  # pairs of cell and column, as the template walks them
    ]
    hidden = max(len(frame) - rows, 0)
    return {"kind": "table", "columns": columns, "rows": shown, "caption": caption, "source": source, "hidden": hidden}


def _shown(value: object) -> str:
    """A cell as text."""
    if isinstance(value, float):
        return "—" if value != value else f"{value:.3g}"
    return str(value)
