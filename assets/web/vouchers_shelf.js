// What this device knows of an account's vouchers, and what changed of them. It is kept in the browser, with the secrets
// of the passes, so that they can be shown without the network (docs/vouchers.md says what that means).
import {memory} from './dom.js'

const LIVE = 20_000 // ms: what happened longer ago happened while one was away
const NEWS = 20

/** told(change) is called for each change that was not known: {what, voucher, at, live}; drawn() after any. */
export function makeShelf({told, drawn}) {
  let account = null
  let vouchers = new Map() // by code
  let at = 0 // when the list was last whole, by the server's clock
  let ahead = 0 // ms by which the server's clock is ahead of this one's
  let news = []
  let saving = 0
  let listed = false // since the page was opened: what the first list tells happened before

  const now = () => Date.now() + ahead
  const place = () => 'vouchers.' + account

  /** Shows what is kept of an account. */
  function open(name) {
    if (saving) saveNow()
    account = name
    let kept = {}
    try { kept = JSON.parse(memory.get(place()) || '{}') } catch (err) { /* nothing */ }
    vouchers = new Map((kept.vouchers || []).map((v) => [v.code, v]))
    at = kept.at || 0
    ahead = kept.ahead || 0
    news = kept.news || []
    listed = false
    drawn()
  }

  // Many may come at once.
  function save() {
    if (!saving) saving = setTimeout(saveNow, 100)
  }

  function saveNow() {
    clearTimeout(saving)
    saving = 0
    if (account !== null) memory.set(place(), JSON.stringify({at, ahead, news, vouchers: [...vouchers.values()]}))
  }

  /** One voucher as the server knows it. An event has no secret: the one that is known stays good. */
  function put(voucher, {when, quiet = false}) {
    const had = vouchers.get(voucher.code)
    const pass = voucher.pass || (voucher.status === 'issued' && had ? had.pass : undefined)
    vouchers.set(voucher.code, {...voucher, pass})
    if (had && had.status === voucher.status && had.redeemed_at === voucher.redeemed_at) return
    if (quiet || !had && voucher.status !== 'issued') return
    const what = voucher.status !== 'issued' ? voucher.status : had ? 'reversed' : 'issued'
    const change = {what, voucher, at: when, live: listed && Math.abs(now() - when) < LIVE}
    if (!change.live || document.hidden) news = [{what, name: voucher.name, station: voucher.station, at: when}, ...news].slice(0, NEWS)
    told(change)
  }

  /** An event of the inbox. */
  function event(e) {
    put(e.body, {when: e.at})
    save()
    drawn()
  }

  /** The whole list: all that can be used, and the newest of any state. */
  function list({usable, newest, serverNow}) {
    ahead = serverNow - Date.now()
    const first = at === 0
    const known = new Set()
    for (const v of [...usable, ...newest]) {
      known.add(v.code)
      put(v, {when: v.status === 'redeemed' ? v.redeemed_at : v.status === 'issued' ? v.issued_at : v.status === 'expired' ? v.expires_at : 0, quiet: first})
    }
    // What could be used and is not listed any more has become something old.
    for (const [code, v] of vouchers) if (v.status === 'issued' && !known.has(code)) vouchers.delete(code)
    at = serverNow
    listed = true
    save()
    drawn()
  }

  return {
    open,
    event,
    list,
    now,
    get: (code) => vouchers.get(code),
    all: () => [...vouchers.values()],
    get at() { return at },
    get news() { return news },
    /** Before the page goes. */
    saveNow,
    seen() {
      news = []
      saveNow()
    },
    forget() {
      clearTimeout(saving)
      saving = 0
      memory.set(place(), '')
      account = null
      vouchers = new Map()
      news = []
    },
  }
}

/** A voucher's state at a time: it expires without anybody telling. */
export const statusAt = (voucher, now) => (voucher.status === 'issued' && voucher.expires_at && voucher.expires_at <= now ? 'expired' : voucher.status)

/** What the states of those that cannot be used are called. */
export const ENDED = {redeemed: 'v_redeemed', void: 'v_void', expired: 'v_expired'}
