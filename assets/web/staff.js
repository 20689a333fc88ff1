// The staff page: sign in, scan, see at a glance whether it counts.
import {$, memory} from './dom.js'
import {t, addStrings, onLang, switchLang, translate} from './i18n.js'
import {staffStrings} from './strings_staff.js'
import {readScan} from './voucher_code.js'
import {hasCamera, makeCamera, readPhoto} from './scan.js'
import {signal} from './signals.js'
import {listenToWedge} from './wedge.js'
import {call, serverNow} from './staff_call.js'
import {makeDesk} from './staff_desk.js'
import {makeVerdict} from './staff_verdict.js'
import {makeRecent} from './staff_recent.js'

const STORE = 'staff.shift'
const NOT_CODES = 2_500 // ms between two complaints of the camera that something is no code

addStrings(staffStrings)
translate()

let shift = null // {token, staff: {name, station}, expires_at, until}
try { shift = JSON.parse(memory.get(STORE) || 'null') } catch (err) { /* none */ }
let note = () => ''
let complained = 0

const desk = makeDesk({
  ask: (path, body) => call(path, body, shift && shift.token),
  who: () => (shift ? shift.staff.name : ''),
  now: serverNow,
  changed,
  signedOut: () => end(() => t('s_ended')),
})
const recent = makeRecent({desk: () => desk, show: (scan) => verdict.show(scan)})
const verdict = makeVerdict({
  undo: (scan) => recent.undo(scan),
  waitsFor: (why) => (!why.code || why.code === 'unreachable' ? 's_waiting_hint' : shift ? 's_waiting_busy' : 's_waiting_signed_out'),
  closed: (scan) => {
    scan.seen = Date.now() // the camera may still be held on it
    if (news[0] === scan) news.shift()
    if (news.length) verdict.show(news[0])
  },
})
const news = [] // what is to be shown one after the other: the one on the screen first
const camera = makeCamera($('video'), (text) => {
  // While an answer stands there the next one waits.
  if (!verdict.scan && !recent.asking) take(text, {quiet: true})
})

/** Something was scanned or typed. quiet: the camera sees other codes, too, and the same one many times. */
function take(text, {quiet = false} = {}) {
  const read = readScan(text)
  if (read.wrong) {
    if (!quiet) return complain(read)
    if (Date.now() - complained < NOT_CODES) return
    complained = Date.now()
    return say(() => t('s_not_code'))
  }
  complain({})
  say(() => '')
  $('code').value = ''
  const {scan, again} = desk.submit(read.code, read.pass)
  if (again && quiet && scan.state !== 'waiting') {
    scan.seen = Date.now()
    return
  }
  if (again) scan.seen = Date.now()
  announce(scan, {again})
}

/** Shows it now: what stood there has been seen, what waited to be told comes after it. */
function announce(scan, options) {
  const rest = news.filter((s) => s !== scan && s !== verdict.scan)
  news.splice(0, news.length, scan, ...rest)
  verdict.show(scan, options)
}

function changed(scan) {
  recent.draw()
  showWaiting()
  showLink()
  const isNews = scan.sounded !== scan.state && !scan.undo
  if (isNews) {
    scan.sounded = scan.state
    if (scan.state !== 'asking') signal({redeemed: 'good', refused: 'bad', waiting: 'wait'}[scan.state])
  }
  if (verdict.scan === scan) return verdict.show(scan)
  // An answer is always shown: of what had to wait, and of what was closed before it came. What stands there comes first.
  if (isNews && (scan.state === 'redeemed' || scan.state === 'refused')) {
    if (!news.includes(scan)) news.push(scan)
    if (!verdict.scan) verdict.show(scan)
  }
}

function complain({wrong, n}) {
  $('code-error').textContent = wrong ? t('s_wrong_' + wrong, {n}) : ''
  if (!wrong) return $('code').removeAttribute('aria-invalid')
  $('code').setAttribute('aria-invalid', 'true')
  signal('wait')
}

function say(fn) {
  note = fn
  $('scan-note').textContent = fn()
}

// ---- signing in and out

function begin() {
  $('door').hidden = true
  $('house').hidden = false
  showShift()
  recent.draw()
  showWaiting()
  showLink()
  desk.goOn()
}

function end(reason = () => '') {
  shift = null
  memory.set(STORE, '')
  closeCamera()
  $('house').hidden = true
  $('door').hidden = false
  $('pin').value = ''
  doorError(reason)
  ;($('name').value ? $('pin') : $('name')).focus()
}

let doorSays = () => ''
function doorError(fn) {
  doorSays = fn
  $('door-error').textContent = fn()
}

$('door-form').addEventListener('submit', async (e) => {
  e.preventDefault()
  const name = $('name').value.trim()
  const pin = $('pin').value
  if (!name || !pin) {
    doorError(() => t('s_fill'))
    return $(name ? 'pin' : 'name').focus()
  }
  $('enter').disabled = true
  doorError(() => '')
  $('enter').textContent = t('s_signing_in')
  try {
    shift = await call('staff/sign-in', {name, pin})
    shift.until = Date.now() + shift.expires_at - serverNow() // by this device's clock, which may be wrong
    memory.set(STORE, JSON.stringify(shift))
    $('pin').value = ''
    begin()
  } catch (err) {
    const wait = Math.ceil((err.problem.retry_ms || 0) / 1000)
    doorError(() => (err.code === 'unreachable' ? t('s_no_server') : wait ? t('s_retry_in', {n: wait}) : err.message))
    $('pin').select()
  } finally {
    $('enter').disabled = false
    $('enter').textContent = t('s_sign_in')
  }
})

