// SPDX-License-Identifier: GPL-3.0-or-later
// Every method of supabase-js's storage client against the server of SUPABASE_URL, with the service
// key of the environment. The bucket names begin with argv[2] and are removed again.
// With argv[3] = "dev-server" what is not there must say so; a real server is not asked for it.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { createClient } from '@supabase/supabase-js'

const prefix = process.argv[2]
const devServer = process.argv[3] === 'dev-server'
const client = createClient(process.env.SUPABASE_URL, process.env.SUPABASE_SERVICE_ROLE_KEY, {
  auth: { persistSession: false, autoRefreshToken: false },
})
const storage = client.storage
const used = new Set()
let failures = 0

const md5 = (bytes) => createHash('md5').update(bytes).digest('hex')

// One named check; the names of the methods it shows are those the list at the end asks for.
async function check(methods, what, body) {
  for (const method of methods.split(' ')) used.add(method)
  try {
    await body()
    console.log(`ok      ${methods}: ${what}`)
  } catch (problem) {
    failures++
    console.log(`FAILED  ${methods}: ${what}\n        ${String(problem.message).replaceAll('\n', '\n        ')}`)
  }
}

// The data of a reply that must have succeeded.
function good(reply) {
  assert.equal(reply.error, null, `error ${reply.error?.statusCode} ${reply.error?.message}`)
  return reply.data
}

// The error of a reply that must have failed, with this status in the body.
function bad(reply, statusCode) {
  assert.ok(reply.error, 'it succeeded')
  assert.equal(String(reply.error.statusCode), statusCode, reply.error.message)
  return reply.error
}

async function bytesOf(reply) {
  const data = good(await reply)
  return Buffer.from(await data.arrayBuffer())
}

const bucket = `${prefix}-main`
const other = `${prefix}-other`
const files = () => storage.from(bucket)

// --- buckets ---------------------------------------------------------------------------------

await check('createBucket', 'private, with limits', async () => {
  assert.deepEqual(good(await storage.createBucket(bucket)), { name: bucket })
  good(await storage.createBucket(other, {
    public: true, fileSizeLimit: '10KB', allowedMimeTypes: ['text/*', 'image/png'],
  }))
})
await check('createBucket', 'a name that exists is refused', async () => {
  bad(await storage.createBucket(bucket), '409')
})
await check('getBucket', 'what was given comes back', async () => {
  const row = good(await storage.getBucket(other))
  assert.equal(row.id, other)
  assert.equal(row.public, true)
  assert.equal(row.file_size_limit, 10000)
  assert.deepEqual(row.allowed_mime_types, ['text/*', 'image/png'])
})
await check('getBucket', 'a missing one', async () => {
  bad(await storage.getBucket(`${prefix}-none`), '404')
})
await check('updateBucket', 'limits changed', async () => {
  good(await storage.updateBucket(other, { public: false, fileSizeLimit: null }))
  const row = good(await storage.getBucket(other))
  assert.equal(row.public, false)
  assert.equal(row.file_size_limit, null)
})
await check('listBuckets', 'both are there, sorted and cut on request', async () => {
  const all = good(await storage.listBuckets()).map((row) => row.id)
  assert.ok(all.includes(bucket) && all.includes(other), all.join())
  const found = good(await storage.listBuckets({
    search: prefix, sortColumn: 'name', sortOrder: 'desc', limit: 1,
  }))
  assert.deepEqual(found.map((row) => row.id), [other])
})

// --- uploads ---------------------------------------------------------------------------------

const body = randomBytes(70_000)

