// What the page says in passing: a line at the bottom, words for screen readers, text for the clipboard.
import {$} from './dom.js'
import {t} from './i18n.js'
import {summary} from './message.js'

const SHOWN = 4000 // ms
const GATHER = 1200 // ms: what comes within them is read out as one
const READ_OUT = 3 // messages; of more only the number

let hiding = 0
let speaking = 0
let heard = []

/** Shows a line for a moment. */
export function toast(text) {
  clearTimeout(hiding)
  $('toast').textContent = text
  $('toast').classList.add('on')
  hiding = setTimeout(() => $('toast').classList.remove('on'), SHOWN)
}

/** Has a message of the open room read out, politely. */
export function announce(e) {
  heard.push(e)
  if (speaking) return
  speaking = setTimeout(() => {
    speaking = 0
    const all = heard
    heard = []
    $('live').textContent = all.length > READ_OUT ? t('newer', {n: all.length})
      : all.map((one) => t('preview_line', {who: one.from, text: summary(one)})).join('\n')
  }, GATHER)
}

/** True if it is in the clipboard. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch (err) { // not on a page without https
    const field = document.createElement('textarea')
    const had = document.activeElement
    field.value = text
    field.className = 'sr'
    document.body.append(field)
    field.select()
    const done = document.execCommand('copy')
    field.remove()
    if (had && had.focus) had.focus({preventScroll: true})
    return done
  }
}
