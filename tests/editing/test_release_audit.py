"""An auditor that knows both faces finds no epsilon above the claim, and every fault.

False alarm of all honest releases together: 1e-3. The faults are planted in the code
that the honest releases run.
"""

import numpy as np
import pytest

from tfpriv.editing import grid_noise, release_audit, subspace
from tfpriv.editing.grid_noise import GridNoise
from tfpriv.editing.mechanism import AttributeMechanism
from tfpriv.editing.release import Release
from tfpriv.editing.release_audit import CLIP, DELTA, EPSILON, case, cases, directions

FEW, MANY = 20_000, 1_000_000
HONEST = len(cases(np.random.default_rng(0)))
AUDITS = HONEST + 4  # that no fault was planted in
GAUSSIAN = {"epsilon": EPSILON, "delta": DELTA}
LAPLACE = {"epsilon": EPSILON, "delta": 0.0}


def mechanism_case(rng, count=1, dtype="float64", **claim):
    release = AttributeMechanism(directions(rng, count), CLIP, **(claim or GAUSSIAN))
    return case(rng, "planted", release, dtype)


def assert_holds(one, count):
    finding = one.audit(count, configurations=AUDITS)
    print(f"{one.name}: {finding}")  # for the docs, with -rP
    assert not finding.breaks(EPSILON)
    assert finding.epsilon > 0.1 * EPSILON  # the auditor is not blind


@pytest.mark.parametrize("number", range(HONEST))
def test_no_epsilon_above_the_claim(rng, number):
    assert_holds(cases(rng)[number], FEW)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(HONEST))
def test_no_epsilon_above_the_claim_in_a_million(rng, number):
    one = cases(rng)[number]
    assert_holds(one, MANY)
    low, high = one.scale(MANY)
    print(f"{one.name}: noise {low:.4f} to {high:.4f} of what it should be")
    assert low < 1 < high < 1.01 * low


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("claim", [GAUSSIAN, LAPLACE])
def test_either_precision_holds(rng, claim, dtype):
    one = mechanism_case(rng, 3, dtype, **claim)
    if dtype == "float32":  # the faces must be neighbours after rounding, too
        one = next(
            c
            for c in (mechanism_case(rng, 3, dtype, **claim) for _ in range(100))
            if np.array_equal(*map(c.release.remainder, (c.first, c.second)))
        )
    assert_holds(one, FEW)


def assert_broken(one, test=None):
    finding = one.audit(FEW)
    print(f"{one.name}: {finding}")
    assert finding.breaks(EPSILON)
    if test:
        assert finding.test in test


def test_the_seed_s_method_is_broken(rng):
    assert_broken(release_audit.seed_case(rng))


@pytest.mark.parametrize("claim", [GAUSSIAN, LAPLACE])
def test_planted_no_clip(rng, claim, monkeypatch):
    def unclipped(self, offsets):
        return np.trunc(offsets / self.step).astype(np.int64)

    monkeypatch.setattr(GridNoise, "clipped", unclipped)
    assert_broken(mechanism_case(rng, **claim))


@pytest.mark.parametrize("claim", [GAUSSIAN, LAPLACE])
def test_planted_noise_is_clipped_afterwards(rng, claim, monkeypatch):
    real = GridNoise.draw

    def clipped(self, randomness, shape):
        most = CLIP / self.step
        return np.clip(real(self, randomness, shape), -most, most)

    monkeypatch.setattr(GridNoise, "draw", clipped)
    assert_broken(mechanism_case(rng, **claim))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 3])
def test_planted_the_remainder_is_not_rounded(rng, count, dtype, monkeypatch):
    monkeypatch.setattr(Release, "_rounded", lambda self, rest: rest / self.grid)
    assert_broken(mechanism_case(rng, count, dtype), ("rebuilt", "remainder"))


@pytest.mark.parametrize("claim", [GAUSSIAN, LAPLACE])
def test_planted_the_basis_is_not_orthogonal(rng, claim, monkeypatch):
    def normalised(matrix):
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)

    monkeypatch.setattr(subspace, "orthonormalised", normalised)
    assert_broken(mechanism_case(rng, 3, **claim))


def test_planted_noise_is_added_to_the_latent_as_it_is(rng, monkeypatch):
    def added(self, latents):
        coordinates = self.subspace.coordinates(latents)
        return self._rounded(latents), self._clipped(coordinates)

    monkeypatch.setattr(AttributeMechanism, "_taken_apart", added)
    monkeypatch.setattr(Release, "_base", lambda self, rounded: rounded * self.grid)
    assert_broken(mechanism_case(rng))


def test_planted_coordinates_between_the_points_of_the_grid(rng, monkeypatch):
    def loose(self, offsets):
        length = np.abs(offsets)
        return offsets * np.minimum(1, self.radius / length) / self.step * (1 - 1e-9)

    monkeypatch.setattr(GridNoise, "clipped", loose)
    assert_broken(mechanism_case(rng), ("phase", "low bits", "rebuilt"))


def test_planted_sensitivity_is_the_radius(rng, monkeypatch):
    """Half of the noise: found by epsilon for Laplace noise at this size."""
    real = grid_noise.grid_noise

    def halved(clip, **options):
        return real(clip / 2, **options)

    monkeypatch.setattr("tfpriv.editing.mechanism.grid_noise", halved)
    one = mechanism_case(rng, **LAPLACE)
    object.__setattr__(one.release.noise, "radius", CLIP)
    assert_broken(one)


@pytest.mark.parametrize("claim", [GAUSSIAN, LAPLACE])
@pytest.mark.parametrize("factor", [0.5, 0.8, 0.97])
def test_planted_too_little_noise_falls_to_the_direct_test(
    rng, claim, factor, monkeypatch
):
    real = GridNoise.draw

    def less(self, randomness, shape):
        return np.rint(factor * real(self, randomness, shape)).astype(np.int64)

    one = mechanism_case(rng, **claim)
    low, high = one.scale(4 * FEW)
    assert low < 1 < high
    monkeypatch.setattr(GridNoise, "draw", less)
    low, high = one.scale(4 * FEW)
    assert low < factor < high < 1


def test_the_command_prints_a_table(capsys):
    release_audit.main(["--releases", "2000"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + HONEST + 1
    assert all(line.count("|") == 6 for line in lines)
    *claims, seed = [[cell.strip() for cell in line.split("|")] for line in lines[2:]]
    assert all(float(row[3]) <= EPSILON for row in claims)
    assert float(seed[3]) > EPSILON
