#!/usr/bin/python3
"""A small compute service: starts a "server" from an image that it fetches from its image service.

It knows one site and no scopes.  Like any service instrumented with OpenTelemetry, it hands the
`baggage` header of the request on to the calls it makes, and nothing else.

    compute.py HOST:PORT IMAGE_SERVICE_URL NAME_OF_THIS_HOST
    GET  /servers                         what runs here
    POST /servers {"image": "debian"}     fetch the image, start a server
    GET  /servers/ID
    PUT  /servers/ID {"size": "large"}    change what is named (size, name), leave the rest
"""
import hashlib
import json
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVERS = []
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))   # whatever http_proxy says


def fetch(url, baggage):
    request = urllib.request.Request(url, headers={'baggage': baggage} if baggage else {})
    with OPENER.open(request, timeout=10) as response:
        return response.read()


class Compute(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def reply(self, status, value):
        body = json.dumps(value).encode() + b'\n'
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def named(self):
        return next((s for s in SERVERS if self.path == f'/servers/{s["id"]}'), None)

    def content(self):
        return self.rfile.read(int(self.headers.get('Content-Length', 0)))

    def do_GET(self):
        if self.path == '/servers':
            self.reply(200, {'servers': SERVERS})
        elif self.named():
            self.reply(200, self.named())
        else:
            self.reply(404, {'error': self.path})

    def do_PUT(self):
        server, body = self.named(), self.content()
        if not server:
            return self.reply(404, {'error': self.path})
        try:
            changes = {k: str(v) for k, v in json.loads(body).items() if k in ('size', 'name')}
        except (ValueError, AttributeError):
            changes = {}
        if not changes:
            return self.reply(400, {'error': 'send {"size": WORD} or {"name": WORD}'})
        server.update(changes)
        return self.reply(200, server)

    def do_POST(self):
        body = self.content()
        try:
            image = json.loads(body)['image']
            data = fetch(f'{IMAGE_SERVICE}/v2/images/{image}', self.headers.get('baggage'))
        except (ValueError, KeyError, TypeError):
            return self.reply(400, {'error': 'send {"image": NAME}'})
        except urllib.error.HTTPError as e:
            return self.reply(424, {'error': f'image {image}: the image service answers {e.code}'})
        except OSError as e:
            return self.reply(424, {'error': f'image {image}: {e}'})
        server = {'id': f'{HOST}-{len(SERVERS) + 1}', 'host': HOST, 'image': image, 'size': 'small', 'bytes': len(data),
                  'sha256': hashlib.sha256(data).hexdigest()[:8]}
        SERVERS.append(server)
        return self.reply(201, server)

    def log_message(self, form, *args):
        pass


if __name__ == '__main__':
    (host, port), IMAGE_SERVICE, HOST = sys.argv[1].rsplit(':', 1), sys.argv[2], sys.argv[3]
    server = ThreadingHTTPServer((host, int(port)), Compute)
    server.daemon_threads = True
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
