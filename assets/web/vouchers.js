// The owner's page: my vouchers, to be shown and seen redeemed. The connection is the SDK's.
import {connect} from '../sdk/teahouse.js'
import {$, el, memory, nameSecret} from './dom.js'
import {t, addStrings, clockTime, dayName, fullTime, onLang, switchLang, translate, why} from './i18n.js'
import {voucherStrings} from './strings_vouchers.js'
import {checkName} from './names.js'
import {signal} from './signals.js'
import {Socket} from './socket.js'
import {ENDED, makeShelf, statusAt} from './vouchers_shelf.js'
import {makeCard, timeLeft} from './vouchers_card.js'

const WANTS_TOKEN = ['bad_token', 'token_expired', 'unauthorized']
const PAGE = 200
const PAGES = 10
const REFRESH = 600_000 // ms: heals clocks that were set meanwhile
const GROUPS = {usable: ['issued'], used: ['redeemed'], gone: ['void', 'expired']}

addStrings(voucherStrings)
translate()

let client = null
let token = memory.get('token')
let group = 'usable'
let wanted = '' // a code that the address names
let trouble = null // what asking for the list failed with
let loading = 0
let drawnList = ''

const shelf = makeShelf({told, drawn: draw})
const card = makeCard({get: shelf.get, now: shelf.now, closed: draw})

// ---- coming in

function enter(who) {
  if (client) client.close()
  if (who.token) memory.set('token', (token = who.token))
  else memory.set('name', who.name)
  // No storage: what is kept here is the shelf's, and messages are the chat page's.
  const mine = (client = connect({user: who.name, token: who.token, secret: who.token ? undefined : nameSecret() || undefined, device: 'vouchers', storage: null, WebSocket: Socket}))
  trouble = null
  client.on('state', (state) => mine === client && onState(state))
  client.inbox.on('event', (e) => {
    if (mine !== client || !/^voucher\./.test(e.kind) || !e.body || !e.body.code) return
    shelf.event(e)
    // The secret of its pass is in the list only.
    if (e.body.status === 'issued') refreshSoon()
  })
  client.inbox.on('reset', () => mine === client && refreshSoon())
  $('door').hidden = true
  $('house').hidden = false
  shelf.open(client.user || who.name || '')
  draw()
}

function showDoor({wantsToken = false, refusal = () => ''} = {}) {
  card.shut()
  if (client) client.close()
  client = null
  $('house').hidden = true
  $('door').hidden = false
  $('name-field').hidden = wantsToken
  $('token-field').hidden = !wantsToken
  $('name').value = $('name').value || memory.get('name')
  doorSays = refusal
  drawDoor()
  $(wantsToken ? 'token' : 'name').focus()
}

let doorSays = () => ''
function drawDoor() {
  $('door-hint').textContent = t($('token-field').hidden ? 'v_intro' : 'v_intro_token')
  $('door-error').textContent = doorSays()
}

