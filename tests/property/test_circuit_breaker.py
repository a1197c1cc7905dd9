"""The breaker on random walks of calls and time, against what its whole history says."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.load import backoff
from k2_streams.core.load.circuit_breaker import (
    TRANSITIONS,
    TRIAL_AGAIN_S,
    Breaker,
    BreakerPolicy,
    BreakerState,
    CallOutcome,
    answered,
    ask,
    retry_after_s,
)

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN

policies = st.builds(
    BreakerPolicy,
    failures=st.integers(1, 4),
    open_s=st.sampled_from([0.5, 2.0, 10.0]),
    successes=st.integers(1, 3),
)
#: A call, the end of the call that has been out longest or shortest, or time.
moves = st.one_of(
    st.just(("call",)),
    st.tuples(st.just("end"), st.sampled_from(list(CallOutcome)), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.5, 2.0, 9.0])),
)


@dataclass
class Model:
    """Remembers every outcome of the present state, and decides from the list."""

    policy: BreakerPolicy
    state: BreakerState = CLOSED
    since_s: float = 0.0
    outcomes: list[CallOutcome] = field(default_factory=list)
    out: list[int] = field(default_factory=list)  # calls under way that began in this state

    def call(self, now_s: float) -> bool:
        if self.state is OPEN and now_s - self.since_s >= self.policy.open_s:
            self.become(HALF_OPEN, now_s)
        return self.state is CLOSED or (self.state is HALF_OPEN and not self.out)

    def become(self, state: BreakerState, now_s: float) -> None:
        self.state, self.since_s, self.outcomes, self.out = state, now_s, [], []

    def end(self, call: int, outcome: CallOutcome, now_s: float) -> None:
        if call not in self.out:
            return  # it began in another state
        self.out.remove(call)
        if outcome is not CallOutcome.UNKNOWN:
            self.outcomes.append(outcome)
        last = self.outcomes[::-1]
        if self.state is CLOSED:
            if last[: self.policy.failures] == [CallOutcome.FAILURE] * self.policy.failures:
                self.become(OPEN, now_s)
        elif CallOutcome.FAILURE in last:
            self.become(OPEN, now_s)
        elif len(last) == self.policy.successes:
            self.become(CLOSED, now_s)


@given(policies, st.lists(moves, max_size=80))
def test_the_breaker_does_what_its_history_says(policy, walk):
    breaker, model = Breaker(), Model(policy)
    now_s, made = 0.0, 0
    out: list[tuple[int, int]] = []  # (call, the period in which it began)
    for move in walk:
        before = breaker.state
        if move[0] == "wait":
            now_s += move[1]
        elif move[0] == "call":
            # Not as a sum: a wait below the last digit of `now_s` would be lost in it.
            refused_for_s = retry_after_s(breaker, now_s, policy)
            breaker, allowed = ask(breaker, now_s, policy)
            assert allowed == model.call(now_s)
            assert allowed == (refused_for_s <= 0)
            if allowed:
                made += 1
                out.append((made, breaker.period))
                model.out.append(made)
        elif out:
            call, period = out.pop(0 if move[2] else -1)
            breaker = answered(breaker, period, move[1], now_s, policy)
            model.end(call, move[1], now_s)
        assert (breaker.state, breaker.since_s) == (model.state, model.since_s)
        assert breaker.state is before or breaker.state in TRANSITIONS[before]
        if breaker.state is HALF_OPEN:
            assert breaker.on_trial == bool(model.out)


def test_every_state_can_be_left_and_none_is_left_for_itself():
    assert set(TRANSITIONS) == set(BreakerState)
    assert all(after and state not in after for state, after in TRANSITIONS.items())
    assert CLOSED not in TRANSITIONS[OPEN], "a lake is tried before it is trusted"


def test_a_success_between_failures_keeps_it_closed():
    policy, breaker = BreakerPolicy(failures=2), Breaker()
    for outcome in (CallOutcome.FAILURE, CallOutcome.SUCCESS, CallOutcome.FAILURE):
        breaker = answered(breaker, breaker.period, outcome, 1.0, policy)
    assert breaker.state is CLOSED
    breaker = answered(breaker, breaker.period, CallOutcome.FAILURE, 2.0, policy)
    assert (breaker.state, breaker.since_s) == (OPEN, 2.0)


def test_an_answer_to_a_call_from_before_says_nothing():
    policy, breaker = BreakerPolicy(failures=1, open_s=1.0, successes=1), Breaker()
    old = breaker.period
    breaker = answered(breaker, old, CallOutcome.FAILURE, 0.0, policy)
    breaker, _ = ask(breaker, 1.0, policy)
    for outcome in (CallOutcome.SUCCESS, CallOutcome.FAILURE):
        assert answered(breaker, old, outcome, 1.0, policy) is breaker


def test_who_finds_a_trial_under_way_comes_back_soon():
    policy = BreakerPolicy(failures=1, open_s=5.0)
    breaker = answered(Breaker(), 0, CallOutcome.FAILURE, 0.0, policy)
    assert retry_after_s(breaker, 2.0, policy) == 3.0
    breaker, allowed = ask(breaker, 5.0, policy)
    assert allowed
    assert ask(breaker, 5.0, policy) == (breaker, False)
    assert retry_after_s(breaker, 5.0, policy) == TRIAL_AGAIN_S


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_double_up_to_a_bound_and_half_of_each_is_chance(attempt, chance):
    wait_s = backoff.wait_s(attempt, 1.0, 30.0, chance)
    longest_s = min(2.0 ** min(attempt - 1, 60), 30.0)
    assert longest_s / 2 <= wait_s <= longest_s
    assert wait_s == pytest.approx(longest_s * (1 + chance) / 2)
