"""A server of HTTP on a free port of this machine, in place of a collector."""

import http.server
import threading


class LocalServer:
    """Calls `answer` with the handler of each GET and POST, until `close`."""

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                answer(self)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        serve = {"target": self._http.serve_forever, "kwargs": {"poll_interval": 0.01}}
        self._thread = threading.Thread(**serve, daemon=True)
        self._thread.start()

    def close(self):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def body_of(request):
    """What a POST brought."""
    return request.rfile.read(int(request.headers["Content-Length"]))


def reply(request, status, headers, body=b""):
    """Answers with a body and its length."""
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
