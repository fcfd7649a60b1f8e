"""The pytest fixture `xray_result`, installed with X-Ray: what the test's pipelines captured, in memory.

pytest loads this in every project that has X-Ray installed, so it imports nothing until a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xray_core.testing import Captured


@pytest.fixture
def xray_result() -> Iterator[Captured]:
    """Everything X-Ray captures during the test: `xray_result.why("p7").reason == "price_too_high"`."""
    from xray_core.testing import capture

    with capture() as captured:
        yield captured
