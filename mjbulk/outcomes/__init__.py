"""What became of every row.

Who calls it: `run`, `jobs`, and users through `Report`. What it owns: the books of a run and its rejections, which a
temporary file takes when they are many. What may go wrong: an error file and the counts of its job disagree. Then rows
are unknown, with a cause, and never accepted.
"""
