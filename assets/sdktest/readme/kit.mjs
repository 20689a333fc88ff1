// What the README's examples (examples.mjs) share: the server, other users, and what an example says.
import assert from 'node:assert/strict'
import {webcrypto} from 'node:crypto'
import path from 'node:path'
import {pathToFileURL} from 'node:url'

import WebSocket from 'ws'

globalThis.crypto ??= webcrypto // Node 18

export const [project, name] = process.argv.slice(2)
const url = process.env.TEAHOUSE_URL
const patience = 30000 // ms

export function memory() {
  const items = new Map()
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, String(value)),
    removeItem: (key) => void items.delete(key),
  }
}

/** Waits until ok() gives something true. */
export async function until(what, ok) {
  const end = Date.now() + patience
  for (;;) {
    const value = await ok()
    if (value) return value
    if (Date.now() > end) {
      const {sessions} = await call('GET', '/sessions')
      throw new Error(`waited for ${what}; the example said ${JSON.stringify(said)}; the sessions: ${JSON.stringify(sessions)}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

// An example that waits for ever says so.
setTimeout(() => {
  process.stderr.write(`${name} does not end; it said: ${JSON.stringify(said)}\n`)
  process.exit(1)
}, patience + 15000).unref()

/** Calls the server as a backend does. */
export async function call(method, where, body) {
  const res = await realFetch(url + '/api/v1' + where, {
    method, body: body && JSON.stringify(body), headers: {authorization: 'Bearer ' + process.env.TEAHOUSE_KEY},
  })
  const text = await res.text()
  assert.ok(res.ok, `${method} ${where}: ${res.status} ${text}`)
  return text ? JSON.parse(text) : undefined
}
const realFetch = globalThis.fetch

const said = [] // what the example wrote to the console
const log = console.log
console.log = (...words) => void said.push(words.join(' '))
/** Waits until the example has said something that fits. */
export const says = (what) => until(`${what} to be said`, () => said.find((s) => (typeof what === 'string' ? s === what : what.test(s))))
export const silent = (what) => assert.ok(!said.some((s) => what.test(s)), JSON.stringify(said))

const installed = path.join(project, 'node_modules', 'teahouse-sdk')
export const sdk = await import(pathToFileURL(path.join(installed, 'teahouse.js')))
export const common = path.join(installed, 'cjs', 'teahouse.js')
export const file = (ext) => path.join(project, name + ext)

/** Another user, or the README's own `tea`. */
export async function user(who, more = {}) {
  const tea = sdk.connect({url, user: who, WebSocket, storage: memory(), ...more})
  await until(who + ' to be live', () => tea.state.name === 'live')
  return tea
}

/** A client that connects when `go` is called: the example listens before. */
export function later(who, more = {}) {
  let go
  const gate = new Promise((resolve) => { go = resolve })
  const real = sdk.web(WebSocket)
  const connect = (to, on) => {
    let socket
    let over = false
    gate.then(() => { if (!over) socket = real.connect(to, on) })
    return {
      send: (text) => socket.send(text),
      close() {
        over = true
        if (socket) socket.close()
      },
    }
  }
  return {tea: sdk.connect({url, user: who, platform: {connect}, ...more}), go}
}

/** Runs the example, which has `tea` and `lobby` if it makes no client of its own. */
export async function run(globals = {}) {
  Object.assign(globalThis, globals)
  return import(pathToFileURL(file('.mjs')))
}

export async function prelude(more) {
  const tea = await user('alice', more)
  const lobby = tea.room('lobby')
  const bob = await user('bob')
  const his = bob.room('lobby')
  await until('all to be in the lobby', async () => (await his.presence()).length === 2)
  return {tea, lobby, bob, his}
}

/** What the server says of a user's connections. */
export const online = async (who) => (await call('GET', '/sessions?user=' + who)).sessions.filter((s) => s.online)
export const history = async (topic) => (await call('GET', `/topics/${encodeURIComponent(topic)}/events`)).events
