"""What Airflow finds of the installed package."""

import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from mjbulk.airflow import MailjetHook

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.real_time,
    pytest.mark.filterwarnings("default"),  # what Airflow warns of is its own
]


def test_the_connection_type() -> None:
    """Airflow's pages ask for a key and a secret, and its connections find the hook."""
    hook = ProvidersManagerTaskRuntime().hooks["mailjet"]
    assert hook is not None
    assert (hook.hook_name, hook.package_name) == ("Mailjet", "mjbulk")
    assert hook.hook_class_name == "mjbulk.airflow.MailjetHook"
    assert hook.connection_id_attribute_name == MailjetHook.conn_name_attr
    form = ProvidersManager().field_behaviours["mailjet"]
    assert form["relabeling"]["password"] == "Secret key"
