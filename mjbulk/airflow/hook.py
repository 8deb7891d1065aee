"""Clients of Airflow's connections."""

from typing import Any

from airflow.sdk import BaseHook

from mjbulk.client import Client
from mjbulk.config import Credentials, Settings
from mjbulk.discreet import discreet
from mjbulk.errors import UsageError
from mjbulk.public import public


@public
class MailjetHook(BaseHook):
    """Makes clients of an Airflow connection of type ``mailjet``.

    Its login is the API key, its password the secret, and its host the address of the API if that is not the usual
    one. All other settings come from the environment.
    """

    conn_name_attr = "mailjet_conn_id"
    default_conn_name = "mailjet_default"
    conn_type = "mailjet"
    hook_name = "Mailjet"

    def __init__(self, mailjet_conn_id: str = default_conn_name) -> None:
        """Ask Airflow for nothing yet."""
        super().__init__()
        self.mailjet_conn_id = mailjet_conn_id

    @discreet
    def get_conn(self, journal: str | None = None) -> Client:
        """Make a client, which is used as ``async with client``. Raises UsageError for a connection without keys."""
        return Client(*access(self.get_connection(self.mailjet_conn_id)), journal=journal)


@discreet
def access(connection: Any) -> tuple[Credentials, Settings]:
    """Give the keys and the settings of a connection. Raises UsageError if it has no keys."""
    if not connection.login or not connection.password:
        raise UsageError(
            f"connection {connection.conn_id!r} needs a login, the API key, and a password, the secret of that key"
        )
    keys = Credentials(connection.login, connection.password)
    if not connection.host:
        return keys, Settings()
    host = connection.host if "://" in connection.host else f"https://{connection.host}"
    return keys, Settings(api_url=f"{host}:{connection.port}" if connection.port else host)
