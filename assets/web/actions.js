// What can be done with a message: by its button, a long press, or the keyboard.
import {$, el} from './dom.js'
import {t, fullTime, onLang} from './i18n.js'
import {readBody, captionOf} from './body.js'
import {itemAt} from './message.js'
import {openMenu, menuIsOpen} from './menu.js'
import {rememberRecalled, editable} from './recalled.js'

const LONG_PRESS = 450 // ms
const MOVED = 10 // px that make a press a scroll

/** Listens to all messages; edit(text) puts a text into the composer. */
export function makeActions(ctx, edit) {
  const list = $('messages')
  const scroller = $('scroll')

  function entries(item) {
    const said = readBody(item.body)
    const out = []
    const failed = item.status === 'failed'
    if (item.local || (item.kind === 'message' && said.recalled)) return out
    if (failed) {
      out.push({icon: 'retry', label: t('retry'), act: () => ctx.retry(item)})
    } else if (item.seq && item.kind === 'message') {
      out.push({icon: 'reply', label: t('reply'), act: () => ctx.reply(item)})
    }
    const text = captionOf(said)
    if (text) out.push({icon: 'copy', label: t('copy_text'), act: () => copy(text)})
    if (!item.own && item.from && item.kind === 'message' && ctx.room().kind !== 'talk') {
      out.push({icon: 'at', label: t('mention_them', {who: item.from}), act: () => ctx.mention(item.from)})
    }
    if (said.file && said.file.url) out.push({icon: 'download', label: t('download'), act: () => save(said.file)})
    if (item.own && item.seq && item.kind === 'message' && Date.now() - item.at < recallWindow()) {
      out.push({icon: 'recall', label: t('recall'), grave: true, act: () => recall(item, text)})
    }
    if (failed) out.push({icon: 'discard', label: t('discard'), grave: true, act: () => ctx.discard(item)})
    return out
  }

  const recallWindow = () => ctx.limits().recall_ms || 0

  async function copy(text) {
    ctx.toast(t((await ctx.copyText(text)) ? 'copied_text' : 'not_copied'))
  }

  function save({url, name}) {
    const a = document.createElement('a')
    a.href = url
    a.download = name
    a.click()
  }

  function recall(item, text) {
    rememberRecalled(ctx.room().topic, item.seq, text)
    ctx.recall(item)
  }

  function show(item, x, y) {
    const list = entries(item)
    if (list.length) openMenu(list, {x, y, label: t('message_menu'), title: fullTime(item.at)})
  }

  function showAt(item, node) {
    const {left, right, bottom} = node.getBoundingClientRect()
    show(item, item.own ? right - 160 : left, bottom + 4)
  }

  list.addEventListener('click', (e) => {
    const item = itemAt(e.target)
    if (!item) return
    const hit = (selector) => e.target.closest(selector)
    if (hit('.more')) showAt(item, hit('.more'))
    else if (hit('.quote')) ctx.jump(Number(hit('.quote').dataset.to))
    else if (hit('.edit-again')) edit(editable(ctx.room(), item.seq))
    else if (hit('.from') || hit('.face')) item.from && ctx.person(item.from)
  })

  // A long press of a finger. Some systems make a contextmenu of it, others nothing.
  let press = null
  const release = () => {
    if (press) clearTimeout(press.timer)
    press = null
  }
  list.addEventListener('pointerdown', (e) => {
    release()
    const item = itemAt(e.target)
    if (e.pointerType === 'mouse' || !e.isPrimary || !item || e.target.closest('audio, video, .upload, .meta')) return
    const {clientX: x, clientY: y} = e
    press = {x, y, timer: setTimeout(() => long(item, x, y), LONG_PRESS)}
  })
  function long(item, x, y) {
    release()
    if (menuIsOpen()) return
    show(item, x, y)
    // The finger is still down: what its end would press is not meant.
    const swallow = (e) => {
      e.preventDefault()
      e.stopPropagation()
    }
    window.addEventListener('click', swallow, {capture: true, once: true})
    const done = () => setTimeout(() => window.removeEventListener('click', swallow, true), 50)
    for (const name of ['pointerup', 'pointercancel', 'touchend', 'touchcancel']) window.addEventListener(name, done, {capture: true, once: true})
  }
  window.addEventListener('pointermove', (e) => {
    if (press && Math.hypot(e.clientX - press.x, e.clientY - press.y) > MOVED) release()
  }, {passive: true})
  for (const name of ['pointerup', 'pointercancel']) window.addEventListener(name, release, {passive: true})
  scroller.addEventListener('scroll', release, {passive: true})
  list.addEventListener('contextmenu', (e) => {
    const item = itemAt(e.target)
    // A mouse keeps its own menu: it has the addresses of links and the pictures' own entries.
    if (!item || !(press || e.pointerType === 'touch' || menuIsOpen())) return
    e.preventDefault()
    if (!menuIsOpen()) long(item, e.clientX, e.clientY)
  })

  // By keyboard: Enter in the list chooses the newest message in view, the arrows move, Enter opens its menu.
  const hint = el('p', {id: 'messages-hint', class: 'sr'})
  scroller.before(hint)
  scroller.setAttribute('aria-describedby', hint.id)
  onLang(() => { hint.textContent = t('enter_hint') })
  const nodes = () => [...list.querySelectorAll('[data-message]')]
  function focusMessage(node) {
    if (!node) return
    node.focus({preventScroll: true})
    node.scrollIntoView({block: 'nearest'})
  }
  scroller.addEventListener('keydown', (e) => {
    if (e.target === scroller && e.key === 'Enter') {
      const end = scroller.getBoundingClientRect().bottom
      const seen = nodes().filter((n) => n.getBoundingClientRect().top < end - 20)
      focusMessage(seen[seen.length - 1])
      e.preventDefault()
      return
    }
    const node = e.target
    if (!node.matches || !node.matches('[data-message]')) return
    const all = nodes()
    const at = all.indexOf(node)
    const to = {ArrowUp: at - 1, ArrowDown: at + 1}[e.key]
    if (to !== undefined) focusMessage(all[to])
    else if (e.key === 'Enter' || e.key === ' ' || e.key === 'ContextMenu' || (e.shiftKey && e.key === 'F10')) showAt(itemAt(node), node.querySelector('.hold') || node)
    else if (e.key === 'Escape') scroller.focus()
    else return
    e.preventDefault()
  })
}
