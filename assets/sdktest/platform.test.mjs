// Where the SDK runs: how it finds out, what it hears of the page, and which addresses it takes.
import test from 'node:test'
import assert from 'node:assert/strict'
import vm from 'node:vm'
import {createRequire} from 'node:module'
import {readFileSync} from 'node:fs'
import {connect, discover, web, mini} from '../sdk/teahouse.js'
import {FakeClock, network, start, greet, memory, settle} from './fake.mjs'

const source = readFileSync(new URL('../sdk/teahouse.js', import.meta.url), 'utf8').replace(/^export /gm, '') +
  '\n;({connect, discover, web, mini})'

/** The SDK among these globals, and nothing else. */
const among = (globals) => vm.runInContext(source, vm.createContext(globals))

/** A browser's page at an address, with a net. */
function page(href, more) {
  const net = network()
  const clock = new FakeClock()
  const target = () => {
    const on = {}
    return {
      on,
      addEventListener: (name, fn) => (on[name] ??= new Set()).add(fn),
      removeEventListener: (name, fn) => on[name].delete(fn),
      fire: (name) => [...on[name] ?? []].forEach((fn) => fn({type: name})),
      get listeners() { return Object.values(on).reduce((n, s) => n + s.size, 0) },
    }
  }
  const window = target()
  const document = Object.assign(target(), {visibilityState: 'visible'})
  const localStorage = memory()
  const {protocol, host} = new URL(href)
  const globals = {document, window, localStorage, location: {protocol, host, href}, WebSocket: net.FakeSocket, console, ...more}
  const sdk = among(globals)
  return {
    net, clock, window, document, localStorage, sdk,
    open: (options) => sdk.connect({user: 'alice', clock: clock.hooks, ...options}),
    show(is) {
      document.visibilityState = is ? 'visible' : 'hidden'
      document.fire('visibilitychange')
    },
  }
}

test('chosen by what is there: a browser, wx, uni, else a WebSocket; or as it is told', () => {
  const chosen = []
  const socket = (name) => class { constructor() { chosen.push(name) } }
  const api = (name) => ({connectSocket: () => void chosen.push(name), onSocketOpen() {}, onSocketMessage() {}, onSocketError() {}, onSocketClose() {}, closeSocket() {}})
  const quiet = {clock: new FakeClock().hooks, url: 'x', user: 'a', storage: null}
  const document = {addEventListener() {}}
  const window = {addEventListener() {}}
  among({document, window, WebSocket: socket('browser'), wx: api('wx'), uni: api('uni')}).connect(quiet)
  among({document, window, wx: api('wx'), uni: api('uni')}).connect(quiet)
  among({WebSocket: socket('WebSocket'), wx: api('wx'), uni: api('uni')}).connect(quiet)
  among({WebSocket: socket('WebSocket'), wx: {}, uni: api('uni')}).connect(quiet)
  among({WebSocket: socket('WebSocket'), wx: {}}).connect(quiet)
  among({wx: api('wx')}).connect({...quiet, WebSocket: socket('given')})
  const {connect, mini} = among({WebSocket: socket('WebSocket'), wx: api('wx')})
  connect({...quiet, platform: mini(api('other'))})
  assert.deepEqual(chosen, ['browser', 'wx', 'wx', 'uni', 'WebSocket', 'given', 'other'])
})

test('no WebSocket anywhere: a sentence that says what to do', () => {
  for (const globals of [{}, {process: {}}, {process: {getBuiltinModule: () => ({createRequire: () => { throw new Error('not there') }}), argv: [], cwd: () => '/'}}]) {
    assert.throws(() => among(globals).connect({url: 'x'}), {code: 'unsupported', message: /require\('ws'\)/})
  }
})

