"""Keys go to the partitions where Kafka's own clients put them."""

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_streams.core.records.partitioner import murmur2, partition_of, partitions_of


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_murmur2_is_kafkas(key):
    """For keys of any length, whole words or not."""
    assert murmur2(key) == aiokafka_murmur2(key) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        # The cases of Kafka's UtilsTest.testMurmur2.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_of_the_java_client(key, hashed):
    """The numbers that the Java client's own test holds."""
    assert murmur2(key) == hashed & 0xFFFFFFFF


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20)), st.integers(1, 64))
def test_many_keys_as_one(keys, partitions):
    """The remembered hash is the hash."""
    found = partitions_of(keys, partitions)
    assert found == [partition_of(key, partitions) for key in keys]
    assert all(0 <= partition < partitions for partition in found)
