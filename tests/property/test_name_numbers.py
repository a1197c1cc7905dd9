"""Names are looked up as in a dictionary, however many are asked for and are known."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_streams.core.records.name_numbers import NO_NUMBER, NameNumbers

NAMES = [f"X:{number}" for number in range(600)]
#: Beginning and end of a run of names: few of them, or more than are looked up one by one.
RUNS = st.tuples(st.integers(0, len(NAMES)), st.integers(0, len(NAMES)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "pop", "ask", "clear"]), RUNS), max_size=12))
def test_numbers_are_those_of_a_dictionary(changes: list[tuple[str, tuple[int, int]]]) -> None:
    """After any changes, by a list as by a column; names that have no number among them."""
    numbers, model = NameNumbers(), dict[str, int]()
    for number, (change, (start, end)) in enumerate([*changes, ("ask", (0, len(NAMES)))]):
        run = NAMES[start:end]
        if change == "ask":
            expected = [model.get(name, NO_NUMBER) for name in run]
            assert numbers.of(run).tolist() == expected
            assert numbers.of(pa.array(run, pa.string())).tolist() == expected
        elif change == "put":
            for at, name in enumerate(run):
                if name not in model:
                    model[name] = 1_000 * number + at
                    numbers.put(name, model[name])
        elif change == "pop":
            assert [numbers.pop(name) for name in run] == [model.pop(name, None) for name in run]
        else:
            numbers.clear()
            model.clear()
        assert len(numbers) == len(model)
    assert list(numbers) == list(model)
    assert [numbers.get(name) for name in NAMES[:9]] == [model.get(name) for name in NAMES[:9]]
