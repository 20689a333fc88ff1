// One voucher, shown to whoever redeems it: white in dark mode too, with the QR code as large as the screen allows.
import {$, el} from './dom.js'
import {t, fullTime} from './i18n.js'
import {qrSVG} from './qr.js'
import {groups} from './voucher_code.js'
import {passAt, passLeft} from './pass.js'
import {ENDED, statusAt} from './vouchers_shelf.js'

/** get(code) is the voucher, now() the server's clock. closed() is called when the person goes back. */
export function makeCard({get, now, closed}) {
  let code = null
  let qrText = ''
  let drawnAs = ''
  let before = null
  let lock = null // keeps the screen on

  function open(next) {
    if (code === null) {
      before = document.activeElement
      history.pushState({card: true}, '')
    }
    code = next
    qrText = drawnAs = ''
    $('card').hidden = false
    $('house').inert = true
    draw()
    $('card').scrollTop = 0
    $('card-back').focus()
    stayOn()
  }

  function shut() {
    if (code === null) return
    code = null
    $('card').hidden = true
    $('house').inert = false
    if (before && before.isConnected) before.focus({preventScroll: true})
    if (lock) lock.release().catch(() => {})
    lock = null
    closed()
  }

  function draw() {
    const v = code && get(code)
    if (!v) return
    const status = statusAt(v, now())
    $('card').dataset.status = status
    const as = [status, v.redeemed_at, v.name, document.documentElement.lang].join('|')
    if (as !== drawnAs) {
      drawnAs = as
      drawWords(v, status)
    }
    tick()
  }

  function drawWords(v, status) {
    const usable = status === 'issued'
    $('card-name').textContent = v.name
    $('card-qr').hidden = $('card-code').hidden = !usable
    $('card-mark').hidden = usable
    $('card-pass').hidden = $('card-shot').hidden = true
    $('card-mark-icon').setAttribute('href', status === 'redeemed' ? '#i-yes' : '#i-no')
    $('card-status').textContent = usable ? '' : t(ENDED[status])
    $('card-code').replaceChildren(...groups(v.code).map((g) => el('span', {}, g)))
    $('card-code').setAttribute('aria-label', `${t('v_code')} ${groups(v.code).join(' ')}`)
    const facts = []
    const fact = (name, value) => value && facts.push(el('dt', {}, t(name)), el('dd', {dir: 'auto'}, value))
    if (status === 'redeemed') {
      fact('v_when', fullTime(v.redeemed_at))
      fact('v_station', v.station)
      fact('v_by', v.redeemed_by)
    }
    fact('v_note', v.note)
    fact('v_owner', v.owner)
    fact('v_ref', v.ref)
    if (!usable) fact('v_code', groups(v.code).join(' '))
    fact('v_issued_at', fullTime(v.issued_at))
    $('card-facts').replaceChildren(...facts)
    qrText = ''
  }

  /** What changes by itself: the pass and the time. */
  function tick() {
    const v = code && get(code)
    if (!v || $('card').dataset.status !== 'issued') return
    const at = now()
    if (statusAt(v, at) !== 'issued') return draw()
    const pass = v.pass ? passAt(v.pass, at) : ''
    const text = pass ? `${v.code}.${pass}` : v.code
    if (text !== qrText) {
      qrText = text
      $('card-qr').replaceChildren(qrSVG(text, {label: t('v_qr', {name: v.name})}))
      $('card-qr').dataset.text = text
      $('card-pass').hidden = $('card-shot').hidden = !pass
      $('card-number').textContent = pass.slice(0, 3) + ' ' + pass.slice(3)
    }
    if (pass) {
      const left = Math.ceil(passLeft(at) / 1000)
      set($('card-new'), t('v_pass_new', {n: left}))
      $('card-bar').style.transform = `scaleX(${left / 30})`
    }
    set($('card-left'), timeLeft(v, at))
  }

  const set = (node, text) => { if (node.textContent !== text) node.textContent = text }

  async function stayOn() {
    try {
      if (!lock && navigator.wakeLock && !document.hidden) {
        lock = await navigator.wakeLock.request('screen')
        lock.addEventListener('release', () => { lock = null })
        if (code === null) lock.release()
      }
    } catch (err) { /* the phone decides */ }
  }

  $('card-back').addEventListener('click', () => history.back())
  $('card').addEventListener('keydown', (e) => {
    if (e.key === 'Escape') history.back()
    if (e.key === 'Tab') e.preventDefault() // there is one button
  })
  window.addEventListener('popstate', shut)
  document.addEventListener('visibilitychange', () => code !== null && stayOn())

  return {
    open,
    draw,
    tick,
    shut,
    get code() { return code },
  }
}

/** How long a voucher is good, in words. */
export function timeLeft(v, now) {
  if (!v.expires_at) return t('v_no_end')
  const s = Math.max(0, Math.ceil((v.expires_at - now) / 1000))
  if (s >= 172_800) return t('v_days', {n: Math.floor(s / 86_400)})
  if (s >= 3_600) return t('v_hours', {h: Math.floor(s / 3_600), m: Math.floor(s % 3_600 / 60)})
  return s >= 60 ? t('v_minutes', {m: Math.floor(s / 60), s: s % 60}) : t('v_seconds', {s})
}
