"""From rows to the bodies of requests.

Who calls it: `run`, and the client's single calls. What it owns: the rows of the chunk that is being filled, and the
record of which people are in flight. What may go wrong: a row is too large for any chunk and is rejected, or a row has
a column that the first row does not have (ColumnFault, on the CSV way only). It does no I/O.
"""