await check('upload download', 'a Buffer', async () => {
  const data = good(await files().upload('dir/buffer.bin', body, { contentType: 'image/png' }))
  assert.equal(data.path, 'dir/buffer.bin')
  assert.equal(data.fullPath, `${bucket}/dir/buffer.bin`)
  assert.match(data.id, /^[0-9a-f-]{36}$/)
  assert.equal(md5(await bytesOf(files().download('dir/buffer.bin'))), md5(body))
})
await check('upload', 'an ArrayBuffer, a string, nothing at all', async () => {
  good(await files().upload('dir/array.bin', Uint8Array.from(body).buffer))
  assert.equal(md5(await bytesOf(files().download('dir/array.bin'))), md5(body))
  good(await files().upload('dir/text.txt', 'a string', { contentType: 'text/plain' }))
  assert.equal((await bytesOf(files().download('dir/text.txt'))).toString(), 'a string')
  good(await files().upload('dir/empty', Buffer.alloc(0)))
  assert.equal((await bytesOf(files().download('dir/empty'))).length, 0)
})
await check('upload', 'a stream of unknown length (chunked)', async () => {
  const stream = Readable.from([body.subarray(0, 1000), body.subarray(1000)])
  good(await files().upload('dir/stream.bin', stream, { duplex: 'half' }))
  assert.equal(md5(await bytesOf(files().download('dir/stream.bin'))), md5(body))
})
await check('upload update', 'a Blob and a FormData, which are sent as forms', async () => {
  const blob = new Blob([body], { type: 'text/plain;charset=utf-8' })
  good(await files().upload('form/blob.txt', blob, { cacheControl: '99', metadata: { k: 'v' } }))
  let about = good(await files().info('form/blob.txt'))
  assert.equal(about.contentType, 'text/plain')
  assert.equal(about.cacheControl, 'max-age=99')
  assert.deepEqual(about.metadata, { k: 'v' })
  assert.equal(md5(await bytesOf(files().download('form/blob.txt'))), md5(body))
  const form = new FormData()
  form.append('', new Blob([body.subarray(0, 5)], { type: 'image/png' }), 'local name.png')
  good(await files().update('form/blob.txt', form))
  about = good(await files().info('form/blob.txt'))
  assert.equal(about.contentType, 'image/png')
  assert.deepEqual(about.metadata, {})
  assert.equal(about.size, 5)
  bad(await files().upload('form/blob.txt', blob), '409')
  bad(await storage.from(other).upload('x.mp4', new Blob(['x'], { type: 'video/mp4' })), '415')
  good(await files().remove(['form/blob.txt']))
})
await check('upload', 'an existing name is refused, and replaced with upsert', async () => {
  bad(await files().upload('dir/text.txt', 'b', { contentType: 'text/plain' }), '409')
  good(await files().upload('dir/text.txt', 'c', { contentType: 'text/plain', upsert: true }))
  assert.equal((await bytesOf(files().download('dir/text.txt'))).toString(), 'c')
})
await check('update', 'replaces', async () => {
  good(await files().update('dir/text.txt', 'dd', { contentType: 'text/html' }))
  assert.equal((await bytesOf(files().download('dir/text.txt'))).toString(), 'dd')
})
await check('upload', 'names that need escapes in a URL', async () => {
  for (const name of ["sp ace & $=@;:+,'().txt", 'a+b', 'dir two/x!*']) {
    good(await files().upload(encodeURIComponent(name), name, { contentType: 'text/plain' }))
    assert.equal((await bytesOf(files().download(name))).toString(), name)
  }
})
await check('upload', 'names and types that Storage refuses', async () => {
  bad(await files().upload('%C3%A9', 'x'), '400')
  bad(await storage.from(other).upload('x.bin', body, { contentType: 'video/mp4' }), '415')
  bad(await storage.from(`${prefix}-none`).upload('x', 'x'), '404')
})

// --- what is known about them ----------------------------------------------------------------

