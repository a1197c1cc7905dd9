"""The tests themselves: what `make test` runs is the same each time."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

TESTS = Path(__file__).resolve().parents[1]
#: Calls that draw from a generator that nobody seeded.
UNSEEDED = (
    "random.Random",
    "np.random.default_rng",
    "numpy.random.default_rng",
    "random.SystemRandom",
)
MODULE_WIDE = {
    "random",
    "randint",
    "randrange",
    "choice",
    "choices",
    "shuffle",
    "sample",
    "uniform",
}


def test_the_suite_is_derandomized_unless_the_long_one_is_asked_for(pytestconfig):
    is_long = pytestconfig.getoption("hypothesis_profile") == "long"
    assert settings().derandomize is not is_long
    assert settings().deadline is None
    assert settings().database is None


def of_examples(count):
    """A test that declares so many."""

    @settings(max_examples=count)
    @given(st.integers())
    def test(number):
        """What the hook of `conftest.py` changes."""

    return test


@pytest.mark.parametrize(
    ("profile", "declared", "tried"),
    [
        (None, 200, 80),
        (None, 12, 10),
        (None, 7, 7),
        ("fixed", 200, 80),
        ("quick", 200, 8),
        ("quick", 60, 4),
        ("quick", 3, 3),
        ("declared", 200, 200),
        ("long", 7, 35),
    ],
)
def test_a_profile_says_how_many_of_its_examples_a_test_tries(
    profile, declared, tried, pytestconfig
):
    path = str(TESTS / "conftest.py")
    plugins = pytestconfig.pluginmanager.get_plugins()
    (conftest,) = [one for one in plugins if getattr(one, "__file__", None) == path]
    config = type("Config", (), {"getoption": lambda self, name: profile})()
    test = of_examples(declared)
    item = type("Item", (), {"obj": staticmethod(test)})()
    conftest.pytest_collection_modifyitems(config, [item, item])
    assert test._hypothesis_internal_use_settings.max_examples == tried


def test_no_test_draws_from_a_generator_without_a_seed():
    found = []
    for path in sorted(TESTS.rglob("*.py")):
        tree = ast.parse(path.read_text())
        imports = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                unseeded = name in UNSEEDED and not node.args and not node.keywords
                package, _, function = name.rpartition(".")
                wide = package == "random" and "random" in imports and function in MODULE_WIDE
                if unseeded or wide:
                    found.append(f"{path.name}:{node.lineno} {name}")
    assert found == []


def test_no_two_files_of_tests_share_a_name():
    """Pytest imports each by its name alone, and would refuse the second."""
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
