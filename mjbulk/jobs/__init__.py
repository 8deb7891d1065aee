"""A background job at Mailjet, watched until its end."""
