"""What a release consists of, as a table. A further distribution is a further entry."""

from dataclasses import dataclass
from pathlib import Path

from deploy.tools import ROOT

_DRIVER = Path(__file__).with_name("driver_smoke.py").read_text()


@dataclass(frozen=True, slots=True)
class Distribution:
    """One package of an index.

    Attributes:
        name: on the index.
        folder: with its `pyproject.toml`; without one it is not part of this checkout.
        extras: with which it is installed for the smoke test.
        smoke: commands that must end with 0 in the environment, each with its program first.
        needs: distributions of the same release that it is installed with.
    """

    name: str
    folder: Path
    smoke: tuple[tuple[str, ...], ...]
    extras: str = ""
    needs: tuple[str, ...] = ()


DISTRIBUTIONS = (
    Distribution(
        "k2-client",
        ROOT / "client",
        smoke=(("python", "-c", "import k2_client"),),
    ),
    Distribution(
        "k2-streams",
        ROOT,
        extras="[testing]",
        smoke=(
            ("k2", "--help"),
            ("k2", "sql", "--help"),
            ("k2", "cost", "--rate", "10k"),
            ("faust", "--help"),
            ("python", "-c", "import topologies.trades, topologies.quotes"),
            ("python", "-c", _DRIVER),
        ),
    ),
    Distribution(
        "k2-native",
        ROOT / "native",
        # With the product, which must take it for its own.
        needs=("k2-streams",),
        smoke=(
            ("python", "-c", "import k2_native"),
            (
                "python",
                "-c",
                "from k2_streams.native import load_native; assert load_native('auto')",
            ),
        ),
    ),
)
