// SPDX-License-Identifier: GPL-3.0-or-later
// tus-js-client against the resumable uploads of SUPABASE_URL, with the service key of the
// environment: pause and resume, a client that takes over by URL, conflicts, ends. The bucket is
// named argv[2] and removed again; argv[3] is a directory for files. With argv[4] = "dev-server" the
// server's fault switches are used as well.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, writeFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import * as tus from 'tus-js-client'

const [bucket, folder, kind] = process.argv.slice(2)
const devServer = kind === 'dev-server'
const api = `${process.env.SUPABASE_URL}/storage/v1`
const endpoint = `${api}/upload/resumable`
const key = process.env.SUPABASE_SERVICE_ROLE_KEY
const CHUNK = 6 * 1024 * 1024
const SIZE = 2 * CHUNK + 1_234_567
const file = `${folder}/tus.bin`
const bytes = randomBytes(SIZE)
writeFileSync(file, bytes)
let failures = 0

async function check(what, body) {
  try {
    await body()
    console.log(`ok      ${what}`)
  } catch (problem) {
    failures++
    console.log(`FAILED  ${what}\n        ${String(problem.stack).replaceAll('\n', '\n        ')}`)
  } finally {
    if (devServer) await admin('DELETE', '/faults')
  }
}

const sha256 = (data) => createHash('sha256').update(data).digest('hex')

async function call(method, path, body, headers = {}) {
  const own = { authorization: `Bearer ${key}`, apikey: key }
  if (typeof body === 'object' && !Buffer.isBuffer(body)) {
    own['content-type'] = 'application/json'
    body = JSON.stringify(body)
  }
  return fetch(path.startsWith('http') ? path : api + path, { method, headers: { ...own, ...headers }, body })
}

async function admin(method, path, value) {
  const reply = await fetch(process.env.SUPAFS_DEVSERVER_ADMIN + path,
    { method, body: value && JSON.stringify(value) })
  assert.equal(reply.status, 200, await reply.clone().text())
}

async function stored(name, wanted) {
  const reply = await call('GET', `/object/authenticated/${bucket}/${name}`)
  assert.equal(reply.status, 200)
  assert.equal(sha256(Buffer.from(await reply.arrayBuffer())), sha256(wanted))
}

async function info(name) {
  const reply = await call('GET', `/object/info/authenticated/${bucket}/${name}`)
  return reply.status === 200 ? reply.json() : null
}

// The service names its uploads with a scheme and a path that only its gateway makes right: a
// client must put the last part behind its own endpoint.
const locations = []
class Stack {
  inner = new tus.DefaultHttpStack()
  getName() { return 'last-part' }
  createRequest(method, url) {
    const request = this.inner.createRequest(method, url)
    const send = request.send.bind(request)
    request.send = async (body) => {
      const response = await send(body)
      const header = response.getHeader.bind(response)
      response.getHeader = (name) => {
        const value = header(name)
        if (name.toLowerCase() !== 'location' || !value) return value
        locations.push(value)
        return `${endpoint}/${value.slice(value.lastIndexOf('/') + 1)}`
      }
      return response
    }
    return request
  }
}

// An upload and a promise of its end; requests[] gets "METHOD status".
function upload(name, source, options = {}) {
  const { headers, metadata, ...rest } = options
  const one = { requests: [] }
  one.done = new Promise((resolve, reject) => {
    one.upload = new tus.Upload(source, {
      endpoint, httpStack: new Stack(), chunkSize: CHUNK, retryDelays: null,
      headers: { authorization: `Bearer ${key}`, apikey: key, ...headers },
      metadata: { bucketName: bucket, objectName: name, contentType: 'image/png', cacheControl: '3600', ...metadata },
      onAfterResponse: (request, response) => {
        one.requests.push(`${request.getMethod()} ${response.getStatus()}`)
      },
      onSuccess: resolve, onError: reject, ...rest,
    })
  })
  one.done.catch(() => {})
  return one
}