test('in Node: its own WebSocket, or the package ws', async (ctx) => {
  const require = createRequire(import.meta.url)
  let WebSocketServer
  try { ({WebSocketServer} = require('ws')) } catch { return ctx.skip('the package ws is not installed here') }
  for (const own of [globalThis.WebSocket, undefined]) {
    const had = globalThis.WebSocket
    globalThis.WebSocket = own
    const server = new WebSocketServer({port: 0, host: '127.0.0.1'})
    await new Promise((resolve) => server.on('listening', resolve))
    const hello = new Promise((resolve) => server.on('connection', (ws) => ws.on('message', (data) => resolve(JSON.parse(data)))))
    const client = connect({url: `127.0.0.1:${server.address().port}`, user: 'alice'})
    assert.equal((await hello).user, 'alice')
    client.close()
    // Given up before it opened: the package ws says that as an error, which must not end the program.
    connect({url: `127.0.0.1:${server.address().port}`, user: 'alice'}).close()
    for (const ws of server.clients) ws.terminate()
    await new Promise((resolve) => server.close(resolve))
    await settle()
    globalThis.WebSocket = had
    if (own === undefined && had === undefined) break
  }
})

test('a page: shown and online again is a wake, hidden and left is a sleep', async () => {
  const p = page('http://192.168.1.5:8040/')
  const client = p.open()
  greet(p.net.last, {seq: 4})
  const pings = () => p.net.last.frames('ping').length
  const say = (seq) => p.net.last.say({op: 'event', topic: 'user:alice', seq, kind: 'note', from: '', body: 1, at: 1})
  const place = () => JSON.parse(p.localStorage.items.get('teahouse places ws://192.168.1.5:8040/ws alice')).places['user:alice']
  let n = 0
  for (const wake of [() => p.show(true), () => p.window.fire('online'), () => p.window.fire('offline'), () => p.window.fire('pageshow')]) {
    wake()
    assert.equal(pings(), ++n)
    p.net.last.say({op: 'pong'})
  }
  for (const sleep of [() => p.show(false), () => p.window.fire('pagehide')]) {
    say(++n)
    say(++n)
    assert.ok(place() < n)
    sleep()
    assert.equal(place(), n)
  }
  assert.equal(pings(), 4)
  p.net.last.end()
  p.show(true)
  assert.equal(client.state.name, 'connecting')
  assert.ok(p.window.listeners > 0 && p.document.listeners > 0)
  client.close()
  assert.equal(p.window.listeners + p.document.listeners, 0)
})

test('a page in the background for 10 minutes, its timers frozen: live again at once', () => {
  const p = page('https://tea.example/')
  const client = p.open()
  greet(p.net.last, {seq: 4})
  p.show(false)
  p.clock.freeze(600000)
  p.show(true)
  assert.equal(p.net.alive.length, 1)
  greet(p.net.last, {seq: 4})
  assert.equal(client.state.name, 'live')
})

test('wake starts the backoff anew', async () => {
  const t = start()
  for (let i = 0; i < 8; i++) {
    t.net.last.end()
    await t.clock.pass(t.client.state.delay)
  }
  t.net.last.end()
  assert.equal(t.client.state.delay, 15000)
  t.wake()
  t.net.last.end()
  assert.equal(t.client.state.delay, 250)
})

test('localStorage that is forbidden is none', () => {
  const p = page('http://x/', {})
  const forbidden = among(Object.defineProperty({document: p.document, window: p.window, WebSocket: p.net.FakeSocket}, 'localStorage', {
    get() { throw new Error('SecurityError') },
  }))
  const client = forbidden.connect({url: 'x', user: 'alice', clock: p.clock.hooks})
  client.room('lobby').send({text: '1'})
  assert.equal(client.outbox.length, 1)
})

test('a platform of one’s own, that fails at once or opens at once', async () => {
  const clock = new FakeClock()
  let closed = 0
  const states = []
  const client = connect({
    url: 'x', user: 'a', clock: clock.hooks, platform: {connect(url, on) {
      on.close(0, 'no network')
      return {send() {}, close: () => closed++}
    }},
  })
  client.on('state', (s) => states.push(s.name))
  assert.deepEqual([client.state.name, client.state.reason, closed], ['waiting', 'no network', 1])
  await clock.pass(250)
  assert.deepEqual(states, ['connecting', 'waiting'])
  client.close()
  const throws = connect({url: 'x', user: 'a', clock: clock.hooks, platform: {connect() { throw 'a word' }}})
  assert.equal(throws.state.reason, 'a word')
})

