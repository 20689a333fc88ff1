// A clock that stands still until told, and a server's end of a WebSocket, for the SDK's tests.
import {webcrypto} from 'node:crypto'

import {connect, web} from '../sdk/teahouse.js'

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
  return {
    items, writes: 0,
    getItem: (k) => (items.has(k) ? items.get(k) : null),
    setItem(k, v) { this.writes++; items.set(k, v) },
    removeItem: (k) => void items.delete(k),
    /** What is kept of alice: 'places' or 'outbox'. */
    kept: (name, user = 'alice') => JSON.parse(items.get(`teahouse ${name} ws://tea.test/ws ${user}`) || 'null'),
  }
}

/** A client of alice with its net and clock; every state it went through is in `states`. */
export function start({clock = new FakeClock(), ...options} = {}) {
  const net = network()
  const hooks = []
  const platform = {...web(net.FakeSocket), lifecycle: (on) => (hooks.push(on), () => hooks.splice(0))}
  const client = connect({url: 'ws://tea.test/ws', user: 'alice', platform, clock: clock.hooks, storage: null, ...options})
  const states = []
  client.on('state', (s) => states.push(s))
  return {net, clock, client, states, hooks, wake: () => hooks.forEach((h) => h.wake()), sleep: () => hooks.forEach((h) => h.sleep())}
}

/** The server's part of a hello and the joins that follow it. */
export function greet(socket, {seq = 0, epoch = 'e1', user = 'alice', head, join = true, ...more} = {}) {
  if (socket.readyState === 0) socket.open()
  const hello = socket.frames('hello')[0]
  socket.say({op: 'welcome', id: hello.id, user, session: 's', position: {epoch, seq}, ping_ms: 25000, ...more})
  if (join) for (const j of socket.frames('join')) joined(socket, j, head === undefined ? seq : head)
  return hello
}

/** The server's answer to a join: it begins where it was asked to, or at a first page of no events. */
export function joined(socket, join, head, more = {}) {
  const after = 'recent' in join ? Math.min('after' in join ? join.after : head, head) : join.after
  socket.say({op: 'joined', id: join.id, topic: join.topic, head, after, online: 1, ...more})
}

/** The ack of a send that the socket heard. */
export function ack(socket, send, seq, more = {}) {
  socket.say({op: 'ack', id: send.id, topic: send.topic, key: send.key, seq, at: seq, ...more})
}

export function event(seq, from = 'bob', more = {}) {
  return {op: 'event', topic: 'room:lobby', seq, kind: 'message', from, key: 'k' + seq, body: {text: 't' + seq}, at: seq, ...more}
}

/** Opens the lobby; `t.heard` has the numbers of its messages. */
export function lobby(t, options) {
  const room = t.client.room('lobby', options)
  t.heard = []
  room.on('message', (e) => t.heard.push(e.seq))
  return room
}
