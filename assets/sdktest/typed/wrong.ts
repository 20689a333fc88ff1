// Mistakes that the types must catch: each line after @ts-expect-error fails to compile, and this file does when one
// of them does not.
import {connect, discover, mini, TeahouseError, web} from 'teahouse-sdk'
import type {Off, OutboxItem, Platform, Reset, State, TeaEvent} from 'teahouse-sdk'

const tea = connect({user: 'alice'})
const lobby = tea.room('lobby')

// @ts-expect-error: options are an object
connect('https://tea.example')
// @ts-expect-error: it is called url
connect({URL: 'https://tea.example'})
// @ts-expect-error: a user is named by a string
connect({user: 7})
// @ts-expect-error: a token is a string
connect({getToken: () => 7})
// @ts-expect-error: no storage is null, not false
connect({storage: false})
// @ts-expect-error: a storage can remove
connect({storage: {getItem: () => null, setItem() {}}})
// @ts-expect-error: a platform connects
connect({platform: {}})
// @ts-expect-error: a clock tells the time
connect({clock: {setTimeout() {}, clearTimeout() {}}})

// @ts-expect-error: a room has a name
tea.room()
// @ts-expect-error: a number of events
tea.room('lobby', {recent: 'all'})
// @ts-expect-error: there is no such option
tea.room('lobby', {after: 3})
// @ts-expect-error: it is the server's
tea.user = 'bob'
// @ts-expect-error: it is the client's
tea.state = {name: 'live'}
// @ts-expect-error: the outbox is told, not set
tea.outbox = []
// @ts-expect-error: the topic of a room stays
lobby.topic = 'room:kitchen'
// @ts-expect-error: a place may be undefined
lobby.place.toFixed()
// @ts-expect-error: a user may be undefined
connect().user.length

// @ts-expect-error: the client has no messages of its own
tea.on('message', () => {})
// @ts-expect-error: a handler is a function
lobby.on('message', 'hi')
// @ts-expect-error: an event has no text, its body has
lobby.on('message', (e) => e.text)
// @ts-expect-error: a reset is no event
lobby.on('reset', (r) => r.seq)
// @ts-expect-error: online is told of one user
lobby.on('online', (o) => o.users)
// @ts-expect-error: the body is a voucher
lobby.on<{code: string}>('voucher.redeemed', (e) => e.body.name)
// @ts-expect-error: what on gives is called to end it
lobby.on('message', () => {}).off()

// @ts-expect-error: something must be sent
lobby.send()
// @ts-expect-error: a kind is a string
lobby.send({}, {kind: 1})
// @ts-expect-error: send promises a seq
lobby.send({}).seq
// @ts-expect-error: history goes back
lobby.history({after: 3})
// @ts-expect-error: history promises events and more
lobby.history().then((events) => events.length)
// @ts-expect-error: presence promises names
lobby.presence().then((users) => users.length.name)
// @ts-expect-error: a signal is not answered
lobby.signal({}).then(() => {})
// @ts-expect-error: a mark says something
lobby.mark()
// @ts-expect-error: a read position is a number
lobby.mark({read: '7'})
// @ts-expect-error: what is recalled is named by its seq
lobby.recall('key')
// @ts-expect-error: a search has words
lobby.search()
// @ts-expect-error: the last message may be missing
tea.topics().then(([t]) => t?.last.seq)
// @ts-expect-error: there is no such status
tea.vouchers({status: 'used'})
// @ts-expect-error: a code is a string
tea.room('club', {code: 7})
// @ts-expect-error: a failed send is named by its key
tea.resend(7)
// @ts-expect-error: a send is named by its key
tea.discard(tea.outbox[0])

function read(state: State, item: OutboxItem, reset: Reset, e: TeaEvent<{text: string}>) {
  // @ts-expect-error: only who waits has a delay
  state.delay
  // @ts-expect-error: a state has one of four names
  state.name === 'open'
  // @ts-expect-error: an item is sent, pending or failed
  item.state === 'sending'
  // @ts-expect-error: it may have no error
  item.error.code
  // @ts-expect-error: there are three reasons
  reset.reason === 'gone'
  // @ts-expect-error: the body has a text
  e.body.txt
}

// @ts-expect-error: a timeout is a number
discover({timeout: '3s'})
// @ts-expect-error: what is found has a url, not an address
discover().then(([one]) => one?.ip)
// @ts-expect-error: which platform?
mini()
// @ts-expect-error: an error has a code
new TeahouseError()
// @ts-expect-error: off needs nothing
const end: Off = (name: string) => {}
// @ts-expect-error: a transport can close
const platform: Platform = {connect: () => ({send() {}})}
// @ts-expect-error: a platform is not a client
web().room('lobby')

export {read, end, platform}