const whole = async (one) => { one.upload.start(); await one.done }
const status = (error) => error.originalResponse?.getStatus()
async function refused(one, code) {
  await assert.rejects(whole(one), (error) => { assert.equal(status(error), code, error.message); return true })
}

// Starts a file's upload and breaks it off in the middle of the second chunk.
async function broken_off(name, options = {}) {
  if (devServer) await admin('PUT', '/settings', { mbytes_per_s: 40 })
  const one = await new Promise((resolve) => {
    const begun = upload(name, createReadStream(file), {
      ...options,
      onProgress: (sent) => {
        if (sent < CHUNK + 1_000_000 || begun.stopped) return
        begun.stopped = true
        begun.upload.abort().then(() => resolve(begun))
      },
    })
    begun.upload.start()
  })
  if (devServer) await admin('PUT', '/settings', { mbytes_per_s: 0 })
  assert.equal(await info(name), null, 'the object is there too early')
  return one
}

assert.equal((await call('POST', '/bucket', { name: bucket })).status, 200)

await check('a whole file in chunks of 6 MiB', async () => {
  const one = upload('dir/whole.bin', createReadStream(file), { metadata: { metadata: '{"mode":"0640"}' } })
  await whole(one)
  assert.deepEqual(one.requests, ['POST 201', 'PATCH 204', 'PATCH 204', 'PATCH 204'])
  await stored('dir/whole.bin', bytes)
  const about = await info('dir/whole.bin')
  assert.equal(about.content_type, 'image/png')
  assert.equal(about.cache_control, 'max-age=3600')
  assert.deepEqual(about.metadata, { mode: '0640' })
  const id = one.upload.url.slice(one.upload.url.lastIndexOf('/') + 1)
  assert.equal(Buffer.from(id, 'base64url').toString(), `${bucket}/dir/whole.bin/${about.version}`)
  if (devServer) assert.ok(locations.every((location) => location.startsWith('https://')))
})

await check('paused inside a chunk, resumed by the same client', async () => {
  const one = await broken_off('paused.bin')
  await new Promise((done) => setTimeout(done, 200))
  one.upload.start()
  await one.done
  assert.ok(one.requests.includes('HEAD 200'), one.requests.join())
  await stored('paused.bin', bytes)
})

await check('resumed by a new client that finds the upload in its storage', async () => {
  const urlStorage = new tus.FileUrlStorage(`${folder}/urls.json`)
  await broken_off('found.bin', { urlStorage })
  const one = upload('found.bin', createReadStream(file), { urlStorage })
  const previous = await one.upload.findPreviousUploads()
  assert.equal(previous.length, 1)
  one.upload.resumeFromPreviousUpload(previous[0])
  await whole(one)
  assert.ok(!one.requests.some((request) => request.startsWith('POST')), one.requests.join())
  await stored('found.bin', bytes)
})

await check('resumed by its URL, at the offset that the server has', async () => {
  const first = await broken_off('url.bin')
  const reply = await call('HEAD', first.upload.url, undefined, { 'tus-resumable': '1.0.0' })
  const offset = Number(reply.headers.get('upload-offset'))
  assert.ok(offset >= CHUNK && offset < SIZE, `offset ${offset}`)
  let sent
  const one = upload('url.bin', createReadStream(file), {
    uploadUrl: first.upload.url, onProgress: (at) => { sent ??= at },
  })
  await whole(one)
  assert.equal(one.requests[0], 'HEAD 200')
  assert.ok(sent >= offset, `began at ${sent}, not at ${offset}`)
  await stored('url.bin', bytes)
})

