import pandas as pd  # type: ignore[import-untyped]
import mjbulk


async def cell() -> mjbulk.Report:  # a notebook cell is just the last line of this
    df = pd.DataFrame({"E-Mail": ["a@example.org"], "Vorname": [None], "ltv": [float("nan")], "id": [7]})
    return await mjbulk.import_contacts(
        df, lists={42: "addnoforce"}, columns={"E-Mail": "email", "Vorname": "firstname", "ltv": "ltv"}
    )
