"""How fast are a few features of a wide dictionary?

    python benchmarks/subset.py [--pairs 3]

50 of 65,536 JumpReLU features. The reference encodes all of them by SAELens, 1,024 rows at a time,
and keeps the fifty; the largest difference and the flips are counted beside.
"""

import argparse
import os
from collections.abc import Iterator
from functools import partial

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor

from line import Line, beside
from persona_interp.dictionaries.dictionary import SparseDictionary
from persona_interp.dictionaries.saelens import import_saelens
from persona_interp.dictionaries.subset import FeatureEncoder, encode_features

THRESHOLD = 3.0
BAND = 1e-5
"""How far from the threshold an activation may lie that rounding turns on or off."""
SPEED = "speed, in full encodes by SAELens"


def wide_dictionary(width: int, wide: int) -> SparseDictionary:
    """A random JumpReLU dictionary."""
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

    generator = torch.Generator().manual_seed(0)
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=width, d_sae=wide)).requires_grad_(requires_grad=False)
    decoder = torch.randn(wide, width, generator=generator)
    decoder /= decoder.norm(dim=1, keepdim=True)
    sae.W_dec.copy_(decoder)
    sae.W_enc.copy_(decoder.T)
    sae.b_enc.copy_(0.1 * torch.randn(wide, generator=generator))
    sae.b_dec.copy_(torch.randn(width, generator=generator))
    sae.threshold.fill_(THRESHOLD)
    return SparseDictionary(sae, "wide", "blocks.0.hook_out", torch.zeros(width), 1.0)


def lines(
    *, pairs: int, width: int = 576, wide: int = 65_536, few: int = 50, rows: int = 20_000
) -> Iterator[Line]:
    """The speed of chosen features, and how far they are from those of all.

    Args:
        pairs: Interleaved pairs.
        width: Of a residual.
        wide: Features of the dictionary.
        few: Features that are asked for.
        rows: Residuals; a tenth of them in the second and third line.
    """
    torch.set_num_threads(1)
    import_saelens()
    own = wide_dictionary(width, wide)
    generator = torch.Generator().manual_seed(1)
    chosen = torch.randperm(wide, generator=generator)[:few].tolist()
    acts = torch.randn(rows, width, generator=generator) + own.sae.b_dec
    once = FeatureEncoder(own, chosen)
    kept: dict[int, Tensor] = {}

    def whole(part: Tensor) -> None:
        encoded = [own.sae.encode(chunk)[:, chosen] for chunk in part.split(1024)]
        kept[len(part)] = torch.cat(encoded)

    each = partial(encode_features, own, features=chosen)
    some = acts[: rows // 10]
    for label, part, contender in (
        ("ours, columns read once", some, once.encode),
        ("ours, columns read in each call", some, each),
        ("ours, columns read in each call", acts, each),
    ):
        least = 1000.0 if part is acts else None
        line = Line("subset encode", label, SPEED, at_least=least)
        run = partial(contender, part)
        line = beside(line, partial(whole, part), lambda run=run: run, pairs=pairs)
        remark = f"{few} of {wide:,} features, {len(part):,} rows"
        if part is acts:
            remark += "; " + differences(kept[rows], each(acts))
        yield line._replace(remark=remark)


def differences(full: Tensor, found: Tensor) -> str:
    """In words, how far two encodings lie apart, and how many activations flip."""
    is_flipped = (full > 0) != (found > 0)
    gap = float((full - found)[~is_flipped].abs().max())
    outside = int((is_flipped & ((full + found - THRESHOLD).abs() > BAND)).sum())
    return f"largest difference {gap:.1e}, {outside} flips outside a band of {BAND:g}"


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    for line in lines(pairs=parser.parse_args().pairs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