await check('info', 'size, type, cache control, metadata', async () => {
  good(await files().upload('dir/about.json', '{}', {
    contentType: 'application/json', cacheControl: '77', metadata: { mode: '0600', n: 1 },
  }))
  const about = good(await files().info('dir/about.json'))
  assert.equal(about.name, 'dir/about.json')
  assert.equal(about.bucketId, bucket)
  assert.equal(about.size, 2)
  assert.equal(about.contentType, 'application/json')
  assert.equal(about.cacheControl, 'max-age=77')
  // A real server on files may also be set to make it of the modification time.
  if (devServer) assert.equal(about.etag, `"${md5('{}')}"`)
  else assert.match(about.etag, /^"[^"]+"$/)
  assert.deepEqual(about.metadata, { mode: '0600', n: 1 })
  assert.match(about.version, /^[0-9a-f-]{36}$/)
  assert.ok(Math.abs(Date.parse(about.lastModified) - Date.now()) < 60_000, about.lastModified)
})
await check('info', 'id stays and version changes when replaced', async () => {
  const before = good(await files().info('dir/text.txt'))
  good(await files().update('dir/text.txt', 'eee', { contentType: 'text/plain' }))
  const after = good(await files().info('dir/text.txt'))
  assert.equal(after.id, before.id)
  assert.notEqual(after.version, before.version)
  assert.equal(after.size, 3)
})
await check('exists', 'true, false, and an error without a bucket', async () => {
  assert.equal(good(await files().exists('dir/text.txt')), true)
  assert.equal((await files().exists('dir/none')).data, false)
  await assert.rejects(storage.from(`${prefix}-none`).exists('x'))
})
await check('download', 'a missing object', async () => {
  bad(await files().download('dir/none'), '404')
})
await check('download', 'with a cache nonce, and as a stream', async () => {
  assert.equal((await bytesOf(files().download('dir/text.txt', { cacheNonce: '7' }))).toString(), 'eee')
  const stream = good(await files().download('dir/text.txt').asStream())
  const parts = []
  for await (const part of stream) parts.push(part)
  assert.equal(Buffer.concat(parts).toString(), 'eee')
})

// --- move, copy, remove ----------------------------------------------------------------------

await check('copy', 'within and across buckets', async () => {
  assert.equal(good(await files().copy('dir/text.txt', 'dir/copy.txt')).path, `${bucket}/dir/copy.txt`)
  good(await files().copy('dir/text.txt', 'over.txt', { destinationBucket: other }))
  assert.equal((await bytesOf(storage.from(other).download('over.txt'))).toString(), 'eee')
  bad(await files().copy('dir/text.txt', 'dir/copy.txt'), '409')
  bad(await files().copy('dir/none', 'dir/x'), '404')
})
await check('copy', 'metadata overridden', async () => {
  good(await files().copy('dir/text.txt', 'dir/meta.txt', {
    copyMetadata: false, metadata: { cacheControl: 'max-age=5', mimetype: 'text/css' },
  }))
  const about = good(await files().info('dir/meta.txt'))
  assert.equal(about.contentType, 'text/css')
  assert.equal(about.cacheControl, 'max-age=5')
})
await check('move', 'the id goes with it, an existing target is refused', async () => {
  const before = good(await files().info('dir/copy.txt'))
  good(await files().move('dir/copy.txt', 'moved/copy.txt'))
  assert.equal(good(await files().info('moved/copy.txt')).id, before.id)
  assert.equal((await files().exists('dir/copy.txt')).data, false)
  bad(await files().move('moved/copy.txt', 'dir/text.txt'), '409')
  good(await files().move('moved/copy.txt', 'moved.txt', { destinationBucket: other }))
  assert.equal(good(await storage.from(other).exists('moved.txt')), true)
})
await check('listV2', 'folders, objects, pages', async () => {
  const top = good(await files().listV2({ prefix: '', with_delimiter: true }))
  assert.deepEqual(top.folders.map((row) => row.name), ['dir two/', 'dir/'])
  assert.deepEqual(top.objects.map((row) => row.name), ['a+b', "sp ace & $=@;:+,'().txt"])
  const names = []
  let cursor
  do {
    const page = good(await files().listV2({ prefix: 'dir/', limit: 3, cursor }))
    names.push(...page.objects.map((row) => row.name))
    cursor = page.hasNext ? page.nextCursor : undefined
  } while (cursor)
  assert.deepEqual(names, ['about.json', 'array.bin', 'buffer.bin', 'empty', 'meta.txt',
    'stream.bin', 'text.txt'].map((name) => `dir/${name}`))
})
await check('remove', 'the reply names what went', async () => {
  const gone = good(await files().remove(['dir/text.txt', 'dir/none', 'dir/meta.txt']))
  assert.deepEqual(gone.map((row) => row.name).sort(), ['dir/meta.txt', 'dir/text.txt'])
  assert.equal((await files().exists('dir/text.txt')).data, false)
})