$('leave').addEventListener('click', async () => {
  const n = desk.waiting(shift.staff.name).length
  if (n && !await recent.ask({title: t('s_sign_out'), text: t('s_leave_waiting', {n}), go: t('s_leave'), stay: t('s_stay')})) return
  desk.forget()
  $('name').value = ''
  end()
})

// ---- what the page says of itself

function showShift() {
  $('station').textContent = shift.staff.station || t('s_title')
  $('who').textContent = shift.staff.name
  document.title = t('s_page')
}

function showWaiting() {
  const all = desk.waiting().filter((s) => s.state === 'waiting' || s.late || s.undo)
  const mine = all.filter((s) => shift && s.by === shift.staff.name)
  $('waiting').hidden = !all.length
  $('waiting-text').textContent = [mine.length && t('s_waiting_count', {n: mine.length}), all.length > mine.length && t('s_of_others', {n: all.length - mine.length})].filter(Boolean).join(' ')
  $('waiting-now').hidden = !mine.length
}

function showLink() {
  const off = desk.unreachable || navigator.onLine === false
  $('link').dataset.link = off ? 'off' : 'on'
  $('link-text').textContent = t(off ? 's_offline' : 's_online')
}

// ---- camera, photo, keys

function showCamera() {
  $('camera').hidden = !hasCamera()
  $('camera-text').textContent = t(camera.runs ? 's_close_camera' : 's_open_camera')
  $('camera').classList.toggle('primary', !camera.runs)
  $('photo').classList.toggle('primary', !hasCamera())
  $('view').hidden = !camera.runs
  $('torch').hidden = !camera.hasTorch
}

async function openCamera() {
  memory.set('staff.camera', 'on')
  say(() => '')
  $('view').hidden = false
  try {
    await camera.start()
  } catch (err) {
    camera.stop()
    memory.set('staff.camera', '')
    say(() => (err.name === 'NotAllowedError' ? t('s_camera_denied') : err.name === 'NotFoundError' ? t('s_camera_missing') : t('s_camera_failed', {why: err.name})))
  }
  showCamera()
}

function closeCamera() {
  camera.stop()
  showCamera()
}

$('camera').addEventListener('click', () => {
  if (!camera.runs) return openCamera()
  memory.set('staff.camera', '')
  closeCamera()
})
$('torch').addEventListener('click', async () => {
  const on = $('torch').getAttribute('aria-pressed') !== 'true'
  try {
    await camera.torch(on)
    $('torch').setAttribute('aria-pressed', String(on))
  } catch (err) { $('torch').hidden = true }
})
$('photo').addEventListener('click', () => $('file').click())
$('file').addEventListener('change', async () => {
  const file = $('file').files[0]
  $('file').value = ''
  if (!file) return
  say(() => t('s_reading'))
  await new Promise((done) => setTimeout(done, 30)) // that it reads is painted first
  try {
    const text = await readPhoto(file)
    say(() => (text ? '' : t('s_photo_none')))
    if (text) take(text)
    else signal('wait')
  } catch (err) {
    say(() => t('s_photo_bad'))
  }
})
$('code-form').addEventListener('submit', (e) => {
  e.preventDefault()
  take($('code').value)
})
$('code').addEventListener('input', () => complain({}))
listenToWedge({
  field: $('code'),
  good: (text) => !readScan(text).wrong,
  read: (text) => {
    if (recent.asking) return
    if (document.activeElement === $('code')) $('code').blur() // ends what an input method was composing
    $('code').value = ''
    take(text)
    if (readScan(text).wrong) $('code').value = text
  },
  shown: (text) => { if (!verdict.scan) $('code').value = text },
  takes: (target) => $('house').hidden || target !== $('code') && /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName),
})

for (const button of document.querySelectorAll('[data-lang]')) button.addEventListener('click', switchLang)
$('waiting-now').addEventListener('click', () => desk.goOn())
window.addEventListener('online', () => {
  showLink()
  desk.goOn()
})
window.addEventListener('offline', showLink)
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return camera.stop()
  if (!shift) return
  desk.goOn()
  if (memory.get('staff.camera') && hasCamera()) openCamera()
})
onLang(() => {
  $('door-error').textContent = doorSays()
  $('scan-note').textContent = note()
  showCamera()
  if (!shift) return
  showShift()
  showWaiting()
  showLink()
})

say(() => (hasCamera() ? '' : t('s_photo_hint')))
if (shift && shift.until > Date.now()) {
  begin()
  if (memory.get('staff.camera') && hasCamera()) openCamera()
} else {
  if (shift) $('name').value = shift.staff.name
  end(shift ? () => t('s_ended') : undefined)
}
