"""A file that is too long to read at once is two files."""

from pathlib import Path

CAP = 400
ALLOWED: dict[str, str] = {}  # file: the reason why it may be longer


def test_no_file_is_longer_than_the_cap(root: Path) -> None:
    folders = ("persona_interp", "analyses", "benchmarks", "tests")
    files = {
        p.relative_to(root).as_posix(): p
        for folder in folders
        for p in (root / folder).rglob("*.py")
    }
    lines = {name: len(p.read_text().splitlines()) for name, p in files.items()}
    assert {name: n for name, n in lines.items() if n > CAP and name not in ALLOWED} == {}
    assert [name for name in ALLOWED if lines.get(name, 0) <= CAP] == [], (
        "no longer needed in ALLOWED"
    )
