// SPDX-License-Identifier: GPL-3.0-or-later
// supabase-js as the other client of a bucket, for shell tests.
//
//   node files.mjs COMMAND BUCKET < LINES       fields of a line are separated by tabs
//     upload | update    KEY FILE TYPE          FILE's bytes as object KEY
//     verify             KEY FILE TYPE          KEY has FILE's bytes, its size, and TYPE ('-': any)
//     move               FROM TO
//     remove | absent    KEY
//
// Every line is one check; prints what is wrong and ends with status 1 when anything is.
import { readFileSync } from 'node:fs'
import { createClient } from '@supabase/supabase-js'

const [, , command, bucket] = process.argv
const client = createClient(process.env.SUPABASE_URL, process.env.SUPABASE_SERVICE_ROLE_KEY, {
  auth: { persistSession: false, autoRefreshToken: false },
})
const files = client.storage.from(bucket)
// The client puts a key into the URL as it is.
const inUrl = (key) => key.split('/').map(encodeURIComponent).join('/')

function need(reply) {
  if (reply.error) throw new Error(`${reply.error.statusCode} ${reply.error.message}`)
  return reply.data
}

async function verify(key, file, type) {
  const wanted = readFileSync(file)
  const about = need(await files.info(inUrl(key)))
  if (about.size !== wanted.length) throw new Error(`size ${about.size}, wanted ${wanted.length}`)
  if (type !== '-' && about.contentType !== type) {
    throw new Error(`content type ${about.contentType}, wanted ${type}`)
  }
  const got = Buffer.from(await need(await files.download(inUrl(key))).arrayBuffer())
  if (!got.equals(wanted)) throw new Error(`${got.length} bytes differ from the ${wanted.length} of ${file}`)
}

const commands = {
  upload: async (key, file, type) =>
    need(await files.upload(inUrl(key), readFileSync(file), { contentType: type })),
  update: async (key, file, type) =>
    need(await files.update(inUrl(key), readFileSync(file), { contentType: type })),
  verify,
  move: async (from, to) => need(await files.move(from, to)),
  remove: async (key) => {
    const gone = need(await files.remove([key]))
    if (gone.length !== 1) throw new Error(`removed ${gone.length} objects`)
  },
  absent: async (key) => {
    if ((await files.exists(inUrl(key))).data) throw new Error('it is there')
  },
}
if (!commands[command] || !bucket) {
  console.error('files.mjs: wrong use; see its first lines')
  process.exit(2)
}

let failures = 0
for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  try {
    await commands[command](...line.split('\t'))
  } catch (problem) {
    failures++
    console.error(`${command} ${bucket}: ${line.replaceAll('\t', ' ')}: ${problem.message}`)
  }
}
process.exit(failures ? 1 : 0)
