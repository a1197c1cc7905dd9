"""What each scenario brings about, on the driver; a broker is held to the same elsewhere."""

import json

import pytest
from driver_scenarios import SCENARIOS, Scenario
from test_stream_driver import RAW, TRADES

pytestmark = pytest.mark.usefixtures("quiet_logs")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_a_scenario_brings_about_what_it_says(k2_driver, scenario: Scenario):
    driver = k2_driver(TRADES)
    driver.input(RAW).send_many(scenario.messages)
    assert driver.output("trades").read_all().num_rows == scenario.rows
    events = [json.loads(one.value) for one in driver.output("k2.sequence-events").records()]
    assert {one["type"] for one in events} == scenario.events
    assert {one["scope"] for one in events} <= set(scenario.scopes)
    assert sorted(one.reason for one in driver.dead_letters()) == sorted(scenario.letters)


def test_no_two_scenarios_share_a_scope():
    scopes = [scope for one in SCENARIOS for scope in one.scopes]
    assert len(scopes) == len(set(scopes))
    assert len(SCENARIOS) >= 20
