"""examples/xray_examples/flights/dagster_defs.py: the same steps and the same answer as the plain script."""

import pytest

from tests.integrations.dagster.capturing import Captured


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_the_flights_example_is_the_script_in_assets(xray: Captured) -> None:
    from xray_examples.flights.dagster_defs import PIPELINE, defs

    result = defs.get_repository_def().get_job(PIPELINE).execute_in_process()
    assert result.success
    run, steps = xray.run, xray.steps
    assert (run["pipeline"], run["status"]) == ("flight_rebooking", "completed")
    assert {key for key, _ in steps} == {"expand_destinations", "retrieve", "filter", "score", "rank", "select"}
    filtered = xray.step("filter")
    assert (filtered["step_type"], filtered["items"]["in"]["n"]) == ("filter", 336_776)
    assert sum(filtered["counts"].values()) == 336_776, "every flight has a verdict"
    assert xray.step("select")["decisions"][0]["selected"] == result.output_for_node("select")
