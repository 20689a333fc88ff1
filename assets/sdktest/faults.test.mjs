// Two clients talk all the time through a network that breaks at random; the server is a small model of the
// real one. Whatever happens: every message is in the log once and with each client once, in the log's order.
import test from 'node:test'
import assert from 'node:assert/strict'
import {connect} from '../sdk/teahouse.js'
import {FakeClock, settle} from './fake.mjs'

const PAGE = 3 // events in a page of a replay
const TOPIC = 'room:lobby'

/** A seeded random number generator (mulberry32). */
function dice(seed) {
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const upTo = (n) => Math.floor(random() * n)
  return {random, upTo, one: (p) => random() < p}
}

/**
 * A server with a log, over a network with delays. `announces`: it says where a replay begins and when it is
 * over. Without that a send can overtake the replay, and its ack comes out of turn.
 */
function world(seed, announces) {
  const rnd = dice(seed)
  const clock = new FakeClock()
  const {setTimeout} = clock.hooks
  const log = []
  const conns = new Set()
  const stats = {sockets: 0, cuts: 0, most: 0}

  class Socket {
    constructor() {
      this.readyState = 0
      this.there = [] // what is under way to the server, and back: each delay brings the oldest
      this.back = []
      this.live = false
      this.cursor = -1
      this.own = new Set()
      this.open = true // as the server sees it
      conns.add(this)
      stats.sockets++
      stats.most = Math.max(stats.most, [...conns].filter((c) => c.name === this.name && c.readyState < 2).length)
      setTimeout(() => {
        if (rnd.one(0.1)) return this.cut()
        if (!this.open || this.readyState) return
        this.readyState = 1
        this.onopen && this.onopen({})
      }, 1 + rnd.upTo(100))
    }
    send(text) {
      this.there.push(text)
      setTimeout(() => {
        const next = this.there.shift()
        if (this.open) this.handle(JSON.parse(next))
      }, 1 + rnd.upTo(40))
      if (rnd.one(0.01)) this.cut()
    }
    close() {
      this.readyState = 2
      this.gone()
    }
    gone() {
      this.open = this.live = false
      conns.delete(this)
    }
    /** The network breaks: what is under way is lost. The client hears of it later, or not at all. */
    cut(code = 1006) {
      if (!this.open) return
      stats.cuts++
      this.gone()
      if (rnd.one(0.8)) setTimeout(() => { this.readyState = 3; this.onclose && this.onclose({code, reason: ''}) }, rnd.upTo(3000))
    }
    say(frame) {
      this.back.push(JSON.stringify(frame))
      setTimeout(() => {
        const data = this.back.shift()
        if (this.open && this.onmessage) this.onmessage({data})
      }, 1 + rnd.upTo(40))
      if (rnd.one(0.01)) this.cut()
    }
    handle(f) {
      switch (f.op) {
        case 'hello':
          this.user = f.user
          return this.say({op: 'welcome', id: f.id, user: f.user, position: {epoch: 'e', seq: log.length}, ping_ms: 5000})
        case 'join': {
          this.cursor = 'after' in f ? f.after : Math.max(0, log.length - f.recent)
          const marks = announces ? {live: false, after: this.cursor} : {}
          this.say({op: 'joined', id: f.id, topic: TOPIC, head: log.length, online: 1, ...marks})
          return this.replay()
        }
        case 'send': return this.store(f)
        case 'ping': return this.say({op: 'pong'})
      }
    }
    replay() {
      if (!this.open) return
      for (const e of log.slice(this.cursor, this.cursor + PAGE)) {
        if (!this.own.has(e.key)) this.say({op: 'event', ...e})
        this.cursor = e.seq
      }
      if (this.cursor < log.length) return setTimeout(() => this.replay(), rnd.upTo(30))
      this.live = true
      if (announces) this.say({op: 'live', topic: TOPIC, seq: log.length})
    }
    store(f) {
      this.own.add(f.key) // the replay leaves out what this connection sends
      setTimeout(() => {
        let e = log.find((x) => x.key === f.key)
        const twice = !!e
        if (!e) {
          e = {topic: TOPIC, seq: log.length + 1, kind: f.kind, from: this.user, key: f.key, body: f.body, at: clock.time}
          log.push(e)
          for (const c of conns) {
            if (!c.live) continue
            c.cursor = e.seq
            if (c !== this) c.say({op: 'event', ...e})
          }
        }
        if (twice) this.own.delete(f.key)
        if (this.open) this.say({op: 'ack', id: f.id, key: f.key, seq: e.seq, at: e.at})
      }, rnd.upTo(20))
    }
  }
  return {rnd, clock, log, conns, stats, Socket}
}

