"""Run a program, and write its exit status and its peak of memory into a file.

It is a process of its own, and small: Linux counts the memory of a process as that of the programs which it starts.
It is run as a file, and imports nothing that it does not need.
"""

import os
import sys


def main(file: str, *command: str) -> None:
    """Run the command. The file gets two numbers: the status, and the peak in the unit of the system."""
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    with open(file, "w", encoding="ascii") as opened:  # noqa: PTH123  # pathlib would be most of this process
        opened.write(f"{os.waitstatus_to_exitcode(status)} {usage.ru_maxrss}")


if __name__ == "__main__":
    main(*sys.argv[1:])