// --- the first listing -----------------------------------------------------------------------

const names = async (...args) => good(await files().list(...args)).map((row) => row.name)

await check('list', 'rows of objects and folders', async () => {
  const rows = good(await files().list('', { limit: 10 }))
  const folder = rows.find((row) => row.name === 'dir')
  assert.deepEqual([folder.id, folder.metadata, folder.created_at], [null, null, null])
  const object = good(await files().list('dir')).find((row) => row.name === 'about.json')
  assert.equal(object.id, good(await files().info('dir/about.json')).id)
  assert.equal(object.metadata.size, 2)
  assert.equal(object.metadata.mimetype, 'application/json')
  assert.equal(object.metadata.cacheControl, 'max-age=77')
  assert.equal('user_metadata' in object, false)
})
await check('list', 'pages, orders and search, without regard to case', async () => {
  for (const name of ['B', 'a', 'C/x', 'c/y', 'd']) {
    good(await files().upload(`v1/${name}`, name, { contentType: 'text/plain' }))
  }
  assert.deepEqual(await names('v1'), ['a', 'B', 'C', 'd'])
  assert.deepEqual(await names('V1'), ['a', 'B', 'C', 'd'])
  assert.deepEqual(await names('v1', { limit: 2 }), ['a', 'B'])
  assert.deepEqual(await names('v1', { limit: 2, offset: 2 }), ['C', 'd'])
  assert.deepEqual(await names('v1', { limit: 2, offset: 4 }), [])
  assert.deepEqual(await names('v1', { search: 'b' }), ['B'])
  assert.deepEqual(await names('v1', { sortBy: { column: 'created_at', order: 'desc' } }),
    ['c', 'C', 'd', 'a', 'B'])
  assert.deepEqual(await names('v1/c'), ['x', 'y'])
  assert.deepEqual(await names('none'), [])
  assert.deepEqual(good(await storage.from(`${prefix}-none`).list('')), [])
  bad(await files().list('', { limit: 0 }), '400')
})

// --- signed and public URLs ------------------------------------------------------------------

// What comes for a URL without any key.
async function fetched(url, options) {
  const reply = await fetch(url, options)
  return { status: reply.status, headers: reply.headers, text: await reply.text() }
}

