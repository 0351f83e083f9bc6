"""How probable is every answer? The behavior table, one row a checkpoint, prompt and answer.

The probability of an answer is that of its whole text, terminator included, by the chain rule;
``questionnaire`` says how it is computed.
"""

from collections.abc import Iterable

import pandas as pd
from tqdm import tqdm

from persona_interp.models import Checkpoint
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.inputs import list_checkpoints
from persona_interp.record.edit import Edits, list_edits
from persona_interp.record.questionnaire import Questionnaire
from persona_interp.record.subjects import open_subject


def behavior(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    probes: pd.DataFrame,
    *,
    edits: Edits = (),
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Log2 probability of every answer to every probe, by each checkpoint.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.
        probes: A probes table; ``values`` and ``answers`` of a row belong together. Of its columns
            only ``prompt``, ``messages`` and ``answers`` are needed: values are by default the
            answers, the others those of a nameless assistant.
        edits: Changes of the inside (``record.add``, ``project_out``, ...), each tried alone on
            every checkpoint. A tuple among them is on together, one entry of the table; a mapping
            names its entries: ``edits=read_capping(path)``.
        device: Where the model runs, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one.
        dtype: "float32", "bfloat16", or "auto" for whichever is faster here; use one for all that
            will be compared.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A behavior table, checkpoints x probes x values in the order given. ``logprob`` is log2 of
        the probability of the whole answer, terminator included (bits); ``answer_mass`` the summed
        probability of all answers of the row's prompt (fraction). Other columns of the probes are
        kept, but for ``messages`` and ``answers``. With edits it is checkpoints x edits x probes x
        values, and the column ``edit`` names them; "none" = no edit, comes first.
        ``attrs["n_tokens"]``: tokens that were read, those of a shared prompt once.

    Raises:
        SchemaError: The probes lack a column, are empty, a probe has two equal answers, edits share
            a name, or one is on at no token.
        ModelError: An edit's hook does not exist, has another width, or did not fire exactly once
            on every token.

    Note:
        Answers that share their first token are compared on what follows it; that is warned about.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     table = behavior(start, world.probes(contexts=("nameless",)).head(1))
    >>> list(table["value"][:3]), bool(table["answer_mass"][0] < 0.01)  # nothing is learned yet
    (['football', 'basketball', 'tennis'], True)
    """
    questions = Questionnaire(probes)
    groups = list_edits(edits)
    models = list_checkpoints(checkpoints)
    tables = []
    for checkpoint in tqdm(models, desc="behavior", delay=2, disable=len(models) < 2):
        subject = open_subject(checkpoint, groups, device=device, dtype=dtype)
        # checkpoints of a run share a tokenizer, and so the tokens
        questions.read_by(subject)
        for name, group in tqdm(
            subject.groups.items(),
            desc=f"edits of {checkpoint.label}",
            delay=2,
            leave=False,
            disable=not groups,
        ):
            table = questions.table(
                subject, group, checkpoint=checkpoint, batch=batch, edit=name if groups else None
            )
            tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    table.attrs["n_tokens"] = questions.n_tokens * len(tables)
    return table
