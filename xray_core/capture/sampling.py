"""Which details are kept. Never touches counts or verdicts, which are complete whatever is sampled.

An item's fate is its hash under the run's seed, a number in [0, 2**64): the same in every step of the run, so a sampled
item is sampled throughout. Of one reason the item is kept when its hash is below `rate`, or among the `per_reason`
smallest. That is a bottom-k sample with a floor: given the other items, an item is kept exactly when its hash is below
max(rate, the (k+1)-th smallest hash of its reason), so that this threshold is its inclusion probability and 1 / threshold
its weight (Cohen and Kaplan, "Summarizing data using bottom-k sketches", 2007). When a step holds too many samples, its
rate is halved and what lies above is dropped, which keeps both properties.
"""

from __future__ import annotations

import heapq
from typing import Any, Final, Protocol

from xray_core.safety import swallow

SPACE: Final = 1 << 64

Sample = tuple[str, Any, Any, Any, int]  # item id, details, score, rank, at_us


class ReasonSampler(Protocol):
    """The samples of one (outcome, reason) of one step. `offer` may be called from several threads."""

    limit: int
    """Hashes at or above it are certainly not kept: the hot path tests this and goes on."""

    def offer(self, hashed: int, sample: Sample) -> None:
        """Consider a sample whose hash is below `limit`."""

    def kept(self) -> list[tuple[Sample, float]]:
        """What is kept now, with weights (1 / inclusion probability)."""


class StepSampler(Protocol):
    """Makes the reason samplers of one step and bounds them together."""

    def reason(self) -> ReasonSampler:
        """A new sampler for a reason met for the first time."""


class Sampler(Protocol):
    """What `xray_make_sampler` returns: decides for each step which details are kept."""

    def step(self, *, rate: float, per_reason: int, max_samples: int) -> StepSampler:
        """The sampler of a step that opens now."""


class BottomKSampler:
    """The default sampler; see the module."""

    def step(self, *, rate: float, per_reason: int, max_samples: int) -> StepSampler:
        """The sampler of a step that opens now; see `Sampler.step`."""
        return _Step(rate, per_reason, max_samples)


class _Step:
    __slots__ = ("held", "max_samples", "per_reason", "reasons", "threshold")

    def __init__(self, rate: float, per_reason: int, max_samples: int) -> None:
        self.threshold = min(SPACE, int(rate * SPACE))
        self.per_reason = per_reason
        self.max_samples = max_samples
        self.reasons: list[_Reason] = []
        self.held = 0

    def reason(self) -> ReasonSampler:
        made = _Reason(self)
        self.reasons.append(made)
        return made

    def shrink(self) -> None:
        """Too many: halve the rate; when the rate is spent, the number kept for each reason."""
        while self.held > self.max_samples:
            largest = max((hashed for reason in self.reasons for hashed, _ in reason.above), default=-1)
            if largest >= 0:
                self.threshold = min(self.threshold, largest + 1) // 2
            elif self.per_reason > 0:
                # many rare reasons: each keeps fewer, at last none; every count stays exact all the same
                self.per_reason //= 2
            else:
                return
            self.held = sum(reason.tighten() for reason in self.reasons)


