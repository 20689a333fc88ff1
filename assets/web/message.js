// One message as it is shown.
import {el, icon, avatar} from './dom.js'
import {t, clockTime, fullTime, why} from './i18n.js'

/**
 * An event, or a message of one's own that is not an event yet (no seq).
 * @typedef {{seq?: number, key?: string, from: string, kind: string, body: any, at: number,
 *   own: boolean, status: ''|'sending'|'sent'|'failed', error?: any, node?: HTMLElement, notice?: () => string}} Item
 *   notice: what is to be said before it
 */

/** The node of an item, with {retry, discard} for one that failed; decorate() fills in what depends on its neighbour. */
export function makeNode(item, {retry, discard}) {
  const node = el('li', {class: 'msg', data: {message: ''}})
  const parts = {
    who: el('div', {class: 'who'}, el('span', {class: 'from'}, item.from || t('title')), el('time', {})),
    meta: el('div', {class: 'meta'}),
    retry,
    discard,
  }
  item.node = node
  item.parts = parts
  node.append(avatar(item.from || '茶'), parts.who, el('div', {class: 'line'}, content(item), parts.meta))
  update(item)
  return node
}

function content(item) {
  const text = item.kind === 'message' && item.body && typeof item.body === 'object' ? item.body.text : undefined
  if (typeof text === 'string') return el('div', {class: 'bubble', dir: 'auto'}, text)
  // Not a chat line: readable all the same.
  return el('div', {class: 'bubble other'},
    el('span', {class: 'kind'}, `${t('event')} · ${item.kind}`),
    el('pre', {}, JSON.stringify(item.body, null, 2) || ''))
}

/** What may change over a message's life: its number, time and status. */
export function update(item) {
  const {node, parts} = item
  node.classList.toggle('own', item.own)
  if (item.seq) node.dataset.seq = item.seq
  if (item.key) node.dataset.key = item.key
  if (item.status) node.dataset.status = item.status
  else delete node.dataset.status
  const time = parts.who.lastChild
  time.textContent = clockTime(item.at)
  time.dateTime = new Date(item.at).toISOString()
  node.title = fullTime(item.at)
  parts.meta.textContent = ''
  if (!item.status) return
  parts.meta.append(icon(item.status), el('span', {class: item.status === 'failed' ? '' : 'sr'}, t(item.status)))
  if (item.status !== 'failed') return
  parts.meta.append(el('span', {class: 'reason'}, item.error ? why(item.error) : ''))
  for (const name of ['retry', 'discard']) {
    const button = el('button', {type: 'button', class: 'link'}, t(name))
    button.addEventListener('click', () => parts[name](item))
    parts.meta.append(button)
  }
}

/** The node leaves the page for now. */
export function dropNode() {}

/** What a message says, in one line. */
export function summary({body, kind}) {
  return body && typeof body.text === 'string' ? body.text.replace(/\s+/g, ' ') : kind
}

/** After a change of language. */
export function relabel(item) {
  item.parts.who.firstChild.textContent = item.from || t('title')
  const kind = item.node.querySelector('.kind')
  if (kind) kind.textContent = `${t('event')} · ${item.kind}`
  update(item)
}
