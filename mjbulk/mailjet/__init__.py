"""One request to Mailjet, and its answer.

Who calls it: `run`, `jobs`, and the client's single calls. What it owns: the HTTP connections of an API key, its share
of the rate limit, and the retries. What may go wrong: Mailjet refuses a request (ApiError), or no usable answer comes
(NoAnswer; its ``sent`` tells whether the request may have been applied).
"""
