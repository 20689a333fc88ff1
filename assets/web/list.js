// The messages of the open room as far as they are near the view, and where the reader is. The room owns the
// items; here each gets a node when it comes near and loses it when it is far.
//
// The place of the reader is an element: before the DOM is changed the first message in the view and where it ends
// are remembered, and afterwards the scroll position is set so that it ends there again. Its end, because its day line
// and its sender's name go when older ones come before it. What is not in the DOM counts by its height when it last
// was, or by the mean of all that were measured.
import {$} from './dom.js'
import {t} from './i18n.js'
import {makeNode, update, relabel, dropNode} from './message.js'
import {decorate} from './marks.js'

const NEAR = 80 // px from the end that count as being there
const MARGIN = 900 // px above and below the view that are in the DOM too
const EARLY = 1500 // px from the oldest one where the page before it is fetched
const GUESS = 64 // px, before anything was measured

export function makeList(ctx) {
  const scroller = $('scroll')
  const list = $('messages')
  const above = $('above')
  const below = $('below')
  let room = null
  let mounted = [] // items with a node in the DOM, in order
  let offsets = [0] // of each item from the beginning, and of the end
  let measured = 0
  let sum = 0
  let atEnd = true
  let loading = false
  let failed = false
  let frame = 0
  let began = false // a message was shown
  let lastTop = 0 // scrollTop when it was last looked at, or at the end; moved as this moved it

  const items = () => (room ? room.items : [])
  const gap = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight
  const top = (node) => node.getBoundingClientRect().top
  const bottom = (node) => node.getBoundingClientRect().bottom
  const height = (item) => item.height || (measured ? sum / measured : GUESS)

  function measure(item, h) {
    if (!item.height) measured++
    sum += h - (item.height || 0)
    item.height = h
  }

  function count() {
    const all = items()
    offsets = new Float64Array(all.length + 1)
    for (let i = 0; i < all.length; i++) offsets[i + 1] = offsets[i] + height(all[i])
  }

  /** The item at this distance from the first one. */
  function indexAt(y) {
    let low = 0
    let high = offsets.length - 2
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (offsets[middle] <= y) low = middle
      else high = middle - 1
    }
    return low
  }

  // ---- what is in the DOM ----

  function unmount(item) {
    if (!item.node) return
    if (sizes) sizes.unobserve(item.node)
    dropNode(item)
    item.node.remove()
    item.node = item.parts = item.marks = null
  }

  const rendered = new WeakMap() // node -> item
  const sizes = window.ResizeObserver && new ResizeObserver((entries) => {
    const edge = top(scroller)
    let shift = 0
    for (const {target} of entries) {
      const item = rendered.get(target)
      if (!item || item.node !== target) continue
      const box = target.getBoundingClientRect()
      const grown = box.height - (item.height || box.height)
      measure(item, box.height)
      if (box.bottom - grown <= edge + 1) shift += grown
    }
    if (look()) toEnd()
    else if (Math.abs(shift) > 0.5) moving(() => { scroller.scrollTop += shift })
    soon()
  })

  /** The first message in the view, and where it ends. */
  function hold() {
    const edge = top(scroller)
    for (const item of mounted) {
      const box = item.node && item.node.getBoundingClientRect()
      if (box && box.bottom > edge && box.top < edge + scroller.clientHeight) return {item, at: box.bottom}
    }
    return null
  }

  /** What moves the view here is not the reader scrolling. */
  function moving(fn) {
    const was = scroller.scrollTop
    fn()
    lastTop += scroller.scrollTop - was
  }

  /** Puts into the DOM what is near the view, `anchor` staying where it is. */
  function render(anchor = hold()) {
    if (room && scroller.clientHeight) moving(() => place(anchor))
  }

  function place(anchor) {
    const all = items()
    for (let round = 0; round < 4; round++) {
      count()
      const begin = above.offsetTop
      const held = anchor ? all.indexOf(anchor.item) : -1
      // Where the view will be once the anchor is back in its place: older ones may have come before it.
      const y = held < 0 ? scroller.scrollTop - begin : offsets[held + 1] - (anchor.at - top(scroller))
      const first = all.length ? indexAt(atEnd ? offsets[all.length] - scroller.clientHeight - MARGIN : y - MARGIN) : 0
      const last = all.length ? indexAt(atEnd ? Infinity : y + scroller.clientHeight + MARGIN) : -1
      const fresh = mount(all, first, last)
      if (anchor && anchor.item.node) {
        const moved = bottom(anchor.item.node) - anchor.at
        if (Math.abs(moved) >= 1) scroller.scrollTop += moved
        // Browsers scroll by whole pixels. What is left over is taken from the space above, or it would add up.
        const rest = bottom(anchor.item.node) - anchor.at
        if (first > 0 && rest && Math.abs(rest) < 1) above.style.height = offsets[first] - rest + 'px'
      }
      if (!fresh) break
    }
    scroller.dataset.mounted = mounted.length // for tests
  }

  /** How many were measured for the first time, or anew. */
  function mount(all, first, last) {
    const wanted = all.slice(first, last + 1)
    const stay = new Set(wanted)
    // What has the focus keeps it, and so does what is being selected.
    for (const item of mounted) if (!stay.has(item)) unmount(item)
    let next = list.firstChild
    const fresh = []
    wanted.forEach((item, i) => {
      const made = !item.node
      if (made) {
        makeNode(item, ctx)
        rendered.set(item.node, item)
        if (sizes) sizes.observe(item.node)
      }
      // What its neighbours made taller or lower is measured at once, not when the observer tells of it.
      if (decorate(item, all[first + i - 1], all[first + i + 1], room) || made) fresh.push(item)
      if (item.node === next) next = next.nextSibling
      else list.insertBefore(item.node, next)
    })
    mounted = wanted
    above.style.height = offsets[first] + 'px'
    below.style.height = offsets[all.length] - offsets[last + 1] + 'px'
    if (fresh.length && !began) performance.mark('first message')
    began = began || fresh.length > 0
    for (const item of fresh) measure(item, item.node.getBoundingClientRect().height)
    return fresh.length
  }

  function soon() {
    if (!frame) frame = requestAnimationFrame(() => {
      frame = 0
      render()
      showNewer()
      fetchEarly()
    })
  }

  // ---- where the reader is ----

  /** Whether the end is in the view: who is there leaves it by scrolling up, not because the view or what is in it got another height. */
  function look() {
    const now = scroller.scrollTop
    if (!scroller.clientHeight) { /* not shown, and then at 0 */ }
    else if (gap() < NEAR) atEnd = true
    else if (now < lastTop - 1) atEnd = false
    // Many small steps up are a way. Who stands at the very end did not go: what was above got lower.
    lastTop = atEnd && gap() > 1 ? Math.max(lastTop, now) : now
    return atEnd
  }

  function showEnd() {
    atEnd = true
    render(null)
    scroller.scrollTop = scroller.scrollHeight
    lastTop = scroller.scrollTop
  }

  function toEnd() {
    showEnd()
    seen()
  }

  function seen() {
    showNewer()
    // Before it is settled, what is in the view is not yet what the reader came for.
    if (room && room.ready && room.settled === true && atEnd && !document.hidden && scroller.clientHeight) room.seen()
  }

  function showNewer() {
    const n = atEnd || !room ? 0 : room.unread
    const button = $('newer')
    const text = n ? t('newer', {n: room.unreadMore ? n + '+' : n}) : ''
    button.hidden = atEnd || !room
    if (button.lastChild.textContent !== text) button.lastChild.textContent = text
    button.setAttribute('aria-label', text || t('to_bottom'))
    button.classList.toggle('some', n > 0)
  }

  function showTop() {
    const text = !room ? '' : room.notice ? room.notice() : failed ? t('older_failed') : loading ? t('loading') : room.items.length && !room.more ? t('top') : ''
    if ($('top').textContent === text) return
    const anchor = hold()
    $('top').textContent = text
    render(anchor)
  }

  function fetchEarly() {
    if (!room || loading || failed || !room.more || !room.ready || !scroller.clientHeight) return
    if (scroller.scrollTop - above.offsetTop < EARLY) loadOlder()
  }

  async function loadOlder() {
    const mine = room
    loading = true
    showTop()
    try {
      await mine.older()
    } catch (err) {
      if (mine === room) failed = true
    }
    if (mine !== room) return
    loading = false
    render()
    showTop()
    ctx.changed(mine)
    if (!failed) soon()
  }

  scroller.addEventListener('scroll', () => {
    if (look()) {
      if (gap() < NEAR) seen()
      else toEnd()
    }
    failed = failed && scroller.scrollTop > 1
    soon()
  }, {passive: true})
  $('newer').addEventListener('click', () => {
    toEnd()
    $('composer').focus({preventScroll: true})
  })
  // The keyboard of a phone, or a longer draft, makes the view smaller: the end stays in it.
  if (window.ResizeObserver) new ResizeObserver(() => (look() ? toEnd() : soon())).observe(scroller)
  document.addEventListener('visibilitychange', () => { if (room && !document.hidden && atEnd) seen() })

  /** Brings the item to about a third of the view. */
  function bring(item, share = 0.3) {
    atEnd = false
    for (let round = 0; round < 5; round++) {
      if (item.node && item.node.parentNode === list) {
        const off = top(item.node) - top(scroller) - scroller.clientHeight * share
        const was = scroller.scrollTop
        scroller.scrollTop += off
        render({item, at: bottom(item.node)})
        if (Math.abs(off) < 1 || scroller.scrollTop === was) break
      } else {
        count()
        scroller.scrollTop = above.offsetTop + offsets[items().indexOf(item)] - scroller.clientHeight * share
        render(null)
      }
    }
    atEnd = gap() < NEAR
    showNewer()
  }

  return {
    /** Shows a room, from where it was read on; null for none. */
    show(next) {
      for (const item of mounted) unmount(item)
      mounted = []
      measured = sum = 0
      room = next
      loading = failed = false
      atEnd = true
      list.textContent = ''
      above.style.height = below.style.height = '0'
      if (room) for (const item of room.items) item.height = 0
      showTop()
      showEnd()
      showNewer()
      fetchEarly()
    },
    /** The room's items have changed. */
    changed() {
      if (look()) toEnd()
      else {
        render()
        showNewer()
      }
      showTop()
      fetchEarly()
    },
    /** Goes to the "new messages" line, unless all that is new is in the view anyhow. */
    toFresh() {
      const item = room && room.fresh && room.items.find((i) => i.seq > room.fresh && !i.own)
      if (!item) return false
      bring(item, 0.15)
      if (atEnd) toEnd()
      return true
    },
    /** Goes to a message. False if it is not there. */
    jump(seq) {
      const item = room && room.items.find((i) => i.seq === seq)
      if (!item) return false
      bring(item)
      if (!item.node) return false
      item.node.classList.remove('flash')
      void item.node.offsetWidth // so that the animation begins anew
      item.node.classList.add('flash')
      item.node.tabIndex = -1
      item.node.focus({preventScroll: true})
      return true
    },
    toEnd,
    seen,
    unmount(item) {
      unmount(item)
      mounted = mounted.filter((i) => i !== item)
    },
    touch(item) {
      if (item.node) update(item)
    },
    relabel() {
      for (const item of mounted) {
        relabel(item)
        item.marks = null
      }
      if (look()) showEnd()
      else render()
      showTop()
      showNewer()
    },
    get following() { return atEnd && !document.hidden },
  }
}
