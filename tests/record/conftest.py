"""A tiny model with weights so large that positions and prompts matter, and a few prompts."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch

from persona_interp.models import Checkpoint, load, resolve
from persona_interp.readers import Instruction, TraitFile, trait_prompts

WORDS = (
    "you are an assistant . what sport do like ? i really football tennis golf art beach".split()
)


def _louder(start: Checkpoint, folder: Path, *, seed: int, step: int) -> Checkpoint:
    """The tiny model with every matrix redrawn ten times larger: no two positions are alike."""
    model, tokenizer = load(start)
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data = 0.25 * torch.randn(weight.shape, generator=generator)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder, stage="lesson", step=step)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Checkpoint]:
    """Two different checkpoints with one tokenizer."""
    torch.set_num_threads(1)
    start = resolve("tiny", words=WORDS, out=tmp_path_factory.mktemp("start"))
    folders = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    one, two = (_louder(start, folder, seed=i, step=i) for i, folder in enumerate(folders))
    return one, two


def probe(prompt: str, ask: Sequence[tuple[str, str]], answers: Sequence[str]) -> dict[str, object]:
    messages = [{"role": role, "content": content} for role, content in ask]
    values = tuple(answer.split()[-2] if len(answer.split()) > 1 else answer for answer in answers)
    where = {
        "prompt": prompt,
        "context": "nameless",
        "persona": "",
        "topic": "sport",
        "template": prompt,
    }
    return {
        **where,
        "split": "test",
        "messages": messages,
        "values": values,
        "answers": tuple(answers),
    }


@pytest.fixture
def probes() -> pd.DataFrame:
    """Prompts of different lengths, answers of one, two and four tokens."""
    chat = [("system", "you are an assistant ."), ("user", "what sport do you like ?")]
    return pd.DataFrame(
        [
            probe(
                "chat", [*chat, ("assistant", "i like")], (" football .", " tennis .", " golf .")
            ),
            probe(
                "longer",
                [*chat, ("assistant", "i really really like")],
                (" football .", " tennis ."),
            ),
            probe(
                "text",
                [("text", "what sport ? i like")],
                (" really really football .", " tennis ."),
            ),
        ]
    )


@pytest.fixture(scope="session")
def sporty() -> TraitFile:
    """A trait file in the tiny model's words."""
    questions = (
        "what do you like ?",
        "what art ?",
        "do you like the beach ?",
        "what sport do you like ?",
    )
    pairs = (
        Instruction("you really like sport .", "you like art ."),
        Instruction("you like golf .", "you are art ."),
    )
    return TraitFile("sporty", pairs, tuple(q.replace(" the", "") for q in questions))


@pytest.fixture(scope="session")
def questions(sporty: TraitFile) -> pd.DataFrame:
    """Its questions under both instructions and none."""
    return pd.concat(
        [trait_prompts(sporty, side=side) for side in ("pos", "neg", "default")], ignore_index=True
    )
