"""Another commit of mjbulk, to run beside this one: in an environment and a folder of its own."""

import subprocess
import sys
import tarfile
import venv
from io import BytesIO
from pathlib import Path

_HOME = Path(__file__).parents[1]


def build(ref: str, folder: Path) -> tuple[str, Path]:
    """Install a commit, and give its Python and the folder of its sources. The network is needed for what it needs.

    Raises CalledProcessError if there is no such commit, or it cannot be installed.
    """
    home, environment = folder / "home", folder / "environment"
    archive = subprocess.run(["git", "archive", "--format=tar", ref], cwd=_HOME, capture_output=True, check=True)
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(home, filter="data")
    venv.create(environment, with_pip=True)
    python = str(environment / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", str(home)], check=True)
    return python, home
