#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""init-api.py DIR PG-DIR: the one route of the platform's Management API that supafs uses, in the
form that its documentation gives, over a real PostgreSQL. DIR/port gets the port; each line of
DIR/faults ("429 2", "503", "html") is used up by one request; DIR/seen gets a line for each."""
import http.server
import json
import os
import re
import subprocess
import sys

REF, TOKEN = 'abcdefghijklmnopqrst', 'sbp_0123456789abcdef0123456789abcdef01234567'
home, pg_dir = sys.argv[1:]
MESSAGES = {401: 'Unauthorized', 403: 'Forbidden resource', 404: 'Project not found',
            429: 'ThrottlerException: Too Many Requests', 500: 'Internal server error',
            503: 'Service unavailable'}


def next_fault():
    path = os.path.join(home, 'faults')
    try:
        with open(path) as f:
            lines = f.read().splitlines()
    except FileNotFoundError:
        return []
    with open(path, 'w') as f:
        f.write('\n'.join(lines[1:]))
    return lines[0].split() if lines else []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def reply(self, status, body, headers=(), kind='application/json; charset=utf-8'):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        query = json.loads(body)['query']
        fault = next_fault()
        with open(os.path.join(home, 'seen'), 'a') as f:
            f.write('%s %d %s\n' % (self.path, len(query), ' '.join(fault)))
        if fault and fault[0] == 'html':
            return self.reply(200, '<html>welcome</html>', kind='text/html')
        if fault:
            status = int(fault[0])
            return self.reply(status, {'message': MESSAGES[status]},
                              [('Retry-After', fault[1])] if len(fault) > 1 else [])
        if self.headers['Authorization'] != 'Bearer ' + TOKEN:
            return self.reply(401, {'message': 'Unauthorized'})
        if self.path != '/v1/projects/%s/database/query' % REF:
            return self.reply(404, {'message': 'Project not found'})
        done = subprocess.run(
            ['psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose',
             '-h', pg_dir, '-U', 'postgres', '-d', 'postgres', '-f', '-'],
            input=query, capture_output=True, text=True, check=False)
        if done.returncode:
            error = re.search(r'ERROR: .*', done.stderr)
            return self.reply(400, {'message': 'Failed to run sql query: %s\n'
                                               % (error.group(0) if error else done.stderr)})
        number = done.stdout.strip()
        return self.reply(201, [{'n': int(number)}] if number.isdigit() else [])

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
with open(os.path.join(home, 'port.new'), 'w') as f:
    f.write(str(server.server_address[1]))
os.rename(os.path.join(home, 'port.new'), os.path.join(home, 'port'))
server.serve_forever()
