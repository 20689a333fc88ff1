// The desk: what was scanned and what became of it. A scan is kept before it is asked for, with the key that names the
// request, so that it is asked again with the same one until there is an answer: after lost networks and reloads too.
import {memory} from './dom.js'

const KEPT = 20 // answered scans; those without an answer are all kept
const SAME = 5_000 // ms in which the same code is the same scan
const WAITS = [1_000, 2_000, 4_000, 8_000, 15_000]
const STORE = 'staff.scans'

/**
 * A scan: {id, key, code, pass, at, by, station, state, late, why, voucher, undo}
 * state: 'asking' (on its way), 'waiting' (no answer yet, tried again by itself), 'redeemed', 'refused' (why: the
 * server's problem). late: it waited. undo: {key, reason, state: 'asking' | 'waiting' | 'undone' | 'refused', why}.
 *
 * ask(path, body) calls the server as who is signed in; who() is their name, '' for nobody; changed(scan) is called
 * after each change, signedOut(refused) when the server does not know them any more.
 */
export function makeDesk({ask, who, now, changed, signedOut, clock = () => Date.now(), later = setTimeout}) {
  let scans = load()
  let timer = 0
  let tries = 0
  let busy = false
  let unreachable = false

  function load() {
    let kept
    try { kept = JSON.parse(memory.get(STORE) || '[]') } catch (err) { kept = [] }
    // What was on its way when the page went has no answer.
    return kept.map((s) => ({...s, state: s.state === 'asking' ? 'waiting' : s.state, late: s.late || s.state === 'asking',
      undo: s.undo && s.undo.state === 'asking' ? {...s.undo, state: 'waiting'} : s.undo}))
  }

  const open = (s) => s.state === 'asking' || s.state === 'waiting' || !!s.undo && (s.undo.state === 'asking' || s.undo.state === 'waiting')

  /** Keeps them, newest first; another tab of this page may have kept some, too. False if the browser keeps nothing. */
  function save() {
    const mine = new Set(scans.map((s) => s.id))
    const others = load().filter((s) => !mine.has(s.id) && open(s))
    scans = [...scans, ...others].sort((a, b) => b.at - a.at)
    let answered = 0
    scans = scans.filter((s) => open(s) || ++answered <= KEPT)
    const text = JSON.stringify(scans)
    memory.set(STORE, text)
    return memory.get(STORE) === text
  }

  function set(scan, what) {
    Object.assign(scan, what)
    scan.kept = save()
    changed(scan)
  }

  /**
   * What was read: {scan, again}. again: it is the same one as a moment ago, or it waits for its answer already, so
   * nothing new is asked.
   */
  function submit(code, pass) {
    // What was refused for its pass is another one with the next pass.
    const isSame = (s) => s.state === 'asking' || s.state === 'waiting' ||
      clock() - s.seen < SAME && (s.pass === pass || s.state === 'redeemed' || !/^pass_/.test(s.why.code))
    const before = scans.find((s) => s.code === code && s.by === who() && !s.undo && isSame(s))
    if (before) {
      before.seen = clock()
      if (before.state === 'waiting') soon(0)
      return {scan: before, again: true}
    }
    const scan = {id: random(), key: 'scan-' + random(), code, pass, at: now(), seen: clock(), by: who(), state: 'asking', late: false}
    scans.unshift(scan)
    set(scan, {})
    redeem(scan)
    return {scan, again: false}
  }

  async function redeem(scan) {
    set(scan, {state: 'asking'})
    const body = {key: scan.key, scanned_at: scan.at}
    if (scan.pass) body.pass = scan.pass
    await answer(`vouchers/${scan.code}/redeem`, body, {
      ok: ({voucher, notice}) => set(scan, {state: 'redeemed', voucher, notice, why: undefined, seen: clock()}),
      no: (why) => set(scan, {state: 'refused', why, seen: clock()}),
      later: (why) => set(scan, {state: 'waiting', late: true, why}),
    })
  }

  /** Undoes a redemption. */
  function undo(scan, reason) {
    // The same key for the same wish: an undo without an answer may have been done.
    const key = scan.undo && scan.undo.state === 'waiting' ? scan.undo.key : 'undo-' + random()
    set(scan, {undo: {key, reason, state: 'asking'}})
    return reverse(scan)
  }

  async function reverse(scan) {
    const {key, reason} = scan.undo
    set(scan, {undo: {key, reason, state: 'asking'}})
    await answer(`vouchers/${scan.code}/reverse`, {key, reason}, {
      ok: ({voucher}) => set(scan, {voucher, undo: {key, reason, state: 'undone'}}),
      no: (why) => set(scan, {undo: {key, reason, state: 'refused', why}}),
      later: (why) => set(scan, {undo: {key, reason, state: 'waiting', why}}),
    })
  }

  async function answer(path, body, {ok, no, later}) {
    let said
    try {
      said = await ask(path, body)
      // The login page of a network answers everything, too.
      if (!said || !said.voucher) throw Object.assign(new Error('no answer of ours'), {code: 'unreachable'})
    } catch (err) {
      const why = {...err.problem, code: err.code}
      unreachable = err.code === 'unreachable'
      if (err.status === 401) {
        later(why)
        return signedOut(err)
      }
      if (unreachable || err.status === 429 || err.status >= 500) {
        later(why)
        return soon(why.retry_ms || WAITS[Math.min(tries++, WAITS.length - 1)])
      }
      return no(why)
    }
    unreachable = false
    tries = 0
    ok(said)
  }

  /** Asks again for all that waits, in ms. */
  function soon(ms) {
    clearTimeout(timer)
    timer = later(goOn, ms)
  }

  async function goOn() {
    if (busy || !who()) return
    busy = true
    try {
      // The oldest first: it is tried one after the other, and only while the server answers.
      for (const scan of [...scans].reverse()) {
        if (scan.by !== who()) continue
        if (scan.state === 'waiting') await redeem(scan)
        else if (scan.undo && scan.undo.state === 'waiting') await reverse(scan)
        else continue
        if (scan.state === 'waiting' || scan.undo && scan.undo.state === 'waiting') break
      }
    } finally {
      busy = false
    }
  }

  return {
    submit,
    undo,
    goOn: () => soon(0),
    /** Newest first. */
    get scans() { return scans },
    /** Without an answer: of who is signed in, or of everybody. */
    waiting: (name) => scans.filter((s) => (name === undefined || s.by === name) && open(s)),
    /** Whether the last call found the server. */
    get unreachable() { return unreachable },
    /** What is answered is forgotten; what waits is kept for who scanned it. */
    forget() {
      scans = scans.filter(open)
      memory.set(STORE, scans.length ? JSON.stringify(scans) : '')
    },
  }
}

const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('')
