// A room or a talk as this page knows it: the newest part of its log, what is still being sent, how far it was
// read, who is in it. It shows nothing.
import {t, roomTitle} from './i18n.js'
import {summary} from './message.js'
import {roomHash, talkHash, talkers} from './names.js'

export const PAGE = 50 // events of the first page and of each older one
const LARGE = 500 // of a page on the way to a place far back: the most the server gives
const FAR = 40 // such pages at most
const KEEP = 200 // events of a room that is not looked at
const MARK = 1000 // ms between two marks
const TYPING = 6000 // ms that a typing signal holds

const isNews = (e, me) => e.kind === 'message' && e.from !== me && !(e.body && e.body.recalled)

/**
 * house: {client(), me(), changed(room, items), arrived(room, event), refused(room, error), touch(item),
 * unmount(item), toast(error), resync(), keep(room)}
 */
export class Room {
  constructor(house, topic) {
    this.house = house
    this.topic = topic
    this.kind = topic.startsWith('dm:') ? 'talk' : 'room'
    this.name = this.kind === 'room' ? topic.slice('room:'.length) : talkers(topic).find((user) => user !== house.me()) || house.me()
    this.hash = this.kind === 'room' ? roomHash(this.name) : talkHash(this.name)
    /** @type {any[]} the newest events without a gap, then what is not in the log yet */
    this.items = []
    this.more = true // there may be older ones
    this.oldest = 0 // seq of the first one that was fetched, shown or not
    this.ready = false // joined: what is missing in items is not on its way
    this.notice = null // what a reset was about; goes to the first message that comes after it
    this.refused = '' // code of the error that keeps us out
    this.followed = null // the SDK's Topic
    this.generation = 0 // rises when what is here is forgotten: an answer for the time before is no longer wanted
    this.read = this.head = this.unread = 0
    this.counted = 0 // up to here `unread` has them
    this.told = 0 // up to here they are no news: they were there when this page came
    this.unreadMore = this.mention = this.muted = this.kept = false
    this.last = null
    this.settled = false // true once its reader is where the reading ended; 'soon' on the way there
    this.fresh = 0 // the "new messages" line stands after this seq; 0 is no line
    this.present = null // names, once they were asked for
    this.typing = new Map() // name -> timer
    this._marked = 0
  }

  title() {
    return this.kind === 'room' ? roomTitle(this.name) : this.name
  }

  // ---- the log ----

  /** Follows it, beginning with the newest `recent` events. */
  follow(recent, code) {
    if (this.followed) return
    const client = this.house.client()
    this.refused = ''
    const mine = (this.followed = client.topic(this.topic, {recent, code}))
    const here = (fn) => (x) => { if (mine === this.followed) fn(x) }
    this.offs = [
      mine.on('event', here((e) => this.take(e))),
      mine.on('reset', here(({reason}) => this.reset(reason))),
      mine.on('joined', here(({head}) => {
        this.ready = true
        if (!this.told) this.counted = this.told = Math.max(this.counted, head)
        if (this.present) this.askPresence()
        this.house.changed(this, true)
      })),
      mine.on('online', here(({user, online}) => {
        if (!online) this.types(user, false)
        if (!this.present) return
        if (online) this.present.add(user)
        else this.present.delete(user)
        this.house.changed(this)
      })),
      mine.on('signal', here(({from, body}) => { if (from !== this.house.me() && body) this.types(from, body.typing === true) })),
      mine.on('error', here((err) => {
        this.unfollow()
        this.refused = err.code
        this.house.refused(this, err)
      })),
    ]
  }

  unfollow() {
    if (!this.followed) return
    for (const off of this.offs) off()
    this.followed.leave()
    this.followed = null
    this.ready = false
  }

  /** An event from the log as it happens, or of the first page. */
  take(e) {
    if (e.from) this.types(e.from, false)
    if (e.seq > this.head) this.head = e.seq
    const added = this.insert(e)
    if (e.kind === 'message' && added && (!this.last || this.last.seq < e.seq)) this.last = e
    const news = e.seq > this.read && isNews(e, this.house.me())
    if (e.seq > this.counted) {
      this.counted = e.seq
      if (news) {
        this.unread++
        this.mention = this.mention || this.mentions(e)
      }
    }
    if (e.seq > this.told) {
      this.told = e.seq
      if (news) this.house.arrived(this, e)
    }
    this.house.changed(this, true)
  }

