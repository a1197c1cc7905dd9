"""`python -m deploy.site`: the documentation as a site in .cache/site/html.

Built without a network. Exits with 1 at a warning, as at a link to a page that is not there.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.site.staging import stage

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".cache" / "site"


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site in a folder, which is emptied before: `pages` are read, `html` is written."""
    shutil.rmtree(folder, ignore_errors=True)
    stage(ROOT, folder / "pages")
    settings = folder / "mkdocs.yml"
    shutil.copyfile(Path(__file__).parent / "mkdocs.yml", settings)
    zensical = str(Path(sys.executable).parent / "zensical")
    return subprocess.run(
        [zensical, "build", "--strict", "--clean", "-f", str(settings)],
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def main() -> int:
    """Build it, and say where it is or what is wrong."""
    done = build(FOLDER)
    if done.returncode:
        print(done.stdout + done.stderr.partition("Traceback")[0], file=sys.stderr)
        return 1
    print(f"built: {FOLDER / 'html' / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
