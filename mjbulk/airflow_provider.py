"""What Airflow asks an installed package for: its types of connections. It imports nothing."""

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Describe the connection type ``mailjet``: the form that Airflow's pages show, and its hook."""
    form = {
        "hidden-fields": ["schema", "extra"],
        "relabeling": {"login": "API key", "password": "Secret key", "host": "API address"},
        "placeholders": {"host": "https://api.mailjet.com"},
    }
    mailjet = {
        "connection-type": "mailjet",
        "hook-class-name": "mjbulk.airflow.MailjetHook",
        "hook-name": "Mailjet",
        "ui-field-behaviour": form,
    }
    return {
        "package-name": "mjbulk",
        "name": "Mailjet",
        "description": "Imports of contacts into Mailjet.",
        "connection-types": [mailjet],
    }
