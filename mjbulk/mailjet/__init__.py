"""One request to Mailjet, and its answer."""
