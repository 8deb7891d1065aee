"""What outlives the process: runs, their chunks and jobs, and what is known of them.

Who calls it: `run`, and the client for its lists of runs. What it owns: the database, the thread that writes to it, and
the lock that lets only one process write a run. What may go wrong: the database cannot be written (JournalError halts
the run), or a journal or a run in it is damaged or not the one expected (JournalRefused, before anything is sent).
"""