test('a socket that was given up is closed when it opens after all, also where closing before does nothing', () => {
  let ws
  class Stubborn {
    constructor() { ws = this; this.readyState = 0 }
    close() { this.closed = this.readyState === 1 }
  }
  const client = connect({url: 'x', user: 'a', WebSocket: Stubborn, storage: null, clock: new FakeClock().hooks})
  client.close()
  assert.equal(ws.closed, false)
  ws.readyState = 1
  ws.onopen({})
  assert.equal(ws.closed, true)
})

test('discover() where there is no mDNS', async () => {
  await assert.rejects(discover({platform: web(class {})}), {code: 'unsupported', message: /ask for the server's address/})
  await assert.rejects(discover({platform: mini({})}), {code: 'unsupported'})
  await assert.rejects(among({}).discover(), {code: 'unsupported'})
})

// ---- addresses ----

const good = {
  'https://tea.example': 'wss://tea.example/ws',
  'http://tea.example': 'ws://tea.example/ws',
  'wss://tea.example/': 'wss://tea.example/ws',
  'ws://192.168.1.5:8040': 'ws://192.168.1.5:8040/ws',
  '192.168.1.5:8040': 'ws://192.168.1.5:8040/ws',
  'pi.local': 'ws://pi.local/ws',
  'localhost:1': 'ws://localhost:1/ws',
  '[fd00::5]:8040': 'ws://[fd00::5]:8040/ws',
  'HTTPS://Tea.Example:443/Ws': 'wss://tea.example:443/Ws',
  'ws://h/ws': 'ws://h/ws',
  'https://h/tea/': 'wss://h/tea/ws',
  'https://h/tea/ws': 'wss://h/tea/ws',
  'https://h/#room=lobby': 'wss://h/ws',
  '茶.example': 'ws://茶.example/ws',
}
const bad = ['ftp://h', 'https://', 'ws://', '://h', 'https:/h', 'h:', 'h:x', 'h:123456', 'h:65536', 'a b', 'https://u:p@h', 'u@h',
  'fd00::5', 'h:1:2', 'ws://h?x=1', '//h', ' h', '/ws', 'javascript:alert(1)', '', undefined, null]

test('addresses as people write them', () => {
  const {FakeSocket, all} = network()
  const options = {user: 'a', WebSocket: FakeSocket, storage: null, clock: new FakeClock().hooks}
  for (const [url, want] of Object.entries(good)) {
    connect({...options, url})
    assert.equal(all.at(-1).url, want, url)
    new URL(want)
  }
  for (const url of bad) {
    assert.throws(() => connect({...options, url}), (err) => {
      assert.equal(err.code, 'bad_url', String(url))
      assert.match(err.message, /write \{url: 'https:\/\/YOUR-SERVER'\}/)
      if (url) assert.ok(err.message.includes(`"${url}"`))
      return true
    })
  }
})

test('a page may leave the address out, or give a path; its own protocol is the default', () => {
  const urls = (href, ...given) => given.map((url) => {
    const p = page(href)
    p.open({url})
    return p.net.last.url
  })
  assert.deepEqual(urls('http://192.168.1.5:8040/x?y#z', undefined, '', '/ws', '/tea/'),
    ['ws://192.168.1.5:8040/ws', 'ws://192.168.1.5:8040/ws', 'ws://192.168.1.5:8040/ws', 'ws://192.168.1.5:8040/tea/ws'])
  assert.deepEqual(urls('https://tea.example/', undefined, '/ws', 'other.example', 'ws://h:1'),
    ['wss://tea.example/ws', 'wss://tea.example/ws', 'wss://other.example/ws', 'ws://h:1/ws'])
  const p = page('file:///home/x.html')
  assert.throws(() => p.open(), {code: 'bad_url'})
})
