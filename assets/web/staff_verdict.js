// The answer to a scan, over the whole screen: green, red, or amber while it is not known.
import {$, el} from './dom.js'
import {t, fullTime, onLang} from './i18n.js'
import {groups} from './voucher_code.js'

const DEAF = 500 // ms: a scanner's second Enter, or a finger that was on its way, does not close what it has not seen
const GREEN_LASTS = 6_000 // ms; red and amber stay until somebody has read them
const TITLES = {
  voucher_redeemed: 's_voucher_redeemed', voucher_void: 's_voucher_void', voucher_expired: 's_voucher_expired',
  voucher_unknown: 's_voucher_unknown', pass_stale: 's_pass_stale', pass_required: 's_pass_required',
}

/** closed(scan) is called when it goes away, undo(scan) when that is wanted. */
export function makeVerdict({closed, undo, waitsFor}) {
  let scan = null
  let again = false
  let before = null // what had the focus
  let timer = 0
  let since = 0

  function show(next, {again: twice = false} = {}) {
    if (!scan) before = document.activeElement
    if (scan !== next) since = performance.now()
    scan = next
    again = twice
    $('verdict').hidden = false
    $('house').inert = true
    draw()
    clearTimeout(timer)
    if (look() === 'good') timer = setTimeout(close, GREEN_LASTS)
    $('verdict').scrollTop = 0
    $('verdict-next').focus()
  }

  function close() {
    if (!scan) return
    const was = scan
    clearTimeout(timer)
    scan = null
    $('verdict').hidden = true
    $('house').inert = false
    if (before && before.isConnected && before !== document.body) before.focus({preventScroll: true})
    closed(was)
  }

  const look = () => (scan.state === 'redeemed' ? 'good' : scan.state === 'refused' ? 'bad' : 'wait')

  function draw() {
    const why = scan.why || {}
    const voucher = scan.voucher || why.voucher
    const mood = look()
    $('verdict').dataset.mood = mood
    $('verdict').dataset.state = scan.state
    $('verdict-mark').setAttribute('href', {good: '#i-yes', bad: '#i-no', wait: '#i-wait'}[mood])
    set('verdict-late', scan.late && mood !== 'wait' ? t(mood === 'good' ? 's_redeemed_late' : 's_refused_late') : again ? t('s_again') : '')
    set('verdict-title', title(why))
    set('verdict-name', voucher ? voucher.name : '')
    set('verdict-text', text(why))
    set('verdict-notice', scan.notice || '')
    const facts = []
    const fact = (name, value) => value && facts.push(el('dt', {}, t(name)), el('dd', {dir: 'auto'}, value))
    if (voucher) fact('s_owner', voucher.owner)
    if (voucher && voucher.note) fact('s_note', voucher.note)
    if (why.redeemed_at) {
      fact('s_earlier', fullTime(why.redeemed_at))
      fact('s_station', why.station)
      fact('s_by', why.redeemed_by)
    }
    if (why.code === 'voucher_expired' && voucher && voucher.expires_at) fact('s_expired_at', fullTime(voucher.expires_at))
    if (scan.late) fact('s_scanned', fullTime(scan.at))
    fact('s_code_is', groups(scan.code).join(' '))
    $('verdict-facts').replaceChildren(...facts)
    $('verdict-undo').hidden = !(scan.state === 'redeemed' && !scan.undo)
  }

  function title(why) {
    if (scan.state === 'asking') return t(scan.late ? 's_waiting' : 's_asking')
    if (scan.state === 'waiting') return t('s_waiting')
    if (scan.state === 'redeemed') return t('s_redeemed')
    return t(TITLES[why.code] || 's_refused')
  }

  function text(why) {
    const kept = scan.kept === false ? ' ' + t('s_not_kept') : ''
    if (scan.state === 'asking' && !scan.late) return t('s_asking_hint')
    if (scan.state === 'asking' || scan.state === 'waiting') return t(waitsFor(why)) + kept
    return scan.state === 'refused' ? why.detail || '' : ''
  }

  function set(id, value) {
    if ($(id).textContent !== value) $(id).textContent = value
    $(id).hidden = !value
  }

  const early = () => performance.now() - since < DEAF

  $('verdict-next').addEventListener('click', () => early() || close())
  $('verdict-undo').addEventListener('click', () => {
    if (early()) return
    const was = scan
    close()
    undo(was)
  })
  $('verdict').addEventListener('keydown', (e) => {
    clearTimeout(timer) // somebody is there
    if (e.key === 'Escape') close()
    // The focus stays within: there are two buttons at most.
    if (e.key !== 'Tab') return
    e.preventDefault()
    const other = document.activeElement === $('verdict-next') && !$('verdict-undo').hidden ? 'verdict-undo' : 'verdict-next'
    $(other).focus()
  })
  $('verdict').addEventListener('pointerdown', () => clearTimeout(timer))
  onLang(() => scan && draw())

  return {
    show,
    close,
    /** The scan that is shown, or null. */
    get scan() { return scan },
  }
}
