"""What stands on the documentation site beside the pages of this folder? Read by ``mkdocs.yml``.

The README is the first page, every room of the package has one of the reference, made of its
docstrings, and the notebooks are pages with their outputs. Nothing is written into this folder.
"""

import ast
import inspect
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import griffe
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
EXECUTED = ROOT / "build" / "notebooks"
"""Where the test of the notebooks leaves those that it executed."""

ROOMS = (
    "worlds readers models dictionaries record analysis plots report experiments schema store "
    "schema.words tables errors"
).split()
"""Modules with a page of the reference, in the order of the experiment."""

WIDGET = "application/vnd.jupyter.widget-view+json"
"""What only a running kernel can draw: a bar."""

DOCTEST = re.compile(r"^>>>.*?(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
"""An example: from its first line to an empty one."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of something else."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages: dict[str, str | bytes] = {"index.md": readme.replace("](docs/", "](")}
    pages |= {f"reference/{name}.md": _reference(name) for name in ROOMS}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        pages |= dict(_notebook(path))
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    _fill(config.nav or [], [str(file.src_uri) for file in files.documentation_pages()])
    return files


def _fill(nav: list[Any], pages: list[str]) -> None:
    """Replace every folder of the navigation, ``name/``, by its pages."""
    for entry in nav:
        for key, value in entry.items() if isinstance(entry, dict) else ():
            if isinstance(value, list):
                _fill(value, pages)
            elif value.endswith("/"):
                own = [page for page in pages if page.startswith(value)]
                # the page about a folder stands first
                entry[key] = sorted(own, key=lambda page: (not page.endswith("README.md"), page))


def _reference(name: str) -> str:
    """Page of a room: what its docstring says of it, then everything that it exports."""
    module = f"persona_interp.{name}"
    homes = _homes(ROOT / "persona_interp" / name / "__init__.py")
    if not homes:
        return f"::: {module}\n"
    lines = [f"::: {module}", "    options:", "      members: false"]
    for export, home in homes.items():
        lines += ["", f"::: {home}", "    options:", "      heading_level: 2"]
        lines += [f"      heading: {name}.{export}", f"      toc_label: {export}"]
    return "\n".join(lines) + "\n"


def _homes(file: Path) -> dict[str, str]:
    """Where everything in ``__all__`` of a file is defined; nothing where it exports all it has.

    A function and the file it is in may have one name (``record.behavior``), so the package's own
    name for it would be of both.
    """
    if not file.is_file():
        return {}
    exports: list[str] = []
    homes = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            exports = ast.literal_eval(node.value)
        if isinstance(node, ast.ImportFrom):
            homes |= {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {name: homes[name] for name in exports}


class Doctests(griffe.Extension):
    """Examples of the docstrings, which stand there without a heading, are shown as examples."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Give the first example of a docstring its heading."""
        if obj.docstring:
            text = inspect.cleandoc(obj.docstring.value)
            text = DOCTEST.sub(lambda found: f"Examples:\n{indent(found[0], '    ')}", text)
            obj.docstring.value = text.replace("::\n\n", ":\n\n")


def _notebook(path: Path) -> Iterator[tuple[str, str | bytes]]:
    """A notebook as a page, and its pictures as files beside it."""
    exporter = MarkdownExporter()
    resources: dict[str, Any] = {"unique_key": path.stem, "output_files_dir": path.stem}
    notebook = _executed(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_noise(output)]
    text, made = exporter.from_notebook_node(notebook, resources=resources)
    yield f"notebooks/{path.stem}.md", text
    for name, data in made["outputs"].items():
        yield f"notebooks/{name}", data


def _is_noise(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a progress bar or a warning: of the machine that executed it."""
    return output.get("name") == "stderr" or WIDGET in output.get("data", {})


def _executed(path: Path) -> nbformat.NotebookNode:
    """A notebook with its outputs: the copy that the test executed, else executed now."""
    notebook = nbformat.read(path, as_version=4)
    copy = EXECUTED / path.name
    if copy.is_file():
        before = nbformat.read(copy, as_version=4)
        if _sources(before) == _sources(notebook):
            return before
    # a backend that is named already would keep the kernel from showing figures
    own = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            timeout=1_800,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        ).execute(env=own)
    copy.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, copy)
    return notebook


def _sources(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells]
