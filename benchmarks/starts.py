"""What does a fresh interpreter pay until it is of use, in units of ``import torch``?

    python benchmarks/starts.py [--pairs 3] [--model FOLDER]

CPU seconds of processes, each in turn with ``import torch``; lower is better. Files are in memory
and this package's checks of the model in its cache, since each runs once before, uncounted.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from harvest import STORIES
from line import Line, missing
from pairs import spread

UNIT = "import torch"
COST = "cost, in import torch"
READ = "import torch; from transformers import AutoModelForCausalLM, AutoTokenizer\n"
CODES: dict[str, tuple[str, tuple[str, ...]]] = {
    "numpy alone": ("import numpy", ()),
    "Hugging Face + hook, first activation": (
        READ + "m = AutoModelForCausalLM.from_pretrained({model!r}); a = []\n"
        "t = AutoTokenizer.from_pretrained({model!r})\n"
        "m.model.layers[2].register_forward_hook(lambda *x: a.append(x[2]))\n"
        "with torch.inference_mode(): m(**t('Once upon a time', return_tensors='pt'))\n",
        ("transformers",),
    ),
    "import transformer_lens": ("import transformer_lens", ("transformer_lens",)),
    "import sae_lens": ("import sae_lens", ("sae_lens",)),
    "import nnsight": ("import nnsight", ("nnsight",)),
    "ours, import persona_interp": ("import persona_interp", ()),
    "ours, persona-interp --help": (
        "import sys; from persona_interp.__main__ import main\n"
        "sys.argv = ['persona-interp', '--help']; main()",
        (),
    ),
    "ours, residuals, first activation": (
        "from persona_interp import models\n"
        "m = models.open_hooked({model!r})\n"
        "tokens = models.encode(m.tokenizer, [[{{'role': 'text', 'content': 'Once'}}]])\n"
        "next(models.residuals(m, tokens, hook='blocks.2.hook_out'))\n",
        (),
    ),
    "ours, activations(), first activation": (
        "from persona_interp import record\n"
        "record.activations({model!r}, ['Once upon a time'], hook='blocks.2.hook_out')\n",
        (),
    ),
}
"""Contender: its code, and what it needs."""
AT_MOST = {
    "ours, import persona_interp": 0.1,
    "ours, residuals, first activation": 3.1,
    "ours, activations(), first activation": 3.1,
}


def seconds(code: str) -> float:
    """CPU seconds of a fresh interpreter that runs this."""
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def lines(*, pairs: int, model: str | Path = STORIES, names: str = "") -> Iterator[Line]:
    """What each start costs.

    Args:
        pairs: Interleaved rounds.
        model: A folder with a model of the Llama family.
        names: Only contenders with this in their names.
    """
    wanted = {name: (code, missing(*peers)) for name, (code, peers) in CODES.items()}
    codes = {
        name: code.format(model=str(model))
        for name, (code, absent) in wanted.items()
        if not absent and names in name
    }
    ratios: dict[str, list[float]] = {name: [] for name in codes}
    for code in (UNIT, *codes.values()):
        seconds(code)
    for _ in range(pairs):
        unit = seconds(UNIT)
        for name, code in codes.items():
            ratios[name].append(seconds(code) / unit)
    for name, (_, absent) in wanted.items():
        line = Line("start-up", name, COST, at_most=AT_MOST.get(name), remark=absent)
        if absent or name in ratios:
            yield line if absent else line._replace(ratios=spread(ratios[name]))


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--model", default=str(STORIES), help="a folder of the Llama family")
    args = parser.parse_args()
    for line in lines(pairs=args.pairs, model=args.model):
        print(line, flush=True)


if __name__ == "__main__":
    main()
