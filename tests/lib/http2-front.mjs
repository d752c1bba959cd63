// SPDX-License-Identifier: GPL-3.0-or-later
// http2-front.mjs KEY CERT BEHIND STREAMS RESETS: TLS and HTTP/2 before the server BEHIND
// (http://HOST:PORT). Each connection is told to go away after STREAMS requests; each RESETSth GET
// is reset in the middle of its answer (0 = none). Prints its port, then a line for each request:
// METHOD STATUS PATH CONNECTION.
import { readFileSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'

const [keyFile, certFile, behind, streams, resets] = process.argv.slice(2)
const target = new URL(behind)
const agent = new http.Agent({ keepAlive: true })
// Of one connection alone (RFC 9113, 8.2.2).
const hops = ['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'proxy-connection']
let connections = 0
let gets = 0

const plain = (headers) =>
    Object.fromEntries(Object.entries(headers).filter(([k]) => !k.startsWith(':') && !hops.includes(k)))

function serve(stream, headers, session) {
    const method = headers[':method']
    const path = headers[':path']
    const breaks = Number(resets) > 0 && method === 'GET' && ++gets % Number(resets) === 0
    const log = (status) => console.log(`${method} ${status} ${path} ${session.number}`)
    const request = http.request({
        agent, method, path, host: target.hostname, port: target.port,
        headers: { ...plain(headers), host: headers[':authority'] },
    })
    request.on('response', (answer) => {
        log(breaks ? 'reset' : answer.statusCode)
        if (stream.destroyed) return answer.destroy()
        stream.respond({ ':status': answer.statusCode, ...plain(answer.headers) })
        if (breaks) {
            answer.destroy()
            return stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
        }
        answer.on('error', () => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR))
        answer.pipe(stream)
    })
    request.on('error', () => stream.destroyed || stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR))
    stream.on('error', () => request.destroy())
    stream.on('aborted', () => request.destroy())
    stream.pipe(request)
}

const server = http2.createSecureServer({
    key: readFileSync(keyFile), cert: readFileSync(certFile), allowHTTP1: false,
})
server.on('session', (session) => {
    let n = 0
    session.number = ++connections
    session.on('error', () => {})
    session.on('stream', (stream, headers) => {
        serve(stream, headers, session)
        // It ends when the requests that it has are answered.
        if (++n === Number(streams)) session.close()
    })
})
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`))
process.on('SIGTERM', () => process.exit(0))
