"""Sketches keep their bounds, and no order, split or merging of the rows changes a byte."""

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.maintenance.row_sums import mixed
from k2_streams.core.sketches.distinct import BOUND_ERRORS, STANDARD_ERROR, Distinct
from k2_streams.core.sketches.heavy_hitters import COUNTERS, HeavyHitters, Weighted
from k2_streams.core.sketches.quantiles import RELATIVE_ERROR, Quantiles

TEN_MILLION = 10_000_000


def hashes(start, end):
    return mixed(np.arange(start, end, dtype=np.uint64))


def weighted(names, weights):
    encoded = pa.array(names, pa.string()).dictionary_encode()
    limbs = np.frombuffer(
        b"".join(weight.to_bytes(16, "little") for weight in weights), np.uint32
    ).reshape(-1, 4)
    return Weighted(
        encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64), limbs
    )


# -- distinct --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 100, 20_000, 300_000, TEN_MILLION])
def test_the_count_of_distinct_ids_is_within_three_standard_errors(count):
    found = Distinct()
    for start in range(0, count, 1_000_000):
        found.add(hashes(start, min(start + 1_000_000, count)))
    assert abs(found.estimate() - count) <= BOUND_ERRORS * STANDARD_ERROR * count


def test_the_union_of_four_workers_has_the_bytes_of_one():
    one, union = Distinct(), Distinct()
    one.add(hashes(0, 400_000))
    for worker in (2, 0, 3, 1):
        part = Distinct()
        part.add(hashes(worker * 90_000, (worker + 1) * 100_000 + 30_000)[:100_000])
        part.add(hashes(worker * 100_000, (worker + 1) * 100_000))
        union.merge(Distinct.decode(part.encode()))
    assert union.encode() == one.encode()


@pytest.mark.parametrize("count", [0, 5, 100_000])
def test_a_sketch_of_ids_is_read_back(count):
    found = Distinct()
    found.add(hashes(0, count))
    again = Distinct.decode(found.encode())
    assert again.encode() == found.encode()
    assert again.estimate() == found.estimate()


def test_bytes_of_another_version_are_refused():
    for kind in (Distinct, HeavyHitters, Quantiles):
        with pytest.raises(ValueError, match="version 1"):
            kind.decode(b"\x02s")


def test_bytes_of_version_1_stay_what_they_are():
    ids, names, values = Distinct(), HeavyHitters(), Quantiles()
    ids.add(hashes(0, 2))
    names.add(weighted(["b", "a", "b"], [2**70, 1, 1]))
    values.add(np.array([-3.0, 0.0, 3.0, 3.0]))
    assert ids.encode().hex() == "0173422401883803"
    assert names.encode().hex() == (
        "01689303c40092 92a161c40101 92a162c409010000000000000040".replace(" ", "")
    )
    assert values.encode().hex() == (
        "0171 e0fffeff0100000000000000 000000000100000000000000 200001000200000000000000"
    ).replace(" ", "")


# -- heavy hitters ---------------------------------------------------------------------------------


def many_names(seed, count):
    """A few frequent names among more rare ones than there are counters."""
    chance = random.Random(seed)
    return [
        f"hot{chance.randrange(5)}" if chance.random() < 0.4 else f"cold{chance.randrange(4_000)}"
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_name_lies_within_its_bounds_and_the_error_within_the_total_by_the_counters(seed):
    names = many_names(seed, 20_000)
    weights = [random.Random(n).randrange(1, 2**90) for n in range(len(names))]
    found, true = HeavyHitters(), Counter()
    found.add(weighted(names, weights))
    for name, weight in zip(names, weights, strict=True):
        true[name] += weight
    top = found.top(5)
    assert {one.name for one in top} == {f"hot{n}" for n in range(5)}
    for one in found.top(COUNTERS):
        assert one.lower <= true[one.name] <= one.upper
    assert 0 < found.error <= true.total() // (COUNTERS + 1)
    assert all(true[name] <= found.error for name in true.keys() - found.counters.keys())


@pytest.mark.parametrize("seed", range(5))
def test_how_rows_are_cut_changes_no_byte_of_heavy_hitters(seed):
    names, chance = many_names(seed, 3_000), random.Random(seed)
    whole, cut = HeavyHitters(), HeavyHitters()
    whole.add(weighted(names, [1] * len(names)))
    at = 0
    while at < len(names):
        part = names[at : at + chance.choice([1, 7, 255, 256, 600])]
        cut.add(weighted(part, [1] * len(part)))
        cut = HeavyHitters.decode(cut.encode())
        at += len(part)
    assert cut.encode() == whole.encode()
    assert whole.error > 0, "the counters were too few"


def test_merged_counters_keep_their_bounds():
    names, total, true = many_names(9, 12_000), HeavyHitters(), Counter()
    for worker in range(4):
        mine, part = names[worker::4], HeavyHitters()
        part.add(weighted(mine, [3] * len(mine)))
        true.update(Counter({name: 3 * count for name, count in Counter(mine).items()}))
        total.merge(part)
    assert all(one.lower <= true[one.name] <= one.upper for one in total.top(50))


# -- quantiles -------------------------------------------------------------------------------------

VALUES = st.lists(
    st.floats(-1e19, 1e19, allow_subnormal=False).filter(lambda one: abs(one) > 1e-18 or one == 0),
    min_size=1,
    max_size=60,
)


@given(VALUES, st.floats(0, 1), st.integers(0, 60))
def test_a_quantile_lies_within_its_bounds_however_values_are_cut(values, share, cut):
    whole, parts = Quantiles(), Quantiles()
    whole.add(np.array(values))
    for part in (values[cut:], values[:cut]):
        more = Quantiles()
        more.add(np.array(part, np.float64))
        parts.merge(Quantiles.decode(more.encode()))
    assert parts.encode() == whole.encode()
    found = whole.at(share)
    true = sorted(values)[max(int(np.ceil(share * len(values))), 1) - 1]
    assert found is not None
    assert found.lower <= true <= found.upper
    assert abs(found.estimate - true) <= RELATIVE_ERROR * abs(true) * (1 + 1e-12)


def test_of_no_value_there_is_no_quantile():
    assert Quantiles().at(0.5) is None
