// The chat page: puts the parts together. The connection is the SDK's, there is none here.
import {connect} from '../sdk/teahouse.js'
import {$, avatar, deviceName, memory, nameSecret, outboxOnly} from './dom.js'
import {t, onLang, translate, why} from './i18n.js'
import {LOBBY, nameLink, checkName, readAddress, roomHash, talkHash} from './names.js'
import {makeDoor} from './door.js'
import {closePanel} from './panel.js'
import {PAGE} from './room.js'
import {makeRooms} from './rooms.js'
import {makeList} from './list.js'
import {makePeople} from './people.js'
import {makeComposer} from './composer.js'
import {makeStateLine} from './stateline.js'
import {makeSearch} from './search.js'
import {makeShare} from './share.js'
import {makeNewRoom} from './newroom.js'
import {makeGate} from './gate.js'
import {makeSettings} from './settings.js'
import {makeNotify} from './notify.js'
import {makeRoute} from './route.js'
import {announce, copyText, toast} from './say.js'
import {Socket} from './socket.js'

const WANTS_TOKEN = ['bad_token', 'token_expired', 'unauthorized']
const NEEDS_NAME = ['bad_user', 'name_taken']

let client = null
let open = null // the Room that is shown
let token = memory.get('token')
let synced = false // what is unread is known
let due = 0 // a paint
let itemsChanged = false

const me = () => (client ? client.user : undefined)
const narrow = window.matchMedia('(max-width: 43.99rem)')

/** What the parts may ask for. The room's part and the message's are one object. */
const house = {
  me,
  client: () => client,
  open: () => open,
  room: () => open,
  token: () => token,
  limits: () => (client ? client.limits : {}),
  isMine: (item) => item.from === me(),
  online: () => (open && open.present ? [...open.present] : []),
  code: (room) => memory.get('code.' + room.name),
  draft: (topic) => (composer && composer.draft ? composer.draft(topic) : ''),
  drafted: () => house.changed(),

  retry(item) {
    if (item.key) return client.resend(item.key)
    const mine = open
    mine.drop(item)
    mine.send(item.body)
  },
  discard(item) {
    open.drop(item)
    if (item.key) client.discard(item.key)
  },
  recall: (item) => open.recall(item.seq),
  reply: (item) => composer.setReply(item),
  mention: (name) => composer.mention(name),
  typing: (is) => open && open.signal({typing: is}),
  person: (name) => people.card(name),
  copyText,
  toast: (what) => toast(what && what.code ? why(what) : what),

  changed(room, items = false) {
    if (items && room === open) itemsChanged = true
    if (!due) due = setTimeout(paint, 0)
  },
  arrived(room, e) {
    if (room === open && list.following) announce(e)
    notify.arrived(room, e)
  },
  refused(room, err) {
    if (err.code === 'bad_code' || err.code === 'code_needed') memory.set('code.' + room.name, '')
    house.changed(room)
  },
  touch: (item) => list.touch(item),
  unmount: (item) => list.unmount(item),
  resync() {
    if (client && client.state.name === 'live') rooms.load()
  },
  keep(room) {
    if (room.kind === 'room' && !room.kept) room.mark({kept: true})
  },
  /** Goes to a message of the open room, also to one far back. */
  async jump(seq) {
    const mine = open
    if (list.jump(seq)) return true
    const there = await mine.reach(seq).catch(() => false)
    if (mine !== open) return false
    list.changed()
    if (there && list.jump(seq)) return true
    toast(t('too_far'))
    return false
  },
  async leaveRoom(room) {
    closePanel()
    memory.set('code.' + room.name, '')
    if (memory.get('last') === room.hash) memory.set('last', '')
    await room.mark({kept: false})
    room.unfollow()
    route.home()
  },
  goTo: (hash) => route.go(hash),
}

const rooms = makeRooms(house)
const list = makeList(house)
const people = makePeople(house)
const stateLine = makeStateLine(() => client && client.retry())
const composer = makeComposer(house)
const door = makeDoor((who) => enter(who, true))
const notify = makeNotify(house)
const search = makeSearch(house)
const gate = makeGate(house)
const route = makeRoute({narrow, show, entered: () => !!client, fallback: () => memory.get('last') || roomHash('lobby')})
makeShare(house)
makeNewRoom(house)
makeSettings({
  me,
  notify,
  rename() {
    memory.set('token', (token = ''))
    leave()
  },
  otherDevice: () => (token ? '' : nameLink(location, me(), nameSecret())),
  copyText,
})
translate()

/** Comes in with {name} or {token}. */
function enter(who, isNew) {
  if (client) client.close()
  if (who.token) memory.set('token', (token = who.token))
  rooms.clear()
  synced = false
  open = null
  const mine = (client = connect({
    user: who.name, token: who.token, device: deviceName(), storage: outboxOnly(), WebSocket: Socket,
    secret: who.name ? nameSecret() || undefined : undefined,
  }))
  const here = (fn) => (x) => { if (mine === client) fn(x) }
  client.on('state', here(onState))
  client.on('outbox', here((o) => rooms.get(o.topic).outbox(o)))
  client.on('talk', here((e) => rooms.get(e.topic).take(e)))
  client.on('marked', here(onMarked))
  client.inbox.on('reset', here(() => {
    for (const room of rooms) if (room.kind === 'talk' && !room.followed) room.forget()
    house.resync()
  }))
  stateLine.set(client.state)
  door.hide()
  route.begin(isNew)
  for (const o of client.outbox) rooms.get(o.topic).outbox(o)
}

