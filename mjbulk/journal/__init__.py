"""What outlives the process: runs, their chunks, and what is known of them."""
