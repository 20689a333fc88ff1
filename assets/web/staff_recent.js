// The last scans, each with what became of it, and the sheet that asks why one is undone.
import {$, el} from './dom.js'
import {t, clockTime, dayName, onLang} from './i18n.js'

const MANY = 20

/** desk: see staff_desk.js; show(scan) is called when one is chosen. */
export function makeRecent({desk, show}) {
  let asked = null // the dialog's: {answer(reason), before}

  function draw() {
    const scans = desk().scans.slice(0, MANY)
    $('recent-none').hidden = scans.length > 0
    $('recent').replaceChildren(...scans.map(line))
  }

  function line(scan) {
    const voucher = scan.voucher || scan.why && scan.why.voucher
    const words = el('button', {type: 'button', class: 'line'},
      el('b', {dir: 'auto'}, voucher ? voucher.name : scan.code.slice(0, 7) + '…'),
      el('span', {class: 'hint', dir: 'auto'}, [voucher && voucher.owner, `${dayName(scan.at)} ${clockTime(scan.at)}`].filter(Boolean).join(' · ')),
      el('span', {class: 'became'}, became(scan)))
    words.addEventListener('click', () => show(scan))
    const li = el('li', {data: {scan: scan.code, state: scan.state, undo: scan.undo ? scan.undo.state : ''}}, words)
    if (scan.state === 'redeemed' && (!scan.undo || scan.undo.state === 'refused' || scan.undo.state === 'waiting')) {
      const button = el('button', {type: 'button', class: 'quiet framed undo', 'aria-label': `${t('s_undo')}: ${voucher.name}`}, t('s_undo'))
      button.addEventListener('click', () => askUndo(scan))
      li.append(button)
    }
    return li
  }

  function became(scan) {
    const {undo} = scan
    if (undo && undo.state === 'refused') return t('s_undo_refused', {why: undo.why.detail || undo.why.code})
    if (undo) return t({asking: 's_undoing', waiting: 's_undo_waiting', undone: 's_undone'}[undo.state])
    if (scan.state === 'refused' && scan.why.code) return `${t('s_state_refused')} · ${scan.why.detail || scan.why.code}`
    return t('s_state_' + scan.state)
  }

  async function askUndo(scan) {
    const reason = await ask({title: t('s_undo_title'), text: t('s_undo_text', {name: scan.voucher.name}), go: t('s_undo_do'), stay: t('s_cancel'), reason: scan.undo ? scan.undo.reason : ''})
    if (reason) desk().undo(scan, reason)
  }

  /** The sheet: a question, with a reason if one is given to begin with. Answers the reason (or true), or '' for no. */
  function ask({title, text, go, stay, reason}) {
    return new Promise((answer) => {
      asked = {answer, before: document.activeElement, reason: reason !== undefined}
      $('sheet-title').textContent = title
      $('sheet-text').textContent = text
      $('sheet-do').textContent = go
      $('sheet-cancel').textContent = stay
      $('undo-fields').hidden = !asked.reason
      $('reason').value = reason || ''
      $('reason-error').textContent = ''
      $('reasons').replaceChildren(...[1, 2, 3].map((n) => {
        const chip = el('button', {type: 'button', class: 'quiet framed'}, t('s_reason_' + n))
        chip.addEventListener('click', () => {
          $('reason').value = chip.textContent
          $('sheet-do').focus()
        })
        return chip
      }))
      $('sheet').hidden = false
      $('house').inert = true
      $(asked.reason ? 'reason' : 'sheet-cancel').focus()
    })
  }

  function end(value) {
    const {answer, before} = asked
    asked = null
    $('sheet').hidden = true
    $('house').inert = false
    if (before && before.isConnected) before.focus()
    answer(value)
  }

  $('undo-form').addEventListener('submit', (e) => {
    e.preventDefault()
    const reason = $('reason').value.trim()
    if (asked.reason && !reason) {
      $('reason-error').textContent = t('s_reason_needed')
      return $('reason').focus()
    }
    end(asked.reason ? reason : 'yes')
  })
  $('sheet-cancel').addEventListener('click', () => end(''))
  $('sheet').addEventListener('keydown', (e) => {
    if (e.key === 'Escape') return end('')
    if (e.key !== 'Tab') return
    // The focus goes round within.
    const all = [...$('sheet').querySelectorAll('button, input')].filter((x) => x.offsetParent)
    const to = e.shiftKey ? all[0] : all[all.length - 1]
    if (document.activeElement !== to) return
    e.preventDefault()
    all[e.shiftKey ? all.length - 1 : 0].focus()
  })
  onLang(() => desk() && draw())

  return {draw, ask, undo: askUndo, get asking() { return !!asked }}
}
