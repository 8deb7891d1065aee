"""The backend that `benchmarks.backend` measures: one tenant."""

import os

from fastapi import FastAPI

import mjbulk
from mjbulk.fastapi import Imports

imports = Imports(
    tenant=lambda: "tenant",
    credentials_of=lambda _: mjbulk.Credentials("public", "private"),
    journal=os.environ["BACKEND_JOURNAL"],
    upload_dir=os.environ["BACKEND_UPLOADS"],
    lists={1: "addnoforce"},
    max_upload=2 * 2**30,
)
app = FastAPI(lifespan=imports.lifespan)
app.include_router(imports.router, prefix="/imports")
