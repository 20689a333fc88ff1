// Short sessions, each with every kind of message of the protocol, for the sweep of faults_sweep_test.go, which
// breaks the first connection of each at another message. Whatever breaks, each step comes to its end.
import {FastClock, dice} from './clock.mjs'

export class Sessions {
  /**
   * @param {any} sdk
   * @param {() => object} options of connect, for each session
   * @param {{seed: number, scale: number}} how
   */
  constructor(sdk, options, {seed, scale}) {
    Object.assign(this, {sdk, options, seed, scale, open: new Map()})
  }

  step(id, name, ...args) {
    if (name === 'begin') this.open.set(id, new Session(this, id, ...args))
    return this.open.get(id)[name](...args)
  }
}

class Session {
  constructor({sdk, options, seed, scale}, id, {url, user, other, room}) {
    this.clock = new FastClock(scale, dice(seed + id).random)
    this.client = sdk.connect({url, user, clock: this.clock.hooks, ...options()})
    this.heard = new Map() // topic -> texts
    this.faults = []
    this.wanted = [] // {test, resolve}
    this.client.on('state', () => this._look())
    this.room = this._listen(this.client.room(room))
    this.talk = this._listen(this.client.talk(other))
    this._listen(this.client.inbox)
  }

  _listen(t) {
    const texts = []
    const name = t === this.client.inbox ? 'inbox' : t.topic
    this.heard.set(name, texts)
    let last = 0
    t.on('event', (e) => {
      texts.push(e.body.text)
      if (e.seq <= last) this.faults.push(`${name} told ${e.seq} after ${last}`)
      last = e.seq
      this._look()
    })
    t.on('reset', (r) => this.faults.push(`${name} was reset: ${JSON.stringify(r)}`))
    t.on('error', (err) => this.faults.push(`${name} was refused: ${err.code}`))
    return t
  }

  _until(test) {
    return new Promise((resolve) => {
      this.wanted.push({test, resolve})
      this._look()
    })
  }

  _look() {
    this.wanted = this.wanted.filter(({test, resolve}) => !test() || resolve())
  }

  /** Waits until it was live. */
  begin() {
    return this._until(() => this.client.state.name === 'live')
  }

  /** Waits until so many were heard of a topic. */
  hears(topic, n) {
    return this._until(() => this.heard.get(topic).length >= n)
  }

  async says(texts) {
    const sent = [...texts.map((text) => this.room.send({text})), ...texts.map((text) => this.talk.send({text}))]
    return (await Promise.all(sent)).map(({seq}) => seq)
  }

  /** A question is asked over as many connections as its answer takes. */
  async asks() {
    this.room.signal({typing: true})
    const [page, users] = await Promise.all([this.room.history({limit: 2}), this.room.presence()])
    return {texts: page.events.map((e) => e.body.text), more: page.more, users}
  }

  /** So much time passes at once; after 25 s of silence a client asks whether the server is there. */
  passes(ms) {
    this.clock.leap(ms)
  }

  leaves() {
    this.room.leave()
  }

  async ends() {
    this.client.close()
    const state = this.client.state.name
    await new Promise((resolve) => setTimeout(resolve, 5))
    return {heard: Object.fromEntries(this.heard), faults: this.faults, state, outbox: this.client.outbox.length}
  }
}
