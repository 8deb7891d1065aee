"""A background job at Mailjet, watched until its end.

Who calls it: `run`, and users through `JobWatcher`. What it owns: the one task of an API key that polls all watched
jobs, and what it has learned about how long jobs take. What may go wrong: a job fails (JobFailed), its time runs out
(TimeoutError), or it cannot be read (ApiError): then its watchers raise that, and other jobs go on.
"""
