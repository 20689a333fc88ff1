// The messages of a room: in the order of the log, one's own unsent ones at the end; and where the reader is.
import {$, el} from './dom.js'
import {t} from './i18n.js'
import {makeNode, update, decorate, relabel} from './message.js'

const KEEP = 600 // messages in the page while the reader is at the newest; older ones are fetched again
const NEAR = 80 // px from the end that count as being there
const EARLY = 400 // px from the beginning where the page before it is fetched

/**
 * @param {{history: (before: number) => Promise<{events: any[], more: boolean}>,
 *   retry: (item: any) => void, discard: (item: any) => void, me: () => string}} room what the list needs to know of it
 */
export function makeList(room) {
  const scroller = $('scroll')
  const list = $('messages')
  /** @type {import('./message.js').Item[]} */
  let items = []
  let incoming = []
  let timer = 0
  let more = true // there may be older ones
  let loading = false
  let generation = 0 // rises with clear(): an answer for an earlier one is no longer wanted
  let unseen = 0
  let atEnd = true
  let notice = null // says what a reset was about; goes to the first message that comes after it
  let failed = false // the last try to fetch older ones

  const gap = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight
  const oldest = () => items.find((i) => i.seq)

  function toEnd() {
    scroller.scrollTop = scroller.scrollHeight
    atEnd = true
    seen()
  }

  function seen() {
    unseen = 0
    showNewer()
  }

  function showNewer() {
    $('newer').hidden = atEnd
    $('newer').lastChild.textContent = unseen ? t('newer', {n: unseen}) : ''
    $('newer').setAttribute('aria-label', unseen ? t('newer', {n: unseen}) : t('to_bottom'))
    $('newer').classList.toggle('some', unseen > 0)
  }

  /** Puts the item in its place; the newest come last, so the search begins there. */
  function place(item) {
    let i = items.length
    while (i > 0 && item.seq && (!items[i - 1].seq || items[i - 1].seq > item.seq)) i--
    if (item.seq && i > 0 && items[i - 1].seq === item.seq) return false
    items.splice(i, 0, item)
    if (notice && item.seq) {
      item.notice = notice
      notice = null
    }
    if (!item.node) makeNode(item, room)
    const next = i + 1 < items.length ? items[i + 1].node : null
    if (item.node.parentNode !== list || item.node.nextSibling !== next) list.insertBefore(item.node, next)
    for (const j of [i, i + 1]) if (items[j]) decorate(items[j], items[j - 1])
    return true
  }

  function take(item) {
    const i = items.indexOf(item)
    if (i < 0) return
    items.splice(i, 1)
    if (items[i]) decorate(items[i], items[i - 1])
  }

  /** One's own message, until its event has come. */
  const unsent = (key, seq) => key && items.find((i) => i.own && i.key === key && (!i.seq || i.seq === seq))

  function insert(e) {
    const own = e.from === room.me()
    const item = own && unsent(e.key, e.seq)
    return item ? settle(item, e) : place({...e, own, status: ''})
  }

  function settle(item, {seq, at}) {
    take(item)
    Object.assign(item, {seq, at, status: 'sent', error: undefined})
    update(item)
    const placed = place(item)
    if (!placed) item.node.remove()
    return placed
  }

  function flush() {
    timer = 0
    const follow = atEnd
    let fresh = 0
    for (const e of incoming.splice(0)) if (insert(e) && e.from !== room.me()) fresh++
    if (follow) {
      while (!loading && items.length > KEEP && items[0].seq) {
        items.shift().node.remove()
        more = true
      }
      if (items[0]) decorate(items[0])
      toEnd()
    } else {
      unseen += fresh
      showNewer()
    }
    showTop()
    // A page that does not fill the view gives nothing to scroll.
    setTimeout(() => { if (scroller.scrollHeight <= scroller.clientHeight + NEAR) loadOlder() }, 300)
  }

  function showTop() {
    const text = notice ? notice() : failed ? t('older_failed') : loading ? t('loading') : items.length && !more ? t('top') : ''
    $('top').textContent = text // its line stays there without a text: nothing below it may jump
  }

  async function loadOlder() {
    const first = oldest()
    if (loading || !more || !first || !scroller.clientHeight) return
    loading = true
    failed = false
    showTop()
    const mine = generation
    try {
      const page = await room.history(first.seq)
      if (mine !== generation) return
      const height = scroller.scrollHeight
      const top = scroller.scrollTop
      scroller.setAttribute('aria-busy', 'true') // history is not news
      for (const e of page.events) insert(e)
      more = page.more && page.events.length > 0
      loading = false
      showTop()
      scroller.scrollTop = top + scroller.scrollHeight - height
      setTimeout(() => scroller.removeAttribute('aria-busy'), 500)
    } catch (err) {
      if (mine === generation) failed = true
    } finally {
      if (mine === generation) loading = false
      showTop()
    }
  }

  scroller.addEventListener('scroll', () => {
    atEnd = gap() < NEAR
    if (atEnd) seen()
    else showNewer()
    if (scroller.scrollTop < EARLY) loadOlder()
  }, {passive: true})
  $('newer').addEventListener('click', toEnd)
  // The keyboard of a phone, or a longer draft, makes the view smaller: the end stays in it.
  if (window.ResizeObserver) new ResizeObserver(() => atEnd && toEnd()).observe(scroller)

  return {
    /** An event from the log. Many may come at once, so they are shown together. */
    add(e) {
      incoming.push(e)
      if (!timer) timer = setTimeout(flush, 0)
    },
    /** What the SDK's outbox says of a message: written, sent, or failed for a reason. */
    outbox({key, kind, body, at, state, seq, error}) {
      const item = unsent(key, seq)
      const status = state === 'pending' ? 'sending' : state
      if (state === 'sent') return item && settle(item, {seq, at})
      if (!item) {
        place({key, from: room.me(), kind, body, at, own: true, status, error})
        return toEnd()
      }
      Object.assign(item, {status, error})
      update(item)
      if (atEnd) toEnd()
    },
    drop(item) {
      take(item)
      item.node.remove()
    },
    /** Forgets all but what is still being sent; why() says the reason before what comes now. */
    clear(why = null, keepUnsent = true) {
      generation++
      loading = failed = false
      more = true
      incoming = []
      for (const i of items) if (i.seq || !keepUnsent) i.node.remove()
      items = keepUnsent ? items.filter((i) => !i.seq) : []
      items.forEach((item, i) => decorate(item, items[i - 1]))
      notice = why
      showTop()
      toEnd()
    },
    relabel() {
      items.forEach((item, i) => relabel(item, items[i - 1]))
      showTop()
      showNewer()
    },
    get size() { return items.length + incoming.length },
    get unseen() { return unseen },
  }
}
