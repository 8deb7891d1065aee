"""One source, taken to its end: many chunks, many jobs, and one report.

Who calls it: the client. What it owns: the tasks of a run, its chunks in flight and the bodies that wait on disk. What
may go wrong: the run is refused before anything is sent (UsageError), or it stops early (ImportHalted, with the report
and the cause). Rows that are rejected or unknown stop nothing: they are in the report.
"""