  mentions(e) {
    const names = e.body && e.body.mentions
    return Array.isArray(names) && names.includes(this.house.me())
  }

  /** Puts an event in its place. False if it was there, or is none that is shown. */
  insert(e) {
    if (!this.oldest || e.seq < this.oldest) this.oldest = e.seq
    if (e.kind === 'message.recalled') {
      this.recalled(e.body && e.body.seq)
      return false
    }
    const own = e.from === this.house.me()
    const item = own && this.unsent(e.key, e.seq)
    return item ? this.settle(item, e) : this.place({...e, own, status: ''})
  }

  place(item) {
    const {items} = this
    let i = items.length
    while (i > 0 && item.seq && (!items[i - 1].seq || items[i - 1].seq > item.seq)) i--
    if (item.seq && i > 0 && items[i - 1].seq === item.seq) return false
    items.splice(i, 0, item)
    if (this.notice && item.seq) {
      item.notice = this.notice
      this.notice = null
    }
    return true
  }

  recalled(seq) {
    const item = this.items.find((i) => i.seq === seq)
    if (item && !item.body.recalled) {
      if (item.seq > this.read && item.seq <= this.counted && isNews(item, this.house.me())) this.unread = Math.max(0, this.unread - 1)
      item.body = {recalled: true}
      this.touch(item)
    }
    if (this.last && this.last.seq === seq) this.last = {...this.last, body: {recalled: true}}
  }

  /** One's own message, until its event has come. */
  unsent(key, seq) {
    return key && this.items.find((i) => i.own && i.key === key && (!i.seq || i.seq === seq))
  }

  settle(item, {seq, at}) {
    this.items.splice(this.items.indexOf(item), 1)
    Object.assign(item, {seq, at, status: 'sent', error: undefined})
    this.touch(item)
    return this.place(item)
  }

  /** Fetches the page before what is here. */
  async older(limit = PAGE) {
    const mine = this.generation
    const page = await this.topicOf().history({before: this.oldest || undefined, limit})
    if (mine !== this.generation) return
    for (const e of page.events) {
      this.insert(e)
      if (e.kind === 'message' && (!this.last || this.last.seq < e.seq)) this.last = e
    }
    this.more = page.more && page.events.length > 0
  }

  /** Fetches all back to this seq, in large pages. False if that is too far. */
  async reach(seq) {
    for (let n = 0; n < FAR && this.more && !(this.oldest && this.oldest <= seq); n++) await this.older(LARGE)
    return this.oldest <= seq
  }

  topicOf() {
    this.follow(0)
    return this.followed
  }

  /** What is here does not join on to what comes: it is forgotten, but for what is still being sent. */
  reset(reason) {
    this.forget()
    if (reason === 'epoch') {
      this.read = this.head = this.counted = this.told = this.fresh = 0
      this.last = null
      this.nothingUnread()
    }
    this.notice = reason && (() => t(/^(epoch|retention|limit)$/.test(reason) ? 'reset_' + reason : 'reset_other'))
    this.house.changed(this, true)
    this.house.resync()
  }

  forget() {
    this.generation++
    for (const item of this.items) if (item.seq) this.house.unmount(item)
    this.items = this.items.filter((item) => !item.seq)
    this.oldest = 0
    this.more = true
  }

  /** It is not looked at any more: of a long history the newest part stays. */
  trim() {
    const {items} = this
    const extra = items.length - KEEP
    if (extra <= 0 || !items[extra].seq) return
    items.splice(0, extra)
    this.oldest = items[0].seq
    this.more = true
  }

  // ---- sending ----

  /** `instead`: an item of this page only, which it takes the place of; `key` as in the SDK. */
  send(body, {instead, key} = {}) {
    if (instead) this.drop(instead)
    const {house} = this
    this.fresh = 0
    this.topicOf().send(body, key ? {key} : {}).catch((error) => {
      // What the outbox does not take at all, because it is too long or there is too much, has no key.
      if (['too_large', 'too_many'].includes(error.code)) this.addLocal({body, status: 'failed', error})
    })
    house.keep(this)
  }

