"""How does a report become one inert HTML file?

A report is a list of blocks (headings, paragraphs, figures, tables, token views); Jinja's
autoescaping turns every piece of data into text, and characters that nobody would see are spelled
out. What is open from the start the page carries itself, as data URIs; pictures of folded blocks
are the files that stand beside it, loaded when they are unfolded. A content security policy
forbids everything else: it opens offline and can do nothing. Only a block that needs scripts (a
token view) brings them: constants of this package, embedded once, allowed by their hash. Data never
sits in them.
"""

import base64
import hashlib
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.characters import visible

Block = dict[str, Any]

TEXT_LIMIT = 10_000
"""Characters shown of one text; of a longer one the number cut is said."""


def page(title: str, blocks: list[Block]) -> str:
    """The whole document.

    Args:
        title: Plain text.
        blocks: What `heading`, `paragraph`, `figure` and `table` return, in order.

    Returns:
        HTML that loads nothing and runs nothing but the scripts that its blocks bring.

    >>> "<b>" in page("a", [heading("<b>")])
    False
    """
    contents: list[Block] = []
    placed = list(_place(blocks, contents, folded=False))
    return document(
        "page",
        scripts=list(_scripts(blocks)),
        # the pictures of folded blocks: files beside the page, or from the same server
        images="data: 'self' file:",
        title=title,
        blocks=placed,
        contents=contents,
    )


def document(name: str, *, scripts: Sequence[str], images: str = "data:", **values: Any) -> str:
    """A template of this folder with its style, filled with data; inert but for these scripts.

    Args:
        name: Of the template and of its style: ``page``, ``browser``.
        scripts: Constants without any data; the page may run these and nothing else.
        images: Where pictures may come from, as a content security policy says it.
        values: What the template shows; everything is escaped.

    Returns:
        HTML that loads nothing.
    """
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
    )
    environment.filters["json"] = _json
    style = (folder / f"{name}.css").read_text(encoding="utf-8")
    scripts = list(dict.fromkeys(scripts))
    policy = f"default-src 'none'; img-src {images}; style-src {_hash(style)}"
    if scripts:
        policy += f"; script-src {' '.join(map(_hash, scripts))}"
    template = environment.get_template(f"{name}.html")
    return template.render(style=style, policy=policy, scripts=scripts, **values)


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
    """A figure, with links to its PDF, PNG and CSV; its bytes are on the page unless folded.

    Args:
        png: Image file; the PDF and CSV of the same stem lie beside it, one folder below the
            report.
        caption: Plain text.

    Returns:
        A block.
    """
    return {
        "kind": "figure",
        "png": png,
        "caption": caption,
        "stem": f"{png.parent.name}/{png.stem}",
    }


def saved_figure(
    run: Path,
    name: str,
    plot: Figure,
    *,
    table: pd.DataFrame,
    caption: str,
    provenance: Mapping[str, Any],
) -> Block:
    """A plot, saved with its numbers into the run and embedded.

    Args:
        run: The run's folder.
        name: Of its files below ``figures/``.
        plot: The figure.
        table: The numbers in it.
        caption: Plain text; of a run that is not complete, "n of N cells" is added.
        provenance: Written beside it.

    Returns:
        A block.
    """
    files = plots.save(plot, table, run / "figures" / name, provenance=provenance)
    done, planned = provenance.get("cells_done"), provenance.get("cells")
    if done != planned:
        caption = f"{caption} From {done} of {planned} cells."
    return figure(files.png, caption=caption)


