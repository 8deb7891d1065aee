"""`MailjetImportOperator`: an import of contacts as a task of Airflow 3.3. Needs the extra ``airflow``.

Airflow retries tasks, and waits for jobs in its triggerer; the journal makes that harmless. A task has three parts:

- `MailjetHook` makes a client of a connection, whose login is the API key and whose password is the secret.
- The operator takes a run as far as it can. If ``deferrable`` is set, it stops the run while nothing but jobs are under
  way, and gives the names of the jobs to the trigger.
- `MailjetJobTrigger` waits in the triggerer until they have ended, and has the operator resume the run.
"""

try:
    import airflow.sdk as _sdk  # noqa: F401  # it is named where it is missing
    import airflow.triggers.base as _triggers  # noqa: F401
except ImportError as _missing:
    raise ImportError(f"mjbulk.airflow needs {_missing.name}: pip install 'mjbulk[airflow]'") from None

from mjbulk.airflow.hook import MailjetHook
from mjbulk.airflow.operator import MailjetImportOperator
from mjbulk.airflow.trigger import MailjetJobTrigger

__all__ = ["MailjetHook", "MailjetImportOperator", "MailjetJobTrigger"]