await check('createSignedUrl', 'opens one object for a while, without a key', async () => {
  const { signedUrl } = good(await files().createSignedUrl("sp ace & $=@;:+,'().txt", 60))
  const whole = await fetched(signedUrl)
  assert.deepEqual([whole.status, whole.text], [200, "sp ace & $=@;:+,'().txt"])
  assert.ok(Math.abs(Date.parse(whole.headers.get('expires')) - Date.now() - 60_000) < 10_000)
  assert.equal(whole.headers.get('cache-control'), null)
  const part = await fetched(signedUrl, { headers: { Range: 'bytes=3-5' } })
  assert.deepEqual([part.status, part.text], [206, 'ace'])
  assert.equal(part.headers.get('content-range'), 'bytes 3-5/23')
  assert.equal((await fetched(signedUrl, { method: 'HEAD' })).headers.get('content-length'), '23')
  assert.equal((await fetched(signedUrl.replace('sp%20ace', 'sp%20ice'))).status, 400)
  assert.equal((await fetched(signedUrl.replace(/.$/, (c) => (c === 'A' ? 'Q' : 'A')))).status, 400)
})
if (devServer) {
  await check('createSignedUrl', 'whose token the log of requests does not keep', async () => {
    const { entries } = await (await fetch(`${process.env.SUPAFS_DEVSERVER_ADMIN}/log`)).json()
    const signed = entries.filter((entry) => entry.path.startsWith('/object/sign/') && entry.query)
    assert.ok(signed.length > 0)
    assert.deepEqual([...new Set(signed.map((entry) => entry.query))], ['token='])
  })
}
await check('createSignedUrl', 'as a download, and for what is not there', async () => {
  for (const [download, disposition] of [[true, 'attachment;'],
    ['na me.txt', "attachment; filename=na%20me.txt; filename*=UTF-8''na%20me.txt"]]) {
    const { signedUrl } = good(await files().createSignedUrl('a+b', 60, { download }))
    assert.equal((await fetched(signedUrl)).headers.get('content-disposition'), disposition)
  }
  bad(await files().createSignedUrl('none', 60), '404')
  bad(await files().createSignedUrl('a+b', 0), '400')
})
await check('createSignedUrl', 'not longer than it says', async () => {
  const { signedUrl } = good(await files().createSignedUrl('a+b', 1))
  assert.equal((await fetched(signedUrl)).status, 200)
  await new Promise((done) => setTimeout(done, 1100))
  const late = await fetched(signedUrl)
  assert.deepEqual([late.status, JSON.parse(late.text).error], [400, 'InvalidJWT'])
})
await check('createSignedUrls', 'several, with an error for each that is not there', async () => {
  const [one, none, two] = good(await files().createSignedUrls(['a+b', 'none', 'dir/about.json'], 60))
  assert.equal((await fetched(one.signedUrl)).text, 'a+b')
  assert.equal((await fetched(two.signedUrl)).text, '{}')
  assert.equal(none.signedUrl, null)
  assert.match(none.error, /does not exist/)
})
await check('createSignedUploadUrl uploadToSignedUrl', 'one upload without a key', async () => {
  const { token, path } = good(await files().createSignedUploadUrl('signed/one.txt'))
  const anybody = createClient(process.env.SUPABASE_URL, process.env.SUPABASE_ANON_KEY || 'none')
  const there = anybody.storage.from(bucket)
  const data = good(await there.uploadToSignedUrl(path, token, 'by a signed URL',
    { contentType: 'text/plain', cacheControl: '9', metadata: { a: 'b' } }))
  assert.equal(data.fullPath, `${bucket}/signed/one.txt`)
  const about = good(await files().info(path))
  assert.deepEqual([about.size, about.contentType, about.cacheControl, about.metadata],
    [15, 'text/plain', 'max-age=9', { a: 'b' }])
  bad(await there.uploadToSignedUrl(path, token, 'again'), '409')
  bad(await there.uploadToSignedUrl('signed/two.txt', token, 'elsewhere'), '400')
  bad(await there.uploadToSignedUrl(path, 'no token', 'x'), '400')
  bad(await files().createSignedUploadUrl(path), '409')
  const again = good(await files().createSignedUploadUrl(path, { upsert: true }))
  good(await there.uploadToSignedUrl(path, again.token, new Blob(['a form'], { type: 'text/css' })))
  assert.equal((await bytesOf(files().download(path))).toString(), 'a form')
  assert.equal(good(await files().info(path)).contentType, 'text/css')
})
await check('getPublicUrl', 'opens what is in a public bucket', async () => {
  const url = storage.from(other).getPublicUrl('over.txt', { download: 'x.txt' }).data.publicUrl
  assert.equal((await fetched(url)).status, 400)
  good(await storage.updateBucket(other, { public: true }))
  const reply = await fetched(url)
  assert.deepEqual([reply.status, reply.text], [200, 'eee'])
  assert.match(reply.headers.get('content-disposition'), /filename=x.txt/)
})