def table(frame: pd.DataFrame, *, caption: str, source: str, rows: int = 40) -> Block:
    """A table's first rows, and the CSV that holds all of them.

    Args:
        frame: Any DataFrame; floats are shown with three significant digits, what does not exist as
            a dash.
        caption: Plain text.
        source: Path of the CSV relative to the report.
        rows: Rows shown.

    Returns:
        A block.

    >>> block = table(pd.DataFrame({"x": [0.12345]}), caption="c", source="t.csv")
    >>> block["rows"][0][0]
    ('0.123', ('x', True))
    """
    columns = [(str(c), pd.api.types.is_numeric_dtype(frame[c])) for c in frame.columns]
    lines = []
    for row in frame.head(rows).itertuples(index=False):
        # Pairs of cell and column, as the template walks them.
        lines.append(list(zip(map(_cell, row), columns, strict=True)))
    return {
        "kind": "table",
        "columns": columns,
        "rows": lines,
        "caption": caption,
        "source": source,
        "hidden": max(len(frame) - rows, 0),
    }


def details(summary: str, blocks: Sequence[Block], *, opened: bool = False) -> Block:
    """Blocks that a reader unfolds: the page of a feature.

    Args:
        summary: Plain text, shown while folded.
        blocks: What is inside, in order.
        opened: Unfolded from the start.

    Returns:
        A block.

    >>> details("Feature 7", [heading("Examples")])["blocks"][0]["text"]
    'Examples'
    """
    return {"kind": "details", "summary": summary, "blocks": list(blocks), "open": opened}


def first_open(groups: Iterable[Sequence[list[Block]]]) -> list[Block]:
    """What is shown several times over (other rates, other hooks): the first open, others folded.

    Args:
        groups: The sections of each time: blocks that begin with a heading.

    Returns:
        The blocks of the first group that has any; of every later section one folded block under
        its heading, which the table of contents lists.

    >>> again = first_open([[[heading("lr 0.1")]], [[heading("lr 0.2"), paragraph("x")]]])
    >>> [block["kind"] for block in again], again[1]["summary"]
    (['heading', 'details'], 'lr 0.2')
    """
    content: list[Block] = []
    for group in groups:
        sections = [section for section in group if section]
        if not content:
            content = [block for section in sections for block in section]
            continue
        for first, *rest in sections:
            content.append({**details(first["text"], rest), "listed": True})
    return content


def _place(blocks: Iterable[Block], contents: list[Block], *, folded: bool) -> Iterator[Block]:
    """Blocks as the template takes them; headings are numbered and go into the contents."""
    for block in blocks:
        if block["kind"] == "figure":
            yield block | _picture(block["png"], block["stem"], folded=folded)
            continue
        placed = dict(block)
        is_heading = block["kind"] == "heading"
        if is_heading or block.get("listed"):
            placed["id"] = f"section-{len(contents) + 1}"
            text = block["text"] if is_heading else block["summary"]
            entry = {"id": placed["id"], "text": text, "folded": folded or not is_heading}
            contents.append(entry)
        if "blocks" in block:
            hidden = folded or not block["open"]
            placed["blocks"] = list(_place(block["blocks"], contents, folded=hidden))
        yield placed


def _picture(png: Path, stem: str, *, folded: bool) -> dict[str, Any]:
    """Where the browser finds a picture, and the room to keep for it (pixels)."""
    data = png.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    if folded:
        source = quote(f"{stem}.png")
    return {"source": source, "width": width, "height": height, "lazy": folded}


def _scripts(blocks: Sequence[Block]) -> Iterator[str]:
    """Scripts that these blocks need, those inside of others included."""
    for block in blocks:
        yield from block.get("scripts", ())
        yield from _scripts(block.get("blocks", ()))


def _hash(text: str) -> str:
    """An inline style or script as the policy names it."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _visible(value: object) -> object:
    """Text of data with its characters spelled out; markup of the template as it is."""
    if type(value) is str:  # not isinstance: escaped markup is a str too, of another class
        return visible(value, limit=TEXT_LIMIT)
    return value


def _json(value: object) -> Markup:
    """Data as JSON in which no tag and no entity can begin."""
    # ASCII only, which is the default: U+2028 and U+2029 end a line in some scripts.
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _cell(value: object) -> str:
    """A cell as text."""
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "—"
    return f"{value:.3g}"
