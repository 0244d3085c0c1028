#!/usr/bin/python3
"""A small image service: keeps named images, knows one site and no scopes.

    image.py HOST:PORT NAME ...
    GET /v2/images            names and sizes
    GET /v2/images/NAME       the bytes
    PUT /v2/images/NAME       store
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

IMAGES = {}


class Images(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def reply(self, status, body, kind='application/json'):
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def reply_json(self, status, value):
        self.reply(status, json.dumps(value).encode() + b'\n')

    def name(self):
        return self.path[len('/v2/images/'):] if self.path.startswith('/v2/images/') else None

    def do_GET(self):
        name = self.name()
        if self.path == '/v2/images':
            self.reply_json(200, {'images': sorted(IMAGES)})
        elif name in IMAGES:
            self.reply(200, IMAGES[name], 'application/octet-stream')
        else:
            self.reply_json(404, {'error': f'no image {name or self.path}'})

    do_HEAD = do_GET

    def do_PUT(self):
        name, size = self.name(), int(self.headers.get('Content-Length', 0))
        body = self.rfile.read(size)
        if not name:
            return self.reply_json(404, {'error': 'PUT /v2/images/NAME'})
        IMAGES[name] = body
        return self.reply_json(201, {'name': name, 'bytes': size})

    def log_message(self, form, *args):
        pass


if __name__ == '__main__':
    host, port = sys.argv[1].rsplit(':', 1)
    for arg in sys.argv[2:]:
        IMAGES[arg] = (arg + '\n').encode() * 4096
    server = ThreadingHTTPServer((host, int(port)), Images)
    server.daemon_threads = True
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