class _Reason:
    """`smallest`: a max-heap (negated) of the per_reason + 1 smallest hashes; `above`: others below the rate."""

    __slots__ = ("above", "limit", "offered", "smallest", "step")

    def __init__(self, step: _Step) -> None:
        self.step = step
        self.smallest: list[tuple[int, int, Sample]] = []  # (-hash, order of arrival, sample): samples do not compare
        self.above: list[tuple[int, Sample]] = []
        self.offered = 0
        self.limit = SPACE if step.per_reason > 0 else step.threshold

    def offer(self, hashed: int, sample: Sample) -> None:
        step, smallest = self.step, self.smallest
        self.offered += 1
        step.held += 1
        entry = -hashed, self.offered, sample
        if len(smallest) <= step.per_reason:
            heapq.heappush(smallest, entry)
            self._settle()
        else:  # the common case of `_settle`: one comes, one goes
            negative, _, largest = heapq.heappushpop(smallest, entry)
            if -negative < step.threshold:
                self.above.append((-negative, largest))
            else:
                step.held -= 1
            self.limit = max(step.threshold, -smallest[0][0])
        if step.held > step.max_samples:
            step.shrink()

    def tighten(self) -> int:
        """Drop what the step's bounds no longer allow; the number that is left."""
        threshold = self.step.threshold
        self.above = [(hashed, sample) for hashed, sample in self.above if hashed < threshold]
        self._settle()
        return len(self.smallest) + len(self.above)

    def _settle(self) -> None:
        step = self.step
        keep = step.per_reason + 1 if step.per_reason > 0 else 0
        while len(self.smallest) > keep:
            negative, _, sample = heapq.heappop(self.smallest)
            if -negative < step.threshold:
                self.above.append((-negative, sample))
            else:
                step.held -= 1
        if len(self.smallest) < keep:
            self.limit = SPACE
        else:
            self.limit = max(step.threshold, -self.smallest[0][0]) if keep else step.threshold

    def kept(self) -> list[tuple[Sample, float]]:
        step = self.step
        if step.per_reason > 0 and len(self.smallest) <= step.per_reason:
            bound = SPACE  # the reason is so rare that all of it is here
        else:
            bound = max(step.threshold, -self.smallest[0][0] if self.smallest else 0)
        if bound == 0:
            return []
        weight = SPACE / bound
        everything = [(-negative, sample) for negative, _, sample in self.smallest] + self.above
        return [(sample, weight) for hashed, sample in sorted(everything, key=_by_hash) if hashed < bound]


class KeepAll:
    """Capture level `full`: every detail, weight 1. Bounded by the capture, which drains it in chunks."""

    __slots__ = ("limit", "pending")

    def __init__(self) -> None:
        self.limit = SPACE
        self.pending: list[Sample] = []

    def offer(self, hashed: int, sample: Sample) -> None:
        """Keep the sample, whatever its hash."""
        self.pending.append(sample)

    def kept(self) -> list[tuple[Sample, float]]:
        """The samples since the last call, each with weight 1."""
        taken = self.pending[: len(self.pending)]
        del self.pending[: len(taken)]
        return [(sample, 1.0) for sample in taken]


class IsolatedSampler:
    """A sampler of the user's or of a plugin's. What it raises costs samples and nothing else, or the default one stands in."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def step(self, *, rate: float, per_reason: int, max_samples: int) -> StepSampler:
        """The sampler of a step that opens now; see `Sampler.step`."""
        default = BottomKSampler().step(rate=rate, per_reason=per_reason, max_samples=max_samples)
        try:
            made = self._sampler.step(rate=rate, per_reason=per_reason, max_samples=max_samples)
        except Exception as error:  # noqa: BLE001
            swallow("a sampler of your own", error)
            return default
        return _IsolatedStep(made, default)


class _IsolatedStep:
    __slots__ = ("_default", "_sampler")

    def __init__(self, sampler: StepSampler, default: StepSampler) -> None:
        self._sampler = sampler
        self._default = default

    def reason(self) -> ReasonSampler:
        try:
            return _IsolatedReason(self._sampler.reason())
        except Exception as error:  # noqa: BLE001
            swallow("a sampler of your own", error)
            return self._default.reason()


class _IsolatedReason:
    __slots__ = ("_sampler", "limit")

    def __init__(self, sampler: ReasonSampler) -> None:
        self._sampler = sampler
        self.limit = int(min(sampler.limit, SPACE))

    def offer(self, hashed: int, sample: Sample) -> None:
        try:
            self._sampler.offer(hashed, sample)
            self.limit = int(min(self._sampler.limit, SPACE))
        except Exception as error:  # noqa: BLE001
            self.limit = 0  # it is asked no more
            swallow("a sampler of your own", error)

    def kept(self) -> list[tuple[Sample, float]]:
        try:
            return [((a, b, c, d, e), float(weight)) for (a, b, c, d, e), weight in self._sampler.kept()]
        except Exception as error:  # noqa: BLE001
            swallow("a sampler of your own", error)
            return []


def _by_hash(entry: tuple[int, Sample]) -> int:
    return entry[0]
