"""user, myprofile and apikey: one row each that never changes, for programs that read them before anything else.

Their members are recorded (FACTS 8.10). Their values are made up.
"""

from collections.abc import Callable
from typing import Any

from mjbulk.testing._answers import EmulatedAnswer, not_found
from mjbulk.testing._ask import Ask, Handler, Handlers, Refused, list_key
from mjbulk.testing._paging import Listing, equals, is_true, page

API_KEY_ID, _USER_ID, _PROFILE_ID = 1_643_971, 1_600_083, 1_600_083
_BORN = "2021-06-20T09:19:01Z"


def _user(ask: Ask) -> dict[str, Any]:
    del ask
    return {
        "ACL": "",
        "CreatedAt": _BORN,
        "Email": "owner@example.com",
        "FirstIp": "192.0.2.1",
        "ID": _USER_ID,
        "LastIp": "192.0.2.1",
        "LastLoginAt": _BORN,
        "Locale": "en_US",
        "MaxAllowedAPIKeys": 2,
        "Timezone": "Europe/Paris",
        "Username": "owner@example.com",
        "WarnedRatelimitAt": "",
    }


def _profile(ask: Ask) -> dict[str, Any]:
    del ask
    empty = ("AddressCity", "AddressCountry", "AddressPostalCode", "AddressState", "AddressStreet", "BillingEmail")
    work = ("BirthdayAt", "CompanyName", "CompanyNumOfEmployees", "ContactPhone")
    return {
        **dict.fromkeys((*empty, *work), ""),
        "EstimatedVolume": 6000,
        "Features": "",
        "Firstname": "Sam",
        "ID": _PROFILE_ID,
        "Industry": "",
        "JobTitle": "",
        "Lastname": "Box",
        "UserID": _USER_ID,
        "VAT": 0,
        "VATNumber": "",
        "Website": "https://www.example.com/",
    }


def _key(ask: Ask) -> dict[str, Any]:
    return {
        "ACL": "",
        "APIKey": ask.key,
        "CreatedAt": _BORN,
        "ID": API_KEY_ID,
        "IsActive": True,
        "IsMaster": True,
        "Name": "sandbox",
        "QuarantineValue": 0,
        "RegionID": 0,
        "Runlevel": "Normal",
        "SecretKey": "",
        "Skipspamd": 1,
        "TrackHost": "r.mailjet.com",
        "UserID": _USER_ID,
    }


_USERS = Listing(filters={"username": equals("Username")}, unplayed=("isactivated", "newemail"), sorts={"ID": False})
_PROFILES = Listing(filters={"user": equals("UserID")}, sorts={"ID": False})
_KEYS = Listing(
    filters={
        "apikey": equals("APIKey"),
        "isactive": is_true("IsActive"),
        "ismaster": is_true("IsMaster"),
        "name": equals("Name"),
        "user": equals("UserID"),
    },
    unplayed=("confirmkey", "customstatus", "keytype"),
    sorts={"ID": False, "IsMaster": True, "IsActive": True, "CreatedAt": True, "Name": True},
)


def _reader(row: Callable[[Ask], dict[str, Any]], key: str, listing: Listing) -> Handler:
    """Make the answer to GET of a resource that has one row; it is found by its ID and by its unique key."""

    def read(ask: Ask) -> EmulatedAnswer:
        here = row(ask)
        if not ask.route.id:
            return page([here], ask.query, ask.writer, listing)
        if list_key(ask.route.id) not in (here["ID"], here[key]):
            raise Refused(not_found())
        return ask.writer.data([here])

    return read


ACCOUNT_ROUTES: Handlers = {
    "user": {"GET": _reader(_user, "Email", _USERS)},
    "myprofile": {"GET": _reader(_profile, "ID", _PROFILES)},
    "apikey": {"GET": _reader(_key, "APIKey", _KEYS)},
}
