#!/bin/sh
# mailjet-rest, Mailjet's client for Python, repeats a POST by itself: after a 500, and after a connection that was closed
# when the server had already read the whole request. A csvimport or a managemanycontacts call that the server has taken
# the first time is started up to four times, with `addforce` too. All tries carry one Idempotency-Key, which the client
# invents; nothing that Mailjet publishes says that the server looks at it.
# Needs openssl: the client is used as it is, over TLS, against a server on this machine.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q mailjet-rest==1.9.1 requests==2.34.2 urllib3==2.8.0
cd "$folder"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout key.pem -out cert.pem 2>/dev/null
REQUESTS_CA_BUNDLE=cert.pem venv/bin/python - <<'END'
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from mailjet_rest import Client

print("versions:", *(f"{name} {version(name)}" for name in ("mailjet-rest", "requests", "urllib3")))
print("shows: one call of the program is several requests at the server, each read to its end")
taken = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        taken.append((self.path, self.headers["Idempotency-Key"], body))
        self.close_connection = True
        if "csvimport" not in self.path:
            return  # taken, and the connection is closed without an answer
        first = len(taken) == 1
        answer = b'{"ErrorMessage": "An Unexpected Error"}' if first else b'{"Count": 1, "Data": [{"ID": 2}], "Total": 1}'
        self.send_response(500 if first else 201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Client(auth=("a" * 32, "b" * 32), api_url=f"https://localhost:{server.server_port}/")


def outcome(call, data):
    taken.clear()
    try:
        end = call.create(data=data).status_code
    except Exception as error:
        end = type(error).__name__
    alike = len(set(taken)) == 1 and taken[0][1] is not None
    return end, len(taken), alike


cases = {
    "csvimport, first answer 500": (
        outcome(client.csvimport, {"ContactsListID": 1, "DataID": 2, "Method": "addforce"}),
        (201, 2, True),
    ),
    "managemanycontacts, no answer": (
        outcome(
            client.contact_managemanycontacts,
            {"Contacts": [{"Email": "a@example.org"}], "ContactsLists": [{"ListID": 1, "Action": "addforce"}]},
        ),
        ("CriticalApiError", 4, True),
    ),
}
for name, (seen, want) in cases.items():
    told = "the program sees {}, the server took {} requests, alike with one key: {}".format
    print(f"{name}: expected: {told(*want)}; seen: {told(*seen)}:", "same" if seen == want else "CHANGED")
sys.exit(any(seen != want for seen, want in cases.values()))
END
