// One message as it is shown. Nodes come and go with the view: what must last is in the item.
import {el, icon, avatar} from './dom.js'
import {t, has, why, clockTime, fullTime, addStrings} from './i18n.js'
import {messageStrings} from './strings_message.js'
import {pieces, onlyEmoji, durationText} from './links.js'
import {readBody, captionOf, oneLine} from './body.js'
import {fileNode, endVoice} from './media.js'
import {editable} from './recalled.js'

addStrings(messageStrings)

/**
 * An event, or a message of one's own that is not an event yet (no seq).
 * @typedef {{seq?: number, key?: string, from: string, kind: string, body: any, at: number, own: boolean,
 *   status: ''|'sending'|'sent'|'failed', error?: any, local?: any, node?: HTMLElement, parts?: any}} Item
 */

const itemOf = new WeakMap()

/** The item whose node holds this one. */
export const itemAt = (node) => {
  const li = node && node.closest ? node.closest('[data-message]') : null
  return (li && itemOf.get(li)) || null
}

/** The node of an item; update() fills in what changes. ctx: what the page offers, see chat.js. */
export function makeNode(item, ctx) {
  const parts = {
    ctx,
    who: el('div', {class: 'who'}, el('button', {type: 'button', class: 'from', tabIndex: -1, dir: 'auto'}), el('time', {})),
    hold: el('div', {class: 'hold'}),
    meta: el('div', {class: 'meta'}),
    face: el('span', {class: 'face'}, avatar(item.from || '茶')),
    drawn: null,
  }
  item.parts = parts
  item.node = el('li', {class: 'msg', tabIndex: -1, data: {message: ''}}, parts.face, parts.who, el('div', {class: 'line'}, parts.hold, parts.meta))
  itemOf.set(item.node, item)
  update(item)
  return item.node
}

/** What may change over a message's life: number, time, status, body, upload. */
export function update(item) {
  const {node, parts} = item
  if (!node) return
  const said = readBody(item.body)
  const chat = item.kind === 'message'
  node.classList.toggle('own', !!item.own)
  node.classList.toggle('gone', chat && said.recalled)
  node.classList.toggle('calls', chat && !item.own && said.mentions.includes(parts.ctx.me()))
  for (const name of ['seq', 'key', 'status']) {
    if (item[name]) node.dataset[name] = item[name]
    else delete node.dataset[name]
  }
  const [from, time] = parts.who.children
  from.textContent = item.from || t('title')
  time.textContent = clockTime(item.at)
  time.dateTime = new Date(item.at).toISOString()
  node.title = fullTime(item.at)
  if (parts.drawn !== item.body || parts.local !== item.local) draw(item, said, chat)
  if (item.local && parts.progress) showProgress(item)
  showMeta(item, said)
}

/** After a change of language. */
export function relabel(item) {
  item.parts.drawn = null
  update(item)
}

/** The node leaves the page for now. A voice message goes on; what else plays ends with its node. */
export function dropNode(item) {
  item.parts = null
}

function draw(item, said, chat) {
  const {parts} = item
  const {hold, ctx} = parts
  if (parts.plays && said.recalled) endVoice(parts.plays)
  parts.plays = said.file ? said.file.url : ''
  parts.drawn = item.body
  parts.local = item.local
  parts.progress = null
  hold.textContent = ''
  if (chat && said.recalled) return void hold.append(goneLine(item, ctx))
  if (!chat || (said.text === undefined && !said.file)) return void hold.append(other(item, said))
  const box = el('div', {class: 'said'})
  if (item.node.classList.contains('calls')) box.append(el('span', {class: 'sr'}, t('calls_you')))
  if (said.reply) box.append(quote(said.reply))
  if (said.file) {
    box.append(fileNode(said.file, item.local))
    box.classList.add('with-file', said.file.view)
  }
  const text = captionOf(said)
  if (text || !said.file) box.append(bubble(text, said, ctx.me()))
  const emoji = said.file || said.reply ? 0 : onlyEmoji(text)
  if (emoji && emoji <= 6) box.classList.add(emoji <= 3 ? 'emoji' : 'emoji-row')
  hold.append(box)
  hold.classList.toggle('going', !!item.local)
  if (item.local) hold.append(uploadLine(item))
  else hold.append(el('button', {type: 'button', class: 'more tool', tabIndex: -1, 'aria-haspopup': 'menu', 'aria-label': t('message_menu'), title: t('message_menu')}, icon('more')))
}

/** The text, with its links and code. All of it is text: nothing that somebody wrote becomes markup. */
function bubble(text, {mentions}, me) {
  const node = el('div', {class: 'bubble', dir: 'auto'})
  for (const {kind, text: part, href} of pieces(text, mentions)) {
    if (kind === 'link') node.append(el('a', {href, target: '_blank', rel: 'noopener noreferrer nofollow'}, part))
    else if (kind === 'code') node.append(el('code', {}, part))
    else if (kind === 'block') node.append(el('pre', {}, el('code', {}, part)))
    else if (kind === 'mention') node.append(el('span', {class: part.slice(1) === me ? 'call mine' : 'call'}, part))
    else node.append(part)
  }
  return node
}

