// The chat page: puts the parts together. The connection is the SDK's, there is none here.
import {connect} from '../sdk/teahouse.js'
import {$, memory} from './dom.js'
import {t, onLang, roomTitle, switchLang, translate, why} from './i18n.js'
import {ROOM_BYTES, checkName, readAddress, roomHash, roomLink} from './names.js'
import {makeDoor} from './door.js'
import {makePanel, closePanel} from './panel.js'
import {makeList} from './list.js'
import {makePeople} from './people.js'
import {makeComposer} from './composer.js'
import {makeStateLine} from './stateline.js'

const PAGE = 50
const WANTS_TOKEN = ['bad_token', 'token_expired', 'unauthorized']

let client = null
let room = null
let roomName = 'lobby'
let token = memory.get('token')
let unread = 0 // what others said while the page was hidden

const me = () => (client ? client.user : undefined)

translate()
const list = makeList({
  me,
  history: (before) => room.history({before, limit: PAGE}),
  retry: (item) => {
    if (item.key) return client.resend(item.key)
    list.drop(item)
    say(item.body)
  },
  discard: (item) => {
    list.drop(item)
    client.discard(item.key)
    showEmpty()
  },
})
const people = makePeople(me)
const stateLine = makeStateLine(() => client && client.retry())
const composer = makeComposer({
  send: (text) => say({text}),
  typing: (is) => room && room.signal({typing: is}),
})
const door = makeDoor(enter)
makePanel($('online'), $('people'))
makePanel($('share-button'), $('share'), () => {
  $('share-link').value = roomLink(location, roomName)
  $('copied').textContent = ''
  $('room-input').value = ''
})

/** Comes in with {name} or {token}. */
function enter(who) {
  if (client) client.close()
  if (who.token) memory.set('token', (token = who.token))
  const mine = (client = connect({user: who.name, token: who.token, device: device()}))
  client.on('state', (state) => mine === client && onState(state))
  stateLine.set(client.state)
  door.hide()
  goTo(readAddress(location).room)
  composer.focus()
}

function leave(options) {
  closePanel()
  const was = client
  client = room = null
  was.close()
  list.clear(null, false)
  people.clear()
  door.show(roomName, options)
}

function onState(state) {
  stateLine.set(state)
  showEmpty()
  if (state.name !== 'closed') return
  // What the person can put right is asked at the door; the rest stands in the state line.
  const reason = () => why({code: state.error, message: state.reason})
  if (WANTS_TOKEN.includes(state.error)) {
    const had = token
    memory.set('token', (token = ''))
    leave({wantsToken: true, refusal: () => (had ? t('token_refused', {why: reason()}) : t('token_needed'))})
  } else if (state.error === 'bad_user') {
    leave({refusal: () => t('name_refused', {why: state.reason})})
  }
}

function goTo(name) {
  if (room) room.leave()
  roomName = name
  list.clear(null, false)
  people.clear()
  showRoom()
  const mine = (room = client.room(name, {recent: PAGE}))
  const here = (fn) => (x) => { if (mine === room) fn(x) }
  let joined = false
  room.on('event', here((e) => {
    list.add(e)
    people.types(e.from, false)
    showEmpty()
    if (document.hidden && e.from !== me()) unread++
    showTitle()
  }))
  room.on('outbox', here((o) => {
    list.outbox(o)
    showEmpty()
  }))
  room.on('reset', here(({reason}) => list.clear(() => t(/^(epoch|retention|limit)$/.test(reason) ? 'reset_' + reason : 'reset_other'))))
  room.on('joined', here(() => {
    mine.presence().then(here((users) => people.set(users)), () => {})
    joined = true
    setTimeout(showEmpty, 300)
  }))
  room.on('online', here((o) => people.online(o.user, o.online)))
  room.on('signal', here((s) => {
    if (s.from !== me() && s.body) people.types(s.from, s.body.typing === true)
  }))
  room.on('error', here((err) => stateLine.set({name: 'closed', error: err.code, reason: err.message})))
  mine.isEmpty = () => joined && list.size === 0
  for (const o of client.outbox) if (o.topic === mine.topic) list.outbox(o)
}

/** Sends it. What the outbox does not take at all, because it is too long or there is too much, has no key. */
function say(body) {
  const mine = room
  mine.send(body).catch((error) => {
    const taken = !['too_large', 'too_many'].includes(error.code)
    if (mine === room && !taken) list.outbox({kind: 'message', body, at: Date.now(), state: 'failed', error})
  })
}

function showEmpty() {
  $('empty').hidden = !(room && room.isEmpty())
}

function showRoom() {
  $('room-name').textContent = roomTitle(roomName)
  showTitle()
}

function showTitle() {
  if (!document.hidden) unread = 0
  document.title = (unread ? `(${unread}) ` : '') + t('page_title', {room: roomTitle(roomName)})
}

// A name for this tab, so that a person's devices can be told apart.
function device() {
  try {
    const had = sessionStorage.getItem('teahouse.device')
    if (had) return had
    const made = 'web-' + Math.random().toString(36).slice(2, 10)
    sessionStorage.setItem('teahouse.device', made)
    return made
  } catch (err) {
    return 'web'
  }
}

async function copyLink() {
  const field = $('share-link')
  let done = false
  try {
    await navigator.clipboard.writeText(field.value)
    done = true
  } catch (err) { // not on a page without https
    field.select()
    done = document.execCommand('copy')
  }
  $('copied').textContent = t(done ? 'copied' : 'copy_by_hand')
}

$('copy').addEventListener('click', copyLink)
$('rename').addEventListener('click', () => {
  memory.set('token', (token = ''))
  leave()
})
$('room-form').addEventListener('submit', (e) => {
  e.preventDefault()
  const {name, wrong, n} = checkName($('room-input').value, ROOM_BYTES)
  $('room-error').textContent = wrong ? t('room_' + wrong, {n, max: ROOM_BYTES}) : ''
  if (wrong) return $('room-input').focus()
  closePanel()
  location.hash = roomHash(name)
})
for (const button of document.querySelectorAll('[data-lang]')) button.addEventListener('click', switchLang)
document.addEventListener('visibilitychange', showTitle)

// Some phones lay their keyboard over the page. Then the house takes what is left of the view, unless that is
// a zoomed part of it.
const view = window.visualViewport
if (view) {
  view.addEventListener('resize', () => {
    const squeezed = view.scale < 1.05 && window.innerHeight - view.height > 100
    $('house').classList.toggle('squeezed', squeezed)
    $('house').style.setProperty('--view', view.height + 'px')
    if (squeezed) window.scrollTo(0, 0)
  })
}
onLang(() => {
  list.relabel()
  showRoom()
})

/** Reads the address: a token is taken and hidden at once, a room is gone to. */
function readPage() {
  const address = readAddress(location)
  if (address.token) {
    history.replaceState(null, '', location.pathname + location.search + roomHash(address.room))
    return enter({token: address.token})
  }
  if (client) {
    if (address.room !== roomName) goTo(address.room)
    return
  }
  const name = memory.get('name')
  roomName = address.room
  if (token) enter({token})
  else if (name && !checkName(name).wrong) enter({name})
  else door.show(address.room)
}

window.addEventListener('hashchange', readPage)
readPage()
