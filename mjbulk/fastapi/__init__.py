"""Imports of a FastAPI backend: an upload becomes a run, safely for many tenants. Needs the extra ``fastapi``.

`Imports` is one object of the application. It gives a router (uploads, runs, rejected rows, a page), a lifespan to
which the runs belong, and a client for the application's own calls::

    imports = Imports(tenant=tenant, credentials_of=keys, journal="imports.db", upload_dir="uploads")
    app = FastAPI(lifespan=imports.lifespan)
    app.include_router(imports.router, prefix="/imports")

Inside, data goes one way: a body (`receiving`) becomes a folder of the upload (`folders`), which becomes a run of this
process (`live_run`, `keeper`), whose snapshots and rejected rows are written into the same folder, from where every
worker answers (`views`, `routes`).
"""

try:
    import fastapi as _fastapi  # noqa: F401  # it is named where it is missing
    import python_multipart as _multipart  # noqa: F401
except ImportError as _missing:
    raise ImportError(f"mjbulk.fastapi needs {_missing.name}: pip install 'mjbulk[fastapi]'") from None

from mjbulk.fastapi.imports import Imports

__all__ = ["Imports"]
