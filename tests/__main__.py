"""Every check of the project, in one command: ``python -m tests``. Arguments go to pytest.

It stops at the first check that fails, and exits with its status.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PURE = (
    "errors",
    "models",
    "events",
    "journal/info",
    "journal/records",
    "mailjet/requests",
    "mailjet/replies",
    "mailjet/verdict",
    "rows/values",
    "rows/contacts",
    "rows/block",
    "chunks/chunker",
    "rows/csv_text",
    "chunks/people",
    "mailjet/pace",
    "jobs/forecast",
    "jobs/durations",
    "outcomes/error_file",
    "outcomes/settle",
)
"""What decides and does no I/O: its branches are covered to the last one."""


def main(arguments: list[str]) -> int:
    """Run all checks."""
    pure = ",".join(f"mjbulk/{name}.py" for name in PURE)
    checks = [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        ["coverage", "run", "-m", "pytest", *arguments],
        ["coverage", "report", "--fail-under=100", f"--include={pure}"],
        ["coverage", "report", "--fail-under=90"],
    ]
    env = {**os.environ, "COVERAGE_FILE": str(ROOT / ".coverage")}
    for check in checks:
        sys.stdout.write(f"$ {' '.join(check)}\n")
        sys.stdout.flush()
        command = [sys.executable, *([] if check[0] == "-c" else ["-m"]), *check]
        status = subprocess.run(command, cwd=ROOT, env=env, check=False).returncode
        if status:
            sys.stdout.write(f"failed: {' '.join(check)}\n")
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
