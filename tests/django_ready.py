"""Django, configured once in a process: its settings can be set a single time, and several tests want them."""

from functools import cache
from tempfile import TemporaryDirectory

from support import extra

_FOLDER = TemporaryDirectory()


@cache
def django_ready() -> None:
    """Configure Django with a database of its own, where this process has not done so yet."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{_FOLDER.name}/people.db"}
    extra("django.conf").settings.configure(DATABASES={"default": database}, USE_TZ=True)
    extra("django").setup()