function quote({seq, from, text}) {
  return el('button', {type: 'button', class: 'quote', data: {to: seq}},
    el('span', {class: 'sr'}, t('in_reply_to', {who: from})), el('span', {class: 'quote-from', dir: 'auto', 'aria-hidden': 'true'}, from), el('span', {class: 'quote-text', dir: 'auto'}, oneLine(text)))
}

function goneLine(item, ctx) {
  const line = el('p', {class: 'gone-line'}, t(item.own ? 'recalled_own' : 'recalled_other', {who: item.from}))
  if (item.own && editable(ctx.room(), item.seq)) line.append(' ', el('button', {type: 'button', class: 'link edit-again'}, t('edit_again')))
  return line
}

// Not a chat line, or one without a text: readable all the same.
function other(item, {text}) {
  const words = kindWords(item.kind)
  const box = el('div', {class: 'said other'})
  const body = el('div', {class: 'bubble', dir: 'auto'})
  box.append(el('span', {class: 'kind'}, words || t('event_of', {kind: oneLine(String(item.kind), 60)})), body)
  const v = item.body
  if (words && v && typeof v.name === 'string') {
    // The code is worth the voucher: its end is enough to know it by.
    body.append(el('strong', {}, v.name), typeof v.code === 'string' ? ' ' + t('voucher_end', {end: v.code.slice(-4)}) : '')
  } else if (text !== undefined) {
    body.append(text)
  } else {
    body.append(el('pre', {}, jsonText(item.body)))
  }
  return box
}

/** What a voucher's kinds are called; '' for all others. */
function kindWords(kind) {
  const m = /^voucher\.(\w+)$/.exec(String(kind))
  return m && has('voucher_' + m[1]) ? t('voucher_' + m[1]) : ''
}

function jsonText(value) {
  const text = JSON.stringify(value, null, 2) || ''
  return text.length > 4000 ? text.slice(0, 4000) + '…' : text
}

function uploadLine(item) {
  const bar = el('progress', {max: 1, value: 0})
  const text = el('span', {class: 'upload-text'})
  const cancel = el('button', {type: 'button', class: 'tool upload-cancel', 'aria-label': t('upload_cancel'), title: t('upload_cancel')}, icon('close'))
  cancel.addEventListener('click', () => item.local.cancel())
  item.parts.progress = {bar, text}
  return el('div', {class: 'upload'}, bar, text, cancel)
}

function showProgress({local, parts, status, node}) {
  const {bar, text} = parts.progress
  const percent = Math.floor(100 * (local.progress || 0))
  bar.value = local.progress || 0
  bar.setAttribute('aria-label', t('progress', {percent}))
  bar.parentNode.hidden = status === 'failed'
  const words = local.stage === 'queued' ? t('waiting_turn') : local.stage === 'offline' ? t('upload_waiting') : percent + '%'
  if (text.textContent !== words) text.textContent = words
  node.dataset.upload = local.stage || ''
}

function showMeta(item, said) {
  const {meta, ctx} = item.parts
  const {status, local} = item
  meta.textContent = ''
  if (!local) delete item.node.dataset.upload
  if (!status || (local && status === 'sending') || said.recalled) return
  const failed = status === 'failed'
  meta.append(icon(status), el('span', {class: failed ? '' : 'sr'}, t(failed && local ? 'upload_failed' : status)))
  if (!failed) return
  meta.append(el('span', {class: 'reason'}, item.error ? why(item.error) : ''))
  const acts = local ? {retry: local.retry, discard: local.cancel} : {retry: () => ctx.retry(item), discard: () => ctx.discard(item)}
  for (const [name, act] of Object.entries(acts)) {
    const button = el('button', {type: 'button', class: 'link', data: {act: name}}, t(name))
    button.addEventListener('click', () => act())
    meta.append(button)
  }
}

/** A message in one line: for lists, quotes and notifications. */
export function summary(item) {
  if (!item) return ''
  const said = readBody(item.body)
  if (item.kind !== 'message') return kindWords(item.kind) || oneLine(said.text !== undefined ? said.text : t('event_of', {kind: String(item.kind)}))
  if (said.recalled) return t(item.own ? 'recalled_own' : 'recalled_other', {who: item.from})
  const text = captionOf(said)
  if (!said.file) return oneLine(text)
  const {view, duration, name} = said.file
  const mark = view === 'file' ? `[${t('file')}] ${name}` : view === 'voice' ? `[${t('voice')}] ${durationText(duration)}` : `[${t(view)}]`
  return oneLine(text ? `${mark} ${text}` : mark)
}
