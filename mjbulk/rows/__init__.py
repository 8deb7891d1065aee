"""Anything that has rows, read into blocks of rows.

Who calls it: `run`, `chunks` and the client's single calls. What it owns: open files, and the threads that read them.
What may go wrong: a source cannot be read (SourceError), a column cannot be sent (ColumnFault refuses the run), or a
row cannot be sent (RowFault rejects that row, and the run goes on).
"""
