// The SDK's clock, run faster than the real one, so that half a minute of silence is over in a moment.

/** Seeded random numbers (mulberry32). */
export function dice(seed) {
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return {random, upTo: (n) => Math.floor(random() * n), one: (p) => random() < p}
}

export class FastClock {
  /**
   * @param {number} scale how many times faster
   * @param {() => number} random
   */
  constructor(scale, random) {
    this.scale = scale
    this.stopped = false
    this._zero = performance.now() // at this real time
    this._base = Date.now() // it was so late
    this._timers = new Map()
    this._last = 0
    // What the SDK is given. Most waits are short ones: a backoff of many seconds is seldom what is to be tested.
    this.hooks = {
      setTimeout: (fn, ms) => this._add(fn, ms),
      clearTimeout: (id) => this._remove(id),
      now: () => this.now(),
      random: () => random() ** 5,
    }
  }

  now() {
    return this._base + (performance.now() - this._zero) * this.scale
  }

  /** Runs at another speed from now on; timers that run already keep theirs. */
  setScale(scale) {
    this._base = this.now()
    this._zero = performance.now()
    this.scale = scale
  }

  /** Lets so many ms pass at once. What was due in them happens in its order. */
  leap(ms) {
    this._base += ms
    const now = this.now()
    const due = [...this._timers].filter(([, t]) => t.at <= now).sort(([, a], [, b]) => a.at - b.at)
    for (const [id] of due) this._fire(id)
    for (const [id, t] of this._timers) this._arm(id, t)
  }

  /** As in a process that was killed: nothing happens any more. */
  stop() {
    this.stopped = true
    for (const id of [...this._timers.keys()]) this._remove(id)
  }

  _add(fn, ms) {
    if (this.stopped) return 0
    const id = ++this._last
    const timer = {fn, at: this.now() + (ms > 0 ? ms : 0), real: 0}
    this._timers.set(id, timer)
    this._arm(id, timer)
    return id
  }

  _arm(id, timer) {
    clearTimeout(timer.real)
    timer.real = setTimeout(() => this._fire(id), Math.max(0, timer.at - this.now()) / this.scale)
  }

  _fire(id) {
    const timer = this._timers.get(id)
    if (!timer) return
    this._remove(id)
    timer.fn()
  }

  _remove(id) {
    const timer = this._timers.get(id)
    if (timer) clearTimeout(timer.real)
    this._timers.delete(id)
  }
}