await check('another client has moved the offset: a conflict, a look, and on', async () => {
  let moved = false
  const one = upload('moved.bin', createReadStream(file), {
    retryDelays: [0, 100, 100],
    onChunkComplete: (size, at) => { moved ||= at === CHUNK },
    onBeforeRequest: async (request) => {
      if (!moved || moved === 'done' || request.getMethod() !== 'PATCH') return
      moved = 'done'
      const reply = await call('PATCH', one.upload.url, bytes.subarray(CHUNK, CHUNK + 100_000), {
        'tus-resumable': '1.0.0', 'upload-offset': String(CHUNK), 'content-type': 'application/offset+octet-stream',
      })
      assert.equal(reply.status, 204)
    },
  })
  await whole(one)
  assert.deepEqual(one.requests.slice(0, 4), ['POST 201', 'PATCH 204', 'PATCH 409', 'HEAD 200'])
  await stored('moved.bin', bytes)
})

await check('terminated: the upload is gone', async () => {
  const one = await broken_off('ended.bin')
  await one.upload.abort(true)
  const reply = await call('HEAD', one.upload.url, undefined, { 'tus-resumable': '1.0.0' })
  assert.equal(reply.status, 404)
})

await check('a stream whose length is told at its end', async () => {
  const stream = Readable.from([bytes.subarray(0, 1000), bytes.subarray(1000, CHUNK + 5)])
  await whole(upload('deferred.bin', stream, { uploadLengthDeferred: true }))
  await stored('deferred.bin', bytes.subarray(0, CHUNK + 5))
})

await check('an existing name: refused, and replaced with x-upsert', async () => {
  await refused(upload('dir/whole.bin', bytes.subarray(0, 10)), 409)
  await whole(upload('dir/whole.bin', bytes.subarray(0, 10), { headers: { 'x-upsert': 'true' } }))
  await stored('dir/whole.bin', bytes.subarray(0, 10))
  await stored('paused.bin', bytes)
})

await check('an empty file, and bytes that come with the creation', async () => {
  const empty = upload('empty', Buffer.alloc(0))
  await whole(empty)
  assert.deepEqual(empty.requests, ['POST 201'])
  await stored('empty', Buffer.alloc(0))
  const small = upload('small', bytes.subarray(0, 5000), { uploadDataDuringCreation: true })
  await whole(small)
  assert.deepEqual(small.requests, ['POST 201'])
  await stored('small', bytes.subarray(0, 5000))
})

await check('refusals', async () => {
  await refused(upload('parallel', bytes, { parallelUploads: 2 }), 501)
  await refused(upload('a#b', bytes.subarray(0, 10)), 400)
  await refused(upload('x', bytes.subarray(0, 10), { metadata: { bucketName: `${bucket}-none` } }), 404)
  await refused(upload('x', bytes.subarray(0, 10), { headers: { authorization: 'Bearer no' } }), 400)
})

if (devServer) {
  for (const fault of [{ kind: 'reset_after' }, { kind: 'error_after', status: 500 },
    { kind: 'reset_body', after: 2_000_000 }]) {
    await check(`a PATCH that fails by ${fault.kind}: the client looks and goes on`, async () => {
      await admin('PUT', '/faults', { ...fault, method: 'PATCH', skip: 1, times: 1 })
      const one = upload(`${fault.kind}.bin`, createReadStream(file), { retryDelays: [0, 100, 100] })
      await whole(one)
      assert.ok(one.requests.includes('HEAD 200'), one.requests.join())
      await stored(`${fault.kind}.bin`, bytes)
    })
  }
  await check('a late duplicate of a PATCH changes nothing', async () => {
    await admin('PUT', '/faults', { kind: 'duplicate', ms: 20, method: 'PATCH' })
    await whole(upload('duplicate.bin', createReadStream(file), { retryDelays: [0, 100, 100] }))
    await new Promise((done) => setTimeout(done, 100))
    await stored('duplicate.bin', bytes)
  })
}

// --- the end ---------------------------------------------------------------------------------

for (;;) {
  const page = await (await call('POST', `/object/list-v2/${bucket}`, { limit: 1000 })).json()
  if (page.objects.length === 0) break
  await call('DELETE', `/object/${bucket}`, { prefixes: page.objects.map((row) => row.name) })
}
assert.equal((await call('DELETE', `/bucket/${bucket}`)).status, 200)
console.log(`${failures} failed`)
process.exit(failures ? 1 : 0)
