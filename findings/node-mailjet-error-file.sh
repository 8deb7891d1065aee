#!/bin/sh
# node-mailjet, Mailjet's client for Node, gives an empty object for the error file of a CSV import: the request is right,
# the server sends the file, and its text is lost, for only JSON is kept. A program that counts what it gets finds no error.
# Needs npm, node and openssl: the client is used as it is, over TLS, against a server on this machine.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund node-mailjet@6.0.11
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout key.pem -out cert.pem 2>/dev/null
cat > look.js <<'END'
const fs = require('fs');
const https = require('https');
const Mailjet = require('node-mailjet');

const file = 'email,age,error\n"bar@example.org", ###Too few columns at line\n';
const asked = [];
const server = https.createServer({ key: fs.readFileSync('key.pem'), cert: fs.readFileSync('cert.pem') }, (request, answer) => {
  asked.push(`${request.method} ${request.url}`);
  answer.writeHead(200, { 'Content-Type': 'text/csv', 'Content-Length': file.length });
  answer.end(file);
});

server.listen(0, '127.0.0.1', async () => {
  const host = `localhost:${server.address().port}`;
  const client = Mailjet.apiConnect('key', 'secret', { config: { host, version: 'v3' } });
  const { body } = await client.get('batchjob').id(7).action('csverror').request();
  server.close();
  console.log('versions: node-mailjet', require('node-mailjet/package.json').version, 'node', process.version);
  console.log('shows: what a program gets of an error file of', file.length, 'bytes');
  const seen = { request: asked[0], body };
  const expected = { request: 'GET /v3/DATA/batchjob/7/csverror/text:csv', body: {} };
  const same = JSON.stringify(seen) === JSON.stringify(expected);
  console.log(`expected ${JSON.stringify(expected)}, seen ${JSON.stringify(seen)}:`, same ? 'same' : 'CHANGED');
  process.exit(same ? 0 : 1);
});
END
NODE_EXTRA_CA_CERTS=cert.pem node look.js
