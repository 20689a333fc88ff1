// The rooms and talks of this person, and the list of them.
import {$, el, icon, avatar} from './dom.js'
import {t, shortTime} from './i18n.js'
import {LOBBY} from './names.js'
import {Room} from './room.js'

const FOLLOW = 150 // rooms that are followed at once; the server allows 200 topics

/** What Room asks of a house, and draft(topic). The list is drawn by draw(). */
export function makeRooms(house) {
  const all = new Map() // topic -> Room
  const rows = new Map() // Room -> its <li>
  const list = $('rooms')
  let asked = 0

  function get(topic) {
    let room = all.get(topic)
    if (!room) all.set(topic, (room = new Room(house, topic)))
    return room
  }

  const listed = (room) => room.kept || room.topic === LOBBY || room === house.open() || (room.kind === 'talk' && room.last)

  /** Asks the server what there is, and follows it. */
  async function load() {
    const client = house.client()
    const mine = ++asked
    let topics = []
    try {
      topics = await client.topics()
    } catch (err) { /* the connection ended: the next one asks again */ }
    if (client !== house.client() || mine !== asked) return
    for (const s of topics) {
      if (!/^(room|dm):/.test(s.topic)) continue
      const room = get(s.topic)
      const wasRead = room.read
      room.sync(s)
      if (room.read > wasRead || room.unread) house.changed(room)
    }
    get(LOBBY)
    const rooms = [...all.values()].filter((room) => room.kind === 'room' && listed(room) && !room.followed && !room.refused)
    rooms.sort(byTime)
    const free = FOLLOW - [...all.values()].filter((room) => room.followed).length
    for (const room of rooms.slice(0, Math.max(0, free))) room.follow(room.last ? 0 : 1, house.code(room)) // the newest line is to be seen
    house.changed()
  }

  const time = (room) => (room.last ? room.last.at : 0)
  const byTime = (a, b) => time(b) - time(a) || (b.topic === LOBBY) - (a.topic === LOBBY) || a.title().localeCompare(b.title())

  function draw() {
    const shown = [...all.values()].filter(listed).sort(byTime)
    for (const [room, row] of rows) {
      if (shown.includes(room)) continue
      row.remove()
      rows.delete(room)
    }
    let next = list.firstChild
    for (const room of shown) {
      let row = rows.get(room)
      if (!row) rows.set(room, (row = makeRow(room)))
      fill(row, room)
      if (row === next) next = next.nextSibling
      else {
        const focused = row.contains(document.activeElement)
        list.insertBefore(row, next)
        if (focused) row.firstChild.focus()
      }
    }
  }

  function makeRow(room) {
    const face = avatar(room.kind === 'room' ? room.title() : room.name)
    if (room.kind === 'room') face.classList.add('square')
    return el('li', {},
      el('a', {href: room.hash, class: 'row', data: {topic: room.topic}},
        face,
        el('span', {class: 'row-name', dir: 'auto'}),
        el('time', {}),
        el('span', {class: 'row-line', dir: 'auto'}),
        el('span', {class: 'row-marks'})))
  }

  function fill(row, room) {
    const link = row.firstChild
    const [, name, at, line, marks] = link.children
    const draft = room === house.open() ? '' : house.draft(room.topic)
    const [typist] = room.kind === 'talk' && room.typing.size ? room.typing.keys() : []
    setText(name, room.title())
    setText(at, room.last ? shortTime(room.last.at) : '')
    setText(line, typist ? t('typing_one', {a: typist}) : draft ? t('draft', {text: draft}) : room.refused ? t('room_locked') : room.preview())
    line.classList.toggle('draft', !!draft && !typist)
    const state = [room.unread, room.unreadMore, room.mention, room.muted, document.documentElement.lang].join()
    if (marks.dataset.state !== state) {
      marks.dataset.state = state
      marks.textContent = ''
      if (room.muted) marks.append(icon('muted'), el('span', {class: 'sr'}, t('muted')))
      if (room.mention) marks.append(el('span', {class: 'mention', 'aria-hidden': 'true'}, '@'), el('span', {class: 'sr'}, t('mentioned')))
      if (room.unread) {
        const n = room.unread + (room.unreadMore ? '+' : '')
        marks.append(el('span', {class: 'unread', 'aria-hidden': 'true'}, n), el('span', {class: 'sr'}, t('unread', {n})))
      }
    }
    if (room.muted) link.dataset.muted = ''
    else delete link.dataset.muted
    if (room.mention) link.dataset.mention = ''
    else delete link.dataset.mention
    if (room === house.open()) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }

  const setText = (node, text) => { if (node.textContent !== text) node.textContent = text }

  // Up and down go from row to row, as in any list of rooms.
  list.addEventListener('keydown', (e) => {
    const links = [...list.querySelectorAll('a')]
    const i = links.indexOf(document.activeElement)
    const to = {ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: links.length - 1}[e.key]
    if (to === undefined || e.ctrlKey || e.metaKey || e.altKey || !links[to]) return
    e.preventDefault()
    links[to].focus()
  })

  return {
    get,
    load,
    draw,
    find: (topic) => all.get(topic),
    /** What waits to be read: of rooms that are not muted, and mentions. */
    waiting: () => [...all.values()].reduce((n, room) => n + (room.muted ? (room.mention ? 1 : 0) : room.unread), 0),
    [Symbol.iterator]: () => all.values(),
    clear() {
      for (const room of all.values()) for (const timer of room.typing.values()) clearTimeout(timer)
      all.clear()
      rows.clear()
      list.textContent = ''
      asked++
    },
  }
}
