// Two languages: the browser's choice, or the one that was picked here.
import {strings} from './strings.js'
import {memory} from './dom.js'

const listeners = []
let current = memory.get('lang') || (/^zh\b/i.test(navigator.language || '') ? 'zh' : 'en')
if (!strings[current]) current = 'en'

export const lang = () => (current === 'zh' ? 'zh-CN' : 'en')

/** Adds a part's own texts. They are there before the page is translated, since modules run before those that import them. */
export function addStrings(more) {
  for (const id of Object.keys(strings)) Object.assign(strings[id], more[id])
}

/** The text of `key`, with {name} replaced by values.name. */
export function t(key, values = {}) {
  const text = strings[current][key]
  if (text === undefined) return key
  const chosen = typeof text === 'string' ? text : values.n === 1 ? text[0] : text[1]
  return chosen.replace(/\{(\w+)\}/g, (_, name) => String(values[name]))
}

export const has = (key) => strings[current][key] !== undefined

export const roomTitle = (room) => (room === 'lobby' ? t('lobby') : room)

/** The reason in the reader's language where the code is known, else in the server's words. */
export const why = (err) => (has('why_' + err.code) ? t('why_' + err.code) : err.message || err.code)

/** Calls fn now and whenever the language changes. */
export function onLang(fn) {
  listeners.push(fn)
  fn()
}

export const switchLang = () => setLang(current === 'zh' ? 'en' : 'zh')

/** 'zh' or 'en'. */
export function setLang(id) {
  current = id
  memory.set('lang', current)
  translate()
  for (const fn of listeners) fn()
}

/** Fills in every text that index.html names: data-t, data-t-label, data-t-placeholder. */
export function translate() {
  document.documentElement.lang = lang()
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t)
  for (const node of document.querySelectorAll('[data-t-label]')) {
    node.setAttribute('aria-label', t(node.dataset.tLabel))
    if (/^(BUTTON|A)$/.test(node.tagName)) node.title = t(node.dataset.tLabel)
  }
  for (const node of document.querySelectorAll('[data-t-placeholder]')) node.placeholder = t(node.dataset.tPlaceholder)
  for (const node of document.querySelectorAll('[data-lang]')) {
    node.textContent = t('other_language')
    node.lang = current === 'zh' ? 'en' : 'zh-CN'
  }
}

// Formatters are slow to make, so each language's are made once.
const formats = {}
function format(name, options) {
  const id = current + name
  return formats[id] || (formats[id] = new Intl.DateTimeFormat(lang(), options))
}

export const clockTime = (at) => format('time', {hour: '2-digit', minute: '2-digit', hourCycle: 'h23'}).format(at)
export const fullTime = (at) => format('full', {dateStyle: 'full', timeStyle: 'medium'}).format(at)

/** When, as short as a list of rooms wants it: the time today, else the day. */
export function shortTime(at) {
  const then = new Date(at)
  const now = new Date()
  if (then.toDateString() === now.toDateString()) return clockTime(at)
  if (dayName(at) === t('yesterday')) return t('yesterday')
  return then.getFullYear() === now.getFullYear() ? format('short', {month: 'numeric', day: 'numeric'}).format(at)
    : format('shortdate', {year: 'numeric', month: 'numeric', day: 'numeric'}).format(at)
}

/** The day of `at` in words: today, yesterday, or the date. */
export function dayName(at) {
  const day = new Date(at).toDateString()
  const now = new Date()
  if (day === now.toDateString()) return t('today')
  now.setDate(now.getDate() - 1)
  if (day === now.toDateString()) return t('yesterday')
  const sameYear = new Date(at).getFullYear() === new Date().getFullYear()
  return sameYear ? format('day', {month: 'long', day: 'numeric', weekday: 'long'}).format(at)
    : format('date', {year: 'numeric', month: 'long', day: 'numeric'}).format(at)
}