$('door-form').addEventListener('submit', (e) => {
  e.preventDefault()
  const complain = (fn) => {
    doorSays = fn
    drawDoor()
  }
  if (!$('token-field').hidden) {
    const typed = $('token').value.trim().replace(/^.*#token=/, '')
    return typed ? enter({token: decode(typed)}) : complain(() => t('token_needed'))
  }
  const {name, wrong, n} = checkName($('name').value)
  if (wrong) return complain(() => t('name_' + wrong, {n}))
  complain(() => '')
  enter({name})
})

function decode(text) {
  try { return decodeURIComponent(text) } catch (err) { return text }
}

function onState(state) {
  if (state.name === 'live') refresh()
  if (state.name === 'closed') {
    const reason = () => why({code: state.error, message: state.reason})
    if (WANTS_TOKEN.includes(state.error)) {
      const had = token
      memory.set('token', (token = ''))
      return showDoor({wantsToken: true, refusal: () => (had ? t('token_refused', {why: reason()}) : '')})
    }
    if (state.error === 'name_taken') return showDoor({refusal: () => t('name_taken', {name: memory.get('name')})})
    if (state.error === 'bad_user') return showDoor({refusal: () => t('name_refused', {why: state.reason})})
  }
  draw()
}

// ---- the list

async function refresh() {
  const mine = client
  const turn = ++loading
  try {
    const usable = []
    let page = {}
    for (let i = 0; i < PAGES && (i === 0 || page.cursor); i++) {
      page = await mine.vouchers({status: 'issued', cursor: page.cursor, limit: PAGE})
      usable.push(...page.vouchers)
    }
    const asked = Date.now()
    const newest = await mine.vouchers({limit: PAGE})
    if (mine !== client || turn !== loading) return
    trouble = null
    shelf.list({usable, newest: newest.vouchers, serverNow: newest.now + (Date.now() - asked) / 2})
  } catch (err) {
    if (mine !== client || turn !== loading || mine.state.name !== 'live') return
    trouble = err
    draw()
  }
}

let due = 0
/** A backend may issue a thousand at once. */
function refreshSoon() {
  if (!due) {
    due = setTimeout(() => {
      due = 0
      if (client && client.state.name === 'live') refresh()
    }, 300)
  }
}

/** Something happened to a voucher. */
function told({what, voucher, live}) {
  if (!live) return
  if (what === 'redeemed') {
    // Whatever the page shows: this is what its owner waits for.
    card.open(voucher.code)
    $('told').textContent = t('v_told', {name: voucher.name})
    signal('good')
  } else {
    $('told').textContent = newsText({what, name: voucher.name, station: voucher.station})
    if (what !== 'expired') signal('wait')
  }
}

function newsText({what, name, station, at}) {
  if (what !== 'redeemed') return t('v_news_' + what, {name})
  const time = `${dayName(at)} ${clockTime(at)}`
  return station ? t('v_news_redeemed_where', {name, where: station, at: time}) : t('v_news_redeemed', {name, at: time})
}

let drawing = 0
/** Soon, and once for many changes; what is told of a redemption does not wait for it. */
function draw() {
  if (!drawing) drawing = setTimeout(drawNow, 30)
}

function drawNow() {
  clearTimeout(drawing)
  drawing = 0
  if (!client) return
  $('who').textContent = client.user || ''
  drawLink()
  drawNews()
  drawList()
  card.draw()
  if (wanted && shelf.get(wanted)) {
    const code = wanted
    wanted = ''
    card.open(code)
  }
}

function drawLink() {
  const state = client.state.name
  const live = state === 'live'
  $('link').dataset.link = live ? 'on' : 'off'
  $('link').dataset.state = state
  $('link-text').textContent = t(live ? 'v_live' : state === 'connecting' ? 'state_connecting' : 'v_offline')
  const away = state === 'waiting' || state === 'closed'
  $('old').hidden = !away && !trouble
  $('old-text').textContent = away ? (shelf.at ? t('v_old', {ago: ago(Date.now() - shelf.at)}) : t('v_old_never'))
    : trouble ? (trouble.code === 'unauthorized' ? t('v_not_proved') : t('v_failed', {why: why(trouble)})) : ''
  $('old-try').hidden = !away
}

function ago(ms) {
  const minutes = Math.floor(Math.max(0, ms) / 60_000)
  if (minutes < 1) return t('v_ago_now')
  if (minutes < 60) return t('v_ago_minutes', {n: minutes})
  return minutes < 2880 ? t('v_ago_hours', {n: Math.floor(minutes / 60)}) : t('v_ago_days', {n: Math.floor(minutes / 1440)})
}

function drawNews() {
  $('news').hidden = !shelf.news.length
  $('news-list').replaceChildren(...shelf.news.map((n) => el('li', {dir: 'auto', data: {what: n.what}}, newsText(n))))
}

function drawList() {
  const now = shelf.now()
  const all = shelf.all().map((v) => ({...v, status: statusAt(v, now)}))
  for (const [name, states] of Object.entries(GROUPS)) {
    $('tab-' + name).setAttribute('aria-pressed', String(name === group))
    $('count-' + name).textContent = all.filter((v) => states.includes(v.status)).length
  }
  const shown = all.filter((v) => GROUPS[group].includes(v.status)).sort(group === 'usable' ? soonest : latest)
  // Nodes stay while nothing changes, so that the focus stays, too.
  const as = JSON.stringify([group, document.documentElement.lang, shown.map((v) => [v.code, v.name, v.status, v.redeemed_at])])
  if (as !== drawnList) {
    drawnList = as
    $('list').replaceChildren(...shown.map(line))
  }
  for (const [i, v] of shown.entries()) $('list').children[i].querySelector('.left').textContent = left(v, now)
  $('none').hidden = shown.length > 0
  $('none').textContent = shown.length ? '' : client.state.name === 'live' && !shelf.at && !trouble ? t('v_loading') : t('v_none_' + group)
}

const soonest = (a, b) => (a.expires_at || Infinity) - (b.expires_at || Infinity) || b.issued_at - a.issued_at
const latest = (a, b) => (b.redeemed_at || b.expires_at || b.issued_at) - (a.redeemed_at || a.expires_at || a.issued_at)

function line(v) {
  const button = el('button', {type: 'button', class: 'ticket', data: {code: v.code, status: v.status}},
    el('span', {class: 'words'}, el('b', {dir: 'auto'}, v.name), el('span', {class: 'hint note', dir: 'auto'}, v.note || ''), el('span', {class: 'left'})))
  if (v.status === 'issued') button.append(el('span', {class: 'go'}, t('v_show')))
  button.addEventListener('click', () => card.open(v.code))
  return el('li', {}, button)
}

function left(v, now) {
  if (v.status === 'issued') return timeLeft(v, now)
  if (v.status === 'redeemed') return `${t('v_redeemed')} · ${dayName(v.redeemed_at)} ${clockTime(v.redeemed_at)}`
  return t(ENDED[v.status]) + (v.status === 'expired' ? ' · ' + fullTime(v.expires_at) : '')
}

// ---- time

let ticked = {wall: Date.now(), steady: performance.now()}
setInterval(() => {
  const now = {wall: Date.now(), steady: performance.now()}
  const jumped = Math.abs((now.wall - ticked.wall) - (now.steady - ticked.steady)) > 2_000
  ticked = now
  if (!client) return
  // The device's clock was set, or it slept.
  if (jumped && client.state.name === 'live') refresh()
  card.tick()
  drawList()
  drawLink()
}, 500)
setInterval(() => client && client.state.name === 'live' && refresh(), REFRESH)

for (const name of Object.keys(GROUPS)) {
  $('tab-' + name).addEventListener('click', () => {
    group = name
    drawList()
  })
}
$('news-seen').addEventListener('click', () => {
  shelf.seen()
  drawNews()
  $('tab-usable').focus()
})
$('old-try').addEventListener('click', () => client && client.retry())
$('leave').addEventListener('click', () => {
  if (!window.confirm(t('v_leave_sure'))) return
  shelf.forget()
  const was = token
  memory.set('token', (token = ''))
  showDoor({wantsToken: !!was})
})
for (const button of document.querySelectorAll('[data-lang]')) button.addEventListener('click', switchLang)
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && client && client.state.name === 'live') refresh()
})
onLang(() => {
  document.title = t('v_page')
  drawDoor()
  draw()
})

/** Reads the address: #token=… is taken and hidden at once, #code=… is shown. */
function readPage() {
  const hash = new URLSearchParams(location.hash.slice(1))
  const given = (hash.get('token') || '').trim()
  wanted = hash.get('code') || wanted
  if (location.hash) history.replaceState(null, '', location.pathname + location.search)
  if (given) return enter({token: given})
  if (client) return draw()
  const name = memory.get('name')
  if (token) enter({token})
  else if (name && !checkName(name).wrong) enter({name})
  else showDoor()
}

window.addEventListener('pagehide', () => client && shelf.saveNow())
window.addEventListener('hashchange', readPage)
readPage()
