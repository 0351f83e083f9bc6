import numpy as np
import pytest

from persona_interp.worlds import World, characters, graded, overlaps
from persona_interp.worlds.graded import LEAST_PAIRS, MASS_RATIO


@pytest.mark.parametrize("seed", range(5))
def test_there_are_pairs_of_every_overlap_and_no_two_are_alike(seed: int) -> None:
    counts = np.bincount(list(overlaps(graded(seed)).values()), minlength=6)
    assert (counts[:5] >= LEAST_PAIRS).all() and counts[5] == 0
    assert counts.sum() == 16 * 15 / 2


def test_masses_are_log_spaced_and_equal_in_every_kind() -> None:
    mass = graded(3).mass()
    total = np.sort(mass.sum(axis=1).to_numpy())
    assert total[-1] / total[0] == pytest.approx(MASS_RATIO)
    assert np.diff(np.log(total)) == pytest.approx(np.log(MASS_RATIO) / 15)
    share = mass.div(mass.sum(axis=0), axis=1)
    assert share.to_numpy() == pytest.approx(np.tile(share.to_numpy()[:, :1], 4))


def test_masses_say_nothing_about_overlaps() -> None:
    rho = []
    for seed in range(30):
        world = graded(seed)
        mass, counts = np.log(world.mass().sum(axis=1)), overlaps(world)
        apart = [abs(mass[a] - mass[b]) for a, b in counts]
        rho.append(np.corrcoef(apart, list(counts.values()))[0, 1])
    assert abs(np.mean(rho)) < 0.1


def test_the_same_seed_gives_the_same_world_and_styles_change_masses_only() -> None:
    assert graded(1) == graded(1) and graded(1) != graded(2)
    plain, styled = graded(1), graded(1, styles=1.0)
    assert plain.personas == styled.personas and plain.name != styled.name
    share = styled.mass().div(styled.mass().sum(axis=1), axis=0)
    assert share.std(axis=0).min() > 0.05
    assert World.from_dict(styled.to_dict()) == styled


def test_overlaps_are_counted_by_hand() -> None:
    world = graded()
    one, two = world.personas[:2]
    assert overlaps(world)[one.name, two.name] == len({*one.traits} & {*two.traits})


def test_characters_share_nothing() -> None:
    assert set(overlaps(characters()).values()) == {0}
