// Every part of the interface, used as it is meant. Nobody runs this: it must compile, strictly.
import {connect, discover, mini, TeahouseError, web} from 'teahouse-sdk'
import type {
  Client, ClientEvents, Clock, Emitter, Found, Mark, Off, Options, OutboxItem, Platform, Reset, State, Storage,
  TeaEvent, Topic, TopicEvents, TopicOptions, TopicSummary, Transport, Voucher,
} from 'teahouse-sdk'

declare function show(...values: (string | number | boolean | undefined)[]): void

/** Fails to compile unless the two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const same = <A, B>(_: Same<A, B>) => {}

// ---- connect ----

const here: Client = connect()
const options: Options = {
  url: 'wss://tea.example/ws', user: 'alice', token: 't', getToken: (refused: boolean) => (refused ? 'new' : 'old'),
  device: 'phone', WebSocket: class {}, storage: null,
}
const tea = connect(options)
connect({url: '192.168.1.5:8040', getToken: async () => 'token'})
connect({storage: new Map<string, string>() && {getItem: () => undefined, setItem() {}, removeItem() {}}})

const user: string | undefined = tea.user
show(user)
same<Client['user'], string | undefined>(true)

// ---- state: its name says what else there is ----

const state: State = tea.state
switch (state.name) {
  case 'connecting':
    break
  case 'live':
    show(state.claimed)
    break
  case 'waiting':
    show(state.delay + state.at, state.code, state.reason)
    break
  case 'closed':
    show(state.code, state.error, state.reason.length)
    break
  default:
    same<typeof state, never>(true)
}
const off: Off = tea.on('state', (s) => show(s.name))
off()
tea.on('error', (err) => show(err.code, err.message))
tea.on('talk', (e) => show(e.topic, e.from))
tea.on('marked', (m) => {
  same<typeof m, Mark>(true)
  show(m.topic, m.read, m.muted, m.kept)
})
tea.on('outbox', (item) => show(item.state, item.seq, item.error?.code, item.error?.message))

// ---- topics ----

const lobby: Topic = tea.room('lobby')
tea.room('lobby', {recent: 0})
tea.room('club', {code: 'sesame'})
connect({user: 'alice', secret: 'mine'})
tea.talk('bob', {resume: true})
const some: TopicOptions = {recent: 500, resume: false}
tea.topic('room:kitchen', some)
const inbox: Topic = tea.inbox
show(lobby.topic, lobby.place)
same<Topic['place'], number | undefined>(true)

interface Drink {
  code: string
  name: string
}
inbox.on<Drink>('voucher.redeemed', (e) => show(e.body.code, e.body.name))
lobby.on('event', (e: TeaEvent) => show(e.topic, e.seq, e.kind, e.from, e.key, e.at, String(e.body)))
lobby.on('message', (e) => {
  same<typeof e, TeaEvent>(true)
  show(e.body.text)
})
lobby.on('order.ready', (e) => show(e.seq))
lobby.on('signal', ({topic, from, body}) => show(topic, from, body.typing))
lobby.on('online', ({topic, user: who, online}) => show(topic, who, online))
lobby.on('joined', ({topic, head, after, online}) => show(topic, head + after + online))
lobby.on('reset', (r) => {
  same<typeof r, Reset>(true)
  same<Reset['reason'], 'epoch' | 'retention' | 'limit'>(true)
  show(r.topic, r.after, r.message)
})
lobby.on('outbox', (item) => {
  same<typeof item, OutboxItem>(true)
  show(item.topic, item.key, item.kind, item.at)
})
lobby.on('error', (err) => {
  same<typeof err, TeahouseError>(true)
})

async function calls() {
  const {seq, at} = await lobby.send({text: 'hi'})
  show(seq + at)
  await lobby.send(null, {kind: 'order', key: 'order-7'})
  const {events, more} = await lobby.history()
  same<typeof events, TeaEvent[]>(true)
  if (more) await lobby.history({before: events[0]?.seq ?? 0, limit: 500})
  const users: string[] = await lobby.presence()
  show(users.length)
  const list: TopicSummary[] = await tea.topics()
  for (const t of list) show(t.topic, t.read, t.head, t.unread, t.more, t.mention, t.muted, t.kept, t.last?.body.text)
  const mark: Mark = await lobby.mark({read: events[0]?.seq ?? 0})
  await lobby.mark({muted: true, kept: false})
  show(mark.read)
  const found = await lobby.search('tea')
  if (found.more) await lobby.search('tea', {before: found.before, limit: 10})
  show(found.events.length)
  show((await lobby.recall(7)).seq)
  await lobby.protect('')
  const mine = await tea.vouchers({status: 'issued', limit: 10})
  for (const v of mine.vouchers) show(v.code, v.name, v.status, v.note, v.issued_at, v.expires_at, v.station, v.pass)
  if (mine.cursor !== undefined) await tea.vouchers({cursor: mine.cursor})
  same<typeof mine.vouchers, Voucher[]>(true)
  show(mine.now)
  lobby.signal({typing: true})
  lobby.leave()

  for (const item of tea.outbox) {
    if (item.state === 'failed') await tea.resend(item.key).then((sent) => show(sent.seq, sent.at))
    else tea.discard(item.key)
  }
  tea.retry()
  tea.close()
  here.close()

  const servers: Found[] = await discover()
  await discover({timeout: 1000, platform: mini({})})
  for (const {name, url} of servers) connect({url}).on('state', () => show(name))
}

// ---- platforms ----

const transport: Transport = {send(text: string) { show(text) }, close() {}}
const storage: Storage = {getItem: (key) => (key ? '' : null), setItem() {}, removeItem() {}}
const least: Platform = {
  connect(url, on) {
    on.open()
    on.message(url)
    on.close(1006, '')
    return transport
  },
}
const whole: Platform = {
  ...least,
  storage,
  lifecycle({wake, sleep}) {
    wake()
    sleep()
    return () => {}
  },
  discover(service, found, failed) {
    found({name: service, ip: '192.168.1.5', port: 8040})
    failed('no network')
    return () => {}
  },
}
const clock: Clock = {setTimeout: () => 1, clearTimeout() {}, now: () => 0, random: () => 0.5}
connect({platform: whole, clock})
connect({platform: web(class {})})
connect({platform: web()})

const err = new TeahouseError('closed', 'the app closed it')
same<typeof err.code, string>(true)
const asError: Error = new TeahouseError('closed')
if (asError instanceof TeahouseError) show(asError.code)

const emitter: Emitter<ClientEvents> = tea
emitter.on('state', () => {})
const emits: Emitter<TopicEvents> = lobby
emits.on('reset', () => {})

export {calls}
