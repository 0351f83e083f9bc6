"""The command line says what is there; an expected error is one paragraph and exit code 2."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

from persona_interp.cli import main
from persona_interp.errors import StoreError
from persona_interp.experiments.experiment import report_folder
from persona_interp.readers import Instruction, TraitFile, write_trait
from persona_interp.store import Cell, Store
from persona_interp.tables import write_dataset, write_json, write_table


def cli(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, "argv", ["persona-interp", *map(str, args)])
        main()
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "run")
    base = Cell("base", {}, label="base")
    store.plan([Cell("tuned", {"lr": 0.1}, (base,), label="tuned")])
    write_table(pd.DataFrame({"x": range(20)}), store.work(base) / "t.parquet")
    store.commit(base, seconds=1)
    return store


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(capsys, "--version") == (0, f"{version('persona_interp')}\n", "")


def test_status_says_n_of_n(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = cli(capsys, "status", store.root)
    assert (code, err) == (0, "")
    assert "1 of 2 cells done, 1 missing" in out
    assert "tuned" in out


def test_transfer_with_trait_files_is_that_between_traits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, pairs = ("What?", "Why?"), (Instruction("Be so.", "Be not."),) * 2
    write_trait(TraitFile("dry", pairs, questions), tmp_path / "dry.json")
    asked = [
        "run",
        "transfer",
        "--traits",
        tmp_path,
        "--out",
        tmp_path / "run",
        "--model",
        tmp_path / "nowhere",
    ]
    code, _, err = cli(capsys, *asked)
    assert code == 2 and "'mystical' is unknown" in err and "--trait all" in err
    code, out, err = cli(capsys, *asked, "--trait", "all")
    assert code == 2 and "nowhere" in err and out.startswith("about ")
    code, _, err = cli(capsys, "run", "trait_transfer", "--out", tmp_path / "run")
    assert code == 2 and "whose traits" in err
    code, _, err = cli(capsys, "run", "dose", "--traits", tmp_path, "--out", tmp_path / "run")
    assert code == 2 and "has no --traits" in err
    assert not (tmp_path / "run").exists()


def test_safeguards_with_trait_files_are_against_one_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, pairs = tuple(f"What {i}?" for i in range(12)), (Instruction("Be so.", "No."),) * 4
    for name in ("dry", "shy", "wry"):
        write_trait(TraitFile(name, pairs, questions), tmp_path / f"{name}.json")
    asked = ["run", "safeguards", "--traits", tmp_path, "--out", tmp_path / "run"]
    asked += ["--model", tmp_path / "nowhere"]
    code, _, err = cli(capsys, *asked)
    assert code == 2 and "is unknown" in err and "--trait all" in err
    code, _, err = cli(capsys, *asked, "--trait", "wry", "--trait", "dry")
    assert code == 2 and "a wanted one and a bystander are asked for" in err
    code, out, err = cli(capsys, *asked, "--trait", "all")
    assert code == 2 and "nowhere" in err and out.startswith("about ")
    assert not (tmp_path / "run").exists()


def test_verify_names_a_corrupt_file_and_exits_1(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(capsys, "verify", store.root) == (0, "all 2 files are as they were written\n", "")
    (file,) = (store.root / "cells").rglob("t.parquet")
    file.write_bytes(file.read_bytes()[:-1])
    code, out, _ = cli(capsys, "verify", store.root)
    assert code == 1
    assert "t.parquet" in out
    assert "1 of 2 files ok, 1 corrupt. Run the experiment again" in out
    code, _, err = cli(capsys, "show", file)
    assert code == 2 and "is not what was written there" in err


def test_show_prints_the_head_and_the_attributes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.DataFrame({"trait": [f"sport={i}" for i in range(20)], "estimate": 0.5})
    table.attrs = {"hook": "blocks.1.hook_out"}
    code, out, _ = cli(capsys, "show", write_table(table, tmp_path / "t.parquet"), "--rows", 3)
    assert code == 0
    assert "sport=2" in out
    assert "sport=3" not in out
    assert "20 rows x 2 columns\nhook: blocks.1.hook_out" in out
    table.to_csv(tmp_path / "t.csv", index=False)
    assert "20 rows x 2 columns" in cli(capsys, "show", tmp_path / "t.csv")[1]
    write_dataset(
        xr.Dataset({"act": ("prompt", [1.0])}, attrs={"hook": "blocks.1"}), tmp_path / "d.nc"
    )
    assert "blocks.1" in cli(capsys, "show", tmp_path / "d.nc")[1]
    assert (
        cli(capsys, "show", write_json({"lr": 0.1}, tmp_path / "r.json"))[1] == '{\n "lr": 0.1\n}\n'
    )


@pytest.mark.parametrize(
    "args",
    [
        ("run", "dose", "--out", "run", "--seeds", "99999999999999999999"),
        ("run", "dose", "--out", "run", "--seed", "-1"),
        ("run", "dose", "--out", "run", "--seed", "99999999999999999999"),
        ("doctor", "nowhere", "--batch", "nan"),
        ("doctor", "nowhere", "--batch", "-1"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = cli(capsys, *args)
    assert code == 2 and ("Input should be" in err or "batch is a number of tokens" in err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("status", "nowhere"), "not a run folder"),
        (("verify", "nowhere"), "not a run folder"),
        (("show", "t.parquet"), "did you mean 't2.parquet'?"),
        (("show", "t2.parqet"), "did you mean '.parquet'?"),
        (("show", "t2.parquet"), "is not a readable parquet file"),
    ],
)
def test_expected_errors_are_one_paragraph(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t2.parquet").write_text("no parquet")
    code, out, err = cli(capsys, *args)
    assert (code, out) == (2, "")
    assert err.startswith("StoreError: ")
    assert message in err
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["t2.parquet"]


def test_a_start_that_is_not_there_stops_the_run_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    code, _, err = cli(
        capsys, "run", "transfer", "--model", tmp_path / "model", "--out", tmp_path / "run"
    )
    assert code == 2
    assert "config.json" in err
    assert not (tmp_path / "run").exists()


def test_help_loads_neither_torch_nor_pandas() -> None:
    code = (
        "import sys, persona_interp.cli; "
        "print(sorted({'torch', 'pandas', 'numpy', 'xarray'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_the_package_is_run_as_a_module() -> None:
    command = [sys.executable, "-m", "persona_interp", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "Usage: python -m persona_interp" in done.stdout


def test_a_path_that_cannot_be_is_one_sentence(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("text")
    for arguments in (
        ("doctor", file),
        ("show", "x" * 5000 + ".json"),
        ("show", tmp_path),
        ("status", "x" * 5000),
        ("run", "transfer", "--out", file / "x"),
        ("compare", file, file, "--prompts", file, "--out", tmp_path / "out"),
    ):
        code, _, err = cli(capsys, *arguments)
        assert code == 2 and "Traceback" not in err and len(err) < 600, arguments
    assert file.read_text() == "text"


def test_a_report_is_never_written_over_another_run(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    with pytest.raises(StoreError, match="is another run, whose own report would be lost"):
        report_folder(store.root, other.root)
    assert report_folder(store.root, store.root / "." / "cells" / "..") == store.root
    assert report_folder(store.root, tmp_path / "new") == tmp_path / "new"


def test_rows_named_on_the_command_line_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_interp.experiments.compare import sources

    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": "Why?"}\n{"question": ""}\n{"question": "How?"}\n')
    read = []
    monkeypatch.setattr(sources, "compare", lambda *_, prompts, **__: read.append(prompts))
    monkeypatch.setattr(sys.modules["persona_interp.cli.compare"], "report", lambda out: None)
    code, _, err = cli(capsys, "compare", "a", "b", "--prompts", file, "--out", "x", "--skip", "2")
    assert code == 0, err
    assert list(read[0]["question"]) == ["Why?", "How?"]
    code, _, err = cli(capsys, "compare", "a", "b", "--prompts", file, "--out", "x", "--skip", "9")
    assert code == 2 and "where no row begins" in err


def test_causes_takes_its_options_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_interp.experiments.causes import sources

    read = []
    monkeypatch.setattr(sources, "causes", lambda *names, **options: read.append((names, options)))
    monkeypatch.setattr(sys.modules["persona_interp.cli.causes"], "report", lambda out: None)
    command = ("causes", "a", "b", "c", "--traits", tmp_path, "--target", "dry", "--out", "x")
    code, _, err = cli(capsys, *command, "--random", "4", "--sae", "s", "--control", "d")
    assert code == 0, err
    ((names, options),) = read
    assert names == ("a", ["b", "c"]) and options["sae"] == ["s"] and options["target"] == "dry"
    assert options["control"] == ["d"] and options["settings"].n_random == 4
    code, _, err = cli(capsys, *command, "--random", "1")
    assert code == 2


def test_compare_takes_causes_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_interp.experiments.compare import sources

    file, read = tmp_path / "questions.txt", []
    file.write_text("Why?\n")
    monkeypatch.setattr(sources, "compare", lambda *_, options, **__: read.append(options))
    monkeypatch.setattr(sys.modules["persona_interp.cli.compare"], "report", lambda out: None)
    command = ("compare", "a", "b", "--prompts", file, "--out", "x", "--primary", "dry")
    for more in ((), ("--causes",)):
        code, _, err = cli(capsys, *command, *more)
        assert code == 0, err
    assert [options.causes for options in read] == [False, True]


def test_rows_of_neutral_requests_are_left_out_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_interp.experiments.compare import sources

    bad = '{"question": "Why?"}\n{"question": ""}\n{"question": "How?"}\n'
    file, other = tmp_path / "questions.jsonl", tmp_path / "neutral.jsonl"
    file.write_text(bad)
    other.write_text('{"question": ""}\n{"question": "Where?"}\n')
    read = []
    monkeypatch.setattr(sources, "compare", lambda *_, options, **__: read.append(options.neutral))
    monkeypatch.setattr(sys.modules["persona_interp.cli.compare"], "report", lambda out: None)
    command = ("compare", "a", "b", "--prompts", file, "--out", "x", "--skip", "2", "--neutral")
    for more in ((file,), (other, "--skip-neutral", "1"), (other,)):
        code, _, err = cli(capsys, *command, *more)
        assert code == 0, err
    assert [list(table["question"]) for table in read[:2]] == [["Why?", "How?"], ["Where?"]]
    assert read[2] == other
