// A clock that stands still until told, and a server's end of a WebSocket, for the SDK's tests.
import {webcrypto} from 'node:crypto'

import {connect} from '../sdk/teahouse.js'

globalThis.crypto ??= webcrypto // browsers have it; Node 18 wants to be asked

export class FakeClock {
  constructor() {
    this.time = 1000000
    this.timers = new Map()
    this.last = 0
    this.randoms = [] // drawn first; then 0.5
  }

  /** What the SDK is given. */
  get hooks() {
    return {
      setTimeout: (fn, ms) => (this.timers.set(++this.last, {fn, at: this.time + ms}), this.last),
      clearTimeout: (id) => this.timers.delete(id),
      now: () => this.time,
      random: () => (this.randoms.length ? this.randoms.shift() : 0.5),
    }
  }

  /** Lets ms pass, with the timers in order. */
  async pass(ms) {
    const end = this.time + ms
    for (;;) {
      await settle()
      let next
      for (const [id, t] of this.timers) if (t.at <= end && (!next || t.at < next.at)) next = {id, ...t}
      if (!next) break
      this.timers.delete(next.id)
      this.time = Math.max(this.time, next.at)
      next.fn()
    }
    this.time = end
    await settle()
  }

  /** The machine sleeps: time goes on, timers do not. */
  freeze(ms) {
    this.time += ms
    for (const t of this.timers.values()) t.at += ms
  }
}

/** Lets what was promised happen. */
export const settle = () => new Promise((resolve) => setImmediate(resolve))

/** A network of sockets that the test drives by hand. */
export function network() {
  const all = []
  class FakeSocket {
    constructor(url) {
      if (FakeSocket.broken) throw new Error('no network at all')
      this.url = url
      this.readyState = 0
      this.sent = []
      all.push(this)
    }
    send(text) {
      if (this.readyState !== 1) throw new Error('InvalidStateError')
      this.sent.push(JSON.parse(text))
    }
    close() {
      if (this.readyState < 2) this.readyState = 2
    }
    // The server's side.
    open() {
      this.readyState = 1
      this.onopen && this.onopen({})
    }
    say(frame) {
      this.onmessage && this.onmessage({data: typeof frame === 'string' ? frame : JSON.stringify(frame)})
    }
    /** The close that the client sees. */
    end(code = 1006, reason = '') {
      this.readyState = 3
      this.onerror && this.onerror({})
      this.onclose && this.onclose({code, reason})
    }
    frames(op) {
      return this.sent.filter((f) => f.op === op)
    }
  }
  return {
    FakeSocket,
    all,
    get last() { return all[all.length - 1] },
    get alive() { return all.filter((s) => s.readyState < 2) },
  }
}

/** A memory like localStorage. */
export function memory() {
  const items = new Map()
  return {items, getItem: (k) => (items.has(k) ? items.get(k) : null), setItem: (k, v) => items.set(k, v)}
}

/** A client of alice with its net and clock; every state it went through is in `states`. */
export function start(options = {}) {
  const net = network()
  const clock = new FakeClock()
  const wakes = []
  const client = connect({
    url: 'ws://tea.test/ws', user: 'alice', WebSocket: net.FakeSocket, clock: clock.hooks, storage: null,
    lifecycle: (wake) => (wakes.push(wake), () => wakes.splice(0)), ...options,
  })
  const states = []
  client.on('state', (s) => states.push(s))
  return {net, clock, client, states, wake: () => wakes.forEach((w) => w())}
}

/** The server's part of a hello and the joins that follow it. */
export function greet(socket, {seq = 0, epoch = 'e1', head, join = true, ...more} = {}) {
  if (socket.readyState === 0) socket.open()
  const hello = socket.frames('hello')[0]
  socket.say({op: 'welcome', id: hello.id, user: 'alice', session: 's', position: {epoch, seq}, ping_ms: 25000, ...more})
  if (join) for (const j of socket.frames('join')) joined(socket, j, head === undefined ? seq : head)
  return hello
}

export function joined(socket, join, head, more = {}) {
  socket.say({op: 'joined', id: join.id, topic: join.topic, head, online: 1, ...more})
}

export function event(seq, from = 'bob', more = {}) {
  return {op: 'event', topic: 'room:lobby', seq, kind: 'message', from, key: 'k' + seq, body: {text: 't' + seq}, at: seq, ...more}
}
