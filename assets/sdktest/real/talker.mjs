// A person who talks all the time, in a room and in a talk with another, and notes what the client says: what
// was heard, in which life of the page, and what became of each send. The notes outlive a reload; they are held
// against the server's log by faults_test.go.
import {FastClock, dice} from './clock.mjs'

const ROOM = 'lobby'
const MOST = 12 // sends of one topic that wait at once
const ASKED = 8 // history and presence, at once

/**
 * @typedef {object} Place where it runs: a page, or a Node process that plays one
 * @property {any} sdk the module, new in each life
 * @property {object} options for connect: WebSocket, storage
 * @property {{all: () => any[][], add: (note: any[]) => void}} notes
 */

export class Talker {
  /**
   * @param {Place} place
   * @param {{url: string, user: string, other: string, seed: number, scale: number}} who
   */
  constructor(place, who) {
    const old = place.notes.all()
    this.place = place
    this.life = 1 + old.filter((n) => n[0] === 'life').length
    this.user = who.user
    this.dead = false
    this.silent = true // until told to speak
    this.waiting = new Map() // topic -> sends of this life without an answer
    this.asked = 0
    this.heard = new Map() // topic -> the seqs, over all lives
    this.said = new Map() // topic -> how many
    this.topics = []
    this.note('life', this.life)
    for (const [what, , topic, n] of old) {
      if (what === 'heard') this._of(this.heard, topic, () => new Set()).add(n)
      if (what === 'said') this.said.set(topic, n + 1)
    }
    this.rnd = dice((who.seed + 7919 * this.life) | 0)
    this.clock = new FastClock(who.scale, this.rnd.random)
    this.client = place.sdk.connect({url: who.url, user: who.user, device: `life-${this.life}`, clock: this.clock.hooks, ...place.options})
    this.note('kept', this.client.outbox.length) // what the life before has left to be sent
    this.client.on('error', (err) => this.note('error', err.code))
    this.client.on('state', (s) => this.note('state', s.name))
    this.client.on('talk', (e) => {
      if (this.talk) this.fault(`${e.topic} is open; ${e.seq} was told as of one that is not`)
      this.note('aside', e.topic, e.seq)
    })
    this._outbox()
    this._listen(this.client.inbox)
    this.room = this._follow(this.client.room(ROOM, {recent: 500, resume: true}))
    // Who comes back does not always look into the talk at once. What comes meanwhile is told then.
    const later = this.life > 1 && this.rnd.one(0.5) ? this.rnd.upTo(150) : 0
    setTimeout(() => {
      if (!this.dead) this.talk = this._follow(this.client.talk(who.other, {recent: 500, resume: true}))
    }, later)
    this._chatter()
  }

  note(what, ...more) {
    if (!this.dead) this.place.notes.add([what, this.life, ...more])
  }

  fault(...words) {
    this.note('fault', words.join(' '))
  }

  _of(map, key, make) {
    if (!map.has(key)) map.set(key, make())
    return map.get(key)
  }

  _follow(t) {
    this._listen(t)
    this.topics.push(t)
    return t
  }

  _listen(t) {
    let last // of this life
    let named
    t.on('event', (e) => {
      if (this.dead) return
      const text = e.body && e.body.text
      this.note('heard', e.topic, e.seq, e.from, e.key, e.kind, text)
      this._of(this.heard, e.topic, () => new Set()).add(e.seq)
      if (e.topic !== t.topic) this.fault(`${t.topic} told an event of ${e.topic}`)
      if (last !== undefined && e.seq <= last) this.fault(`${e.topic} told ${e.seq} (${e.from}: ${text}) after ${last}`)
      last = e.seq
    })
    for (const kind of ['message', 'notice']) {
      t.on(kind, (e) => {
        if (named !== undefined && e.seq <= named) this.fault(`on(${kind}) of ${e.topic} was told ${e.seq} after ${named}`)
        named = e.seq
        this.named = (this.named || 0) + 1
      })
    }
    t.on('reset', (r) => this.fault(`${t.topic} was reset: ${JSON.stringify(r)}`))
    t.on('error', (err) => this.fault(`${t.topic} was refused: ${err.code} ${err.message}`))
  }

  /** Each send is pending, then sent; none fails. */
  _outbox() {
    const was = new Map()
    this.client.on('outbox', (item) => {
      const before = was.get(item.key)
      was.set(item.key, item.state)
      if (item.state === 'failed') this.fault(`a send failed: ${JSON.stringify(item)}`)
      if (before === 'sent') this.fault(`${item.key} was sent, and then ${item.state}`)
      if (item.state === 'sent' && !(item.seq > 0)) this.fault(`sent without a seq: ${JSON.stringify(item)}`)
    })
  }

  _chatter() {
    if (this.dead) return
    if (!this.silent) {
      for (const t of this.topics) {
        if (this.rnd.one(0.4) && (this.waiting.get(t.topic) || 0) < MOST) this._say(t)
      }
      if (this.asked < ASKED && this.rnd.one(0.1)) this._ask(this.topics[this.rnd.upTo(this.topics.length)])
      if (this.rnd.one(0.02)) this.room.signal({typing: true})
      if (this.rnd.one(0.001)) this.wake() // seldom: it must notice silence by itself
    }
    setTimeout(() => this._chatter(), 2 + this.rnd.upTo(12))
  }

  _say(t) {
    const {topic} = t
    const i = this.said.get(topic) || 0
    const text = `${this.user} ${i}${' 茶'.repeat(this.rnd.upTo(30))}`
    this.said.set(topic, i + 1)
    this.note('said', topic, i)
    this.waiting.set(topic, (this.waiting.get(topic) || 0) + 1)
    const done = (...words) => {
      this.waiting.set(topic, this.waiting.get(topic) - 1)
      this.note(...words)
    }
    t.send({text}).then(({seq}) => done('acked', topic, i, seq), (err) => done('fault', `send ${i} to ${topic} was rejected: ${err.code} ${err.message}`))
  }

  _ask(t) {
    const seen = [...(this.heard.get(t.topic) || [])]
    if (!seen.length) return
    const before = seen[this.rnd.upTo(seen.length)]
    const limit = 1 + this.rnd.upTo(20)
    this.asked += 2
    const refused = (err) => { // a question may be given up, an answer must be true
      this.asked--
      this.note('unanswered', err.code)
    }
    t.history({before, limit}).then(({events, more}) => {
      this.asked--
      this.note('page', t.topic, before, limit, events.map((e) => e.seq), more)
    }, refused)
    t.presence().then((users) => {
      this.asked--
      if (!Array.isArray(users)) this.fault(`presence: ${JSON.stringify(users)}`)
    }, refused)
  }

  // ---- what the test asks for ----

  speak() { this.silent = false }

  quiet() { this.silent = true }

  /** As a page does when it is shown again, or the network is back. */
  wake() {
    if (this.place.wake) this.place.wake()
    else this.client.retry()
  }

  slower(scale) { this.clock.setScale(scale) }

  progress() {
    const count = (map, size) => Object.fromEntries([...map].map(([k, v]) => [k, size(v)]))
    return {
      life: this.life,
      state: this.client.state.name,
      waiting: [...this.waiting.values()].reduce((a, b) => a + b, 0) + this.asked,
      outbox: this.client.outbox.length,
      heard: count(this.heard, (s) => s.size),
      said: count(this.said, (n) => n),
    }
  }

  report() { return this.place.notes.all() }

  /** Nothing is closed, nothing is said any more. */
  die() {
    this.dead = true
    this.clock.stop()
  }
}
