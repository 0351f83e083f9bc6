"""Which words does a direction of the residual write?"""

import pandas as pd
import torch

from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, load
from persona_interp.models.dtype import FULL
from persona_interp.models.explain import pieces
from persona_interp.record.vectors import Vectors, numbers
from persona_interp.values import check_count


@torch.inference_mode()
def lens(
    checkpoint: Checkpoint,
    vector: Vectors,
    *,
    k: int = 10,
    device: object = None,
    dtype: str = FULL,
) -> pd.DataFrame:
    """Tokens that this direction makes likelier, and less likely, if nothing else acts on it.

    The logit lens (nostalgebraist 2020) of a direction: ``W_U (g * v)``, g the weight of the final
    norm, minus the mean over the vocabulary. The norm's scale depends on the residual and is left
    out, so that only ranks and ratios mean something.

    Args:
        checkpoint: Gives unembedding and final norm.
        vector: Direction of the residual, (d_model), an array or a tensor on any device: a decoder
            row of an SAE that reads the residual or what is added to it, or a direction of
            ``record``. (A decoder row of an SAE of heads or of the MLP's hidden layer is none,
            though it may be as long.) Or several of them, (n, d_model).
        k: Tokens at either end.
        device: Where to compute; by default "cuda" where there is one.
        dtype: "float32", "bfloat16", or "auto" for whichever is faster here.

    Returns:
        ``token``, ``weight`` (logits up to a common factor; positive = likelier), largest first; 2
        k rows. Of several directions as many for each, whose number stands in ``row``.

    Raises:
        SchemaError: The vector is not as wide as the model.
    """
    check_count(k, "k")
    model, tokenizer = load(checkpoint, device=device, dtype=dtype)
    unembed = model.get_output_embeddings().weight.float()
    vectors = torch.as_tensor(numbers(vector), device=unembed.device).float()
    if vectors.ndim not in (1, 2) or vectors.shape[-1] != unembed.shape[1]:
        raise SchemaError(
            f"expected a direction of {unembed.shape[1]} numbers, as wide as the model, or rows of "
            f"that many; got {tuple(vectors.shape)}."
        )
    # Llama and its kin call the final norm "norm", GPT-2 and its kin "ln_f"
    norm = getattr(model.base_model, "norm", None) or getattr(model.base_model, "ln_f", None)
    if norm is not None:
        vectors = vectors * norm.weight.float()
    parts = []
    for row, v in enumerate(torch.atleast_2d(vectors)):
        weights = unembed @ v
        # a constant added to all logits changes no probability
        weights = weights - weights.mean()
        order = weights.argsort(descending=True)
        ends = torch.cat([order[:k], order[-k:]])
        texts = pieces(tokenizer, ends.tolist())
        tokens = [texts[i] for i in ends.tolist()]
        table = pd.DataFrame({"token": tokens, "weight": weights[ends].cpu().numpy()})
        parts.append(table if vectors.ndim == 1 else table.assign(row=row))
    return pd.concat(parts, ignore_index=True)
