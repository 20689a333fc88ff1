// Two clients talk all the time through a network that breaks at random; the server is a small model of the
// real one. The apps are closed, or killed, and come back with what they kept. Whatever happens: every message is
// in the log once and with each client once, in the log's order.
import test from 'node:test'
import assert from 'node:assert/strict'
import {connect, web} from '../sdk/teahouse.js'
import {FakeClock, memory, settle} from './fake.mjs'

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

/** A server with a log, over a network with delays. It tells acks in their place: see docs/protocol.md. */
function world(seed) {
  const rnd = dice(seed)
  const clock = new FakeClock()
  const {setTimeout} = clock.hooks
  const log = []
  const conns = new Set()
  const stats = {sockets: 0, cuts: 0, most: 0, runs: 0}

  class Socket {
    constructor() {
      this.readyState = 0
      this.there = [] // what is under way to the server, and back: each delay brings the oldest
      this.back = []
      this.live = false
      this.cursor = -1
      this.own = new Map() // key -> id of the sends that were not acked yet
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
          const recent = 'recent' in f ? Math.max(0, log.length - f.recent) : Infinity
          this.cursor = Math.min(recent, 'after' in f ? f.after : Infinity)
          this.say({op: 'joined', id: f.id, topic: TOPIC, head: log.length, after: this.cursor, online: 1})
          return this.replay()
        }
        case 'send': return this.store(f)
        case 'ping': return this.say({op: 'pong'})
      }
    }
    replay() {
      if (!this.open) return
      for (const e of log.slice(this.cursor, this.cursor + PAGE)) this.tell(e)
      if (this.cursor < log.length) return setTimeout(() => this.replay(), rnd.upTo(30))
      this.live = true
    }
    /** The event, or in its place the ack. */
    tell(e) {
      this.cursor = e.seq
      if (!this.own.has(e.key)) return this.say({op: 'event', ...e})
      this.ack(e)
    }
    ack(e, again) {
      this.say({op: 'ack', id: this.own.get(e.key), topic: TOPIC, key: e.key, seq: e.seq, at: e.at, again})
      this.own.delete(e.key)
    }
    store(f) {
      assert.ok(this.cursor >= 0, 'a topic that is open is joined before it is sent to')
      this.own.set(f.key, f.id)
      setTimeout(() => {
        const had = log.find((x) => x.key === f.key)
        if (had) return this.own.has(f.key) && this.ack(had, true)
        const e = {topic: TOPIC, seq: log.length + 1, kind: f.kind, from: this.user, key: f.key, body: f.body, at: clock.time}
        log.push(e)
        for (const c of conns) if (c.live) c.tell(e) // who is behind gets it, or the ack, by the replay
      }, rnd.upTo(20))
    }
  }
  return {rnd, clock, log, conns, stats, Socket}
}

/** A person with an app that keeps what it has shown; begin() is a run of it. */
function person(w, user) {
  const storage = memory()
  const p = {user, heard: [], sent: 0, acked: 0, begin, close: () => p.client.close(), kill}
  class Mine extends w.Socket { get name() { return user } }
  let alive

  function begin() {
    const me = (alive = {})
    const {hooks} = w.clock
    const late = (fn) => () => me === alive && fn() // a killed app's timers and sockets are silent
    const platform = web(Mine)
    const {connect: dial} = platform
    platform.connect = (url, on) => dial(url, {
      open: late(on.open), message: (m) => me === alive && on.message(m), close: (...a) => me === alive && on.close(...a),
    })
    platform.lifecycle = ({wake}) => ((p.wake = wake), () => {})
    p.client = connect({
      url: 'ws://tea.test/ws', user, platform, storage,
      clock: {...hooks, random: w.rnd.random, setTimeout: (fn, ms) => hooks.setTimeout(late(fn), ms)},
    })
    p.room = p.client.room('lobby', {resume: p.heard.length > 0})
    // Killed before the place was written, an app is told the last ones again, and knows them by their seq.
    const told = (p.killed && p.heard.length && p.heard[p.heard.length - 1].seq) || 0
    p.room.on('message', (e) => {
      if (e.seq <= told) return
      p.heard.push(e)
      p.killed = false // its place is written from now on
    })
    p.room.on('reset', () => assert.fail('there was no reason for a reset'))
    p.room.on('outbox', (o) => o.state === 'sent' && p.acked++)
    w.stats.runs++
  }

  function kill() {
    alive = null
    for (const c of w.conns) if (c.name === user) c.gone()
    p.killed = true
  }
  return p
}

async function talk(seed) {
  const w = world(seed)
  const people = ['alice', 'bob'].map((user) => person(w, user))
  people.forEach((p) => p.begin())
  const here = () => people.every((p) => p.room._joined && p.room._cursor >= 0)
  for (let i = 0; !here(); i++) {
    assert.ok(i < 300, 'both come in some time')
    await w.clock.pass(1000)
  }

  for (let round = 0; round < 250; round++) {
    for (const p of people) if (w.rnd.one(0.7)) p.room.send({text: `${p.user} ${p.sent++}`})
    if (w.rnd.one(0.1)) for (const c of [...w.conns]) c.cut(4002) // the server restarts
    else if (w.rnd.one(0.15)) [...w.conns].slice(0, 1).forEach((c) => c.cut())
    else if (w.rnd.one(0.05)) w.clock.freeze(60000)
    if (w.rnd.one(0.1)) people[w.rnd.upTo(2)].wake()
    if (w.rnd.one(0.05)) {
      const p = people[w.rnd.upTo(2)]
      if (w.rnd.one(0.5)) p.kill()
      else p.close()
      p.begin()
    }
    await w.clock.pass(w.rnd.upTo(400))
  }
  for (let i = 0; i < 100 && !people.every((p) => !p.client.outbox.length && p.heard.length === w.log.length); i++) {
    people.forEach((p) => p.wake())
    await w.clock.pass(5000)
  }
  people.forEach((p) => p.close())
  await settle()

  assert.equal(w.stats.most, 1, 'never two sockets of one client')
  assert.equal(w.log.length, people[0].sent + people[1].sent, 'each message is in the log once')
  for (const p of people) {
    assert.ok(p.acked <= p.sent, 'each is sent once')
    const own = w.log.filter((e) => e.from === p.user).map((e) => e.body.text)
    assert.deepEqual(own, own.map((_, i) => `${p.user} ${i}`), 'in the order in which they were sent')
    assert.deepEqual(p.heard.map((e) => e.seq), w.log.map((e) => e.seq), `${p.user} heard each message once, in order`)
    for (const e of p.heard) assert.deepEqual(e.body, w.log[e.seq - 1].body)
  }
  return w.stats
}

test('random faults: every message once, in the log’s order', async (ctx) => {
  const first = Number(process.env.SEED || 1)
  const total = {sockets: 0, cuts: 0, runs: 0}
  for (let seed = first; seed < first + (process.env.SEED ? 1 : 25); seed++) {
    try {
      const stats = await talk(seed)
      for (const name of Object.keys(total)) total[name] += stats[name]
    } catch (err) {
      err.message = `SEED=${seed}: ${err.message}`
      throw err
    }
  }
  ctx.diagnostic(`${total.cuts} cuts, ${total.sockets} sockets, ${total.runs} runs of the apps`)
})
