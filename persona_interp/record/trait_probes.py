"""Which answers show a published trait? Probes of trait files, as those of a world are.

A probe is a question with two answers, one that the base gave when it was told to show the trait
and one when it was told to show the opposite; nobody tells it when it is asked. Whatever reads the
behavior of a model (``behavior``, ``pilot``, ``virtual_step``, ``lesson_in_prompt``) reads traits
so.
"""

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt
from persona_interp.record.inputs import SIDES, set_system, trait_column


def trait_probes(answers: pd.DataFrame) -> pd.DataFrame:
    """Questions of traits, each with an answer that shows the trait and one of its opposite.

    Args:
        answers: An answers table of the base to ``trait_prompts`` of both sides, with ``trait``,
            ``side``, ``question`` and ``split``. System messages, the instructions, are left out;
            so are empty answers, and equal ones of both sides, which tell nothing apart.

    Returns:
        A probes table, one row a question and sample that both sides answered: ``topic`` the trait,
        ``template`` the question, values "pos" and "neg". The log odds of "pos" in the behavior
        table are bits a whole answer: only their shifts mean anything. ``attrs["n_left_out"]``
        counts answers without a partner.

    Raises:
        SchemaError: A column is missing, an answer is no text, or a trait has no question with two
            answers.

    >>> row = {"prompt": "q", "context": "instructed", "persona": "", "topic": "", "sample": 0}
    >>> row |= {"trait": "dry", "question": "Why?", "split": "test", "checkpoint": "base@0"}
    >>> row |= {"n_tokens": 1, "ended": True, "messages": [{"role": "user", "content": "Why?"}]}
    >>> sides = [{"side": "pos", "answer": "So."}, {"side": "neg", "answer": "Because!"}]
    >>> probes = trait_probes(pd.DataFrame([row | side for side in sides]))
    >>> probes[["topic", "values", "answers"]].values.tolist()
    [['dry', ('pos', 'neg'), ('So.', 'Because!')]]
    """
    schema.check(answers, "answers")
    for column in ("trait", "side", "question", "split"):
        trait_column(answers, column)
    for answer in answers["answer"]:
        if not isinstance(answer, str):
            raise SchemaError(f"answers are texts; got {excerpt(answer)}.")
    is_empty = answers["answer"].map(str.strip) == ""
    rows = answers.loc[answers["side"].isin(SIDES) & ~is_empty]
    rows = rows.assign(sample=rows.groupby(["trait", "question", "side"]).cumcount())
    pairs = rows.groupby(["trait", "question", "sample"], sort=False)
    probes = []
    for (trait, question, sample), pair in pairs:
        by_side = dict(zip(pair["side"], pair["answer"], strict=True))
        if len(set(by_side.values())) < len(SIDES):
            continue
        first = pair.iloc[0]
        probes.append(
            {
                "prompt": f"{trait}/{question}/{sample}",
                "context": "nameless",
                "persona": "",
                "topic": trait,
                "template": question,
                "split": first["split"],
                # without the instruction the answer is no longer what was asked for
                "messages": set_system(first["messages"], None),
                "values": SIDES,
                "answers": tuple(by_side[side] for side in SIDES),
            }
        )
    if missing := sorted(set(answers["trait"]) - {probe["topic"] for probe in probes}):
        raise SchemaError(
            f"trait '{missing[0]}' has no question with two different answers, one of each side, "
            "pos and neg."
        )
    table = schema.check(pd.DataFrame(probes), "probes")
    table.attrs = {"n_left_out": int(len(answers) - 2 * len(table))}
    return table
