"""Whether a run differs from the ones before it: the statistics of the `changed_*` metrics. Pure functions, no I/O.

Runs of one pipeline differ among themselves by more than chance alone (yesterday's items were other items), so a plain test
of two proportions would call every large run changed. Here the scatter among the runs before is measured first, as the
dispersion phi = Pearson's chi-square / degrees of freedom (never below 1), and a change must stand out from that:
quasi-binomial, t distributed for rates; quasi-multinomial, F distributed for mixes (McCullagh & Nelder, Generalized Linear
Models, 4.5). Beside being significant a change must be large enough to matter, and nothing is said of small numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from xray_server.statistics import MIN_EXPECTED, f_upper, t_two_sided

ALPHA: Final = (
    0.001  # a rule is asked at every run: one false alarm in a thousand, before the size of the change is looked at
)
OTHER: Final = "(other)"


@dataclass(frozen=True, slots=True)
class Change:
    """What a comparison found.

    Attributes:
        enough: False when there were too few runs or items to say anything.
        changed: significant, and at least as large as asked for.
        size: of rates, the difference; of mixes, the share of items that would have to change their reason.
        p: how likely such a difference is among runs that scatter like the ones before.
    """

    enough: bool
    changed: bool = False
    size: float = 0.0
    p: float = 1.0
    before: float = 0.0
    now: float = 0.0
    runs: int = 0
    most: str | None = None


def rate_change(hits: int, n: int, before: Sequence[tuple[int, int]], *, min_change: float, min_runs: int) -> Change:
    """Whether `hits` of `n` differs from the rates of the runs before, given as (hits, n).

    z = (p - P) / sqrt(phi * q(1 - q) * (1/n + 1/N)), two-sided, t distributed with runs - 1 degrees of freedom;
    P is the pooled rate before, q the pooled rate of all, phi the dispersion among the runs before.
    """
    before = [(k, m) for k, m in before if m > 0 and 0 <= k <= m]
    total_hits, total = sum(k for k, _ in before), sum(m for _, m in before)
    if len(before) < min_runs or n <= 0 or not 0 <= hits <= n:
        return Change(enough=False, runs=len(before))
    rate, rate_before = hits / n, total_hits / total
    pooled = (hits + total_hits) / (n + total)
    found = Change(True, size=abs(rate - rate_before), before=rate_before, now=rate, runs=len(before))
    if pooled in (0.0, 1.0):
        return found
    if min(n, total) * min(pooled, 1 - pooled) < MIN_EXPECTED:
        return Change(enough=False, runs=len(before))
    variance_before = rate_before * (1 - rate_before)
    phi = 1.0
    if variance_before > 0:
        chi_square = sum((k - m * rate_before) ** 2 / (m * variance_before) for k, m in before)
        phi = max(1.0, chi_square / (len(before) - 1))
    t = (rate - rate_before) / math.sqrt(phi * pooled * (1 - pooled) * (1 / n + 1 / total))
    p = t_two_sided(t, len(before) - 1)
    changed = p < ALPHA and found.size >= min_change
    return Change(True, changed, found.size, p, rate_before, rate, len(before))


def mix_change(
    now: Mapping[str, int], before: Sequence[Mapping[str, int]], *, min_change: float, min_runs: int
) -> Change:
    """Whether the mix of reasons differs from that of the runs before. Reasons too rare to test are added up as one.

    Chi-square of the table (this run, runs before) x reasons, divided by its degrees of freedom and by phi: F distributed
    with (reasons - 1, (reasons - 1) * (runs - 1)) degrees of freedom. The size is half the sum of absolute differences.
    """
    before = [mix for mix in before if sum(mix.values()) > 0]
    n = sum(now.values())
    if len(before) < min_runs or n <= 0:
        return Change(enough=False, runs=len(before))
    total = sum(sum(mix.values()) for mix in before)
    all_before = {name: sum(mix.get(name, 0) for mix in before) for name in set(now).union(*before)}
    share = {name: (now.get(name, 0) + k) / (n + total) for name, k in all_before.items()}
    kept = sorted(name for name, part in share.items() if min(n, total) * part >= MIN_EXPECTED)
    names = [*kept, OTHER]
    table_now, table_before = _lumped(now, kept), _lumped(all_before, kept)
    other = (table_now[OTHER] + table_before[OTHER]) / (n + total)
    if min(n, total) * other < MIN_EXPECTED:
        names.pop()  # too rare even together: what is left is tested without them
    if not names:
        return Change(enough=False, runs=len(before))
    differences = {name: table_now[name] / n - table_before[name] / total for name in (*kept, OTHER)}
    size = sum(abs(each) for each in differences.values()) / 2
    most = max(differences, key=lambda name: abs(differences[name]))
    found = Change(True, size=size, runs=len(before), most=most)
    if len(names) < 2:
        return found
    degrees = len(names) - 1
    pooled = {name: (table_now[name] + table_before[name]) / (n + total) for name in names}
    chi_square = sum(
        (table[name] - size_ * pooled[name]) ** 2 / (size_ * pooled[name])
        for table, size_ in ((table_now, n), (table_before, total))
        for name in names
    )
    scatter = 0.0
    for mix in before:
        lumped, m = _lumped(mix, kept), sum(mix.values())
        scatter += sum(
            (lumped[name] - m * table_before[name] / total) ** 2 / (m * table_before[name] / total)
            for name in names
            if table_before[name]
        )
    free = degrees * (len(before) - 1)
    phi = max(1.0, scatter / free)
    p = f_upper(chi_square / degrees / phi, degrees, free)
    return Change(
        True,
        p < ALPHA and size >= min_change,
        size,
        p,
        table_before[most] / total,
        table_now[most] / n,
        len(before),
        most,
    )


def _lumped(mix: Mapping[str, int], kept: Sequence[str]) -> dict[str, int]:
    lumped = {name: mix.get(name, 0) for name in kept}
    lumped[OTHER] = sum(mix.values()) - sum(lumped.values())
    return lumped
