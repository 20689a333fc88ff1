// Runs talkers and short sessions in Node, as faults_test.go asks on standard input: a line {id, call, args} is
// answered by a line {id, value} or {id, error}.
import {createInterface} from 'node:readline'
import {webcrypto} from 'node:crypto'
import {pathToFileURL} from 'node:url'
import WebSocket from 'ws'

import {Talker} from './talker.mjs'
import {Sessions} from './session.mjs'

globalThis.crypto ??= webcrypto // Node 18

const SDK = pathToFileURL(process.argv[2]).href

/** Sockets that end with their life, as the system ends those of a process that was killed. */
function sockets() {
  const open = new Set()
  class Socket extends WebSocket {
    constructor(url) {
      super(url)
      open.add(this)
      this.on('close', () => open.delete(this))
    }
  }
  const kill = () => {
    for (const s of open) {
      s.removeAllListeners()
      s.on('error', () => {})
      s.terminate()
    }
  }
  return {Socket, kill}
}

/** What localStorage is to a page. `lease` is one life's way to it: a dead page writes nothing. */
class Disk {
  constructor() { this.items = new Map() }

  lease() {
    let dead = false
    return {
      getItem: (k) => (this.items.has(k) ? this.items.get(k) : null),
      setItem: (k, v) => { if (!dead) this.items.set(k, String(v)) },
      removeItem: (k) => { if (!dead) this.items.delete(k) },
      end: () => { dead = true },
    }
  }
}

let life // {talker, kill}
let who
const disk = new Disk()
const notes = []

async function begin() {
  const net = sockets()
  const storage = disk.lease()
  const place = {
    sdk: await import(`${SDK}?life=${notes.length}`),
    options: {WebSocket: net.Socket, storage},
    notes: {all: () => notes, add: (n) => notes.push(n)},
  }
  const talker = new Talker(place, who)
  life = {talker, kill: () => (talker.die(), storage.end(), net.kill())}
}

let sessions
const calls = {
  async talk(options) {
    who = options
    await begin()
  },
  async reload() {
    const {silent} = life.talker
    life.kill()
    await begin()
    life.talker.silent = silent
  },
  async sessions(options) {
    const net = sockets()
    sessions = new Sessions(await import(SDK), () => ({WebSocket: net.Socket, storage: new Disk().lease()}), options)
  },
  session: (id, step, ...args) => sessions.step(id, step, ...args),
}
for (const name of ['speak', 'quiet', 'wake', 'slower', 'progress', 'report']) calls[name] = (...args) => life.talker[name](...args)

for await (const line of createInterface({input: process.stdin})) {
  const {id, call, args} = JSON.parse(line)
  const answer = (a) => process.stdout.write(JSON.stringify({id, ...a}) + '\n')
  Promise.resolve().then(() => calls[call](...args)).then(
    (value) => answer({value: value === undefined ? null : value}),
    (err) => answer({error: String(err && err.stack || err)}))
}
process.exit(0) // the test has gone
