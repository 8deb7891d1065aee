"""The keys of the connection in tests of Airflow."""

PUBLIC, SECRET = "key-of-the-connection", "secret-of-the-connection"
