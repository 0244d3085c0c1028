"""A stand-in for Neutron: Nova asks it about networks, and there are none."""
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Network(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        path = self.path.partition('?')[0].strip('/').split('/')
        if 'quotas' in path:
            answer = {'quota': {'port': -1, 'network': -1}}
        else:
            answer = {path[-1].replace('-', '_'): []}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *args):
        pass


def serve(host, port):
    server = ThreadingHTTPServer((host, port), Network)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