async function talk(seed, announces) {
  const w = world(seed, announces)
  const people = ['alice', 'bob'].map((user) => {
    const p = {user, heard: [], sent: 0, acked: 0}
    class Mine extends w.Socket { get name() { return user } }
    p.client = connect({
      url: 'ws://tea.test/ws', user, WebSocket: Mine, storage: null, clock: {...w.clock.hooks, random: w.rnd.random},
      lifecycle: (wake) => ((p.wake = wake), () => {}),
    })
    p.room = p.client.room('lobby')
    p.room.on('message', (e) => p.heard.push(e))
    p.room.on('reset', () => assert.fail('there was no reason for a reset'))
    return p
  })
  const here = () => people.every((p) => p.room._joined && p.room._cursor >= 0)
  for (let i = 0; !here(); i++) {
    assert.ok(i < 300, 'both come in some time')
    await w.clock.pass(1000)
  }

  for (let round = 0; round < 250; round++) {
    for (const p of people) {
      if (w.rnd.one(0.7)) p.room.send({text: `${p.user} ${p.sent++}`}).then(() => p.acked++)
    }
    if (w.rnd.one(0.1)) for (const c of [...w.conns]) c.cut(4002) // the server restarts
    else if (w.rnd.one(0.15)) [...w.conns].slice(0, 1).forEach((c) => c.cut())
    else if (w.rnd.one(0.05)) w.clock.freeze(60000)
    if (w.rnd.one(0.1)) people[w.rnd.upTo(2)].wake()
    await w.clock.pass(w.rnd.upTo(400))
  }
  for (let i = 0; i < 100 && !people.every((p) => p.acked === p.sent && p.heard.length === w.log.length); i++) {
    people.forEach((p) => p.wake())
    await w.clock.pass(5000)
  }
  people.forEach((p) => p.client.close())
  await settle()

  assert.equal(w.stats.most, 1, 'never two sockets of one client')
  assert.equal(w.log.length, people[0].sent + people[1].sent, 'each message is in the log once')
  for (const p of people) {
    assert.equal(p.acked, p.sent)
    const own = w.log.filter((e) => e.from === p.user).map((e) => e.body.text)
    assert.deepEqual(own, own.map((_, i) => `${p.user} ${i}`), 'in the order in which they were sent')
    const seqs = p.heard.map((e) => e.seq)
    if (!announces) seqs.sort((a, b) => a - b)
    assert.deepEqual(seqs, w.log.map((e) => e.seq), `${p.user} heard each message once`)
    for (const e of p.heard) assert.deepEqual(e.body, w.log[e.seq - 1].body)
  }
  return w.stats
}

for (const announces of [true, false]) {
  test(`random faults, ${announces ? 'a server that announces its replays: the order is the log’s' : 'one that does not: nothing lost, nothing twice'}`, async (ctx) => {
    const first = Number(process.env.SEED || 1)
    const total = {sockets: 0, cuts: 0}
    for (let seed = first; seed < first + (process.env.SEED ? 1 : 25); seed++) {
      try {
        const {sockets, cuts} = await talk(seed, announces)
        total.sockets += sockets
        total.cuts += cuts
      } catch (err) {
        err.message = `SEED=${seed}: ${err.message}`
        throw err
      }
    }
    ctx.diagnostic(`${total.cuts} cuts, ${total.sockets} sockets`)
  })
}