// --- the end of what is in them --------------------------------------------------------------

await check('deleteBucket', 'not while there is something in it', async () => {
  bad(await storage.deleteBucket(bucket), '409')
})
await check('getPublicUrl toBase64', 'made here, no request', async () => {
  assert.equal(files().getPublicUrl('a/b').data.publicUrl,
    `${process.env.SUPABASE_URL}/storage/v1/object/public/${bucket}/a/b`)
  assert.equal(files().toBase64('abc'), 'YWJj')
})

// --- what is not there says so ---------------------------------------------------------------

// Images are not rendered by the dev server.
if (devServer) {
  const transform = { width: 10 }
  await check('download', 'of a rendered image answers 501', async () => {
    bad(await files().download('a+b', { transform }), '501')
  })
  await check('createSignedUrl', 'of a rendered image answers 501', async () => {
    bad(await files().createSignedUrl('a+b', 60, { transform }), '501')
  })
}
// Routes that the recorded Storage version does not have either.
const unknown = {
  purgeCache: () => files().purgeCache('a+b'),
  purgeBucketCache: () => storage.purgeBucketCache(bucket),
  getBucketLifecycle: () => storage.getBucketLifecycle(bucket),
  updateBucketLifecycle: () => storage.updateBucketLifecycle(bucket, { rules: [] }),
  deleteBucketLifecycle: () => storage.deleteBucketLifecycle(bucket),
}
for (const [method, call] of Object.entries(unknown)) {
  used.add(method)
  if (!devServer) continue
  await check(method, 'answers 404 or 501', async () => {
    const { error } = await call()
    assert.ok(error && [404, 501].includes(error.status), `status ${error?.status}`)
  })
}

// --- the end ---------------------------------------------------------------------------------

await check('deleteBucket', 'when it is empty', async () => {
  for (const name of [bucket, other]) {
    const page = good(await storage.from(name).listV2({ prefix: '' }))
    if (page.objects.length) good(await storage.from(name).remove(page.objects.map((row) => row.name)))
    good(await storage.deleteBucket(name))
    bad(await storage.getBucket(name), '404')
  }
})

await check('emptyBucket', 'takes everything away', async () => {
  good(await storage.createBucket(bucket))
  good(await files().upload('a/b', 'x'))
  good(await storage.emptyBucket(bucket))
  // A hosted server only queues it, for up to an hour.
  if (!devServer) good(await files().remove(['a/b']))
  for (let i = 0; i < 100; i++) {
    if (!good(await files().listV2({ prefix: '' })).objects.length) break
    await new Promise((done) => setTimeout(done, 50))
  }
  good(await storage.deleteBucket(bucket))
})

// No method of the client is forgotten, also those that a newer version brings.
const ownMethods = (object) => Object.getOwnPropertyNames(Object.getPrototypeOf(object))
  .filter((name) => name !== 'constructor' && typeof object[name] === 'function')
const helpers = new Set(['uploadOrUpdate', 'prepareUploadFormData', 'encodeMetadata', '_getFinalPath',
  '_removeEmptyFolders', 'applyTransformOptsToQuery', 'listBucketOptionsToQueryString', 'bucketLifecycleUrl'])
const bucketApi = Object.getPrototypeOf(Object.getPrototypeOf(storage))
const methods = [...ownMethods(files()),
  ...Object.getOwnPropertyNames(bucketApi).filter((name) => name !== 'constructor')]
const forgotten = methods.filter((name) => !used.has(name) && !helpers.has(name))
if (forgotten.length) {
  failures++
  console.log(`FAILED  not tried: ${forgotten.join(' ')}`)
}
console.log(`${failures} failed`)
process.exit(failures ? 1 : 0)