function leave(options) {
  closePanel()
  const was = client
  client = null
  if (composer.stop) composer.stop()
  show(null)
  was.close()
  rooms.clear()
  document.title = t('title')
  door.show(route.named(), options)
}

async function onState(state) {
  stateLine.set(state)
  house.changed()
  if (state.name === 'live') {
    const mine = client
    route.again() // a talk waits until it is known who one is
    await rooms.load()
    if (mine !== client) return
    if (!synced && composer.restore) composer.restore((topic) => rooms.get(topic))
    synced = true
    house.changed()
  }
  if (state.name !== 'closed') return
  // What the person can put right is asked at the door; the rest stands in the state line.
  const reason = () => why({code: state.error, message: state.reason})
  if (WANTS_TOKEN.includes(state.error)) {
    const had = token
    memory.set('token', (token = ''))
    leave({wantsToken: true, refusal: () => (had ? t('token_refused', {why: reason()}) : t('token_needed'))})
  } else if (NEEDS_NAME.includes(state.error)) {
    const name = me()
    leave({refusal: () => (state.error === 'name_taken' ? t('name_taken', {name}) : t('name_refused', {why: state.reason}))})
  }
}

function onMarked(m) {
  if (!/^(room|dm):/.test(m.topic)) return
  const room = rooms.get(m.topic)
  const had = room.kept
  if (room.marked(m) || (m.kept && !had)) house.resync()
  if (!m.kept && room.kind === 'room' && room !== open && room.topic !== LOBBY) room.unfollow()
  house.changed(room)
}

// ---- the open room ----

/** Shows a room ({room}), a talk ({talk}), or none (null). */
function show(place) {
  let next = null
  if (place && place.room) next = rooms.get('room:' + place.room)
  else if (place && place.talk && me() !== undefined && place.talk !== me()) next = rooms.get(client.talk(place.talk, {recent: PAGE}).topic)
  if (next === open) return
  closePanel()
  search.close()
  if (open) {
    if (open.kind === 'room') open.signal({typing: false})
    open.fresh = 0
    open.trim()
  }
  open = next
  if (open) {
    open.settled = false
    open.present = new Set()
    if (open.followed) open.askPresence()
    else open.follow(PAGE, house.code(open))
    memory.set('last', open.hash)
    if (composer.open) composer.open(open)
    if (!narrow.matches) composer.focus()
  } else if (composer.close) composer.close()
  list.show(open)
  paint()
}

/** Once it is known what is there and what was read: to where the reading ended. */
async function settle(room) {
  room.settled = 'soon'
  if (room.unread && room.read) {
    room.fresh = room.read
    if (!room.unreadMore && room.oldest > room.read) await room.reach(room.read).catch(() => {})
    if (room !== open) return
    list.changed()
    list.toFresh()
  }
  room.settled = true
  house.keep(room)
  list.seen()
}

function paint() {
  due = clearTimeout(due)
  if (!client) return
  if (open) {
    if (synced && open.ready && !open.settled) settle(open)
    // Who does not see the end sees later where the new ones began.
    if (open.settled === true && !list.following && open.unread && !open.fresh) {
      open.fresh = open.read
      itemsChanged = true
    }
    if (itemsChanged) list.changed()
  }
  itemsChanged = false
  rooms.draw()
  showHead()
  gate.show(open)
  people.show(open)
  showTitle()
}

function showHead() {
  const house = $('house')
  house.classList.toggle('empty-house', !open)
  if (!open) return
  if ($('room-face').dataset.of !== open.topic) {
    const face = avatar(open.title())
    if (open.kind === 'room') face.classList.add('square')
    $('room-face').dataset.of = open.topic
    $('room-face').replaceChildren(face)
  }
  $('room-name').textContent = open.title()
  $('empty').hidden = !(open.ready && open.settled === true && !open.items.length && !open.more)
}

function showTitle() {
  const n = rooms.waiting()
  const badge = n ? `(${n > 99 ? '99+' : n}) ` : ''
  const title = badge + (open ? t('page_title', {room: open.title()}) : t('title'))
  if (document.title !== title) document.title = title
}

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
document.addEventListener('visibilitychange', () => {
  if (document.hidden && open && !open.unread) open.fresh = 0 // what comes now is new
  house.changed()
})
document.addEventListener('keydown', (e) => {
  if (e.key !== 'Escape' || e.defaultPrevented || e.isComposing) return
  if (closePanel() || search.close(true)) e.preventDefault()
})
onLang(() => {
  $('room-face').dataset.of = ''
  list.relabel()
  house.changed()
})

/** Begins: a token or a secret in the address is taken and hidden at once. */
function begin() {
  const address = readAddress(location)
  if (address.token || address.secret) {
    history.replaceState(null, '', location.pathname + location.search + (address.talk ? talkHash(address.talk) : address.room ? roomHash(address.room) : ''))
  }
  if (address.token) return enter({token: address.token})
  const name = memory.get('name')
  if (address.name && (name !== address.name || memory.get('secret') !== address.secret)) {
    memory.set('token', (token = ''))
    if (name) return client ? leave({link: address}) : door.show(route.named(), {link: address})
    memory.set('name', address.name)
    memory.set('secret', address.secret)
    return enter({name: address.name}, true)
  }
  if (client) return
  if (token) enter({token})
  else if (name && !checkName(name).wrong) enter({name})
  else door.show(route.named())
}

window.addEventListener('hashchange', () => { if (readAddress(location).token || readAddress(location).secret) begin() })
begin()