  /** What the SDK's outbox says: written, sent, or failed for a reason. */
  outbox({key, kind, body, at, state, seq, error}) {
    if (kind === 'message.recalled') {
      if (state !== 'failed') return
      this.house.client().discard(key)
      return this.house.toast(error)
    }
    const item = this.unsent(key, seq)
    const status = state === 'pending' ? 'sending' : state
    if (state === 'sent') {
      if (item) this.settle(item, {seq, at})
    } else if (item) {
      Object.assign(item, {status, error})
      this.touch(item)
    } else {
      this.place({key, from: this.house.me(), kind, body, at, own: true, status, error})
    }
    this.house.changed(this, true)
  }

  addLocal(item) {
    Object.assign(item, {from: this.house.me(), kind: 'message', at: Date.now(), own: true})
    this.place(item)
    this.house.changed(this, true)
    return item
  }

  touch(item) {
    this.house.touch(item)
  }

  drop(item) {
    const i = this.items.indexOf(item)
    if (i >= 0) this.items.splice(i, 1)
    this.house.unmount(item)
    this.house.changed(this, true)
  }

  recall(seq) {
    return this.topicOf().recall(seq).catch(() => {}) // outbox() tells of a failure
  }

  signal(body) {
    if (this.followed) this.followed.signal(body)
  }

  // ---- how far it was read ----

  /** What topics() or a mark says. */
  sync(s) {
    const me = this.house.me()
    if (s.head > this.head) this.head = s.head
    this.read = Math.max(this.read, s.read || 0)
    this.muted = s.muted
    this.kept = s.kept
    if (s.last && (!this.last || s.last.seq >= this.last.seq)) this.last = s.last
    // What came while the answer was on its way is not in it; what was read meanwhile is in it.
    const later = this.items.filter((i) => i.seq > s.head && i.seq > this.read && isNews(i, me)).length
    const stale = this.read > (s.read || 0) && this.read >= s.head
    this.unread = (stale ? 0 : s.unread) + later
    this.unreadMore = !stale && s.more
    this.mention = this.unread > 0 && (this.mention || (!stale && s.mention))
    this.counted = Math.max(this.counted, s.head)
    this.told = this.told || s.head
  }

  marked(m) {
    this.muted = m.muted
    this.kept = m.kept
    if (m.read <= this.read) return false
    this.read = m.read
    if (m.read < this.head) return true // how many are left only the server knows
    this.nothingUnread()
    return false
  }

  nothingUnread() {
    this.unread = 0
    this.unreadMore = this.mention = false
  }

  /** The reader has seen the end. The server is told at most once a second. */
  seen() {
    if (!this.unread && this.read >= this.head) return
    this.read = Math.max(this.read, this.head)
    this.nothingUnread()
    this.house.changed(this)
    if (this._timer) return
    const wait = Math.max(0, this._marked + MARK - Date.now())
    this._timer = setTimeout(() => {
      this._timer = 0
      this._marked = Date.now()
      this.topicOf().mark({read: this.read}).catch(() => {})
    }, wait)
  }

  mark(what) {
    Object.assign(this, what)
    this.house.changed(this)
    return this.topicOf().mark(what).catch(() => {})
  }

  // ---- who is here ----

  askPresence() {
    const mine = this.followed
    if (!mine) return
    mine.presence().then((users) => {
      if (mine !== this.followed) return
      this.present = new Set(users.map((u) => (typeof u === 'string' ? u : u.user)).filter(Boolean))
      this.house.changed(this)
    }, () => {})
  }

  types(name, does) {
    if (!does && !this.typing.has(name)) return
    clearTimeout(this.typing.get(name))
    this.typing.delete(name)
    if (does) this.typing.set(name, setTimeout(() => this.types(name, false), TYPING))
    this.house.changed(this)
  }

  /** The newest line in a few words. */
  preview() {
    const e = this.last
    if (!e) return ''
    const who = e.from === this.house.me() ? t('you') : e.from
    const text = summary(e)
    return this.kind === 'talk' && e.from !== this.house.me() ? text : t('preview_line', {who, text})
  }
}
