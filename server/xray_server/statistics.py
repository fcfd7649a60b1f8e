"""What is chance and what is not, where runs differ among themselves. Pure functions: no I/O, nothing of runs and steps.

Items of one run are not independent: yesterday's were other items. So a run is the unit: the variance of a pooled rate is that of
the runs' own deviations from it (the ratio estimator of cluster sampling; Cochran, Sampling Techniques, 6.3), never below
what chance among items alone would give. Few runs, or one that holds most items, leave few degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MIN_EXPECTED: Final = 5.0  # Cochran's rule: below it the approximation does not hold
_WITHIN: Final = 1.92  # half the 95% point of chi-square with one degree of freedom
Hits = tuple[int, int]  # of n items of a run, how many


@dataclass(frozen=True, slots=True)
class Difference:
    """Two pooled rates (or means) compared.

    Attributes:
        enough: False where there are too few runs or items to say anything; `p` is then 1.
        p: how likely a difference as large is, if runs scatter as these do and nothing else differs.
        error: the standard error of b - a.
    """

    enough: bool
    a: float | None = None
    b: float | None = None
    p: float = 1.0
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """The first place of the new regime in a series; `low` to `high` are the places that are nearly as likely."""

    at: int
    low: int
    high: int


def compare_rates(a: Sequence[Hits], b: Sequence[Hits]) -> Difference:
    """Whether two groups of runs differ in a rate: Welch's t over the runs, two-sided.

    A group of one run has no scatter of its own, and takes that of the other.
    """
    a, b = ([(k, n) for k, n in group if n > 0 and 0 <= k <= n] for group in (a, b))
    if not a or not b:
        return Difference(False, _pooled(a) if a else None, _pooled(b) if b else None)
    rate_a, rate_b = _pooled(a), _pooled(b)
    n_a, n_b = sum(n for _, n in a), sum(n for _, n in b)
    pooled = (sum(k for k, _ in a) + sum(k for k, _ in b)) / (n_a + n_b)
    if min(n_a, n_b) * min(pooled, 1 - pooled) < MIN_EXPECTED or len(a) + len(b) < 4:
        return Difference(False, rate_a, rate_b)
    chance = pooled * (1 - pooled)
    scatter_a, runs_a = _scatter(a, rate_a, chance)
    scatter_b, runs_b = _scatter(b, rate_b, chance)
    if runs_a < 2 and runs_b < 2:
        return Difference(False, rate_a, rate_b)
    if runs_a < 2 or runs_b < 2:  # one run holds nearly all: the other group says how runs scatter
        phi = scatter_a if runs_a >= runs_b else scatter_b
        error = math.sqrt(chance * phi * (_share(a) + _share(b)))
        degrees = max(runs_a, runs_b) - 1
    else:
        var_a, var_b = chance * scatter_a * _share(a), chance * scatter_b * _share(b)
        error = math.sqrt(var_a + var_b)
        degrees = (var_a + var_b) ** 2 / (var_a**2 / (runs_a - 1) + var_b**2 / (runs_b - 1))
    return Difference(True, rate_a, rate_b, t_two_sided((rate_b - rate_a) / error, degrees), error)


def compare_means(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Whether two groups differ in a mean: Welch's t, two-sided. Of what is spread over magnitudes pass the logarithms."""
    if len(a) < 3 or len(b) < 3:
        return Difference(False)
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    var_a = math.fsum((x - mean_a) ** 2 for x in a) / (len(a) - 1) / len(a)
    var_b = math.fsum((x - mean_b) ** 2 for x in b) / (len(b) - 1) / len(b)
    if var_a + var_b <= 0:
        return Difference(True, mean_a, mean_b, 1.0 if mean_a == mean_b else 0.0)
    degrees = (var_a + var_b) ** 2 / (var_a**2 / (len(a) - 1) + var_b**2 / (len(b) - 1))
    error = math.sqrt(var_a + var_b)
    return Difference(True, mean_a, mean_b, t_two_sided((mean_b - mean_a) / error, degrees), error)


def change_point(series: Sequence[Hits]) -> ChangePoint | None:
    """Where a series of runs, oldest first, is best cut in two of different rates; None where no cut tells more than none.

    The likelihood of every cut is weighed, that of chance among items divided by how much more the runs scatter about their
    two rates.
    """
    known = [(at, k, n) for at, (k, n) in enumerate(series) if n > 0 and 0 <= k <= n]
    hits, total = sum(k for _, k, _ in known), sum(n for _, _, n in known)
    whole = _likelihood(hits, total)
    gains: list[float] = []
    k_before = n_before = 0
    for _, k, n in known[:-1]:
        k_before, n_before = k_before + k, n_before + n
        gain = _likelihood(k_before, n_before) + _likelihood(hits - k_before, total - n_before) - whole
        gains.append(gain)
    best = max(range(len(gains)), key=gains.__getitem__, default=-1)
    if best < 0 or gains[best] <= 0:
        return None
    sides = known[: best + 1], known[best + 1 :]
    chi_square = 0.0
    for side in sides:
        rate = sum(k for _, k, _ in side) / sum(n for _, _, n in side)
        if 0 < rate < 1:
            chi_square += sum((k - n * rate) ** 2 / (n * rate * (1 - rate)) for _, k, n in side)
    phi = max(1.0, chi_square / max(1, len(known) - 2))
    near = [at for at, gain in enumerate(gains) if (gains[best] - gain) / phi <= _WITHIN]
    return ChangePoint(known[best + 1][0], known[min(near) + 1][0], known[max(near) + 1][0])


def holm(ps: Sequence[float]) -> list[float]:
    """Each of several p, adjusted for that so many were asked: below alpha, the chance of any false one is below alpha."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted = [1.0] * len(ps)
    worst = 0.0
    for rank, at in enumerate(order):
        worst = max(worst, min(1.0, ps[at] * (len(ps) - rank)))
        adjusted[at] = worst
    return adjusted


def _pooled(group: Sequence[Hits]) -> float:
    return sum(k for k, _ in group) / sum(n for _, n in group)


def _share(group: Sequence[Hits]) -> float:
    return 1 / sum(n for _, n in group)


def _scatter(group: Sequence[Hits], rate: float, chance: float) -> tuple[float, float]:
    """By how much the variance of a group's pooled rate is more than chance among its items; and how many runs of equal size
    would tell as much as these do.
    """
    total = sum(n for _, n in group)
    runs = total**2 / sum(n * n for _, n in group)
    if runs < 2:
        return 1.0, runs
    squares = math.fsum((k - n * rate) ** 2 for k, n in group) * runs / (runs - 1)
    return max(1.0, squares / (chance * total)), runs


def _likelihood(k: int, n: int) -> float:
    """Of k of n at their own rate, logarithm."""
    if k in (0, n):
        return 0.0
    return k * math.log(k / n) + (n - k) * math.log1p(-k / n)


def t_two_sided(t: float, degrees: float) -> float:
    """The probability of |T| >= |t| for Student's t."""
    return incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5)


def f_upper(f: float, numerator: int, denominator: int) -> float:
    """The probability of F >= f."""
    if f <= 0:
        return 1.0
    return incomplete_beta(denominator / (denominator + numerator * f), denominator / 2, numerator / 2)


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22, Lentz's method)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    fraction = d
    for m in range(1, 500):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + term / c
            c = c if abs(c) > tiny else tiny
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-12:
            break
    return min(1.0, front * fraction / a)
